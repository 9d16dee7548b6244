//! Places in a log: its end, and where its epochs begin.

use types::{Epoch, Seq};

use crate::ChainHash;

/// Where a log ends (or where the part that was forgotten ends). The default is the empty log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tail {
    /// Epoch of the last entry; number 0 for an empty log.
    pub epoch: Epoch,
    /// Seq of the last entry; 0 for an empty log.
    pub seq: Seq,
    /// Hash of the last entry; zero for an empty log.
    pub chain: ChainHash,
}

/// Where an epoch begins in a log. A log's epochs ascend in both fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EpochStart {
    /// Epoch number.
    pub epoch: u64,
    /// Seq of its first entry.
    pub seq: Seq,
}

impl Tail {
    /// The order in which a new leader chooses among logs: by the epoch of the last entry, then by length (I6).
    /// Never by length alone, since the longest log may hold what a dead leader never got acknowledged.
    #[must_use]
    pub const fn rank(&self) -> (u64, u64) {
        (self.epoch.number, self.seq.0)
    }
}
