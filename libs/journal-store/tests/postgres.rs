//! What PostgreSQL adds to the suite: other writers, restarts of the server, answers that get lost, changed rows.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use journal_core::{Control, Recovered, Tail, Unit};
use journal_store::conformance::{epoch, truncating, unit};
use journal_store::postgres::{PostgresLookout, PostgresStorage, Sighting, Timeouts};
use journal_store::testing::PostgresServer;
use journal_store::{Storage, StoreError};
use types::{Seq, ShardId};

const SHARD: ShardId = ShardId(0);

fn open(url: &str) -> (PostgresStorage, Recovered) {
    let mut storage = PostgresStorage::connect(url, SHARD).unwrap();
    let found = storage.recover().unwrap();
    (storage, found)
}

/// A gateway that starts has the whole log to read; the leader goes on through the other ones.
#[test]
fn reading_the_log_at_start_holds_up_no_writer() {
    let server = PostgresServer::shared();
    let url = server.database();
    let (mut writer, found) = open(&url);
    let first = unit(found.control.log_id, epoch(1), &Tail::default(), &[b"a", b"b"]);
    writer.write(&first).unwrap();
    let locks = |granted: bool| {
        let of_this = "database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        let sql =
            format!("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted = {granted} AND {of_this}");
        let until = Instant::now() + Duration::from_secs(60);
        while server.sql(&url, &sql) == "0" {
            assert!(Instant::now() < until, "no lock with granted = {granted}");
        }
    };
    // Each row read waits for a lock of ours.
    server.sql(&url, "ALTER TABLE hivemind_journal.entry RENAME TO stored");
    server.sql(
        &url,
        "CREATE VIEW hivemind_journal.entry AS SELECT * FROM hivemind_journal.stored
         WHERE pg_advisory_lock_shared(7)::text IS NOT NULL",
    );
    let held = server.hold_a_transaction(&url, "SELECT pg_advisory_xact_lock(7)");
    locks(true);
    let starting = std::thread::spawn({
        let url = url.clone();
        move || open(&url).1
    });
    locks(false);
    server.sql(&url, "SELECT 1 FROM hivemind_journal.voter FOR UPDATE NOWAIT");
    drop(held);
    let found = starting.join().unwrap();
    assert_eq!(found.tail, first.entries[1].tail());
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
    // A promise holds wherever the log ends; what is granted with it is read afterwards.
    let grant = Control { promised: epoch(6), ..found.control };
    old.persist_control(&grant).unwrap();
    assert_eq!(old.refresh().unwrap().tail, tail);
    assert!(old.confirm(epoch(6)).is_ok());
    assert!(matches!(new.confirm(epoch(5)), Err(StoreError::Fenced { promised }) if promised == epoch(6)));
    let second = unit(log_id, epoch(5), &tail, &[b"second"]);
    assert!(matches!(new.write(&second), Err(StoreError::Fenced { promised }) if promised == epoch(6)));
    assert_eq!(server.sql(&url, "SELECT count(*) FROM hivemind_journal.entry"), "1");
}

/// What one gateway writes, trims and cuts is what the other one reads, whether or not it has to read everything.
#[test]
fn what_others_wrote_is_read_again() {
    let server = PostgresServer::shared();
    let url = server.database();
    let (mut one, found) = open(&url);
    let (mut two, _) = open(&url);
    let log_id = found.control.log_id;
    let mut tails = vec![Tail::default()];
    let last = |tails: &Vec<Tail>| *tails.last().unwrap();
    for round in 1..=6_u64 {
        let (writer, reader) = if round % 2 == 0 { (&mut two, &mut one) } else { (&mut one, &mut two) };
        writer.refresh().unwrap();
        for text in [&b"a"[..], b"b", b"c"] {
            let next = unit(log_id, epoch(round), &last(&tails), &[text, text]);
            writer.write(&next).unwrap();
            tails.extend(next.entries.iter().map(journal_core::Entry::tail));
        }
        if round == 4 {
            // A place below what the other one knows, and one that it does not know yet.
            writer.trim(&tails[5]).unwrap();
            writer.trim(&tails[20]).unwrap();
            // Already done.
            reader.trim(&tails[20]).unwrap();
            assert!(matches!(reader.trim(&Tail { seq: Seq(22), ..tails[21] }), Err(StoreError::Invalid { .. })));
        }
        if round == 6 {
            let next = truncating(log_id, epoch(round), &last(&tails), &[b"x", b"y"]);
            writer.write(&next).unwrap();
            tails.truncate(usize::try_from(next.truncate_to.unwrap().0).unwrap() + 1);
            tails.extend(next.entries.iter().map(journal_core::Entry::tail));
        }
        let refreshed = reader.refresh().unwrap();
        assert_eq!(refreshed.tail, last(&tails), "round {round}");
        let (_, fresh) = open(&url);
        assert_eq!(refreshed, fresh, "round {round}");
        assert_eq!(writer.refresh().unwrap(), fresh, "round {round}");
    }
    // Nobody reads below the base; a snapshot sweeps it away.
    assert!(matches!(one.log().read(Seq(20), Seq(21), 99), Err(StoreError::Trimmed { base: Seq(20) })));
    one.snapshots().put(&tails[30], b"state").unwrap();
    assert_eq!(server.sql(&url, "SELECT min(seq) FROM hivemind_journal.entry"), "21");
    assert_eq!(open(&url).1, two.refresh().unwrap());
}

