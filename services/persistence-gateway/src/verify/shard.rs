//! Verification of one shard: replay in parts, compare each part with the history, then the final states.
//!
//! Executions and trades are compared part by part; only orders are held until the end. Deliberately absent: SQL.

use std::sync::Arc;

use journal_core::{Entry, Recovered};
use journal_store::{LogReader, Storage, StoreError};
use types::{Instrument, Seq, ShardId, Timestamp};

use super::VerifyError;
use super::expected::Expected;
use super::report::ShardReport;
use crate::blocking;
use crate::history::{Cursor, HistoryReader, InstrumentRow, OrderFilter, Page, RowBatch, compare, difference};
use crate::projector::{Replica, ReplicaError};

/// Entries replayed before their rows are compared.
const PART: u64 = 2_000;
/// Bytes of entries read at once.
const READ: usize = 8 << 20;
/// Later than every row: the largest time the databases hold.
const FOREVER: Timestamp = Timestamp(i64::MAX.cast_unsigned());

pub(super) async fn verify(
    shard: ShardId,
    storage: &dyn Storage,
    recovered: &Recovered,
    history: &HistoryReader,
) -> Result<ShardReport, VerifyError> {
    let journal = |source| VerifyError::Journal { shard, source };
    let replay = |source| VerifyError::Replay { shard, source };
    let log_id = recovered.control.log_id;
    let mut report = ShardReport {
        shard: shard.0,
        log_id: log_id.to_string(),
        journal_base: recovered.control.base.seq.0,
        journal_end: recovered.tail.seq.0,
        ..ShardReport::default()
    };

    let snapshots = storage.snapshots();
    let snapshot = blocking::storage(move || snapshots.latest()).await.map_err(journal)?;
    let mut replica = match &snapshot {
        // All entries are there: the snapshot is checked on the way instead of being believed.
        _ if recovered.control.base.seq == Seq(0) => Replica::empty(shard),
        Some((at, bytes)) => Replica::restore(*at, bytes).map_err(replay)?,
        None => return Err(journal(StoreError::Trimmed { base: recovered.control.base.seq })),
    };
    report.replayed_from = replica.tail().seq.0;

    let cursors = history.cursors().await?;
    let cursor = cursors.iter().find(|(of, _)| *of == shard).map(|(_, cursor)| *cursor);
    let cursor = cursor.unwrap_or(Cursor { log_id, seq: Seq(0), chain: journal_core::ChainHash::ZERO });
    report.projected = cursor.seq.0;
    if cursor.log_id != log_id {
        report.differs(format!("the history follows log {}, the journal is log {log_id}", cursor.log_id));
        return Ok(report);
    }
    if cursor.seq > recovered.tail.seq {
        report.differs(format!("the history goes to entry {}, the journal ends at {}", cursor.seq, recovered.tail.seq));
    }
    if cursor.seq < replica.tail().seq {
        let from = replica.tail().seq;
        report.differs(format!("the history ends at entry {}, before the newest snapshot at {from}", cursor.seq));
    }

    let mut pass = Pass {
        shard,
        log: storage.log(),
        history,
        cursor,
        began: replica.now(),
        compared_until: replica.now(),
        instruments: None,
        expected: Expected::new(replica.ledger()),
        report,
    };
    pass.check_chain(replica.tail().seq, replica.tail().chain);
    pass.look(&replica);
    while replica.tail().seq < recovered.tail.seq {
        pass.part(&mut replica, recovered.tail.seq, snapshot.as_ref()).await?;
    }
    pass.finish(&replica).await
}

struct Pass<'a> {
    shard: ShardId,
    log: Arc<dyn LogReader>,
    history: &'a HistoryReader,
    cursor: Cursor,
    /// Log time of the state the replay began with.
    began: Timestamp,
    /// Rows up to this log time have been compared.
    compared_until: Timestamp,
    /// Instruments as they were at the cursor.
    instruments: Option<Vec<Instrument>>,
    expected: Expected,
    report: ShardReport,
}

