//! What PostgreSQL adds to the suite: other writers, restarts of the server, answers that get lost, changed rows.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use journal_core::{Control, Recovered, Tail, Unit};
use journal_store::conformance::{epoch, truncating, unit};
use journal_store::postgres::{PostgresStorage, Timeouts};
use journal_store::testing::PostgresServer;
use journal_store::{Storage, StoreError};
use types::{Seq, ShardId};

const SHARD: ShardId = ShardId(0);

fn open(url: &str) -> (PostgresStorage, Recovered) {
    let mut storage = PostgresStorage::connect(url, SHARD).unwrap();
    let found = storage.recover().unwrap();
    (storage, found)
}

#[test]
fn a_stale_writer_is_refused_by_the_database() {
    let server = PostgresServer::shared();
    let url = server.database();
    let (mut old, found) = open(&url);
    let (mut new, _) = open(&url);
    let log_id = found.control.log_id;
    new.persist_control(&Control { promised: epoch(5), ..found.control.clone() }).unwrap();
    // The old one believes that nothing is promised.
    let stale = unit(log_id, epoch(4), &Tail::default(), &[b"stale"]);
    assert!(matches!(old.write(&stale), Err(StoreError::Fenced { promised }) if promised == epoch(5)));
    let lower = Control { promised: epoch(4), ..found.control.clone() };
    assert!(matches!(old.persist_control(&lower), Err(StoreError::Fenced { promised }) if promised == epoch(5)));
    assert_eq!(server.sql(&url, "SELECT count(*) FROM hivemind_journal.entry"), "0");
    // The right epoch, but a log that has moved on.
    let first = unit(log_id, epoch(5), &Tail::default(), &[b"first"]);
    new.write(&first).unwrap();
    let beside = unit(log_id, epoch(6), &Tail::default(), &[b"beside"]);
    let tail = first.entries[0].tail();
    assert!(matches!(old.write(&beside), Err(StoreError::Mismatch { found }) if found == tail));
    // A grant must name the end of the log: it is refused until that was read.
    let grant = Control { promised: epoch(6), ..found.control };
    assert!(matches!(old.persist_control(&grant), Err(StoreError::Mismatch { found }) if found == tail));
    assert_eq!(old.recover().unwrap().tail, tail);
    old.persist_control(&grant).unwrap();
    let second = unit(log_id, epoch(5), &tail, &[b"second"]);
    assert!(matches!(new.write(&second), Err(StoreError::Fenced { promised }) if promised == epoch(6)));
    assert_eq!(server.sql(&url, "SELECT count(*) FROM hivemind_journal.entry"), "1");
}

#[test]
fn changed_and_missing_rows_are_found() {
    let server = PostgresServer::shared();
    for damage in [
        "UPDATE hivemind_journal.entry SET payload = 'X' WHERE seq = 2",
        "UPDATE hivemind_journal.entry SET timestamp_us = timestamp_us + 1 WHERE seq = 2",
        "UPDATE hivemind_journal.entry SET kind = 77 WHERE seq = 2",
        "UPDATE hivemind_journal.entry SET chain = 'short' WHERE seq = 2",
        "DELETE FROM hivemind_journal.entry WHERE seq = 1",
        "DELETE FROM hivemind_journal.entry WHERE seq = 2",
        "DELETE FROM hivemind_journal.entry WHERE seq = 3",
        "DELETE FROM hivemind_journal.entry",
        "UPDATE hivemind_journal.voter SET tail_seq = 2",
        "UPDATE hivemind_journal.voter SET disk_id = 'x'",
    ] {
        let url = server.database();
        let (mut storage, found) = open(&url);
        storage.write(&unit(found.control.log_id, epoch(1), &found.tail, &[b"a", b"b", b"c"])).unwrap();
        server.sql(&url, damage);
        assert!(matches!(storage.recover(), Err(StoreError::Corrupt { .. })), "{damage}");
        if damage.contains("WHERE seq = 2") {
            assert!(matches!(storage.log().read(Seq(1), Seq(3), 99), Err(StoreError::Corrupt { .. })), "{damage}");
        }
        assert!(storage.write(&unit(found.control.log_id, epoch(1), &found.tail, &[b"a"])).is_err(), "{damage}");
    }
}

