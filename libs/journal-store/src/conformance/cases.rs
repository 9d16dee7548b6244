//! The cases. Each gets a factory, starts with a fresh storage and panics on the first difference.

use journal_core::{ChainHash, Control, Entry, EpochStart, Recovered, Tail, Unit, Voter, VoterConfig};
use types::{Epoch, Incarnation, LogId, Seq};

use super::Opening;
use super::samples::{batch, control, epoch, extend, truncating, unit};
use crate::{Storage, StoreError};

type Make<'a> = &'a mut dyn FnMut(Opening) -> Box<dyn Storage>;

/// Bytes no case reaches.
const PLENTY: usize = 64 << 20;

type Case = (&'static str, fn(Make<'_>));

pub(super) const ALL: &[Case] = &[
    ("a fresh storage is empty and has an identity that stays", identity),
    ("nothing works before recovery", before_recovery),
    ("what was written is found again", written),
    ("a lower epoch is fenced", fenced),
    ("one owner per epoch", one_owner),
    ("a promise survives a restart, from the control record or from the log", promises),
    ("the promise of a copied entry's writer is durable too", copied_entries),
    ("a unit must continue the log", mismatches),
    ("a truncation replaces the end", truncation),
    ("readers see ranges, limits and nothing unwritten", reading),
    ("trimming forgets the beginning and keeps the rest", trimming),
    ("an empty log may begin after a base", beginning),
    ("the control record keeps everything", control_fields),
    ("snapshots: the newest two", snapshots),
    ("large entries", large),
    ("a long log of many units", long),
];

fn open(make: Make<'_>, opening: Opening) -> (Box<dyn Storage>, Recovered) {
    let mut storage = make(opening);
    let recovered = storage.recover().expect("recovers");
    (storage, recovered)
}

fn check_log(storage: &dyn Storage, recovered: &Recovered, log: &[Entry]) {
    let base = recovered.control.base.seq;
    let kept = &log[usize::try_from(base.0).expect("small")..];
    assert_eq!(recovered.tail, log.last().map_or_else(Tail::default, Entry::tail));
    assert_eq!(recovered.chains, kept.iter().map(|entry| entry.chain).collect::<Vec<_>>());
    assert_eq!(recovered.dubious_from, None);
    let read = storage.log().read(base.next(), Seq(u64::MAX), PLENTY).expect("reads");
    assert_eq!(read, kept);
}

fn identity(make: Make<'_>) {
    let (storage, first) = open(make, Opening::Fresh);
    assert_ne!(first.control.log_id, LogId(0));
    assert_ne!(first.control.disk_id, 0);
    assert_eq!((first.tail, first.control.base), (Tail::default(), Tail::default()));
    assert_eq!((first.epochs.len(), first.chains.len(), first.dubious_from), (0, 0, None));
    assert_eq!(first.control.promised, Epoch::default());
    assert_eq!(storage.snapshots().latest().expect("reads"), None);
    check_log(&*storage, &first, &[]);
    drop(storage);
    let (storage, again) = open(make, Opening::Again);
    assert_eq!(again, first);
    drop(storage);
    let (_storage, other) = open(make, Opening::Fresh);
    assert_ne!(other.control.log_id, first.control.log_id);
    assert_ne!(other.control.disk_id, first.control.disk_id);
}

fn before_recovery(make: Make<'_>) {
    let (storage, found) = open(make, Opening::Fresh);
    drop(storage);
    let mut storage = make(Opening::Again);
    let write = unit(found.control.log_id, epoch(1), &found.tail, &[b"x"]);
    assert!(matches!(storage.write(&write), Err(StoreError::OutOfService { .. })));
    assert!(matches!(storage.persist_control(&found.control), Err(StoreError::OutOfService { .. })));
    assert!(matches!(storage.trim(&Tail::default()), Err(StoreError::OutOfService { .. })));
    storage.recover().expect("recovers");
    storage.write(&write).expect("writes");
}

fn written(make: Make<'_>) {
    let (mut storage, found) = open(make, Opening::Fresh);
    let log_id = found.control.log_id;
    let mut log = Vec::new();
    let mut tail = Tail::default();
    for (number, payloads) in [(1, vec![&b"a"[..]]), (1, vec![b"", b"bc", b"def"]), (3, vec![b"x", b"y"])] {
        let next = unit(log_id, epoch(number), &tail, &payloads);
        storage.write(&next).expect("writes");
        extend(&mut log, &next);
        tail = log.last().expect("not empty").tail();
    }
    let epochs = vec![EpochStart { epoch: 1, seq: Seq(1) }, EpochStart { epoch: 3, seq: Seq(5) }];
    let again = storage.recover().expect("recovers while open");
    check_log(&*storage, &again, &log);
    assert_eq!(again.epochs, epochs);
    drop(storage);
    let (storage, again) = open(make, Opening::Again);
    check_log(&*storage, &again, &log);
    assert_eq!(again.epochs, epochs);
    assert_eq!(again.control.promised, epoch(3));
}

