//! The projector's own exchange: the committed log applied entry by entry, as engines do it, with rows for the
//! history as a by-product.
//!
//! Deliberately absent: where entries come from and where rows go; the verifier uses the same replica.

use bytes::Bytes;
use journal_core::codec::{CodecError, batch, snapshot, state_hash};
use journal_core::{ChainHash, Entry, EntryKind, Tail};
use matching::{Exchange, RestoreError};
use types::{Event, Fill, LogId, Place, Seq, ShardId, StateHash, Timestamp};

use super::ledger::{Ledger, LedgerError};
use crate::history::{RowBatch, Stamp};

/// Why a log cannot be followed. None of these goes away by itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplicaError {
    /// The entry does not continue what was applied.
    #[error("entry {found} does not continue entry {applied}: the journal was changed or read out of order")]
    Chain {
        /// Last applied entry.
        applied: Seq,
        /// The entry after it.
        found: Seq,
    },
    /// A batch cannot be read.
    #[error("the batch of entry {seq} cannot be read: {error}; check the version of this program")]
    Batch {
        /// Which entry.
        seq: Seq,
        /// Why not.
        error: CodecError,
    },
    /// A snapshot cannot be read.
    #[error("the snapshot at entry {seq} cannot be read: {error}")]
    Snapshot {
        /// Which one.
        seq: Seq,
        /// Why not.
        error: CodecError,
    },
    /// A snapshot contradicts itself.
    #[error("the snapshot at entry {seq} cannot be restored: {error}")]
    Restore {
        /// Which one.
        seq: Seq,
        /// Why not.
        error: RestoreError,
    },
    /// The state is not the one its leader had.
    #[error(
        "state hash {found} before entry {seq}, the journal says {expected}: replicas differ, stop and compare them"
    )]
    StateHash {
        /// Entry that carries the hash.
        seq: Seq,
        /// Hash it carries.
        expected: StateHash,
        /// Hash of the state here.
        found: StateHash,
    },
    /// From here on another version of the matching logic is needed.
    #[error("entry {0} switches to a version of the matching logic that this program does not have: upgrade it")]
    LogicVersion(Seq),
    /// Events and what was recorded before disagree.
    #[error("entry {seq}: {error}")]
    Ledger {
        /// Which entry.
        seq: Seq,
        /// How they disagree.
        error: LedgerError,
    },
}

/// An exchange at one place of a log.
#[derive(Debug)]
pub(crate) struct Replica {
    exchange: Exchange,
    ledger: Ledger,
    tail: Tail,
    events: Vec<Event>,
    fills: Vec<Fill>,
}

impl Replica {
    /// The exchange before the first entry.
    pub(crate) fn empty(shard: ShardId) -> Self {
        Self {
            exchange: Exchange::new(shard).scattered(rand::random()),
            ledger: Ledger::default(),
            tail: Tail::default(),
            events: Vec::new(),
            fills: Vec::new(),
        }
    }

    /// The exchange after entry `at`, as `bytes` describe it.
    ///
    /// # Errors
    /// [`ReplicaError::Snapshot`] or [`ReplicaError::Restore`].
    pub(crate) fn restore(at: Tail, bytes: &[u8]) -> Result<Self, ReplicaError> {
        let seq = at.seq;
        let snapshot = snapshot::decode(bytes).map_err(|error| ReplicaError::Snapshot { seq, error })?;
        let exchange = Exchange::restore(&snapshot).map_err(|error| ReplicaError::Restore { seq, error })?;
        let exchange = exchange.scattered(rand::random());
        let ledger = Ledger::restore(&snapshot);
        Ok(Self { exchange, ledger, tail: at, events: Vec::new(), fills: Vec::new() })
    }

    /// The state, encoded. It is that after entry [`Self::tail`].
    pub(crate) fn encode(&self) -> Bytes {
        Bytes::from(snapshot::encode(&self.exchange.snapshot()))
    }

    /// Last applied entry.
    pub(crate) fn tail(&self) -> Tail {
        self.tail
    }

    /// Digest of the state.
    pub(crate) fn state_hash(&self) -> StateHash {
        self.exchange.state_hash()
    }

    /// Log time of the last command.
    pub(crate) fn now(&self) -> Timestamp {
        self.exchange.now()
    }

    /// About how much memory it takes, bytes: by the number of orders and outcomes and what one of each is known to
    /// take, books, indexes and this replica's ledger included.
    pub(crate) fn memory(&self) -> u64 {
        const ORDER: u64 = 400;
        const OUTCOME: u64 = 250;
        self.exchange.open_orders() as u64 * ORDER + self.exchange.idempotency_entries() as u64 * OUTCOME
    }

    /// What is open and defined, as rows know it.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Applies the next entry and adds its rows.
    ///
    /// # Errors
    /// When it is not the next entry or cannot be applied. The replica must not be used any more then.
    pub(crate) fn apply(&mut self, entry: &Entry, rows: &mut RowBatch) -> Result<(), ReplicaError> {
        let (seq, applied) = (entry.seq, self.tail);
        if seq != applied.seq.next() || entry.prev_chain != applied.chain {
            return Err(ReplicaError::Chain { applied: applied.seq, found: seq });
        }
        match entry.kind {
            EntryKind::Batch => self.batch(entry, rows)?,
            EntryKind::StateHash => {
                let expected =
                    state_hash::decode(&entry.payload).map_err(|error| ReplicaError::Batch { seq, error })?;
                let found = self.exchange.state_hash();
                if found != expected {
                    return Err(ReplicaError::StateHash { seq, expected, found });
                }
            }
            EntryKind::LogicVersion => return Err(ReplicaError::LogicVersion(seq)),
            EntryKind::EpochStart | EntryKind::SnapshotMark | EntryKind::BackupMark => {}
        }
        self.tail = entry.tail();
        Ok(())
    }

    fn batch(&mut self, entry: &Entry, rows: &mut RowBatch) -> Result<(), ReplicaError> {
        let seq = entry.seq;
        let commands = batch::BatchView::parse(&entry.payload).map_err(|error| ReplicaError::Batch { seq, error })?;
        let shard = self.exchange.shard();
        for (index, command) in (0..).zip(commands.iter()) {
            let place = Place { log_id: entry.log_id, epoch: entry.epoch.number, seq, index };
            self.events.clear();
            self.fills.clear();
            let outcome = self.exchange.apply(place, entry.timestamp, &command, &mut self.events, &mut self.fills);
            let stamp = Stamp { shard, place, at: entry.timestamp };
            self.ledger
                .record(stamp, &command, &outcome, &self.events, rows)
                .map_err(|error| ReplicaError::Ledger { seq, error })?;
        }
        Ok(())
    }
}

/// The cursor of a history that follows the replica.
pub(crate) fn cursor(log_id: LogId, tail: &Tail) -> crate::history::Cursor {
    let chain = if tail.seq == Seq(0) { ChainHash::ZERO } else { tail.chain };
    crate::history::Cursor { log_id, seq: tail.seq, chain }
}