#[test]
fn a_damaged_snapshot_gives_way_to_the_one_before() {
    let server = PostgresServer::shared();
    let url = server.database();
    let (storage, _) = open(&url);
    let at = |seq| Tail { seq: Seq(seq), ..Tail::default() };
    for seq in [1, 2, 3] {
        storage.snapshots().put(&at(seq), format!("state {seq}").as_bytes()).unwrap();
    }
    assert_eq!(server.sql(&url, "SELECT count(*) FROM hivemind_journal.snapshot"), "2");
    server.sql(&url, "UPDATE hivemind_journal.snapshot SET content = 'state X' WHERE seq = 3");
    let (found, bytes) = storage.snapshots().latest().unwrap().unwrap();
    assert_eq!((found, &bytes[..]), (at(2), &b"state 2"[..]));
    server.sql(&url, "UPDATE hivemind_journal.snapshot SET epoch = 9 WHERE seq = 2");
    assert!(matches!(storage.snapshots().latest(), Err(StoreError::Corrupt { .. })));
}

#[test]
fn the_server_may_crash_and_come_back() {
    let mut server = PostgresServer::start();
    let url = server.database();
    let (mut storage, found) = open(&url);
    let log_id = found.control.log_id;
    let first = unit(log_id, epoch(1), &found.tail, &[b"first"]);
    storage.write(&first).unwrap();
    server.kill();
    server.launch();
    let second = unit(log_id, epoch(1), &first.entries[0].tail(), &[b"second"]);
    storage.write(&second).unwrap();
    assert_eq!(storage.log().read(Seq(1), Seq(9), 99).unwrap().len(), 2);
    server.kill();
    // Gone for longer than a call may take: an error in bounded time, and nothing more before recovery.
    let timeouts = Timeouts { call: Duration::from_millis(200), ..Timeouts::default() };
    assert!(matches!(PostgresStorage::connect_with(&url, SHARD, timeouts), Err(StoreError::Database { .. })));
    server.launch();
    let (storage, found) = open(&url);
    assert_eq!(found.tail, second.entries[0].tail());
    assert_eq!(storage.log().read(Seq(1), Seq(9), 99).unwrap().len(), 2);
}

#[test]
fn several_first_starts_at_once() {
    let server = PostgresServer::shared();
    let url = server.database();
    let starts: Vec<_> = (0..4)
        .map(|_| {
            let url = url.clone();
            std::thread::spawn(move || open(&url).1.control)
        })
        .collect();
    let found: Vec<Control> = starts.into_iter().map(|start| start.join().unwrap()).collect();
    assert!(found.windows(2).all(|pair| pair[0] == pair[1]), "{found:?}");
}

#[test]
fn a_wrong_address_is_named_at_once() {
    assert!(matches!(PostgresStorage::connect("postgres://[nonsense", SHARD), Err(StoreError::Invalid { .. })));
}

const PASS: u8 = 0;
/// The commit arrives, its answer does not.
const DROP_ANSWER: u8 = 1;
/// The commit itself does not arrive.
const DROP_COMMIT: u8 = 2;
/// As `DROP_ANSWER`, and nobody gets through any more.
const DROP_ANSWER_AND_CLOSE: u8 = 3;
const CLOSED: u8 = 4;