fn fenced(make: Make<'_>) {
    let (mut storage, found) = open(make, Opening::Fresh);
    let log_id = found.control.log_id;
    storage.persist_control(&control(&found, epoch(5))).expect("persists");
    let late = unit(log_id, epoch(4), &Tail::default(), &[b"late"]);
    assert!(matches!(storage.write(&late), Err(StoreError::Fenced { promised }) if promised == epoch(5)));
    let lower = control(&found, epoch(4));
    assert!(matches!(storage.persist_control(&lower), Err(StoreError::Fenced { promised }) if promised == epoch(5)));
    let good = unit(log_id, epoch(5), &Tail::default(), &[b"good"]);
    storage.write(&good).expect("a refusal does not end the service");
    drop(storage);
    let (storage, again) = open(make, Opening::Again);
    check_log(&*storage, &again, &good.entries);
}

fn one_owner(make: Make<'_>) {
    let (mut storage, found) = open(make, Opening::Fresh);
    storage.persist_control(&control(&found, epoch(5))).expect("persists");
    let rival = Epoch { number: 5, owner: Incarnation(1) };
    let write = unit(found.control.log_id, rival, &Tail::default(), &[b"rival"]);
    assert!(matches!(storage.write(&write), Err(StoreError::Fenced { .. })));
    assert!(matches!(storage.persist_control(&control(&found, rival)), Err(StoreError::Fenced { .. })));
    storage.persist_control(&control(&found, epoch(5))).expect("the owner may repeat itself");
}

fn promises(make: Make<'_>) {
    let (mut storage, found) = open(make, Opening::Fresh);
    let log_id = found.control.log_id;
    storage.persist_control(&control(&found, epoch(2))).expect("persists");
    drop(storage);
    let (mut storage, again) = open(make, Opening::Again);
    assert_eq!(again.control.promised, epoch(2));
    let first = unit(log_id, epoch(6), &Tail::default(), &[b"six"]);
    storage.write(&first).expect("a higher epoch becomes the promise");
    let second = unit(log_id, epoch(5), &first.entries[0].tail(), &[b"five"]);
    assert!(matches!(storage.write(&second), Err(StoreError::Fenced { promised }) if promised == epoch(6)));
    drop(storage);
    let (mut storage, again) = open(make, Opening::Again);
    assert_eq!(again.control.promised, epoch(6));
    assert!(matches!(storage.write(&second), Err(StoreError::Fenced { .. })));
}

fn copied_entries(make: Make<'_>) {
    let (mut storage, found) = open(make, Opening::Fresh);
    let entries = batch(found.control.log_id, epoch(2), &Tail::default(), &[b"old", b"older"]);
    storage.write(&Unit { epoch: epoch(9), truncate_to: None, entries: entries.clone() }).expect("writes");
    drop(storage);
    let (mut storage, again) = open(make, Opening::Again);
    assert_eq!(again.control.promised, epoch(9));
    assert_eq!(again.epochs, [EpochStart { epoch: 2, seq: Seq(1) }]);
    let late = unit(found.control.log_id, epoch(8), &again.tail, &[b"late"]);
    assert!(matches!(storage.write(&late), Err(StoreError::Fenced { .. })));
    check_log(&*storage, &again, &entries);
}

