//! What was seen of each act, as JSON for machines and as text for people.

use std::fmt;

use serde::Serialize;

use super::stage::Aftermath;
use super::{Act, Performed, Plan};
use crate::load::{Measured, percentile};
use crate::tally::{Checked, Tally};

/// See the module.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Requests a second that were due.
    pub rate: u32,
    /// Of the content of the load.
    pub seed: u64,
    /// How long the load went on, seconds.
    pub seconds: f64,
    /// How the database kept what it was told.
    pub database: &'static str,
    /// What became of the requests, and what the checker made of it.
    #[serde(flatten)]
    pub tally: Tally,
    /// In the order in which they were performed.
    pub acts: Vec<Seen>,
}

/// What clients saw of an act.
#[derive(Clone, Debug, Serialize)]
pub struct Seen {
    /// Which.
    pub act: Act,
    /// Until it was done, seconds.
    pub seconds: f64,
    /// In the calm before it.
    pub before: Latency,
    /// From its beginning until it was done, and a second at least.
    pub during: Latency,
    /// In the calm after it.
    pub after: Latency,
}

/// From when requests were due until they were answered, over all attempts; by when they were due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// How many were answered.
    pub answered: usize,
    /// How many never were, or were refused.
    pub failed: usize,
    /// Half of the answered were not slower, microseconds.
    pub p50_us: u64,
    /// 99 of 100 were not slower.
    pub p99_us: u64,
    /// The slowest.
    pub max_us: u64,
}

impl Latency {
    /// Of the requests that were due from `from` on and before `to`.
    fn of(measured: &[Measured], from: u64, to: u64) -> Self {
        let within = measured.iter().filter(|one| (from..to).contains(&one.due));
        let (answered, failed): (Vec<&Measured>, Vec<&Measured>) = within.partition(|one| one.took_ns.is_some());
        let mut us: Vec<u64> = answered.iter().filter_map(|one| one.took_ns).map(|ns| ns.div_ceil(1_000)).collect();
        us.sort_unstable();
        let [p50_us, p99_us, max_us] = [50, 99, 100].map(|hundredths| percentile(&us, hundredths));
        Self { answered: us.len(), failed: failed.len(), p50_us, p99_us, max_us }
    }
}

impl Report {
    pub(super) fn new(plan: &Plan, seconds: f64, performed: &[Performed], aftermath: Aftermath) -> Self {
        let Aftermath { operations, measured, verdicts, not_sent } = aftermath;
        let seen = |one: &Performed| {
            let [before, from, to, end] = one.stamps;
            let of = |from, to| Latency::of(&measured, from, to);
            let seconds = one.took.as_secs_f64();
            Seen { act: one.act, seconds, before: of(before, from), during: of(from, to), after: of(to, end) }
        };
        Self {
            rate: plan.rate,
            seed: plan.seed,
            seconds,
            database: "PostgreSQL on this machine, fsync off",
            tally: Tally::of(&operations, &verdicts, not_sent),
            acts: performed.iter().map(seen).collect(),
        }
    }

    /// Whether no request failed and the checker found nothing.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.tally.failed() == 0 && self.tally.checked.violations == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} requests/s for {:.0} s, seed {}; journal and history: {}",
            self.rate, self.seconds, self.seed, self.database
        )?;
        writeln!(
            f,
            "{} acknowledged, {} failed, {} attempts beyond the first",
            self.tally.acknowledged,
            self.tally.failed(),
            self.tally.retries
        )?;
        writeln!(f, "\np50 / p99 / max in ms, from when a request was due until it was answered\n")?;
        writeln!(f, "| act | took s | before | during | after | requests during | failed |")?;
        writeln!(f, "|---|---:|---:|---:|---:|---:|---:|")?;
        for Seen { act, seconds, before, during, after } in &self.acts {
            let requests = during.answered + during.failed;
            let failed = during.failed + after.failed;
            writeln!(f, "| {act:?} | {seconds:.1} | {before} | {during} | {after} | {requests} | {failed} |")?;
        }
        let Checked { acknowledged, entries, commands, reads, rows, violations, .. } = self.tally.checked;
        writeln!(
            f,
            "\nchecked: {acknowledged} acknowledgements, {entries} entries with {commands} commands, {reads} reads, {rows} \
             history rows\nviolations: {violations}"
        )?;
        for violation in &self.tally.violations {
            writeln!(f, "  {violation}")?;
        }
        for (error, count) in &self.tally.refused {
            writeln!(f, "refused {count} times: {error}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, max] = [self.p50_us, self.p99_us, self.max_us].map(|us| us as f64 / 1_000.0);
        write!(f, "{p50:.1} / {p99:.1} / {max:.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_counts_where_it_was_due() {
        let answered = |due, ms: u64| Measured { due, took_ns: Some(ms * 1_000_000) };
        let lost = Measured { due: 15, took_ns: None };
        let mut measured = vec![answered(9, 100), lost, answered(20, 200)];
        measured.extend((1..=4).map(|ms| answered(10 + ms, ms)));
        let found = Latency::of(&measured, 10, 20);
        let expected = Latency { answered: 4, failed: 1, p50_us: 2_000, p99_us: 4_000, max_us: 4_000 };
        assert_eq!(found, expected, "neither what was due before nor what was due at the end");
        assert_eq!(Latency::of(&measured, 30, 40), Latency::default());
    }
}