/// A way to the server that can lose the commit of the next transaction or its answer.
fn proxy(target: String) -> (u16, Arc<AtomicU8>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mode = Arc::new(AtomicU8::new(PASS));
    let shared = Arc::clone(&mode);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            if shared.load(Ordering::SeqCst) == CLOSED {
                continue;
            }
            let server = TcpStream::connect(&target).unwrap();
            let (mut up, mut down) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let (mut to_server, mut to_client) = (server, client);
            let mode = Arc::clone(&shared);
            let mute = Arc::new(AtomicU8::new(0));
            let muted = Arc::clone(&mute);
            std::thread::spawn(move || {
                let mut buffer = [0; 65536];
                while let Ok(count @ 1..) = up.read(&mut buffer) {
                    if buffer[..count].windows(6).any(|word| word == b"COMMIT") {
                        let now = mode.load(Ordering::SeqCst);
                        let next = if now == DROP_ANSWER_AND_CLOSE { CLOSED } else { PASS };
                        match now {
                            DROP_COMMIT => {
                                mode.store(next, Ordering::SeqCst);
                                break;
                            }
                            DROP_ANSWER | DROP_ANSWER_AND_CLOSE => {
                                mode.store(next, Ordering::SeqCst);
                                mute.store(1, Ordering::SeqCst);
                            }
                            _ => {}
                        }
                    }
                    if to_server.write_all(&buffer[..count]).is_err() {
                        break;
                    }
                }
                let _ = (to_server.shutdown(Shutdown::Both), up.shutdown(Shutdown::Both));
            });
            std::thread::spawn(move || {
                let mut buffer = [0; 65536];
                while let Ok(count @ 1..) = down.read(&mut buffer) {
                    // The answer is here, so the commit is done: now the connection breaks.
                    if muted.load(Ordering::SeqCst) == 1 || to_client.write_all(&buffer[..count]).is_err() {
                        break;
                    }
                }
                let _ = (to_client.shutdown(Shutdown::Both), down.shutdown(Shutdown::Both));
            });
        }
    });
    (port, mode)
}

#[test]
fn a_lost_answer_to_a_commit_is_looked_up() {
    let server = PostgresServer::shared();
    let url = server.database();
    let rest = url.split_once('@').unwrap().1;
    let (address, name) = rest.split_once('/').unwrap();
    let (port, mode) = proxy(address.to_owned());
    let through = format!("postgres://postgres@127.0.0.1:{port}/{name}");
    let timeouts = Timeouts { call: Duration::from_secs(2), ..Timeouts::default() };
    let mut storage = PostgresStorage::connect_with(&through, SHARD, timeouts).unwrap();
    let found = storage.recover().unwrap();
    let log_id = found.control.log_id;
    let mut tail = found.tail;
    let count = || server.sql(&url, "SELECT count(*) FROM hivemind_journal.entry");
    for (fault, make) in [
        (DROP_ANSWER, unit as fn(_, _, &Tail, &[&[u8]]) -> Unit),
        (DROP_COMMIT, unit),
        (DROP_ANSWER, truncating),
        (DROP_COMMIT, truncating),
    ] {
        mode.store(fault, Ordering::SeqCst);
        let next = make(log_id, epoch(2), &tail, &[b"x", b"y"]);
        storage.write(&next).unwrap();
        assert_eq!(mode.load(Ordering::SeqCst), PASS, "the fault was used");
        tail = next.entries[1].tail();
        assert_eq!(count(), tail.seq.to_string());
    }
    // The same for a promise, and when somebody else is faster the second time.
    mode.store(DROP_COMMIT, Ordering::SeqCst);
    let control = Control { promised: epoch(3), ..found.control };
    storage.persist_control(&control).unwrap();
    mode.store(DROP_ANSWER, Ordering::SeqCst);
    storage.persist_control(&Control { promised: epoch(4), ..control.clone() }).unwrap();
    // Written, but nobody can tell: an error, then silence until recovery, which finds it.
    mode.store(DROP_ANSWER_AND_CLOSE, Ordering::SeqCst);
    let next = unit(log_id, epoch(4), &tail, &[b"z"]);
    let start = Instant::now();
    assert!(matches!(storage.write(&next), Err(StoreError::Database { .. })));
    assert!(start.elapsed() < Duration::from_secs(30), "bounded");
    assert!(matches!(storage.write(&next), Err(StoreError::OutOfService { .. })));
    assert!(matches!(storage.persist_control(&control), Err(StoreError::OutOfService { .. })));
    mode.store(PASS, Ordering::SeqCst);
    assert_eq!(storage.recover().unwrap().tail, next.entries[0].tail());
    let last = unit(log_id, epoch(4), &next.entries[0].tail(), &[b"last"]);
    storage.write(&last).unwrap();
}
