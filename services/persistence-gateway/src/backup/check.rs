//! Reads a whole backup and believes nothing: every file against its hash, the journal replayed to the state hash of
//! the manifest, every row of the history read, and those of the replayed entries compared with what the replay gives.
//!
//! Deliberately absent: writing anything.

use journal_core::{ChainHash, Entry, Tail};
use serde::Serialize;
use types::{Epoch, Incarnation, Seq, ShardId};

use super::create::decode;
use super::location::Reading;
use super::manifest::{Manifest, ShardPart};
use super::{BackupError, Location};
use crate::history::{ExecutionRow, Row, RowBatch, TradeRow};
use crate::projector::Replica;

/// A backup that is what it says.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// What it says.
    pub manifest: Manifest,
    /// What was found of each shard.
    pub shards: Vec<CheckedShard>,
    /// Rows of the history that were read.
    pub rows: u64,
}

/// What was found of a shard.
#[derive(Clone, Debug, Serialize)]
pub struct CheckedShard {
    /// Its number.
    pub shard: u32,
    /// Entries that were replayed.
    pub entries_replayed: u64,
    /// Rows that the replay gave, and the backup has too.
    pub rows_compared: u64,
    /// State hash after the last entry, by replay; that of the manifest.
    pub state_hash: String,
}

/// A shard after the replay.
pub(super) struct Replayed {
    pub(super) part: ShardPart,
    pub(super) replica: Replica,
    entries: u64,
    /// What the replay says happened after the snapshot.
    executions: Vec<ExecutionRow>,
    trades: Vec<TradeRow>,
}

/// A backup that was read and found good.
pub(super) struct Good {
    pub(super) reading: Reading,
    pub(super) shards: Vec<Replayed>,
    pub(super) checked: Checked,
}

impl Location {
    /// Checks backup `id`, or the newest one for "latest". Blocks.
    ///
    /// # Errors
    /// [`BackupError::Unknown`] or [`BackupError::Damaged`].
    pub fn check(&self, id: &str) -> Result<Checked, BackupError> {
        check(self, id).map(|good| good.checked)
    }
}

pub(super) fn check(location: &Location, id: &str) -> Result<Good, BackupError> {
    let reading = location.open(&location.resolve(id)?)?;
    let manifest = &reading.manifest;
    let id = manifest.id.clone();
    let shards: Vec<Replayed> = manifest.shards.iter().map(|part| replay(&reading, part)).collect::<Result<_, _>>()?;
    // Also what nothing above asked for.
    manifest.files.iter().try_for_each(|file| reading.file(&file.name).map(|_| ()))?;
    let rows = compare_rows(&reading, &shards)?;
    if rows != manifest.rows {
        return Err(BackupError::damaged(&id, format!("{rows} rows of history, its manifest says {}", manifest.rows)));
    }
    let told = |shard: &Replayed| CheckedShard {
        shard: shard.part.shard,
        entries_replayed: shard.entries,
        rows_compared: (shard.executions.len() + shard.trades.len()) as u64,
        state_hash: shard.replica.state_hash().to_string(),
    };
    let checked = Checked { manifest: manifest.clone(), shards: shards.iter().map(told).collect(), rows };
    Ok(Good { reading, shards, checked })
}

fn replay(reading: &Reading, part: &ShardPart) -> Result<Replayed, BackupError> {
    let damaged = |reason: &str| BackupError::damaged(&reading.manifest.id, format!("shard {}: {reason}", part.shard));
    let broken = |error: crate::projector::ReplicaError| damaged(&error.to_string());
    let log_id = part.log_id().ok_or_else(|| damaged("its log id is none"))?;
    let mut replica = match &part.snapshot {
        Some(snapshot) => {
            let at = snapshot.at().ok_or_else(|| damaged("the place of its snapshot is none"))?;
            Replica::restore(at, &reading.file(&snapshot.file)?).map_err(broken)?
        }
        None => Replica::empty(ShardId(part.shard)),
    };
    let mut rows = RowBatch::default();
    let mut entries = 0;
    for file in &part.entries {
        let bytes = reading.file(file)?;
        let mut rest = &*bytes;
        while !rest.is_empty() {
            let entry: Entry = decode(&mut rest).map_err(|reason| damaged(&reason))?;
            if entry.log_id != log_id {
                return Err(damaged("an entry is of another log"));
            }
            replica.apply(&entry, &mut rows).map_err(broken)?;
            entries += 1;
        }
    }
    let end = replica.tail();
    if end.seq != Seq(part.seq) || end.chain.to_string() != part.chain {
        return Err(damaged("its journal does not end where its manifest says"));
    }
    if part.state_hash() != Some(replica.state_hash()) {
        return Err(damaged(&format!(
            "replay gives state hash {}, its manifest says {}",
            replica.state_hash(),
            part.state_hash
        )));
    }
    let (executions, trades) = (rows.executions().to_vec(), rows.trades().to_vec());
    Ok(Replayed { part: part.clone(), replica, entries, executions, trades })
}

/// Reads all rows; those of replayed entries must be what the replay gave.
fn compare_rows(reading: &Reading, shards: &[Replayed]) -> Result<u64, BackupError> {
    let damaged = |reason: String| BackupError::damaged(&reading.manifest.id, reason);
    let mut found: Vec<(Vec<ExecutionRow>, Vec<TradeRow>)> = shards.iter().map(|_| Default::default()).collect();
    let mut count = 0;
    for file in &reading.manifest.history {
        for row in reading.rows(file)? {
            count += 1;
            let stamp = *row.stamp();
            let at = shards.iter().position(|shard| shard.part.shard == stamp.shard.0);
            let at = at.ok_or_else(|| damaged(format!("a row is of shard {}, which is not in it", stamp.shard)))?;
            let part = &shards[at].part;
            if stamp.place.seq > Seq(part.seq) {
                let reason = format!("a row is of entry {}, behind the end of shard {}", stamp.place.seq, stamp.shard);
                return Err(damaged(reason));
            }
            let begin = part.snapshot.as_ref().map_or(0, |snapshot| snapshot.seq);
            match row {
                Row::Execution(row) if stamp.place.seq > Seq(begin) => found[at].0.push(row),
                Row::Trade(row) if stamp.place.seq > Seq(begin) => found[at].1.push(row),
                _ => {}
            }
        }
    }
    for (shard, (executions, trades)) in shards.iter().zip(found) {
        if executions != shard.executions || trades != shard.trades {
            return Err(damaged(format!("the history of shard {} is not what its journal gives", shard.part.shard)));
        }
    }
    Ok(count)
}

impl Reading {
    /// The rows in a file of the history.
    pub(super) fn rows(&self, file: &str) -> Result<Vec<Row>, BackupError> {
        let bytes = self.file(file)?;
        let (mut rest, mut rows) = (&*bytes, Vec::new());
        while !rest.is_empty() {
            rows.push(Row::decode(&mut rest).map_err(|error| BackupError::damaged(&self.manifest.id, error))?);
        }
        Ok(rows)
    }
}

impl Replayed {
    /// The end of its log as the beginning of another one: no epoch of the old one counts there.
    pub(super) fn base(&self) -> Tail {
        let Tail { seq, chain, .. } = self.replica.tail();
        let chain = if seq == Seq(0) { ChainHash::ZERO } else { chain };
        Tail { epoch: Epoch { number: 0, owner: Incarnation(0) }, seq, chain }
    }
}
