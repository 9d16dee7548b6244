//! Segment files on the real file system: the lock, rolls with a segment prepared beside the writer, and readers.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use journal_core::{Entry, Tail};
use journal_store::conformance::{epoch, extend, truncating, unit};
use journal_store::file::{FileOptions, FileStorage, probe_sync};
use journal_store::{LogReader, Storage, StoreError};
use types::Seq;

const PLENTY: usize = usize::MAX;

fn open(dir: &Path, segment_bytes: u64) -> Result<FileStorage, StoreError> {
    FileStorage::open(FileOptions { dir: dir.to_owned(), segment_bytes })
}

#[test]
fn a_second_opener_is_told_who_holds_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("deep/journal");
    let first = open(&dir, 8192).unwrap();
    match open(&dir, 8192).map(|_| ()) {
        Err(error @ StoreError::Locked { pid, .. }) => {
            assert_eq!(pid, Some(std::process::id()));
            assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
        }
        other => panic!("{other:?}"),
    }
    drop(first);
    open(&dir, 8192).unwrap();
}

/// It may be hundreds of megabytes, and the next one is only made when there is something to put into it.
#[test]
fn an_unfinished_snapshot_is_gone_after_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let mut storage = open(directory.path(), 8192).unwrap();
    storage.recover().unwrap();
    drop(storage);
    let left = directory.path().join("snapshot.tmp");
    std::fs::write(&left, [0; 4096]).unwrap();
    let mut storage = open(directory.path(), 8192).unwrap();
    storage.recover().unwrap();
    assert!(!left.exists());
}

#[test]
fn impossible_segment_lengths_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    for bytes in [0, 4096, 10_000, u64::MAX] {
        assert!(matches!(open(directory.path(), bytes), Err(StoreError::Invalid { .. })), "{bytes}");
    }
}

#[test]
fn the_length_of_segments_may_change() {
    let directory = tempfile::tempdir().unwrap();
    let mut log: Vec<Entry> = Vec::new();
    for segment_bytes in [8 << 10, 256 << 10, 16 << 10, 2 << 20] {
        let mut storage = open(directory.path(), segment_bytes).unwrap();
        let found = storage.recover().unwrap();
        for _ in 0..20 {
            let tail = log.last().map_or_else(Tail::default, Entry::tail);
            let next = unit(found.control.log_id, epoch(1), &tail, &[&[7; 900], b"x"]);
            storage.write(&next).unwrap();
            extend(&mut log, &next);
        }
        // Some from files, some from memory.
        assert_eq!(storage.log().read(Seq(1), Seq(u64::MAX), PLENTY).unwrap(), log);
    }
    let mut storage = open(directory.path(), 8 << 10).unwrap();
    assert_eq!(storage.recover().unwrap().tail, log.last().unwrap().tail());
    assert_eq!(storage.log().read(Seq(1), Seq(u64::MAX), PLENTY).unwrap(), log);
    assert_eq!(storage.log().read(Seq(30), Seq(130), PLENTY).unwrap(), log[29..130]);
}

/// Half a segment is written, so the next one is being made; it must not be lost or used under a wrong name.
#[test]
fn recovering_again_while_a_segment_is_prepared() {
    let directory = tempfile::tempdir().unwrap();
    let mut storage = open(directory.path(), 64 << 10).unwrap();
    let log_id = storage.recover().unwrap().control.log_id;
    let mut tail = Tail::default();
    for _ in 0..6 {
        for _ in 0..5 {
            let next = unit(log_id, epoch(1), &tail, &[&[3; 10_000]]);
            storage.write(&next).unwrap();
            tail = next.entries[0].tail();
        }
        assert_eq!(storage.recover().unwrap().tail, tail);
    }
}

#[test]
fn trimming_removes_files_but_never_the_last() {
    let directory = tempfile::tempdir().unwrap();
    let segments = || {
        let names = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_str().unwrap().ends_with(".segment")).count()
    };
    let mut storage = open(directory.path(), 8 << 10).unwrap();
    let log_id = storage.recover().unwrap().control.log_id;
    let mut tail = Tail::default();
    let mut tails = Vec::new();
    for _ in 0..30 {
        let next = unit(log_id, epoch(1), &tail, &[&[1; 1000]]);
        storage.write(&next).unwrap();
        tail = next.entries[0].tail();
        tails.push(tail);
    }
    let before = segments();
    assert!(before >= 10, "{before}");
    storage.trim(&tails[14]).unwrap();
    let half = segments();
    assert!(half <= before / 2 + 1, "{half}");
    storage.trim(&tail).unwrap();
    assert_eq!(segments(), 1);
}

/// Readers on other threads see whole, chained prefixes while the writer appends, replaces, trims and rolls.
#[test]
fn readers_beside_the_writer() {
    let directory = tempfile::tempdir().unwrap();
    let mut storage = open(directory.path(), 64 << 10).unwrap();
    let log_id = storage.recover().unwrap().control.log_id;
    let reader: Arc<dyn LogReader> = storage.log();
    let written = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..2_u64)
        .map(|number| {
            let (reader, written) = (Arc::clone(&reader), Arc::clone(&written));
            std::thread::spawn(move || {
                let mut seen = 0_u64;
                loop {
                    let tail = written.load(Ordering::Acquire);
                    // One follows the end, one always looks back.
                    let from = if number == 0 { seen + 1 } else { tail.saturating_sub(300).max(1) };
                    match reader.read(Seq(from), Seq(u64::MAX), 100_000) {
                        Ok(entries) => {
                            for pair in entries.windows(2) {
                                assert_eq!(pair[0].chain, pair[1].prev_chain);
                            }
                            assert!(entries.iter().all(Entry::verify));
                            if let Some(last) = entries.last() {
                                seen = last.seq.0;
                            }
                        }
                        Err(StoreError::Trimmed { base }) => seen = base.0,
                        Err(error) => panic!("{error}"),
                    }
                    if tail == u64::MAX {
                        return;
                    }
                }
            })
        })
        .collect();
    let mut log: Vec<Entry> = Vec::new();
    for number in 0..400_u64 {
        let tail = log.last().map_or_else(Tail::default, Entry::tail);
        let body = vec![number as u8; 200 + (number as usize * 13) % 700];
        let next = if number % 50 == 49 {
            truncating(log_id, epoch(1 + number), &log[log.len() - 3].tail(), &[&body])
        } else {
            unit(log_id, epoch(1 + number), &tail, &[&body, b"-"])
        };
        storage.write(&next).unwrap();
        extend(&mut log, &next);
        written.store(log.len() as u64, Ordering::Release);
        if number % 100 == 99 {
            storage.trim(&log[log.len() - 120].tail()).unwrap();
        }
    }
    written.store(u64::MAX, Ordering::Release);
    for reader in readers {
        reader.join().unwrap();
    }
    drop(storage);
    let mut storage = open(directory.path(), 64 << 10).unwrap();
    assert_eq!(storage.recover().unwrap().tail, log.last().unwrap().tail());
}

#[test]
fn the_probe_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let measured = probe_sync(directory.path(), 20, Duration::from_micros(100)).unwrap();
    for part in [measured.sync, measured.commit] {
        assert!(part.p50 <= part.p99 && part.p99 <= part.max && !part.p50.is_zero());
    }
    assert!(measured.commit.p50 >= measured.sync.p50, "a request waits for a whole write at least: {measured:?}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}
