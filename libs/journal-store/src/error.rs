//! What a storage can refuse or fail, each with what to do about it.

use std::io;
use std::path::PathBuf;

use journal_core::Tail;
use types::{Epoch, Seq};

/// Why a storage call did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A newer leadership is promised; nothing was written.
    #[error("epoch refused: epoch {} of {} is promised; step down", promised.number, promised.owner)]
    Fenced {
        /// The promise that stands.
        promised: Epoch,
    },
    /// The log does not end where the caller believes; nothing was written.
    #[error("the log ends at seq {} in epoch {}, not where the write continues; recover and try again", found.seq, found.epoch.number)]
    Mismatch {
        /// Where the log ends.
        found: Tail,
    },
    /// The request contradicts itself or the storage; nothing was written. A defect of the caller.
    #[error("request refused: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
    /// The entries asked for were dropped below a snapshot.
    #[error("entries up to seq {base} are trimmed; load the newest snapshot instead")]
    Trimmed {
        /// Last seq no longer held.
        base: Seq,
    },
    /// Something that was durable is damaged. Nothing was cut or changed.
    #[error(
        "journal is corrupt in {segment} at offset {offset}, seq {seq}: {reason}; nothing was cut: restore this file from a copy or rebuild the replica"
    )]
    Corrupt {
        /// File, or table.
        segment: String,
        /// Byte offset in the file; 0 in a table.
        offset: u64,
        /// First entry that cannot be trusted; the next expected one where its record cannot be read.
        seq: Seq,
        /// What was found.
        reason: String,
    },
    /// Another process uses the data directory.
    #[error("{} is in use by process {}; stop it first", path.display(), pid.map_or_else(|| "(unknown)".to_owned(), |pid| pid.to_string()))]
    Locked {
        /// The directory.
        path: PathBuf,
        /// Process that holds it, as far as it is known.
        pid: Option<u32>,
    },
    /// No room for a further segment or snapshot; nothing was written.
    #[error("no space for {path}; free some: the write can be repeated")]
    Full {
        /// File that could not be made.
        path: String,
    },
    /// The operating system failed a file operation.
    #[error("{operation} of {path} failed: {source}; check the disk, then restart")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: String,
        /// The answer.
        source: io::Error,
    },
    /// The database failed or could not be reached; whether the change was made is unknown until recovery.
    #[error("database: {operation} failed: {reason}; check the server, then recover")]
    Database {
        /// What was tried.
        operation: &'static str,
        /// The answer.
        reason: String,
    },
    /// An earlier failure left the durable state unknown, or nothing was recovered yet.
    #[error("journal storage is out of service: {cause}; open it anew and recover")]
    OutOfService {
        /// The first failure.
        cause: String,
    },
}

impl StoreError {
    pub(crate) fn io(operation: &'static str, path: impl Into<String>, source: io::Error) -> Self {
        Self::Io { operation, path: path.into(), source }
    }

    pub(crate) fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid { reason: reason.into() }
    }

    /// Whether the call certainly changed nothing and the storage goes on.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Fenced { .. }
                | Self::Mismatch { .. }
                | Self::Invalid { .. }
                | Self::Trimmed { .. }
                | Self::Full { .. }
                | Self::Locked { .. }
        )
    }
}
