//! Two projectors of one history, step by step.

use bytes::Bytes;
use journal_core::{EntryKind, Tail};
use service_kit::trace::Tracer;
use types::{Epoch, Timestamp};

use super::*;
use crate::config::Config;
use crate::pools::PoolGauge;

const LOG: LogId = LogId(7);
const SHARD: ShardId = ShardId(0);
/// Entries of one transaction.
const BATCH: u32 = 4;

/// A log that is all there.
struct Complete(Vec<Entry>);

impl LogReader for Complete {
    fn read(&self, from: Seq, to: Seq, _: usize) -> Result<Vec<Entry>, StoreError> {
        Ok(self.0.iter().filter(|entry| (from..=to).contains(&entry.seq)).cloned().collect())
    }
}

struct NoSnapshots;

impl SnapshotStore for NoSnapshots {
    fn put(&self, _: &Tail, _: &[u8]) -> Result<(), StoreError> {
        Ok(())
    }

    fn latest(&self) -> Result<Option<(Tail, Bytes)>, StoreError> {
        Ok(None)
    }
}

fn log(length: usize) -> Vec<Entry> {
    let epoch = Epoch { number: 1, ..Epoch::default() };
    let mut entries: Vec<Entry> = Vec::new();
    for _ in 0..length {
        let last = entries.last().map(Entry::tail).unwrap_or_default();
        let (seq, at) = (last.seq.next(), Timestamp(1));
        entries.push(Entry::seal(LOG, epoch, seq, EntryKind::EpochStart, at, last.chain, Bytes::new()));
    }
    entries
}

fn projector(directory: &std::path::Path, log: &[Entry]) -> CatchUp {
    let mut config = Config::default();
    config.history.batch_entries = BATCH;
    let gauge = Arc::new(PoolGauge::new("test", "test", 1));
    CatchUp {
        shard: SHARD,
        log_id: LOG,
        log: Arc::new(Complete(log.to_vec())),
        snapshots: Arc::new(NoSnapshots),
        writer: HistoryWriter::new(&config, directory, gauge).unwrap(),
        limits: config.history,
        traced: Traced::new(Tracer::off()),
        metrics: ProjectionMetrics::new(SHARD),
        acts: Acts::new(service_kit::audit::Audit::none(), SHARD),
        replica: None,
        cursor: None,
        projected: Seq(0),
        rows: RowBatch::default(),
        chains: Vec::new(),
        applied_bytes: 0,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_could_not_write_goes_on_when_another_has_written_past_it() {
    let directory = tempfile::tempdir().unwrap();
    let log = log(6 * BATCH as usize);
    let end = log.last().unwrap().seq;
    let (mut late, mut fast) = (projector(directory.path(), &log), projector(directory.path(), &log));
    // A whole transaction is applied, and the database goes away before it is written.
    let cursor = late.find_cursor().await.unwrap().unwrap();
    let mut replica = late.restore(cursor.seq).await.unwrap();
    late.apply(&mut replica, &cursor, end).await.unwrap();
    late.replica = Some(replica);
    late.cursor = None;
    assert!(!late.has_room(), "the test proves nothing");
    late.writer.close().await;
    for _ in 0..4 {
        assert_eq!(fast.step(end).await.unwrap(), Progress::More);
    }
    fast.writer.close().await;
    // One step for each transaction that is left, one to notice that there is nothing more.
    let mut progress = Progress::More;
    for _ in 0..4 {
        progress = late.step(end).await.unwrap();
    }
    assert_eq!(progress, Progress::CaughtUp);
    assert_eq!(late.projected, end);
}