fn mismatches(make: Make<'_>) {
    let (mut storage, found) = open(make, Opening::Fresh);
    let log_id = found.control.log_id;
    let first = unit(log_id, epoch(1), &Tail::default(), &[b"a", b"b"]);
    storage.write(&first).expect("writes");
    let tail = first.entries[1].tail();
    let refused = |storage: &mut dyn Storage, unit: &Unit| match storage.write(unit) {
        Err(StoreError::Mismatch { found }) => assert_eq!(found, tail),
        other => panic!("{other:?}"),
    };
    // The same again, a gap, another content before, a truncation that keeps another content or more than there is.
    refused(&mut *storage, &first);
    refused(&mut *storage, &unit(log_id, epoch(1), &Tail { seq: Seq(3), ..tail }, &[b"c"]));
    refused(&mut *storage, &unit(log_id, epoch(1), &Tail { chain: ChainHash([7; 16]), ..tail }, &[b"c"]));
    let other = Tail { chain: ChainHash([7; 16]), ..first.entries[0].tail() };
    refused(&mut *storage, &truncating(log_id, epoch(1), &other, &[b"c"]));
    refused(&mut *storage, &truncating(log_id, epoch(1), &Tail { seq: Seq(3), ..tail }, &[b"c"]));
    // Nonsense in itself.
    let mut broken = unit(log_id, epoch(1), &tail, &[b"c", b"d"]);
    broken.entries.swap(0, 1);
    assert!(storage.write(&broken).is_err());
    let mut gap = unit(log_id, epoch(1), &tail, &[b"c", b"d", b"e"]);
    gap.entries.remove(1);
    assert!(matches!(storage.write(&gap), Err(StoreError::Invalid { .. })));
    let mut forged = unit(log_id, epoch(1), &tail, &[b"c"]);
    forged.entries[0].payload = bytes::Bytes::from_static(b"C");
    assert!(matches!(storage.write(&forged), Err(StoreError::Invalid { .. })));
    let foreign = unit(LogId(3), epoch(1), &tail, &[b"c"]);
    assert!(matches!(storage.write(&foreign), Err(StoreError::Invalid { .. })));
    let empty = Unit { epoch: epoch(1), truncate_to: None, entries: Vec::new() };
    assert!(matches!(storage.write(&empty), Err(StoreError::Invalid { .. })));
    drop(storage);
    let (mut storage, again) = open(make, Opening::Again);
    check_log(&*storage, &again, &first.entries);
    storage.write(&unit(log_id, epoch(1), &tail, &[b"c"])).expect("goes on");
}

fn truncation(make: Make<'_>) {
    let (mut storage, found) = open(make, Opening::Fresh);
    let log_id = found.control.log_id;
    let mut log = Vec::new();
    let first = unit(log_id, epoch(1), &Tail::default(), &[b"1", b"2", b"3", b"4"]);
    let second = unit(log_id, epoch(2), &first.entries[3].tail(), &[b"5"]);
    let cut = truncating(log_id, epoch(3), &first.entries[1].tail(), &[b"three"]);
    for unit in [&first, &second, &cut] {
        storage.write(unit).expect("writes");
        extend(&mut log, unit);
    }
    assert_eq!(storage.log().read(Seq(1), Seq(99), PLENTY).expect("reads"), log);
    drop(storage);
    let (mut storage, again) = open(make, Opening::Again);
    check_log(&*storage, &again, &log);
    assert_eq!(again.epochs, [EpochStart { epoch: 1, seq: Seq(1) }, EpochStart { epoch: 3, seq: Seq(3) }]);
    // Everything may go.
    let all = truncating(log_id, epoch(4), &Tail::default(), &[b"one", b"two"]);
    storage.write(&all).expect("writes");
    drop(storage);
    let (storage, again) = open(make, Opening::Again);
    check_log(&*storage, &again, &all.entries);
    assert_eq!(again.epochs, [EpochStart { epoch: 4, seq: Seq(1) }]);
}

fn reading(make: Make<'_>) {
    let (mut storage, found) = open(make, Opening::Fresh);
    let log_id = found.control.log_id;
    let reader = storage.log();
    assert_eq!(reader.read(Seq(1), Seq(10), PLENTY).expect("empty"), []);
    let first = unit(log_id, epoch(1), &Tail::default(), &[&[1; 100], &[2; 100], &[3; 100], &[4; 100], &[5; 100]]);
    storage.write(&first).expect("writes");
    let all = first.entries;
    let read = |from: u64, to: u64, bytes: usize| reader.read(Seq(from), Seq(to), bytes).expect("reads");
    assert_eq!(read(1, 5, PLENTY), all);
    assert_eq!(read(2, 3, PLENTY), all[1..3]);
    assert_eq!(read(4, u64::MAX, PLENTY), all[3..]);
    assert_eq!(read(6, 9, PLENTY), []);
    assert_eq!(read(3, 2, PLENTY), []);
    assert_eq!(read(1, 5, 0), all[..1], "at least one");
    assert_eq!(read(1, 5, 100), all[..1]);
    assert_eq!(read(1, 5, 299), all[..2]);
    assert_eq!(read(1, 5, 300), all[..3]);
    assert!(matches!(reader.read(Seq(0), Seq(5), PLENTY), Err(StoreError::Trimmed { base }) if base == Seq(0)));
}

