//! Durable homes of a shard's journal: one trait and three implementations, segment files, PostgreSQL and memory.
//!
//! A storage keeps what a voter must not forget: its control record (promise, voters, base), the entries, and the
//! snapshots below them. `write` and `persist_control` return only when the data is durable; whatever they refuse or
//! fail is not acknowledged by anybody above.
//!
//! Deliberately absent: the protocol (that is `journal-core`'s acceptor, which decides what to write), knowledge of
//! what is committed, async code in the interface (a dedicated thread per shard calls it), and retries of a failed
//! sync: after one the page cache may lie, so the storage refuses everything until it is opened anew.

mod admission;
#[cfg(feature = "test-util")]
pub mod conformance;
mod digest;
mod error;
pub mod file;
pub mod memory;
pub mod postgres;
mod replay;
#[cfg(feature = "test-util")]
pub mod testing;

use std::sync::Arc;

use bytes::Bytes;
use journal_core::{Control, Entry, Recovered, Tail, Unit};
use types::{Epoch, Seq};

pub use error::StoreError;

/// One shard's durable state, used by one thread.
///
/// Call [`Storage::recover`] first. After an error other than [`StoreError::Fenced`], [`StoreError::Mismatch`],
/// [`StoreError::Invalid`] or [`StoreError::Full`] the outcome of the call is unknown and nothing may be
/// acknowledged; a file storage then refuses everything until it is opened anew, a database storage until the next
/// `recover` or `refresh`.
pub trait Storage: Send {
    /// Reads and checks everything, at start.
    ///
    /// A torn last unit (never acknowledged) is cut. The promise returned is the effective one: the persisted one or
    /// the epoch of the last entry, whichever is higher. The first recovery of an empty storage draws its identities.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if something durable is damaged; nothing is changed then.
    fn recover(&mut self) -> Result<Recovered, StoreError>;

    /// Whether other processes may write to the same storage. If so, `write` refuses with [`StoreError::Mismatch`] when
    /// the log is not the one read last, `persist_control` when it would undo a newer configuration; a fence is granted
    /// by what [`Self::refresh`] brings after its promise was persisted; and what is acknowledged without a write is
    /// [confirmed](Self::confirm) first.
    fn is_shared(&self) -> bool;

    /// Whether what is acknowledged now survives only as long as this machine, until the storage proper is back.
    fn is_volatile(&self) -> bool {
        false
    }

    /// Whether volatile entries were set aside since this was asked last, because another leadership had begun in the
    /// storage proper: what [`Self::refresh`] brought then lacks them.
    fn has_superseded(&mut self) -> bool {
        false
    }

    /// Reads what others may have written since. Follows a [`Self::recover`], and resolves a failure as that does.
    ///
    /// # Errors
    /// As for [`Self::recover`].
    fn refresh(&mut self) -> Result<Recovered, StoreError> {
        self.recover()
    }

    /// Makes sure that `epoch` is the promise still, also if others may have made a newer one.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if it is not.
    fn confirm(&mut self, epoch: Epoch) -> Result<(), StoreError>;

    /// Replaces the control record; durable when it returns. A base older than the one already kept is raised to it.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if the promise would go down or change its owner, [`StoreError::Invalid`] if the disk's
    /// identity would change, or the history while there are entries.
    fn persist_control(&mut self, control: &Control) -> Result<(), StoreError>;

    /// Writes a unit, all of it or nothing; durable when it returns, together with the promise of its epoch.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] for an epoch below the promise, [`StoreError::Mismatch`] if the unit does not continue
    /// the log, [`StoreError::Full`] if there is no room: in all three nothing was written.
    fn write(&mut self, unit: &Unit) -> Result<(), StoreError>;

    /// Called when nothing more is waiting to be written: time for work that would have delayed it. Not calling it
    /// loses nothing; it makes damage to the last unit told from a write cut short.
    ///
    /// # Errors
    /// As for writes.
    fn settle(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Forgets entries up to and including `base`, which must be an entry of the log. Some may stay readable.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if `base` is not on this log; otherwise as for writes.
    fn trim(&mut self, base: &Tail) -> Result<(), StoreError>;

    /// Its sessions on a database server; none where there is no server.
    fn sessions(&self) -> Option<postgres::Sessions> {
        None
    }

    /// Replaces its sessions on a database server. Nothing is lost when that fails: the next call connects anew.
    ///
    /// # Errors
    /// [`StoreError::Database`] if the server takes no new session.
    fn renew(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Lets an empty log begin after `base`; the state there is among the snapshots already. [`Self::recover`] follows.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if the log is not empty; otherwise as for writes.
    fn begin_after(&mut self, base: &Tail) -> Result<(), StoreError>;

    /// A reader of the durable entries, for other threads.
    fn log(&self) -> Arc<dyn LogReader>;

    /// The snapshots, for other threads.
    fn snapshots(&self) -> Arc<dyn SnapshotStore>;
}

/// Reads durable entries. Calls block, and never hold up the writer for longer than a short copy.
pub trait LogReader: Send + Sync {
    /// Entries `from..=to` in order, checked hash by hash; shorter if the log ends before, or when the payloads
    /// exceed `max_bytes` (then at least one entry).
    ///
    /// # Errors
    /// [`StoreError::Trimmed`] if `from` is no longer held, [`StoreError::Corrupt`] if an entry does not verify.
    fn read(&self, from: Seq, to: Seq, max_bytes: usize) -> Result<Vec<Entry>, StoreError>;
}

/// Keeps the two newest snapshots.
pub trait SnapshotStore: Send + Sync {
    /// Stores the state after entry `at`; durable when it returns. Older ones beyond the second are dropped.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::Io`] or [`StoreError::Database`]; the snapshots kept before are intact.
    fn put(&self, at: &Tail, bytes: &[u8]) -> Result<(), StoreError>;

    /// The newest snapshot that verifies, if any.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if there are snapshots and none verifies.
    fn latest(&self) -> Result<Option<(Tail, Bytes)>, StoreError>;
}
