//! Puts a backup where a node will start from: into an empty place, or in place of what is there, which is kept.
//!
//! Everything is checked first and built beside the place; then old and new change names, the journal before the
//! history, so that a crash in between leaves what a start refuses (a journal without its history, or the reverse) and
//! never something that looks like an empty system. A database server is never overwritten: it must hold no history,
//! and no journal if it is to hold that.
//!
//! Deliberately absent: stopping the node; whoever calls holds the lock of its data directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use journal_core::Tail;
use journal_store::StoreError;
use journal_store::postgres::{PostgresLookout, Sighting, Timeouts};
use serde::Serialize;
use types::{LogId, Seq, ShardId};

use super::check::{Good, Replayed, check};
use super::location::sync_directory;
use super::service::name_of_now;
use super::{BackupError, Location};
use crate::config::{Config, HistoryDatabase, JournalBackend};
use crate::history::{Cursor, HistoryReader, HistoryWriter, Projected, RowBatch, sqlite_path};
use crate::pools::PoolGauge;
use crate::projector::Replica;
use crate::service::{journal_root, open_storage};

/// What to do about a server that is not empty.
const NAME_ANOTHER: &str =
    "name an empty database in persistence_gateway.database.url, or create this one anew; it stays as it is";
/// Rows written in one transaction.
const ROWS: usize = 10_000;

/// What is restored, and where.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
    /// The gateway's settings.
    pub config: Config,
    /// The node's data directory. Unless this is a dry run, the caller holds its lock.
    pub data_dir: PathBuf,
    /// Where the backups are.
    pub location: Location,
    /// Which one; "latest" for the newest.
    pub id: String,
    /// Only check.
    pub dry_run: bool,
}

/// What was restored, or would be.
#[derive(Clone, Debug, Serialize)]
pub struct Restored {
    /// The backup.
    pub id: String,
    /// When it was made.
    pub created_at: String,
    /// Whether it was only checked.
    pub dry_run: bool,
    /// The shards.
    pub shards: Vec<RestoredShard>,
    /// Rows of history.
    pub rows: u64,
    /// What was there before, under its new name. Whoever is sure may remove it.
    pub kept: Vec<PathBuf>,
}

/// A restored shard.
#[derive(Clone, Debug, Serialize)]
pub struct RestoredShard {
    /// Its number.
    pub shard: u32,
    /// History that was backed up.
    pub old_log_id: String,
    /// The new history; none in a dry run.
    pub log_id: Option<String>,
    /// Entry after which the new log goes on.
    pub seq: u64,
    /// State hash there.
    pub state_hash: String,
}

/// A thing with an old, a new and a final name.
struct Swap {
    target: PathBuf,
    staged: PathBuf,
}

fn failed(what: &str, path: &Path) -> impl FnOnce(std::io::Error) -> BackupError {
    let text = format!("cannot {what} {}", path.display());
    move |error| BackupError::System(format!("{text}: {error}"))
}

