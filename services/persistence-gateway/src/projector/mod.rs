//! The projector of a shard: follows the committed journal with an exchange of its own and writes what happened into
//! the history, each entry exactly once; makes the snapshots on the way.
//!
//! It runs on a thread of its own, at the lowest priority, with a runtime of its own: whatever the database does, no
//! acknowledgement waits for it. Rows and cursor move in one transaction that compares the cursor first, so that a
//! crash anywhere, an answer that was lost and a second projector are all the same: the cursor says what is left to do.
//!
//! Deliberately absent: anything the leader could wait for.

mod acts;
mod catch_up;
mod health;
mod ledger;
mod replica;
mod snapshots;
mod standstill;
mod thread;

pub use health::HistoryHealth;
pub use ledger::LedgerError;
pub use replica::ReplicaError;
pub use standstill::Standstill;
pub use thread::{Projector, ProjectorOptions, spawn};

pub(crate) use ledger::Ledger;
pub(crate) use replica::Replica;

use journal_store::StoreError;
use types::Seq;

use crate::history::HistoryError;

/// Why projecting stands still.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectError {
    /// The history database.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The journal cannot be read.
    #[error("the journal cannot be read: {0}")]
    Journal(#[from] StoreError),
    /// The journal cannot be followed.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
    /// The entries between history and journal are gone.
    #[error(
        "the history ends at entry {history}, the journal begins after entry {journal}: restore a newer copy of the \
         history database"
    )]
    Gap {
        /// Last projected entry.
        history: Seq,
        /// First position the journal can be followed from.
        journal: Seq,
    },
    /// History and journal differ.
    #[error("the history is not a prefix of the journal: chain hashes differ at entry {0}; stop and compare them")]
    Diverged(Seq),
    /// The blocking part of a read ended badly.
    #[error("{0}")]
    Defect(String),
}

impl ProjectError {
    /// Whether trying again can help.
    fn passes(&self) -> bool {
        match self {
            Self::History(error) => matches!(error, HistoryError::Unavailable(_) | HistoryError::Refused(_)),
            Self::Journal(error) => !matches!(error, StoreError::Corrupt { .. }),
            Self::Replica(_) | Self::Gap { .. } | Self::Diverged(_) | Self::Defect(_) => false,
        }
    }
}