/// A database that was put back to an older state: the log known here is not there any more.
#[test]
fn a_log_that_went_back_is_read_as_it_is() {
    let server = PostgresServer::shared();
    let url = server.database();
    let (mut storage, found) = open(&url);
    let log_id = found.control.log_id;
    let first = unit(log_id, epoch(1), &found.tail, &[b"a"]);
    storage.write(&first).unwrap();
    server.sql(&url, "CREATE TABLE old_voter AS SELECT * FROM hivemind_journal.voter");
    storage.write(&unit(log_id, epoch(1), &first.entries[0].tail(), &[b"b"])).unwrap();
    server.sql(
        &url,
        "DELETE FROM hivemind_journal.entry WHERE seq = 2; DELETE FROM hivemind_journal.voter;
         INSERT INTO hivemind_journal.voter SELECT * FROM old_voter",
    );
    assert_eq!(storage.refresh().unwrap().tail, first.entries[0].tail());
    // And another entry where one was known.
    let other = unit(log_id, epoch(2), &first.entries[0].tail(), &[b"c"]);
    let (mut elsewhere, _) = open(&url);
    storage.write(&unit(log_id, epoch(1), &first.entries[0].tail(), &[b"b"])).unwrap();
    server.sql(
        &url,
        "DELETE FROM hivemind_journal.entry WHERE seq = 2; DELETE FROM hivemind_journal.voter;
         INSERT INTO hivemind_journal.voter SELECT * FROM old_voter",
    );
    elsewhere.write(&other).unwrap();
    assert_eq!(storage.refresh().unwrap(), open(&url).1);
}

#[test]
fn a_newer_configuration_is_not_undone() {
    let server = PostgresServer::shared();
    let url = server.database();
    let (mut one, found) = open(&url);
    let (mut two, _) = open(&url);
    let config = journal_core::VoterConfig { generation: 2, ..Default::default() };
    two.persist_control(&Control { promised: epoch(1), config: config.clone(), ..found.control }).unwrap();
    let stale = Control { promised: epoch(2), ..found.control };
    assert!(matches!(one.persist_control(&stale), Err(StoreError::Mismatch { .. })));
    assert_eq!(one.refresh().unwrap().control.config, config);
}

#[test]
fn a_look_tells_about_all_shards() {
    let server = PostgresServer::shared();
    let url = server.database();
    let shards = [ShardId(0), ShardId(3), ShardId(9)];
    let (mut storage, found) = open(&url);
    let mut third = PostgresStorage::connect(&url, shards[1]).unwrap();
    third.recover().unwrap();
    let next = unit(found.control.log_id, epoch(7), &found.tail, &[b"a", b"b"]);
    storage.write(&next).unwrap();
    storage.trim(&next.entries[0].tail()).unwrap();
    let mut lookout = PostgresLookout::new(&url, shards, Timeouts::default()).unwrap();
    let mut seen = lookout.look().unwrap();
    seen.sort_by_key(|sighting| sighting.shard);
    let empty = Sighting { shard: shards[1], promised: Default::default(), tail: Seq(0), base: Seq(0), single: true };
    let first = Sighting { shard: shards[0], promised: epoch(7), tail: Seq(2), base: Seq(1), single: true };
    assert_eq!(seen, [first, empty]);
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

/// Whether there is a message that binds a statement. Each has a letter, and its length in four bytes.
fn binds(mut messages: &[u8]) -> bool {
    while let [letter, a, b, c, d, ..] = *messages {
        if letter == b'B' {
            return true;
        }
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        messages = messages.get(1 + length..).unwrap_or_default();
    }
    false
}

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
                let (mut buffer, mut inside) = ([0; 65536], false);
                while let Ok(count @ 1..) = up.read(&mut buffer) {
                    let says = |word: &[u8]| buffer[..count].windows(word.len()).any(|found| found == word);
                    // A statement that is bound and executed outside a transaction is one of its own.
                    let commits = says(b"COMMIT") || (binds(&buffer[..count]) && !inside);
                    inside = !commits && (inside || says(b"BEGIN") || says(b"START TRANSACTION"));
                    if commits {
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
