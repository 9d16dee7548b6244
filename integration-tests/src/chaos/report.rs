//! What a run found, as JSON for machines and as text for people.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::{Aftermath, Fault, Inflicted, Plan};
use crate::cluster::{LogLine, Shape};
use crate::load::percentile;
use crate::tally::{Checked, Tally};

/// See the module.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Of the order of faults and of the load, one for each cluster.
    pub seeds: Vec<u64>,
    /// How long the faults went on, seconds.
    pub seconds: f64,
    /// What cluster.
    pub shape: Shape,
    /// Requests a second that were due.
    pub rate: u32,
    /// What became of the requests, and what the checker made of it.
    #[serde(flatten)]
    pub tally: Tally,
    /// Pauses by fault.
    pub faults: BTreeMap<Fault, Pauses>,
    /// Log lines that nobody expected.
    pub complaints: Vec<LogLine>,
}

/// Client-visible pauses of one kind of fault, milliseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Pauses {
    /// How many faults.
    pub count: usize,
    /// Half of them were shorter.
    pub p50_ms: u64,
    /// 99 of 100 were shorter.
    pub p99_ms: u64,
    /// The longest.
    pub max_ms: u64,
    /// All of them, ascending.
    pub all_ms: Vec<u64>,
}

impl Pauses {
    /// Of some pauses.
    #[must_use]
    pub fn of(mut all_ms: Vec<u64>) -> Self {
        all_ms.sort_unstable();
        let [p50_ms, p99_ms, max_ms] = [50, 99, 100].map(|hundredths| percentile(&all_ms, hundredths));
        let count = all_ms.len();
        Self { count, p50_ms, p99_ms, max_ms, all_ms }
    }
}

impl Report {
    pub(super) fn new(
        plan: &Plan,
        seconds: f64,
        inflicted: &[Inflicted],
        pauses: &[Duration],
        aftermath: Aftermath,
    ) -> Self {
        let Aftermath { operations, verdicts, complaints, not_sent } = aftermath;
        let mut by_fault: BTreeMap<Fault, Vec<u64>> = BTreeMap::new();
        for (one, pause) in inflicted.iter().zip(pauses) {
            let ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            by_fault.entry(one.fault).or_default().push(ms);
        }
        Self {
            seeds: vec![plan.seed],
            seconds,
            shape: plan.shape,
            rate: plan.rate,
            tally: Tally::of(&operations, &verdicts, not_sent),
            faults: by_fault.into_iter().map(|(fault, pauses)| (fault, Pauses::of(pauses))).collect(),
            complaints,
        }
    }

    /// With what another cluster of the same shape went through.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.seeds.extend(other.seeds);
        self.seconds += other.seconds;
        self.tally.add(other.tally);
        for (fault, pauses) in other.faults {
            let mine = self.faults.entry(fault).or_default();
            *mine = Pauses::of([std::mem::take(&mut mine.all_ms), pauses.all_ms].concat());
        }
        self.complaints.extend(other.complaints);
        self
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.tally.checked.violations == 0 && self.complaints.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shape { engines, coordinators, gateways, shards, snapshot_every } = self.shape;
        writeln!(
            f,
            "{engines} engines, {coordinators} coordinators, {gateways} gateways, {shards} shards, a snapshot every \
             {snapshot_every} entries; {} requests/s for {:.0} s in {} clusters; seeds {:?}",
            self.rate,
            self.seconds,
            self.seeds.len(),
            self.seeds
        )?;
        let Tally { acknowledged, refused, unknown, not_sent, retries, checked, violations } = &self.tally;
        let refusals: usize = refused.values().sum();
        writeln!(
            f,
            "{acknowledged} acknowledged, {unknown} unknown, {refusals} refused, {not_sent} not sent, {retries} retries"
        )?;
        writeln!(f, "\n| fault | count | p50 ms | p99 ms | max ms |\n|---|---:|---:|---:|---:|")?;
        for (fault, Pauses { count, p50_ms, p99_ms, max_ms, .. }) in &self.faults {
            writeln!(f, "| {fault:?} | {count} | {p50_ms} | {p99_ms} | {max_ms} |")?;
        }
        let Checked { entries, commands, epochs, state_hashes, reads, rows, in_doubt, in_doubt_executed, .. } = checked;
        writeln!(
            f,
            "\nchecked: {} acknowledgements, {entries} entries with {commands} commands of {epochs} leaderships, \
             {state_hashes} digests, {reads} reads, {rows} history rows, {in_doubt} in doubt of which {in_doubt_executed} \
             were executed\nviolations: {}",
            checked.acknowledged, checked.violations
        )?;
        for violation in violations {
            writeln!(f, "  {violation}")?;
        }
        for (error, count) in refused {
            writeln!(f, "refused {count} times: {error}")?;
        }
        writeln!(f, "unexpected log lines: {}", self.complaints.len())?;
        for line in self.complaints.iter().take(40) {
            writeln!(f, "  {}: {}", line.process, line.line)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_pauses_that_happened() {
        let of = |ms: std::ops::RangeInclusive<u64>| Pauses::of(ms.collect());
        let found = of(1..=200);
        assert_eq!((found.count, found.p50_ms, found.p99_ms, found.max_ms), (200, 100, 198, 200));
        let found = of(7..=7);
        assert_eq!((found.count, found.p50_ms, found.p99_ms, found.max_ms), (1, 7, 7, 7));
        assert_eq!(Pauses::of(Vec::new()).count, 0);
    }
}