impl RestoreOptions {
    /// Restores. Blocks; not for threads of a runtime.
    ///
    /// # Errors
    /// Whatever is wrong with the backup or the place; nothing was changed then, unless the error says so.
    pub fn run(self) -> Result<Restored, BackupError> {
        let good = check(&self.location, &self.id)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| BackupError::System(error.to_string()))?;
        runtime.block_on(self.place(&good))
    }

    async fn place(&self, good: &Good) -> Result<Restored, BackupError> {
        self.same_shards(good)?;
        self.servers_are_empty().await?;
        let manifest = &good.checked.manifest;
        let mut restored = Restored {
            id: manifest.id.clone(),
            created_at: manifest.created_at.clone(),
            dry_run: self.dry_run,
            shards: good.shards.iter().map(told).collect(),
            rows: good.checked.rows,
            kept: Vec::new(),
        };
        if self.dry_run {
            return Ok(restored);
        }
        // What is written beside the place, and takes its name when all is done.
        let (staged, swaps) = self.stage(&manifest.id)?;
        let placed = self.fill(&staged, good, &mut restored).await;
        if placed.is_err() {
            for swap in &swaps {
                remove(&swap.staged);
            }
        }
        placed.map_err(|error| self.unfinished(error))?;
        let (stamp, _) = name_of_now();
        for swap in &swaps {
            swap.exchange(&stamp, &mut restored.kept)?;
        }
        tracing::info!(backup = restored.id, rows = restored.rows, "backup restored");
        Ok(restored)
    }

    fn same_shards(&self, good: &Good) -> Result<(), BackupError> {
        let mut wanted = self.config.shards.clone();
        let mut held: Vec<u32> = good.shards.iter().map(|shard| shard.part.shard).collect();
        wanted.sort_unstable();
        held.sort_unstable();
        if wanted == held {
            return Ok(());
        }
        let text = format!(
            "the backup has shards {held:?}, the configuration {wanted:?}: restore with the same number of shards"
        );
        Err(BackupError::Target(text))
    }

    /// Nothing of a database server is overwritten, also not what an earlier restore left half done there.
    async fn servers_are_empty(&self) -> Result<(), BackupError> {
        if self.config.journal.backend == JournalBackend::Postgres {
            let config = self.config.clone();
            if let Some(found) = crate::blocking::storage(move || begun(&config)).await? {
                return Err(BackupError::Target(format!(
                    "the journal database holds a log of shard {} up to entry {}: {NAME_ANOTHER}",
                    found.shard, found.tail
                )));
            }
        }
        if self.config.history.database == HistoryDatabase::Postgres {
            let gauge = Arc::new(PoolGauge::new("restore", "postgres", 1));
            let reader = HistoryReader::new(&self.config, &self.data_dir, 1, gauge)?;
            // A database without our tables refuses the question, and is as good as one with empty ones.
            let cursors = match reader.cursors().await {
                Ok(cursors) => cursors,
                Err(crate::history::HistoryError::Refused(_)) => Vec::new(),
                Err(error) => return Err(error.into()),
            };
            // A journal in files gets a new log, which no history can have begun to follow.
            let new_log = self.config.journal.backend == JournalBackend::File;
            if let Some((shard, cursor)) = cursors.iter().find(|(_, cursor)| new_log || cursor.seq > Seq(0)) {
                return Err(BackupError::Target(format!(
                    "the history database holds log {} of shard {shard} up to entry {}: {NAME_ANOTHER}",
                    cursor.log_id, cursor.seq
                )));
            }
        }
        Ok(())
    }

    /// What is on this machine's disk was removed again; a server keeps what it was given.
    fn unfinished(&self, error: BackupError) -> BackupError {
        let on_a_server = self.config.journal.backend == JournalBackend::Postgres
            || self.config.history.database == HistoryDatabase::Postgres;
        if on_a_server { BackupError::Unfinished(Box::new(error)) } else { error }
    }

    /// The same configuration with other names for what is on this machine's disk.
    fn stage(&self, id: &str) -> Result<(Config, Vec<Swap>), BackupError> {
        let mut staged = self.config.clone();
        let mut swaps = Vec::new();
        if self.config.journal.backend == JournalBackend::File {
            let swap = Swap::beside(journal_root(&self.config, &self.data_dir), id)?;
            staged.journal.directory = Some(swap.staged.clone());
            swaps.push(swap);
        }
        if self.config.history.database == HistoryDatabase::Sqlite {
            let swap = Swap::beside(sqlite_path(&self.config, &self.data_dir), id)?;
            staged.history.file = Some(swap.staged.clone());
            swaps.push(swap);
        }
        Ok((staged, swaps))
    }

    async fn fill(&self, staged: &Config, good: &Good, restored: &mut Restored) -> Result<(), BackupError> {
        let gauge = |shard| Arc::new(PoolGauge::new(format!("restore-{shard}"), "restore", 1));
        for (replayed, told) in good.shards.iter().zip(&mut restored.shards) {
            let (shard, base) = (ShardId(replayed.part.shard), replayed.base());
            let (config, data_dir, state) = (staged.clone(), self.data_dir.clone(), replayed.replica.encode());
            let log_id = crate::blocking::storage(move || log(&config, &data_dir, shard, base, &state)).await?;
            told.log_id = Some(log_id.to_string());
            let mut writer = HistoryWriter::new(staged, &self.data_dir, gauge(shard))?;
            let written = history(&mut writer, good, shard, log_id, base).await;
            writer.close().await;
            written?;
            let (config, data_dir) = (staged.clone(), self.data_dir.clone());
            let found = crate::blocking::storage(move || state_of(&config, &data_dir, shard)).await?;
            if found.as_deref() != Some(&*told.state_hash) && base.seq > Seq(0) {
                let found = found.unwrap_or_else(|| "none".to_owned());
                let reason = format!("what was written has state hash {found}, the backup {}", told.state_hash);
                return Err(BackupError::Inconsistent { shard, reason });
            }
        }
        Ok(())
    }
}

