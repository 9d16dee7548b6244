//! What became of the requests of a run, counted, and what the checker made of it: the part that all reports share.

use std::collections::BTreeMap;

use serde::Serialize;
use sim::checker::Verdict;
use sim::history::{Call, Operation, Outcome};

/// See the module.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tally {
    /// Requests that were answered, those included that were sent once more.
    pub acknowledged: usize,
    /// Refused for good, by error.
    pub refused: BTreeMap<String, usize>,
    /// Nobody said what became of them.
    pub unknown: usize,
    /// Due and not sent, since too many were under way.
    pub not_sent: u64,
    /// Attempts beyond the first: a client that was answered by one of them saw no failure but a wait.
    pub retries: u64,
    /// What the checker counted, over all shards.
    pub checked: Checked,
    /// What the checker found: lost, doubled or changed orders among it.
    pub violations: Vec<String>,
}

/// See [`Tally::checked`].
#[derive(Clone, Debug, Default, Serialize)]
pub struct Checked {
    /// Acknowledgements compared.
    pub acknowledged: usize,
    /// Requests in doubt for good, and how many of them had been executed.
    pub in_doubt: usize,
    /// See `in_doubt`.
    pub in_doubt_executed: usize,
    /// Reads compared.
    pub reads: usize,
    /// Entries replayed.
    pub entries: usize,
    /// Commands replayed.
    pub commands: usize,
    /// Leaderships.
    pub epochs: usize,
    /// Digests in the logs compared.
    pub state_hashes: usize,
    /// History rows compared.
    pub rows: usize,
    /// Violations by rule.
    pub violations: usize,
}

impl Tally {
    pub(crate) fn of(operations: &[Operation], verdicts: &[Verdict], not_sent: u64) -> Self {
        let mut tally = Self { not_sent, ..Self::default() };
        for operation in operations {
            let Call::Request { outcome, .. } = &operation.call else { continue };
            tally.retries += u64::from(operation.attempts.saturating_sub(1));
            match outcome {
                Outcome::Acknowledged(_) => tally.acknowledged += 1,
                Outcome::Refused { error } => *tally.refused.entry(error.clone()).or_default() += 1,
                Outcome::Unknown { .. } => tally.unknown += 1,
            }
        }
        for verdict in verdicts {
            tally.checked.add(&Checked::of(verdict));
            tally.violations.extend(verdict.violations.iter().map(ToString::to_string));
        }
        tally
    }

    /// Adds what another cluster went through.
    pub(crate) fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        for (error, count) in other.refused {
            *self.refused.entry(error).or_default() += count;
        }
        self.unknown += other.unknown;
        self.not_sent += other.not_sent;
        self.retries += other.retries;
        self.checked.add(&other.checked);
        self.violations.extend(other.violations);
    }

    /// Requests that were not answered: refused for good, without an answer, or never sent.
    #[must_use]
    pub fn failed(&self) -> usize {
        let not_sent = usize::try_from(self.not_sent).unwrap_or(usize::MAX);
        self.refused.values().sum::<usize>() + self.unknown + not_sent
    }
}

impl Checked {
    fn of(verdict: &Verdict) -> Self {
        Self {
            acknowledged: verdict.acknowledged,
            in_doubt: verdict.in_doubt,
            in_doubt_executed: verdict.in_doubt_executed,
            reads: verdict.reads,
            entries: verdict.entries,
            commands: verdict.commands,
            epochs: verdict.epochs,
            state_hashes: verdict.state_hashes,
            rows: verdict.rows,
            violations: verdict.counts.iter().map(|(_, count)| count).sum(),
        }
    }

    fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.in_doubt += other.in_doubt;
        self.in_doubt_executed += other.in_doubt_executed;
        self.reads += other.reads;
        self.entries += other.entries;
        self.commands += other.commands;
        self.epochs += other.epochs;
        self.state_hashes += other.state_hashes;
        self.rows += other.rows;
        self.violations += other.violations;
    }
}
