//! Makes a backup while everything goes on: reads what is durable, replays it, writes it down. Absent: waiting for the
//! order, threads, the door.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use journal_core::codec::record::{Place, Record};
use journal_core::{Entry, Tail};
use journal_store::{LogReader, SnapshotStore, StoreError};
use types::{LogId, Seq, ShardId};

use super::location::Writing;
use super::manifest::{Manifest, ShardPart, SnapshotPart};
use super::{BackupError, Location};
use crate::blocking;
use crate::config::Config;
use crate::history::{Cursor, Export, Pass, RowBatch};
use crate::projector::Replica;

/// Size from which a file of entries or rows is finished and the next one begun.
const FILE: usize = 16 << 20;
/// Bytes of entries read at once.
const READ: usize = 4 << 20;
/// Attempts, should two newer snapshots be made, and the journal be trimmed, before what follows the first is read.
const ATTEMPTS: u32 = 3;

/// A shard's journal, as a backup reads it.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) shard: ShardId,
    pub(super) log_id: LogId,
    pub(super) log: Arc<dyn LogReader>,
    pub(super) snapshots: Arc<dyn SnapshotStore>,
}

/// What is backed up, and where to.
pub(super) struct Create {
    pub(super) config: Config,
    pub(super) data_dir: PathBuf,
    pub(super) location: Location,
    pub(super) shards: Vec<Source>,
    /// The configuration in force as text, without secrets.
    pub(super) configuration: String,
    /// Id, order and time are given; the content is found.
    pub(super) manifest: Manifest,
}

impl Create {
    /// Makes it. Blocks the runtime's thread with disk work: it has one of its own.
    pub(super) async fn run(self) -> Result<Manifest, BackupError> {
        let mut attempt = 1;
        loop {
            let mut writing = self.location.begin(&self.manifest.id)?;
            match self.fill(&mut writing).await {
                Ok(manifest) => return writing.finish(manifest),
                Err(BackupError::Journal(StoreError::Trimmed { .. })) if attempt < ATTEMPTS => writing.abandon(),
                Err(error) => {
                    writing.abandon();
                    return Err(error);
                }
            }
            attempt += 1;
        }
    }

    async fn fill(&self, writing: &mut Writing) -> Result<Manifest, BackupError> {
        let mut manifest = self.manifest.clone();
        // The snapshots before the moment: those of the history are never ahead of it.
        let mut snapshots = Vec::new();
        for source in &self.shards {
            snapshots.push(latest(source).await?);
        }
        let mut export = Export::begin(&self.config, &self.data_dir).await?;
        let cursors = export.cursors().await?;
        for (source, snapshot) in self.shards.iter().zip(snapshots) {
            let start = Cursor { log_id: source.log_id, seq: Seq(0), chain: journal_core::ChainHash::ZERO };
            let cursor = cursors.iter().find(|(shard, _)| *shard == source.shard).map_or(start, |(_, cursor)| *cursor);
            manifest.shards.push(shard(source, snapshot, &cursor, writing).await?);
        }
        self.rows(&mut export, writing, &mut manifest).await?;
        export.end().await;
        writing.put("configuration.txt", self.configuration.as_bytes())?;
        Ok(manifest)
    }

    async fn rows(
        &self,
        export: &mut Export,
        writing: &mut Writing,
        manifest: &mut Manifest,
    ) -> Result<(), BackupError> {
        let mut file = Vec::with_capacity(FILE);
        for source in &self.shards {
            let mut pass = Pass::over(source.shard);
            while let Some(rows) = export.next(&mut pass).await? {
                manifest.rows += rows.len() as u64;
                for row in rows {
                    row.encode(&mut file);
                    if file.len() >= FILE {
                        put_rows(&mut file, writing, manifest)?;
                    }
                }
            }
        }
        if file.is_empty() { Ok(()) } else { put_rows(&mut file, writing, manifest) }
    }
}

fn put_rows(file: &mut Vec<u8>, writing: &mut Writing, manifest: &mut Manifest) -> Result<(), BackupError> {
    let name = format!("history/rows-{:06}", manifest.history.len());
    writing.put(&name, file)?;
    manifest.history.push(name);
    file.clear();
    Ok(())
}

async fn latest(source: &Source) -> Result<Option<(Tail, Bytes)>, StoreError> {
    let snapshots = Arc::clone(&source.snapshots);
    blocking::storage(move || snapshots.latest()).await
}

/// One shard, in files: its snapshot, and the entries from there to the cursor, replayed on the way.
async fn shard(
    source: &Source,
    snapshot: Option<(Tail, Bytes)>,
    cursor: &Cursor,
    writing: &mut Writing,
) -> Result<ShardPart, BackupError> {
    let inconsistent = |reason: String| BackupError::Inconsistent { shard: source.shard, reason };
    if cursor.log_id != source.log_id {
        let reason = format!("the history follows log {}, the journal is log {}", cursor.log_id, source.log_id);
        return Err(inconsistent(reason));
    }
    let name = |what: &str| format!("shard-{}/{what}", source.shard);
    let (mut replica, snapshot) = match snapshot {
        Some((at, bytes)) => {
            let file = name(&format!("snapshot-{}", at.seq));
            writing.put(&file, &bytes)?;
            (Replica::restore(at, &bytes)?, Some(SnapshotPart::new(file, &at)))
        }
        None => (Replica::empty(source.shard), None),
    };
    let mut files = Vec::new();
    let (mut file, mut rows) = (Vec::new(), RowBatch::default());
    while replica.tail().seq < cursor.seq {
        let (log, from, to) = (Arc::clone(&source.log), replica.tail().seq.next(), cursor.seq);
        let part = blocking::storage(move || log.read(from, to, READ)).await?;
        if part.is_empty() {
            return Err(inconsistent(format!("the journal ends before entry {to}, which the history has")));
        }
        for entry in part {
            replica.apply(&entry, &mut rows)?;
            rows.clear();
            encode(&entry, &mut file)?;
            if file.len() >= FILE || entry.seq == cursor.seq {
                let name = name(&format!("entries-to-{}", entry.seq));
                writing.put(&name, &file)?;
                files.push(name);
                file.clear();
            }
        }
    }
    let end = replica.tail();
    if end.seq != cursor.seq || (end.seq > Seq(0) && end.chain != cursor.chain) {
        return Err(inconsistent(format!("history and journal differ at entry {}", cursor.seq)));
    }
    Ok(ShardPart {
        shard: source.shard.0,
        log_id: source.log_id.to_string(),
        seq: end.seq.0,
        chain: end.chain.to_string(),
        epoch: end.epoch.number,
        state_hash: replica.state_hash().to_string(),
        snapshot,
        entries: files,
    })
}

/// An entry in the journal's own format, for no particular disk.
fn encode(entry: &Entry, out: &mut Vec<u8>) -> Result<(), BackupError> {
    let place = Place { disk_id: 0, phys_no: entry.seq.0, unit_no: entry.seq.0, last_in_unit: true };
    let encoded = Record::Entry(entry.clone()).encode(place, out);
    encoded.map(|_| ()).map_err(|error| BackupError::System(error.to_string()))
}

/// Takes an entry off the front of `bytes`.
pub(super) fn decode(bytes: &mut &[u8]) -> Result<Entry, String> {
    let (header, record) = Record::decode(bytes, 0).map_err(|error| error.to_string())?;
    *bytes = &bytes[header.record_bytes()..];
    match record {
        Record::Entry(entry) => Ok(entry),
        Record::Truncate { .. } => Err("a truncation stands among the entries".to_owned()),
    }
}
