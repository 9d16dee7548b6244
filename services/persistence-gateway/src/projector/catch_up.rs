//! One projector's state and its steps: restore, apply, write, and what follows when the cursor is not where it was.
//!
//! Deliberately absent: waiting, retries, threads; see `thread`.

use std::sync::Arc;
use std::time::Instant;

use journal_core::{ChainHash, Entry};
use journal_store::{LogReader, SnapshotStore, StoreError};
use types::{LogId, Seq, ShardId};

use super::acts::Acts;
use super::replica::{Replica, cursor};
use super::{ProjectError, ReplicaError};
use crate::blocking;
use crate::config::HistoryConfig;
use crate::history::{Cursor, HistoryWriter, Projected, RowBatch};
use crate::journal::Traced;
use crate::metrics::{ProjectionMetrics, gauge, seconds};

#[cfg(test)]
mod tests;

/// Bytes of entries read at once.
const READ: usize = 4 << 20;

/// What one projector knows.
pub(super) struct CatchUp {
    pub(super) shard: ShardId,
    pub(super) log_id: LogId,
    pub(super) log: Arc<dyn LogReader>,
    pub(super) snapshots: Arc<dyn SnapshotStore>,
    pub(super) writer: HistoryWriter,
    pub(super) limits: HistoryConfig,
    pub(super) metrics: ProjectionMetrics,
    pub(super) traced: Traced,
    pub(super) acts: Acts,
    /// The state after the last applied entry; none before the first contact with the database.
    pub(super) replica: Option<Replica>,
    /// How far the history is, as last heard; none when that is not known.
    pub(super) cursor: Option<Cursor>,
    /// How far the history was when it was last heard of; for the lag while it is away.
    pub(super) projected: Seq,
    /// Rows of the applied entries after the cursor.
    pub(super) rows: RowBatch,
    /// Chain hashes of the applied entries after the cursor, oldest first.
    pub(super) chains: Vec<(Seq, ChainHash)>,
    /// Bytes applied since it was last reset, for the snapshots.
    pub(super) applied_bytes: u64,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// There may be more to do at once.
    More,
    /// Everything committed is in the history.
    CaughtUp,
    /// Another process writes the history of this shard.
    Standby,
}

impl CatchUp {
    /// Does what can be done: one transaction at most.
    pub(super) async fn step(&mut self, commit: Seq) -> Result<Progress, ProjectError> {
        let cursor = match self.cursor {
            Some(cursor) => cursor,
            None => match self.find_cursor().await? {
                Some(cursor) => cursor,
                None => {
                    // It will be older than what the other one leaves.
                    self.forget();
                    return Ok(Progress::Standby);
                }
            },
        };
        let mut replica = match self.replica.take() {
            Some(replica) => replica,
            None => self.restore(cursor.seq).await?,
        };
        // What somebody projected was committed, whether this process knows or not.
        let applied = self.apply(&mut replica, &cursor, commit.max(cursor.seq)).await;
        if let Err(error) = applied {
            // Half an entry may be applied: the replica is of no use any more.
            self.forget();
            return Err(error);
        }
        let tail = replica.tail();
        self.replica = Some(replica);
        self.show_lag(commit);
        if tail.seq <= cursor.seq {
            return Ok(if tail.seq < cursor.seq.max(commit) { Progress::More } else { Progress::CaughtUp });
        }
        if self.write(cursor, super::replica::cursor(self.log_id, &tail)).await? == Projected::Moved {
            // The next step reads the cursor and drops what it covers.
            return Ok(Progress::More);
        }
        self.show_lag(commit);
        Ok(if tail.seq < commit { Progress::More } else { Progress::CaughtUp })
    }

    /// Reads how far the history is and brings what is known in line with it.
    async fn find_cursor(&mut self) -> Result<Option<Cursor>, ProjectError> {
        let Some(cursor) = self.writer.open(self.shard, self.log_id).await? else { return Ok(None) };
        if let Some(replica) = &self.replica {
            // The applied entries begin after the last known cursor; a cursor before that is one of an older copy.
            let begin = self.chains.first().map_or(replica.tail().seq, |(seq, _)| Seq(seq.0 - 1));
            if cursor.seq < begin {
                tracing::warn!(shard = %self.shard, at = %cursor.seq, "the history database went back, following it");
                self.forget();
            } else {
                self.pass(&cursor)?;
            }
        }
        self.cursor = Some(cursor);
        self.projected = cursor.seq;
        Ok(Some(cursor))
    }