fn trimming(make: Make<'_>) {
    let (mut storage, found) = open(make, Opening::Fresh);
    let log_id = found.control.log_id;
    let mut log = Vec::new();
    let mut tail = Tail::default();
    for number in 0..60_u64 {
        let next = unit(log_id, epoch(1 + number / 20), &tail, &[&[0; 200], &number.to_le_bytes()]);
        storage.write(&next).expect("writes");
        extend(&mut log, &next);
        tail = log.last().expect("not empty").tail();
    }
    let wrong = Tail { chain: ChainHash([9; 16]), ..log[10].tail() };
    assert!(matches!(storage.trim(&wrong), Err(StoreError::Invalid { .. })));
    assert!(matches!(storage.trim(&Tail { seq: Seq(500), ..tail }), Err(StoreError::Invalid { .. })));
    for base in [1, 57, 58, 120] {
        let base = log[base - 1].tail();
        storage.trim(&base).expect("trims");
        storage.trim(&base).expect("again is nothing");
        storage.trim(&log[0].tail()).expect("less is nothing");
        let stale = unit(log_id, epoch(2), &tail, &[b"stale"]);
        assert!(matches!(storage.write(&stale), Err(StoreError::Fenced { .. })), "trimming forgets no promise");
        assert!(
            matches!(storage.log().read(base.seq, tail.seq, PLENTY), Err(StoreError::Trimmed { base: b }) if b == base.seq)
        );
        // An older base in a control record does not bring anything back.
        storage.persist_control(&control(&found, epoch(3))).expect("persists");
        drop(storage);
        let again;
        (storage, again) = open(make, Opening::Again);
        assert_eq!(again.control.base, base);
        check_log(&*storage, &again, &log);
        let first = again.epochs.first().expect("covers the base");
        assert_eq!(*first, EpochStart { epoch: base.epoch.number, seq: base.seq });
    }
    let below = truncating(log_id, epoch(4), &log[100].tail(), &[b"below"]);
    assert!(matches!(storage.write(&below), Err(StoreError::Invalid { .. })), "no truncation below the base");
    let next = unit(log_id, epoch(4), &tail, &[b"next"]);
    storage.write(&next).expect("goes on after a full trim");
    extend(&mut log, &next);
    drop(storage);
    let (mut storage, again) = open(make, Opening::Again);
    check_log(&*storage, &again, &log);
    let replaced = truncating(log_id, epoch(5), &tail, &[b"replaced"]);
    storage.write(&replaced).expect("truncation down to the base");
    extend(&mut log, &replaced);
    drop(storage);
    let (storage, again) = open(make, Opening::Again);
    check_log(&*storage, &again, &log);
}

fn beginning(make: Make<'_>) {
    let (mut storage, found) = open(make, Opening::Fresh);
    let base = Tail { epoch: Epoch::default(), seq: Seq(41), chain: ChainHash([7; 16]) };
    storage.snapshots().put(&base, b"state").expect("stored");
    storage.begin_after(&base).expect("an empty log");
    let again = storage.recover().expect("recovers");
    assert_eq!((again.tail, again.control.base, again.control.log_id), (base, base, found.control.log_id));
    drop(storage);
    let (mut storage, again) = open(make, Opening::Again);
    assert_eq!((again.tail, again.control.base, again.chains.len()), (base, base, 0));
    assert_eq!(storage.snapshots().latest().expect("reads").map(|(at, _)| at), Some(base));
    let write = unit(found.control.log_id, epoch(1), &base, &[b"x", b"y"]);
    storage.write(&write).expect("continues the base");
    assert!(matches!(storage.begin_after(&base), Err(StoreError::Invalid { .. })), "not empty any more");
    drop(storage);
    let (mut storage, again) = open(make, Opening::Again);
    assert_eq!((again.tail.seq, again.control.base), (Seq(43), base));
    assert_eq!(storage.log().read(Seq(42), Seq(u64::MAX), PLENTY).expect("reads"), write.entries);
    assert!(matches!(storage.log().read(base.seq, Seq(42), PLENTY), Err(StoreError::Trimmed { .. })));
    assert!(matches!(storage.begin_after(&base), Err(StoreError::Invalid { .. })));
}

