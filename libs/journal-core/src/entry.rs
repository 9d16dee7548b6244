//! One entry of a log.

use bytes::Bytes;
use types::{Epoch, LogId, Seq, Timestamp};

use crate::{ChainHash, Tail};

/// Most bytes of payload an entry may carry: small enough that one entry fits a message with room to spare and that
/// a write unit stays a few milliseconds of disk time, large enough for thousands of commands.
pub const MAX_PAYLOAD_BYTES: usize = 1 << 20;

/// What an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// First entry of an epoch; empty payload.
    EpochStart = 1,
    /// A batch of commands, see [`crate::codec::batch`].
    Batch = 2,
    /// Digest of the state before this entry, see [`crate::codec::state_hash`].
    StateHash = 3,
    /// Commands from here on are applied by another version of the matching logic.
    LogicVersion = 4,
    /// A snapshot is stored.
    SnapshotMark = 5,
    /// A backup ends here.
    BackupMark = 6,
}

/// One position of a log and what stands there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// History it belongs to.
    pub log_id: LogId,
    /// Epoch it was first written under. Stays as it is when a later leader copies the entry.
    pub epoch: Epoch,
    /// Position, from 1.
    pub seq: Seq,
    /// What it is for.
    pub kind: EntryKind,
    /// Log time, strictly increasing along the log.
    pub timestamp: Timestamp,
    /// Hash of the entry before; [`ChainHash::ZERO`] before the first.
    pub prev_chain: ChainHash,
    /// Hash of this entry and all before it.
    pub chain: ChainHash,
    /// Content, at most [`MAX_PAYLOAD_BYTES`].
    pub payload: Bytes,
}

impl EntryKind {
    /// The number it is stored as.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The kind stored as `code`, if there is one.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::EpochStart,
            2 => Self::Batch,
            3 => Self::StateHash,
            4 => Self::LogicVersion,
            5 => Self::SnapshotMark,
            6 => Self::BackupMark,
            _ => return None,
        })
    }
}

impl Entry {
    /// Makes an entry and its hash.
    #[must_use]
    pub fn seal(
        log_id: LogId,
        epoch: Epoch,
        seq: Seq,
        kind: EntryKind,
        timestamp: Timestamp,
        prev_chain: ChainHash,
        payload: Bytes,
    ) -> Self {
        let chain = ChainHash::of(prev_chain, log_id, epoch, seq, kind, timestamp, &payload);
        Self { log_id, epoch, seq, kind, timestamp, prev_chain, chain, payload }
    }

    /// Whether its hash is that of its content.
    #[must_use]
    pub fn verify(&self) -> bool {
        self.chain
            == ChainHash::of(
                self.prev_chain,
                self.log_id,
                self.epoch,
                self.seq,
                self.kind,
                self.timestamp,
                &self.payload,
            )
    }

    /// The end of a log that ends with this entry.
    #[must_use]
    pub const fn tail(&self) -> Tail {
        Tail { epoch: self.epoch, seq: self.seq, chain: self.chain }
    }
}

#[cfg(test)]
mod tests {
    use types::Incarnation;

    use super::*;

    #[test]
    fn every_field_is_under_the_hash() {
        let epoch = Epoch { number: 3, owner: Incarnation(9) };
        let good = Entry::seal(
            LogId(7),
            epoch,
            Seq(5),
            EntryKind::Batch,
            Timestamp(11),
            ChainHash([1; 16]),
            Bytes::from_static(b"payload"),
        );
        assert!(good.verify());
        let changed = [
            Entry { log_id: LogId(8), ..good.clone() },
            Entry { epoch: Epoch { number: 4, ..epoch }, ..good.clone() },
            Entry { epoch: Epoch { owner: Incarnation(8), ..epoch }, ..good.clone() },
            Entry { seq: Seq(6), ..good.clone() },
            Entry { kind: EntryKind::StateHash, ..good.clone() },
            Entry { timestamp: Timestamp(12), ..good.clone() },
            Entry { prev_chain: ChainHash([2; 16]), ..good.clone() },
            Entry { payload: Bytes::from_static(b"payloae"), ..good },
        ];
        for entry in changed {
            assert!(!entry.verify(), "{entry:?}");
        }
    }

    #[test]
    fn kinds_keep_their_codes() {
        for code in 0..=u8::MAX {
            assert!(EntryKind::from_code(code).is_none_or(|kind| kind.code() == code));
        }
        assert_eq!((0..=u8::MAX).filter_map(EntryKind::from_code).count(), 6);
    }
}
