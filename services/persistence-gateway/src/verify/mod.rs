//! Offline check of a stopped node: the journal is read (every hash), replayed by the exchange, and every row of the
//! history is compared with what the replay gives. History = journal up to the cursor, each row once.
//!
//! Deliberately absent: repairs. Opening the journal does what a start does: a torn last unit, which was never
//! acknowledged, is cut.

mod expected;
mod report;
mod shard;

use std::path::PathBuf;
use std::sync::Arc;

use journal_store::StoreError;
use service_kit::ServiceError;
use types::ShardId;

pub use report::{ShardReport, VerifyReport};

use crate::config::{Config, ConfigProblem, HistoryDatabase, JournalBackend};
use crate::history::{HistoryError, HistoryReader, sqlite_path};
use crate::pools::PoolGauge;
use crate::projector::ReplicaError;
use crate::{EXIT_JOURNAL_DAMAGED, EXIT_JOURNAL_FAILED};

/// What to verify.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// The gateway's settings.
    pub config: Config,
    /// The node's data directory. No process may be using it.
    pub data_dir: PathBuf,
}

/// Why nothing could be compared, or not to the end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// A setting cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigProblem),
    /// There is no journal where it should be.
    #[error("there is no journal in {0}: name the data directory of a node")]
    NoJournal(PathBuf),
    /// There is no history where it should be.
    #[error("there is no history in {0}: start the node, which projects it again from the journal, then verify")]
    NoHistory(PathBuf),
    /// The journal cannot be read, or is damaged.
    #[error("shard {shard}: {source}")]
    Journal {
        /// Which shard.
        shard: ShardId,
        /// Why not.
        source: StoreError,
    },
    /// The journal cannot be replayed.
    #[error("shard {shard}: {source}")]
    Replay {
        /// Which shard.
        shard: ShardId,
        /// Why not.
        source: ReplicaError,
    },
    /// The history database cannot be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The system gives no thread or runtime.
    #[error("cannot run: {0}")]
    System(String),
}

impl VerifyError {
    /// Exit code for a process that stops because of it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Journal { source: StoreError::Corrupt { .. }, .. } | Self::Replay { .. } => EXIT_JOURNAL_DAMAGED,
            Self::Journal { .. } => EXIT_JOURNAL_FAILED,
            _ => ServiceError::EXIT_FAILURE,
        }
    }
}

/// Verifies all shards of a stopped node. Blocks, for about as long as the journal took to be applied; may be called
/// from anywhere.
///
/// # Errors
/// When something cannot be read at all. Differences are in the report.
pub fn verify(options: VerifyOptions) -> Result<VerifyReport, VerifyError> {
    // A thread of its own: the caller may be inside a runtime.
    std::thread::Builder::new()
        .name("verify".to_owned())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| VerifyError::System(error.to_string()))?;
            runtime.block_on(verify_all(options))
        })
        .map_err(|error| VerifyError::System(error.to_string()))?
        .join()
        .map_err(|_| VerifyError::System("the verifying thread panicked".to_owned()))?
}

async fn verify_all(options: VerifyOptions) -> Result<VerifyReport, VerifyError> {
    let VerifyOptions { config, data_dir } = options;
    config.check()?;
    let database = match config.history.database {
        HistoryDatabase::Sqlite => "sqlite",
        HistoryDatabase::Postgres => "postgres",
    };
    let gauge = Arc::new(PoolGauge::new("verify", database, 1));
    let reader = HistoryReader::new(&config, &data_dir, 1, gauge)?;
    let mut shards = Vec::new();
    for shard in config.shards.iter().copied().map(ShardId) {
        let directory = crate::service::journal_directory(&config, &data_dir, shard);
        if config.journal.backend == JournalBackend::File && !directory.is_dir() {
            return Err(VerifyError::NoJournal(directory));
        }
        let (settings, below) = (config.clone(), data_dir.clone());
        let opened = move || crate::service::open_storage(&settings, &below, shard, None);
        let (storage, recovered) =
            crate::blocking::storage(opened).await.map_err(|source| VerifyError::Journal { shard, source })?;
        // Looked at after the journal: what matters more is said first.
        let history = sqlite_path(&config, &data_dir);
        if config.history.database == HistoryDatabase::Sqlite && !history.exists() {
            return Err(VerifyError::NoHistory(history));
        }
        shards.push(shard::verify(shard, &*storage, &recovered, &reader).await?);
    }
    Ok(VerifyReport { ok: shards.iter().all(|shard| shard.differences == 0), shards })
}