fn control_fields(make: Make<'_>) {
    let (mut storage, found) = open(make, Opening::Fresh);
    let voter = |name: &str, disk_id| Voter { gateway: name.to_owned(), disk_id };
    let mut next = control(&found, epoch(2));
    next.config = VoterConfig {
        generation: 7,
        current: vec![voter("gateway-a", found.control.disk_id), voter("b", 2), voter("c", 3)],
        pending: vec![voter("d", u128::MAX)],
    };
    next.quarantined = true;
    storage.persist_control(&next).expect("persists");
    next.config.generation = 8;
    storage.persist_control(&next).expect("persists");
    drop(storage);
    let (storage, again) = open(make, Opening::Again);
    assert_eq!(again.control, next);
    drop(storage);
    // The history may be given while there is none; the identity of the disk never.
    let (mut storage, again) = open(make, Opening::Again);
    let other_disk = Control { disk_id: 1, ..again.control.clone() };
    assert!(matches!(storage.persist_control(&other_disk), Err(StoreError::Invalid { .. })));
    let given = Control { log_id: LogId(5), ..again.control };
    storage.persist_control(&given).expect("persists");
    let first = unit(LogId(5), epoch(2), &Tail::default(), &[b"first"]);
    storage.write(&first).expect("writes");
    let other_log = Control { log_id: LogId(6), ..given };
    assert!(matches!(storage.persist_control(&other_log), Err(StoreError::Invalid { .. })));
    drop(storage);
    let (storage, again) = open(make, Opening::Again);
    assert_eq!(again.control.log_id, LogId(5));
    check_log(&*storage, &again, &first.entries);
}

fn snapshots(make: Make<'_>) {
    let (storage, _) = open(make, Opening::Fresh);
    let tail = |seq: u8| Tail { epoch: epoch(1), seq: Seq(seq.into()), chain: ChainHash([seq; 16]) };
    let store = storage.snapshots();
    for seq in 1..=4_u8 {
        store.put(&tail(seq), &vec![seq; 1000 * usize::from(seq)]).expect("puts");
        let (at, bytes) = store.latest().expect("reads").expect("there is one");
        assert_eq!((at, &bytes[..]), (tail(seq), &vec![seq; 1000 * usize::from(seq)][..]));
    }
    store.put(&tail(4), b"again").expect("replaces");
    store.put(&tail(5), b"").expect("empty");
    drop((store, storage));
    let (storage, _) = open(make, Opening::Again);
    let (at, bytes) = storage.snapshots().latest().expect("reads").expect("there is one");
    assert_eq!((at, &bytes[..]), (tail(5), &b""[..]));
}

fn large(make: Make<'_>) {
    let (mut storage, found) = open(make, Opening::Fresh);
    let log_id = found.control.log_id;
    let big = vec![0xa5; journal_core::MAX_PAYLOAD_BYTES];
    let first = unit(log_id, epoch(1), &Tail::default(), &[b"small", &big, b"small", &big]);
    storage.write(&first).expect("writes");
    let too_big = unit(log_id, epoch(1), &first.entries[3].tail(), &[&vec![0; big.len() + 1]]);
    assert!(matches!(storage.write(&too_big), Err(StoreError::Invalid { .. })));
    drop(storage);
    let (storage, again) = open(make, Opening::Again);
    check_log(&*storage, &again, &first.entries);
    assert_eq!(storage.log().read(Seq(1), Seq(4), big.len() + 5).expect("reads").len(), 2);
}

fn long(make: Make<'_>) {
    let (mut storage, found) = open(make, Opening::Fresh);
    let log_id = found.control.log_id;
    let reader = storage.log();
    let mut log: Vec<Entry> = Vec::new();
    for number in 0..300_u64 {
        let size = usize::try_from(number * 37 % 400).expect("small");
        let payload = vec![u8::try_from(number % 251).expect("small"); size];
        let next = if number % 41 == 40 {
            let keep = log[log.len() - 4].tail();
            truncating(log_id, epoch(1 + number / 41), &keep, &[&payload, b"-"])
        } else {
            let tail = log.last().map_or_else(Tail::default, Entry::tail);
            unit(log_id, epoch(1 + number / 41), &tail, &[&payload])
        };
        storage.write(&next).expect("writes");
        extend(&mut log, &next);
        assert_eq!(reader.read(next.entries[0].seq, Seq(u64::MAX), PLENTY).expect("reads"), next.entries);
    }
    assert_eq!(reader.read(Seq(1), Seq(u64::MAX), PLENTY).expect("reads"), log);
    drop(storage);
    let (storage, again) = open(make, Opening::Again);
    check_log(&*storage, &again, &log);
}
