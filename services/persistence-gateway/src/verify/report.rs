//! What a verification found, for people and as JSON. Absent: how it was found.

use serde::Serialize;

/// Differences that are told in full. The count goes on.
const TOLD: usize = 20;

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Whether history and journal agree in all shards.
    pub ok: bool,
    /// Each shard.
    pub shards: Vec<ShardReport>,
}

/// What was found about one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ShardReport {
    /// Number of the shard.
    pub shard: u32,
    /// Its history, 32 hexadecimal digits.
    pub log_id: String,
    /// Last entry the journal no longer holds; 0 if it holds all.
    pub journal_base: u64,
    /// Last entry of the journal.
    pub journal_end: u64,
    /// Entry whose snapshot the replay began with; 0 for the beginning. What the history holds from before is not
    /// compared, since the journal no longer says what it should be.
    pub replayed_from: u64,
    /// Entries replayed.
    pub entries_replayed: u64,
    /// Last entry the history contains. The rest of the journal is projected at the next start.
    pub projected: u64,
    /// Orders that agree.
    pub orders: u64,
    /// Executions that agree.
    pub executions: u64,
    /// Trades that agree.
    pub trades: u64,
    /// Instruments that agree.
    pub instruments: u64,
    /// State hash after the last entry of the history, 32 hexadecimal digits; empty if the history ends before the
    /// replay begins.
    pub state_hash_projected: String,
    /// State hash after the last entry of the journal, 32 hexadecimal digits.
    pub state_hash: String,
    /// Number of differences.
    pub differences: u64,
    /// The first differences, in words.
    pub first_differences: Vec<String>,
}

impl ShardReport {
    /// Notes a difference.
    pub(super) fn differs(&mut self, what: String) {
        self.differences += 1;
        if self.first_differences.len() < TOLD {
            self.first_differences.push(what);
        }
    }

    /// Runs `compare` and returns how many of `rows` rows agree.
    pub(super) fn agreeing(&mut self, rows: usize, compare: impl FnOnce(&mut Self)) -> u64 {
        let before = self.differences;
        compare(self);
        (rows as u64).saturating_sub(self.differences - before)
    }
}