impl Pass<'_> {
    fn check_chain(&mut self, seq: Seq, chain: journal_core::ChainHash) {
        if seq == self.cursor.seq && seq > Seq(0) && chain != self.cursor.chain {
            self.report.differs(format!("the chain hash of entry {seq} is not the one the history was made from"));
        }
    }

    /// Replays one part and compares its rows. A part ends at the cursor.
    async fn part(
        &mut self,
        replica: &mut Replica,
        end: Seq,
        snapshot: Option<&(journal_core::Tail, bytes::Bytes)>,
    ) -> Result<(), VerifyError> {
        let shard = self.shard;
        let replay = |source| VerifyError::Replay { shard, source };
        let from = replica.tail().seq.next();
        let mut to = end.min(Seq(from.0 + PART - 1));
        if from <= self.cursor.seq {
            to = to.min(self.cursor.seq);
        }
        let mut rows = RowBatch::default();
        let mut at = replica.tail().seq;
        let mut last_time = self.compared_until;
        while at < to {
            let (log, next) = (Arc::clone(&self.log), at.next());
            let entries: Vec<Entry> = blocking::storage(move || log.read(next, to, READ))
                .await
                .map_err(|source| VerifyError::Journal { shard, source })?;
            let Some(last) = entries.last() else {
                let found = at.next();
                return Err(replay(ReplicaError::Chain { applied: at, found }));
            };
            (at, last_time) = (last.seq, last.timestamp);
            for entry in &entries {
                if !entry.verify() {
                    return Err(replay(ReplicaError::Chain { applied: replica.tail().seq, found: entry.seq }));
                }
                replica.apply(entry, &mut rows).map_err(replay)?;
                self.report.entries_replayed += 1;
                if let Some((snapshot_at, bytes)) = snapshot.filter(|(snapshot_at, _)| snapshot_at.seq == entry.seq) {
                    self.check_snapshot(replica, snapshot_at, bytes);
                }
                self.check_chain(entry.seq, entry.chain);
            }
        }
        if to <= self.cursor.seq {
            self.compare_rows(&rows, last_time).await?;
            self.expected.take(&rows);
            self.compared_until = last_time;
        }
        self.look(replica);
        Ok(())
    }

    /// Remembers the state at the cursor.
    fn look(&mut self, replica: &Replica) {
        if replica.tail().seq == self.cursor.seq {
            self.report.state_hash_projected = replica.state_hash().to_string();
            self.instruments = Some(replica.ledger().instruments().to_vec());
        }
    }

    fn check_snapshot(&mut self, replica: &Replica, at: &journal_core::Tail, bytes: &bytes::Bytes) {
        match Replica::restore(*at, bytes) {
            Err(error) => self.report.differs(error.to_string()),
            Ok(stored) if at.chain != replica.tail().chain || stored.state_hash() != replica.state_hash() => {
                self.report.differs(format!("the snapshot at entry {} is not the replayed state", at.seq));
            }
            Ok(_) => {}
        }
    }

    /// Compares executions and trades since the part before.
    async fn compare_rows(&mut self, rows: &RowBatch, to: Timestamp) -> Result<(), VerifyError> {
        let from = after(self.compared_until);
        let executions = self.history.executions_between(self.shard, from, to).await?;
        let trades = self.history.trades_between(self.shard, from, to).await?;
        let report = &mut self.report;
        report.executions += report.agreeing(rows.executions().len(), |report| {
            compare(rows.executions(), &executions, |what| report.differs(what));
        });
        report.trades += report.agreeing(rows.trades().len(), |report| {
            compare(rows.trades(), &trades, |what| report.differs(what));
        });
        Ok(())
    }

    /// Compares final states, and looks for rows after the cursor.
    async fn finish(mut self, replica: &Replica) -> Result<ShardReport, VerifyError> {
        self.compare_rows_after(after(self.compared_until)).await?;
        let found = self.history.orders_between(self.shard, after(self.began), FOREVER).await?;
        let (expected, report) = (&self.expected, &mut self.report);
        report.orders += report.agreeing(expected.created().len(), |report| {
            compare(expected.created(), &found, |what| report.differs(what));
        });
        self.compare_older_orders().await?;
        self.compare_instruments().await?;
        self.report.state_hash = replica.state_hash().to_string();
        Ok(self.report)
    }

    async fn compare_rows_after(&mut self, after: Timestamp) -> Result<(), VerifyError> {
        for row in self.history.executions_between(self.shard, after, FOREVER).await? {
            compare(&[], &[row], |what| self.report.differs(what));
        }
        for row in self.history.trades_between(self.shard, after, FOREVER).await? {
            compare(&[], &[row], |what| self.report.differs(what));
        }
        Ok(())
    }

    /// Compares the orders that were open before the replay began.
    async fn compare_older_orders(&mut self) -> Result<(), VerifyError> {
        let one = Page { size: 1, after: None };
        for id in self.expected.open_before() {
            let filter = OrderFilter { order_id: Some(id), ..OrderFilter::default() };
            match self.history.orders(&filter, &one).await?.rows.first() {
                None => self.report.differs(format!("row of orders for order {id} is missing")),
                Some(found) => match self.expected.difference(id, found) {
                    Some(what) => self.report.differs(what),
                    None => self.report.orders += 1,
                },
            }
        }
        Ok(())
    }

    async fn compare_instruments(&mut self) -> Result<(), VerifyError> {
        let Some(expected) = &self.instruments else { return Ok(()) };
        let found = self.history.instruments(self.shard).await?;
        if found.len() != expected.len() {
            self.report.differs(format!("{} instruments, the journal defines {}", found.len(), expected.len()));
        }
        for (row, definition) in found.iter().zip(expected) {
            let wanted = InstrumentRow { definition: *definition, ..*row };
            match difference(&wanted, row) {
                Some(what) => self.report.differs(what),
                None => self.report.instruments += 1,
            }
        }
        Ok(())
    }
}

/// The first time after `time`; 0 if there was none.
fn after(time: Timestamp) -> Timestamp {
    Timestamp(time.0 + u64::from(time.0 > 0))
}