/// A log that is not empty in the database of journals.
fn begun(config: &Config) -> Result<Option<Sighting>, StoreError> {
    let shards = config.shards.iter().copied().map(ShardId);
    let mut lookout = PostgresLookout::new(config.database.url.expose(), shards, Timeouts::default())?;
    if !lookout.is_there()? {
        return Ok(None);
    }
    Ok(lookout.look()?.into_iter().find(|found| found.tail > Seq(0)))
}

fn told(replayed: &Replayed) -> RestoredShard {
    RestoredShard {
        shard: replayed.part.shard,
        old_log_id: replayed.part.log_id.clone(),
        log_id: None,
        seq: replayed.part.seq,
        state_hash: replayed.replica.state_hash().to_string(),
    }
}

/// A log that begins after `base`, with the state there as its snapshot. The storage draws its identities; one that is
/// not empty refuses.
fn log(config: &Config, data_dir: &Path, shard: ShardId, base: Tail, state: &[u8]) -> Result<LogId, StoreError> {
    let (mut storage, recovered) = open_storage(config, data_dir, shard, None)?;
    if base.seq > Seq(0) {
        // The snapshot first: a log that begins where no state is could not be followed by anybody.
        if recovered.tail.seq == Seq(0) {
            storage.snapshots().put(&base, state)?;
        }
        storage.begin_after(&base)?;
    }
    Ok(recovered.control.log_id)
}

/// Opens what was written once more: the hash of the state that a start would find.
fn state_of(config: &Config, data_dir: &Path, shard: ShardId) -> Result<Option<String>, StoreError> {
    let (storage, recovered) = open_storage(config, data_dir, shard, None)?;
    let Some((at, bytes)) = storage.snapshots().latest()? else { return Ok(None) };
    let state = Replica::restore(at, &bytes).ok().map(|replica| replica.state_hash().to_string());
    Ok(state.filter(|_| at == recovered.tail))
}

/// The rows of one shard, and its cursor.
async fn history(
    writer: &mut HistoryWriter,
    good: &Good,
    shard: ShardId,
    log_id: LogId,
    base: Tail,
) -> Result<(), BackupError> {
    let elsewhere = || BackupError::Target("another process writes that history: stop it first".to_owned());
    let start = writer.open(shard, log_id).await?.ok_or_else(elsewhere)?;
    let mut batch = RowBatch::default();
    let mut write = async |batch: &mut RowBatch, to: &Cursor| {
        let projected = writer.write(shard, &start, to, batch).await?;
        batch.clear();
        if projected == Projected::Done { Ok(()) } else { Err(elsewhere()) }
    };
    for file in &good.reading.manifest.history {
        for row in good.reading.rows(file)?.into_iter().filter(|row| row.stamp().shard == shard) {
            row.add_to(&mut batch);
            if batch.len() >= ROWS {
                write(&mut batch, &start).await?;
            }
        }
    }
    // The cursor moves with the last of them: a history that was not written to its end is none.
    write(&mut batch, &Cursor { log_id, seq: base.seq, chain: base.chain }).await?;
    let durable = writer.make_durable().await?;
    if durable { Ok(()) } else { Err(BackupError::System("another process reads the new history".to_owned())) }
}

impl Swap {
    fn beside(target: PathBuf, id: &str) -> Result<Self, BackupError> {
        let staged = with_suffix(&target, &format!("restoring-{id}"));
        // Left by an attempt that was interrupted.
        remove(&staged);
        Ok(Self { target, staged })
    }

    /// Gives the old one another name, and its name to the new one.
    fn exchange(&self, stamp: &str, kept: &mut Vec<PathBuf>) -> Result<(), BackupError> {
        let old = with_suffix(&self.target, &format!("before-{stamp}"));
        for suffix in ["", "-wal", "-shm"] {
            let (from, to) = (appended(&self.target, suffix), appended(&old, suffix));
            if from.exists() {
                fs::rename(&from, &to).map_err(failed("rename", &from))?;
                if suffix.is_empty() {
                    kept.push(to);
                }
            }
        }
        for suffix in ["-wal", "-shm", ""] {
            let (from, to) = (appended(&self.staged, suffix), appended(&self.target, suffix));
            if from.exists() {
                fs::rename(&from, &to).map_err(failed("rename", &from))?;
            }
        }
        let parent = self.target.parent().unwrap_or(Path::new("."));
        sync_directory(parent).map_err(failed("sync", parent))
    }
}

/// The path with text behind a dot.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    appended(path, &format!(".{suffix}"))
}

/// The path with text right behind it, as SQLite names its own files.
fn appended(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Removes what was staged, if it is there.
fn remove(staged: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let path = appended(staged, suffix);
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        if let Err(error) = removed
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %path.display(), "what a restore prepared was not removed");
        }
    }
}
