//! Compares what clients were told with the committed log. Every acknowledgement names its place, so nothing has to be
//! searched for: each rule is one pass over the operations or over the log, besides sorting them by time.
//!
//! Deliberately absent: any tolerance. What a rule forbids is a violation, whatever fault was going on.
//!
//! A rule looks only at what the rules before it found in order, so that one defect is reported under one rule: the
//! response of an acknowledgement whose place holds another request is not compared, for instance.

mod answers;
mod log;
mod reads;
mod replay;
mod rows;
#[cfg(test)]
mod tests;

use std::fmt;

use journal_core::Entry;
use types::{LogId, ShardId};

use crate::history::Operation;

pub use rows::{OrderRow, Rows, TradeRow};

/// Violations kept of one rule; the others are only counted.
const KEPT_PER_RULE: usize = 20;

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// 1: the place of an acknowledgement holds that request.
    NoLostAnswer,
    /// 2: a request is executed once at the most, and all its acknowledgements agree.
    Once,
    /// 3: what was answered before another began stands before it.
    RealTimeOrder,
    /// 4: a read shows the state at its position, a fresh one nothing older than what had been answered before it
    /// began and nothing that began after it came back; stale ones never go back.
    Reads,
    /// 5: the slow exchange gives the same response.
    Replay,
    /// 6: states of all engines, and of the slow exchange, are equal at equal positions.
    StateHash,
    /// 7: every copy of the log is whole and the same.
    Copies,
    /// 8: the history rows are those of the log: each once, none missing.
    History,
    /// 9: epochs ascend, each has one owner and begins with its start.
    Epochs,
    /// 10: what nobody answered stands in the log once or not at all, and not later than its time; what was refused
    /// or never sent does not stand there.
    InDoubt,
}

/// One thing that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which rule.
    pub rule: Rule,
    /// What it is about: a request, a read, an entry.
    pub subject: String,
    /// What should be.
    pub expected: String,
    /// What is.
    pub found: String,
}

/// One shard's log, as a gateway gave it.
#[derive(Clone, Debug)]
pub struct Copy {
    /// Which gateway, for people.
    pub gateway: String,
    /// Committed entries, from the first on.
    pub entries: Vec<Entry>,
}

/// Everything known of one shard.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// Which shard.
    pub shard: ShardId,
    /// Its log, from each gateway; the first one is what the others are compared with and what is replayed.
    pub copies: Vec<Copy>,
    /// Operations on it, in any order.
    pub operations: Vec<Operation>,
    /// History, if it was read.
    pub rows: Option<Rows>,
    /// Longest time between a client's giving up and the execution of its request, microseconds: how long a message
    /// may lie in a queue of a stopped process.
    pub in_doubt_window_us: u64,
}

/// What the checker found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The first violations of each rule.
    pub violations: Vec<Violation>,
    /// How many there are of each rule, ascending; rules without any are absent.
    pub counts: Vec<(Rule, usize)>,
    /// Acknowledgements that were compared.
    pub acknowledged: usize,
    /// Requests without an answer.
    pub in_doubt: usize,
    /// Requests without an answer that had been executed.
    pub in_doubt_executed: usize,
    /// Reads that were compared.
    pub reads: usize,
    /// Entries replayed, commands in them, and leaderships they were written under.
    pub entries: usize,
    /// See `entries`.
    pub commands: usize,
    /// See `entries`.
    pub epochs: usize,
    /// Digests in the log that were compared.
    pub state_hashes: usize,
    /// History rows that were compared.
    pub rows: usize,
}

impl Rule {
    /// Its number in the list of rules.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8 + 1
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, subject, expected, found } = self;
        write!(f, "rule {} ({rule:?}): {subject}: expected {expected}, found {found}", rule.number())
    }
}

impl Verdict {
    /// Whether nothing was found.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.counts.is_empty()
    }

    /// Notes a violation.
    fn violation(&mut self, rule: Rule, subject: impl Into<String>, expected: impl Into<String>, found: String) {
        let count = match self.counts.binary_search_by_key(&rule, |(rule, _)| *rule) {
            Ok(at) => {
                self.counts[at].1 += 1;
                self.counts[at].1
            }
            Err(at) => {
                self.counts.insert(at, (rule, 1));
                1
            }
        };
        if count <= KEPT_PER_RULE {
            self.violations.push(Violation { rule, subject: subject.into(), expected: expected.into(), found });
        }
    }
}

/// Applies all rules to one shard.
#[must_use]
pub fn check(evidence: &Evidence) -> Verdict {
    let mut verdict = Verdict::default();
    let Some(copy) = evidence.copies.first() else {
        verdict.violation(Rule::Copies, "the log", "a copy", "none".to_owned());
        return verdict;
    };
    log::copies(&evidence.copies, &mut verdict);
    log::epochs(&copy.entries, &mut verdict);
    let mut reads = reads::Reads::of(&evidence.operations);
    let replayed = replay::replay(evidence.shard, &copy.entries, &mut reads, &mut verdict);
    let mut sound = answers::places(evidence, &replayed, &mut verdict);
    answers::once(evidence, &replayed, &mut sound, &mut verdict);
    answers::real_time(evidence, &sound, &mut verdict);
    answers::responses(evidence, &sound, &replayed, &mut verdict);
    answers::in_doubt(evidence, &replayed, &mut verdict);
    reads.check(evidence, &sound, &replayed, &mut verdict);
    if let Some(rows) = &evidence.rows {
        rows::check(rows, &replayed, &mut verdict);
    }
    verdict
}

/// The history a log belongs to; zero for an empty one.
fn log_id(entries: &[Entry]) -> LogId {
    entries.first().map(|entry| entry.log_id).unwrap_or_default()
}
