//! What a voter keeps on its disk, seen from the protocol.

use types::{Epoch, LogId, Seq};

use crate::{ChainHash, Entry, EpochStart, Tail, VoterConfig};

/// The small state beside the log. Replaced as a whole, durably, before anything that depends on it is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Control {
    /// The active history.
    pub log_id: LogId,
    /// Identity of this disk.
    pub disk_id: u128,
    /// Nothing of a lower epoch is accepted or acknowledged any more (I2).
    pub promised: Epoch,
    /// Newest voter configuration heard of.
    pub config: VoterConfig,
    /// Last entry that is no longer held, because a snapshot contains it.
    pub base: Tail,
    /// Set when a write failed or a protocol rule was broken: this disk must not vote.
    pub quarantined: bool,
}

/// Entries that become durable together or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Unit {
    /// Epoch of the leader it is written for. A storage refuses a unit below its promise.
    pub epoch: Epoch,
    /// Forget what stands after this seq before appending.
    pub truncate_to: Option<Seq>,
    /// Consecutive entries.
    pub entries: Vec<Entry>,
}

/// What a storage found when it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The control state. `promised` is at least the epoch of the last entry or truncation found.
    pub control: Control,
    /// End of the log.
    pub tail: Tail,
    /// Epochs of the log, ascending; the first one covers `base` or the first held entry.
    pub epochs: Vec<EpochStart>,
    /// Hashes of the entries `control.base.seq + 1 ..= tail.seq`.
    pub chains: Vec<ChainHash>,
    /// First seq that could not be read back though it may have been acknowledged.
    pub dubious_from: Option<Seq>,
}