    /// Drops what the history already has, after comparing the chain at its end.
    fn pass(&mut self, cursor: &Cursor) -> Result<(), ProjectError> {
        if let Some((_, chain)) = self.chains.iter().find(|(seq, _)| *seq == cursor.seq)
            && *chain != cursor.chain
        {
            return Err(ProjectError::Diverged(cursor.seq));
        }
        self.rows.forget_until(cursor.seq);
        self.chains.retain(|(seq, _)| *seq > cursor.seq);
        Ok(())
    }

    fn forget(&mut self) {
        self.replica = None;
        self.rows.clear();
        self.chains.clear();
    }

    /// The state at the newest snapshot that is not ahead of the history, or before the first entry.
    async fn restore(&mut self, cursor: Seq) -> Result<Replica, ProjectError> {
        self.forget();
        let started = Instant::now();
        let snapshots = Arc::clone(&self.snapshots);
        let latest = blocking::storage(move || snapshots.latest()).await?;
        let newest = latest.as_ref().map(|(at, _)| at.seq);
        let replica = match latest {
            Some((at, bytes)) if at.seq <= cursor => Replica::restore(at, &bytes)?,
            _ => Replica::empty(self.shard),
        };
        let from = replica.tail().seq;
        match self.read(from.next(), from.next(), 1).await {
            Ok(_) => {}
            Err(StoreError::Trimmed { base }) => {
                let journal = newest.unwrap_or(base).max(base);
                return Err(ProjectError::Gap { history: cursor, journal });
            }
            Err(error) => return Err(error.into()),
        }
        tracing::info!(
            shard = %self.shard,
            snapshot = %from,
            history = %cursor,
            ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            "projector state restored"
        );
        Ok(replica)
    }

    /// Applies committed entries until a transaction is full.
    async fn apply(&mut self, replica: &mut Replica, cursor: &Cursor, commit: Seq) -> Result<(), ProjectError> {
        let most = u64::from(self.limits.batch_entries);
        while replica.tail().seq < commit && self.has_room() {
            let from = replica.tail().seq.next();
            let entries = self.read(from, commit.min(Seq(from.0.saturating_add(most - 1))), READ).await?;
            if entries.is_empty() {
                // Committed, and projected by another gateway, but not here yet.
                return Ok(());
            }
            for entry in &entries {
                if entry.log_id != self.log_id || !entry.verify() {
                    return Err(ReplicaError::Chain { applied: replica.tail().seq, found: entry.seq }.into());
                }
                replica.apply(entry, &mut self.rows)?;
                self.applied_bytes += entry.payload.len() as u64;
                if entry.seq > cursor.seq {
                    self.chains.push((entry.seq, entry.chain));
                } else {
                    self.rows.clear();
                    if entry.seq == cursor.seq && entry.chain != cursor.chain {
                        return Err(ProjectError::Diverged(entry.seq));
                    }
                }
                if !self.has_room() {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn read(&self, from: Seq, to: Seq, max_bytes: usize) -> Result<Vec<Entry>, StoreError> {
        let log = Arc::clone(&self.log);
        blocking::storage(move || log.read(from, to, max_bytes)).await
    }

    fn has_room(&self) -> bool {
        let (entries, rows) = (self.limits.batch_entries as usize, self.limits.batch_rows as usize);
        self.chains.len() < entries && self.rows.len() < rows
    }

    /// Writes what was applied.
    async fn write(&mut self, from: Cursor, to: Cursor) -> Result<Projected, ProjectError> {
        self.acts.note(&from, &to, &self.rows);
        let started = Instant::now();
        // Whatever comes of it, the cursor is not what it was.
        self.cursor = None;
        let projected = self.writer.write(self.shard, &from, &to, &self.rows).await?;
        match projected {
            Projected::Done => {
                self.metrics.batch.record(seconds(started.elapsed()));
                self.metrics.rows.increment(self.rows.len() as u64);
                self.metrics.entries.increment(to.seq.0 - from.seq.0);
                self.rows.clear();
                self.chains.clear();
                self.cursor = Some(to);
                self.projected = to.seq;
                self.traced.projected(to.seq, started);
            }
            Projected::Moved => tracing::debug!(shard = %self.shard, "another projector was faster"),
        }
        Ok(projected)
    }

    /// Says how much is committed and not in the history.
    pub(super) fn show_lag(&self, commit: Seq) {
        self.metrics.lag.set(gauge(commit.0.saturating_sub(self.projected.0)));
    }

    /// The state, if all of it is in the history.
    pub(super) fn settled(&self) -> Option<&Replica> {
        let replica = self.replica.as_ref()?;
        (self.cursor == Some(cursor(self.log_id, &replica.tail()))).then_some(replica)
    }
}
