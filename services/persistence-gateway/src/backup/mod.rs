//! Backups of all shards of a gateway: made while it trades, checked by replaying them, restored into an empty place.
//!
//! A backup is the state of every shard at one moment of the history: the rows of the history as one transaction sees
//! them, the newest snapshot before that moment, and the journal from the snapshot to it. The manifest names every
//! file with its BLAKE3 hash, and the state hash that a replay must come to. It is written last: what has no manifest
//! is no backup.
//!
//! A restored log is another history: it has a new log id, begins after the moment of the backup with a snapshot of the
//! state there, and no engine or gateway of the old log can take it for its own.
//!
//! Deliberately absent: schedules and the removal of old backups (whoever runs the machine has both already), and what
//! other processes keep: leaderships are made anew, and audit logs are evidence that is not set back.

mod check;
mod create;
mod location;
mod manifest;
mod restore;
mod service;

use std::path::PathBuf;

use journal_store::StoreError;
use serde::{Deserialize, Serialize};
use types::ShardId;

pub use check::{Checked, CheckedShard};
pub use location::{Listed, Location};
pub use manifest::{Manifest, ShardPart};
pub use restore::{RestoreOptions, Restored};
pub(crate) use service::Backups;

use crate::history::HistoryError;
use crate::projector::ReplicaError;

/// Where backups are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BackupConfig {
    /// A directory; empty for `backups` in the data directory. It should be on another disk than the journal.
    pub location: Option<PathBuf>,
}

/// Why a backup could not be made, checked or restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The place of the backups.
    #[error("the place of the backups, {place}: {reason}")]
    Place {
        /// Where they are.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such backup.
    #[error("there is no backup {id:?} in {place}; `admin backup list` shows those that are")]
    Unknown {
        /// What was asked for.
        id: String,
        /// Where.
        place: String,
    },
    /// It is not what was once written.
    #[error("backup {id} is damaged: {reason}; use another one")]
    Damaged {
        /// Which one.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Another one is being made.
    #[error("a backup is being made: wait until it is finished")]
    Busy,
    /// The history is too far behind the journal.
    #[error(
        "the history of shard {shard} is at entry {history}, the journal at {journal}, after {waited_s} s: look at the \
         history component in the health of this node"
    )]
    Behind {
        /// Which shard.
        shard: ShardId,
        /// How far the history is.
        history: u64,
        /// How far it should be.
        journal: u64,
        /// How long that was waited for, seconds.
        waited_s: u64,
    },
    /// What was read contradicts itself; nothing was written.
    #[error("shard {shard}: {reason}: run `hive-mind-server verify` on the stopped node")]
    Inconsistent {
        /// Which shard.
        shard: ShardId,
        /// How.
        reason: String,
    },
    /// It cannot be restored there.
    #[error("{0}")]
    Target(String),
    /// The history database.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A restore into a database server failed half way.
    #[error("{0}; the database may hold a part of the backup now: create it anew, then restore again")]
    Unfinished(Box<BackupError>),
    /// The journal.
    #[error("the journal: {0}")]
    Journal(#[from] StoreError),
    /// The journal cannot be replayed.
    #[error(transparent)]
    Replay(#[from] ReplicaError),
    /// Threads, files, the runtime.
    #[error("{0}")]
    System(String),
}

impl BackupError {
    fn damaged(id: &str, reason: impl std::fmt::Display) -> Self {
        Self::Damaged { id: id.to_owned(), reason: reason.to_string() }
    }
}
