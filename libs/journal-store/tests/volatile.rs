//! A journal that goes on while its database is away: nothing it took is lost or written twice when the database is
//! back, after a crash too; and what somebody else wrote there first is right. Row 66.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

use journal_core::{Control, Entry, Recovered, Tail, Unit};
use journal_store::conformance::{epoch, unit};
use journal_store::postgres::{PostgresStorage, Timeouts, VolatileStorage, Volatility};
use journal_store::testing::PostgresServer;
use journal_store::{Storage, StoreError};
use std::time::Duration;
use tempfile::TempDir;
use types::{LogId, Seq, ShardId};

const SHARD: ShardId = ShardId(0);
const LIMIT: u64 = 1 << 20;
const BACKLOG: &str = "shard-0.backlog";

/// A server that is away is known to be so within a second.
fn timeouts() -> Timeouts {
    let short = Duration::from_millis(500);
    Timeouts { connect: short, statement: Duration::from_secs(5), call: Duration::from_secs(1) }
}

/// A database, and a directory for backlogs.
struct Bench {
    directory: TempDir,
    server: PostgresServer,
    url: String,
}

impl Bench {
    fn begin() -> Self {
        let server = PostgresServer::start();
        let url = server.database();
        Self { directory: tempfile::tempdir().unwrap(), server, url }
    }

    /// A journal in the database whose backlog may have `limit` bytes.
    fn rig(&self, backlog: &str, limit: u64) -> (Rig, Recovered) {
        Rig::open(&self.url, &self.backlog(backlog), limit)
    }

    fn backlog(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Payloads of the log in the database.
    fn texts(&self) -> String {
        let sql = "SELECT string_agg(convert_from(payload, 'UTF8'), ' ' ORDER BY seq) FROM hivemind_journal.entry";
        self.server.sql(&self.url, sql)
    }
}

struct Rig {
    storage: VolatileStorage,
    volatility: Volatility,
    log_id: LogId,
    tail: Tail,
}

impl Rig {
    fn open(url: &str, file: &Path, limit: u64) -> (Self, Recovered) {
        let volatility = Volatility::default();
        let inner = PostgresStorage::connect_with(url, SHARD, timeouts()).unwrap();
        let mut storage = VolatileStorage::new(SHARD, inner, file.to_owned(), limit, volatility.clone());
        let found = storage.recover().unwrap();
        (Self { storage, volatility, log_id: found.control.log_id, tail: found.tail }, found)
    }

    fn next(&self, number: u64, text: &[u8]) -> Unit {
        unit(self.log_id, epoch(number), &self.tail, &[text, text])
    }

