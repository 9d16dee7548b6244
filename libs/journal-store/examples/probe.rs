//! Prints how long a small durable write takes in a directory, by itself and through the journal:
//! `cargo run --release -p journal-store --example probe -- DIR [SAMPLES]`.
#![allow(clippy::print_stdout, reason = "this is what it is for")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use journal_core::{Entry, EntryKind, Unit};
use journal_store::Storage;
use journal_store::file::{FileOptions, FileStorage, probe_sync};
use types::{Epoch, Incarnation, Timestamp};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().ok_or("name a directory")?);
    let samples: usize = arguments.next().map_or(Ok(5_000), |text| text.parse())?;
    println!("fdatasync of 512 bytes:       {:?}", probe_sync(&dir, samples, Duration::ZERO)?.sync);

    let dir = dir.join("probe-journal");
    let mut storage = FileStorage::open(FileOptions::new(&dir))?;
    let found = storage.recover()?;
    let epoch = Epoch { number: found.control.promised.number + 1, owner: Incarnation(1) };
    let (mut tail, mut durations) = (found.tail, Vec::with_capacity(samples));
    for _ in 0..samples.max(1) {
        let (seq, payload) = (tail.seq.next(), Bytes::from_static(&[0x5a; 200]));
        let entry =
            Entry::seal(found.control.log_id, epoch, seq, EntryKind::Batch, Timestamp(seq.0), tail.chain, payload);
        tail = entry.tail();
        let unit = Unit { epoch, truncate_to: None, entries: vec![entry] };
        let start = Instant::now();
        storage.write(&unit)?;
        durations.push(start.elapsed());
    }
    drop(storage);
    std::fs::remove_dir_all(&dir)?;
    durations.sort_unstable();
    let at = |per_mille: usize| durations[(durations.len() * per_mille / 1000).min(durations.len() - 1)];
    println!(
        "unit of one 200-byte entry:   p50 {:?}, p99 {:?}, p999 {:?}, max {:?}",
        at(500),
        at(990),
        at(999),
        at(1000)
    );
    Ok(())
}