    fn write(&mut self, number: u64, text: &[u8]) -> Result<(), StoreError> {
        let next = self.next(number, text);
        self.storage.write(&next)?;
        self.tail = next.entries.last().map(Entry::tail).unwrap();
        Ok(())
    }
}

#[test]
fn r66_what_was_taken_without_the_database_is_brought_there_once() {
    let mut bench = Bench::begin();
    let (mut rig, _) = bench.rig(BACKLOG, LIMIT);
    rig.write(1, b"a").unwrap();
    bench.server.kill();

    // Not allowed: refused, and nobody can tell whether it was written.
    assert!(rig.write(1, b"b").is_err());
    assert!(rig.storage.refresh().is_err());
    assert!(!rig.storage.is_volatile());
    // Allowed: what was in doubt counts as taken, and it goes on.
    rig.volatility.allow(true);
    let doubtful = rig.next(1, b"b");
    let known = rig.storage.refresh().unwrap();
    assert_eq!(known.tail, doubtful.entries[1].tail(), "the unit in doubt is part of the log");
    assert!(rig.storage.is_volatile() && rig.volatility.is_active());
    rig.tail = known.tail;
    rig.storage.confirm(epoch(1)).unwrap();
    rig.write(1, b"c").unwrap();
    // Another leadership, on what is known here.
    let promise = Control { promised: epoch(2), ..known.control };
    rig.storage.persist_control(&promise).unwrap();
    assert!(matches!(rig.write(1, b"old"), Err(StoreError::Fenced { .. })));
    rig.write(2, b"d").unwrap();
    assert_eq!(rig.volatility.entries(), 6);
    let stays = rig.storage.refresh().unwrap();
    assert_eq!((stays.tail, stays.control.promised), (rig.tail, epoch(2)));

    // A crash: another process finds the file.
    let tail = rig.tail;
    drop(rig);
    bench.server.launch();
    let (mut rig, found) = bench.rig(BACKLOG, LIMIT);
    assert_eq!((found.tail, found.control.promised), (tail, epoch(2)));
    assert!(!rig.storage.is_volatile() && !bench.backlog(BACKLOG).exists());
    assert_eq!(bench.texts(), "a a b b c c d d");
    rig.write(2, b"e").unwrap();
    assert_eq!(rig.storage.refresh().unwrap(), bench.rig(BACKLOG, LIMIT).1);
    assert_eq!(bench.texts(), "a a b b c c d d e e");
}

/// The commit came through, its answer did not; and the process ends after it has brought a part.
#[test]
fn r66_what_the_database_has_already_is_not_written_again() {
    let mut bench = Bench::begin();
    let (mut rig, _) = bench.rig(BACKLOG, LIMIT);
    rig.write(1, b"a").unwrap();
    bench.server.kill();
    rig.volatility.allow(true);
    let mut units = Vec::new();
    for text in [&b"b"[..], b"c", b"d"] {
        units.push(rig.next(1, text));
        rig.write(1, text).unwrap();
    }
    bench.server.launch();
    let (mut other, _) = bench.rig("other.backlog", LIMIT);
    for unit in &units[..2] {
        other.storage.write(unit).unwrap();
    }
    assert_eq!(rig.storage.refresh().unwrap().tail, rig.tail);
    assert_eq!(bench.texts(), "a a b b c c d d");
    assert_eq!((rig.volatility.entries(), rig.volatility.superseded()), (0, 0));
}

#[test]
fn r66_another_leadership_in_the_database_is_right() {
    let mut bench = Bench::begin();
    let (mut rig, _) = bench.rig(BACKLOG, LIMIT);
    rig.write(1, b"a").unwrap();
    bench.server.kill();
    rig.volatility.allow(true);
    rig.write(1, b"mine").unwrap();
    bench.server.launch();
    let (mut other, found) = bench.rig("other.backlog", LIMIT);
    other.storage.persist_control(&Control { promised: epoch(2), ..found.control }).unwrap();
    other.write(2, b"theirs").unwrap();

    let refreshed = rig.storage.refresh().unwrap();
    assert_eq!(refreshed.tail, other.tail);
    assert_eq!((rig.volatility.is_active(), rig.volatility.superseded()), (false, 2));
    assert_eq!(bench.texts(), "a a theirs theirs");
    let aside: Vec<_> =
        std::fs::read_dir(bench.directory.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(aside, ["shard-0.superseded-3"]);
}

/// The other leadership was promised the log as it ends in the database, and has written nothing yet.
#[test]
fn r66_a_crash_does_not_bring_entries_under_the_promise_of_another_leadership() {
    let mut bench = Bench::begin();
    let (mut rig, _) = bench.rig(BACKLOG, LIMIT);
    rig.write(1, b"a").unwrap();
    bench.server.kill();
    rig.volatility.allow(true);
    rig.write(1, b"mine").unwrap();
    drop(rig);
    bench.server.launch();
    let (mut other, granted) = bench.rig("other.backlog", LIMIT);
    other.storage.persist_control(&Control { promised: epoch(2), ..granted.control }).unwrap();

    let (rig, found) = bench.rig(BACKLOG, LIMIT);
    assert_eq!((found.tail, found.control.promised), (granted.tail, epoch(2)));
    assert_eq!((rig.volatility.entries(), rig.volatility.superseded()), (0, 2));
    other.write(2, b"theirs").unwrap();
    assert_eq!(bench.texts(), "a a theirs theirs");
}

/// A leader hands on what the one before it made: the entries are older than the epoch they were written under.
#[test]
fn r66_entries_of_an_earlier_leadership_are_brought_under_the_one_that_wrote_them() {
    let mut bench = Bench::begin();
    let (mut rig, found) = bench.rig(BACKLOG, LIMIT);
    rig.write(1, b"a").unwrap();
    rig.storage.persist_control(&Control { promised: epoch(2), ..found.control }).unwrap();
    bench.server.kill();
    rig.volatility.allow(true);
    rig.storage.write(&Unit { epoch: epoch(2), ..rig.next(1, b"b") }).unwrap();
    drop(rig);
    bench.server.launch();
    let (rig, found) = bench.rig(BACKLOG, LIMIT);
    assert_eq!((found.control.promised, rig.volatility.superseded()), (epoch(2), 0));
    assert_eq!(bench.texts(), "a a b b");
}

/// I2: a leadership that began without the database, and has written nothing yet when that is back.
#[test]
fn r66_a_promise_alone_is_brought_to_the_database() {
    let mut bench = Bench::begin();
    let (mut rig, _) = bench.rig(BACKLOG, LIMIT);
    rig.write(1, b"a").unwrap();
    bench.server.kill();
    rig.volatility.allow(true);
    let known = rig.storage.refresh().unwrap();
    rig.storage.persist_control(&Control { promised: epoch(2), ..known.control }).unwrap();
    assert!(rig.storage.is_volatile());
    bench.server.launch();
    assert_eq!(rig.storage.refresh().unwrap().control.promised, epoch(2));
    let (mut other, found) = bench.rig("other.backlog", LIMIT);
    assert_eq!(found.control.promised, epoch(2));
    assert!(matches!(other.write(1, b"old"), Err(StoreError::Fenced { .. })));
}

#[test]
fn r66_the_file_is_bounded_and_switching_off_refuses() {
    let mut bench = Bench::begin();
    let (mut rig, _) = bench.rig(BACKLOG, 1_000);
    bench.server.kill();
    rig.volatility.allow(true);
    rig.write(1, b"a").unwrap();
    rig.write(1, b"b").unwrap();
    assert!(matches!(rig.write(1, b"c"), Err(StoreError::Full { .. })));
    rig.volatility.allow(false);
    assert!(matches!(rig.write(1, b"c"), Err(StoreError::Database { .. })));
    assert!(rig.storage.refresh().is_err(), "off, and the database is away");
    bench.server.launch();
    assert_eq!(rig.storage.refresh().unwrap().tail.seq, Seq(4));
    assert_eq!(bench.texts(), "a a b b");
    rig.write(1, b"c").unwrap();
}
