//! The binary layouts: golden files, every flipped bit, bytes drawn at random.
//!
//! `UPDATE_GOLDEN=1` writes the golden files anew. A file that exists already must never change: what was written by
//! an older version has to be readable for ever. A new layout gets a new version and new files.
#![allow(clippy::unwrap_used, reason = "tests")]

mod samples;

use bytes::Bytes;
use journal_core::codec::{CodecError, batch, control, record, snapshot, state_hash};
use journal_core::{Entry, MAX_PAYLOAD_BYTES};
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use types::StateHash;

const DISK: u128 = 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10;

fn place(last_in_unit: bool) -> record::Place {
    record::Place { disk_id: DISK, phys_no: 41, unit_no: 17, last_in_unit }
}

fn encoded_batch() -> Vec<u8> {
    let mut bytes = Vec::new();
    batch::encode(&samples::commands(), &mut bytes);
    bytes
}

fn encoded_record(record: &record::Record) -> Vec<u8> {
    let mut bytes = Vec::new();
    record.encode(place(true), &mut bytes).unwrap();
    bytes
}

fn records() -> [record::Record; 3] {
    let truncate = record::Record::Truncate { to: types::Seq(9), by: samples::epoch() };
    let empty = Entry { payload: Bytes::new(), ..samples::entry(&[]) };
    [record::Record::Entry(samples::entry(&encoded_batch())), record::Record::Entry(empty), truncate]
}

/// Compares with `tests/golden/<name>.hex`, 32 bytes a line.
fn golden(name: &str, bytes: &[u8]) {
    let path = format!("{}/tests/golden/{name}.hex", env!("CARGO_MANIFEST_DIR"));
    let line = |line: &[u8]| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n";
    let text: String = bytes.chunks(32).map(line).collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert_eq!(text, expected, "the layout of {name} has changed: give it a new version instead");
}

#[test]
fn layouts_are_as_they_were() {
    golden("batch-v1", &encoded_batch());
    for (record, name) in records().iter().zip(["record-entry-v1", "record-empty-entry-v1", "record-truncate-v1"]) {
        golden(name, &encoded_record(record));
    }
    golden("control-v1", &*control::encode(&samples::control(), 12).unwrap());
    golden("snapshot-v1", &snapshot::encode(&samples::snapshot()));
    golden("state-hash-v1", &state_hash::encode(StateHash(0xfeed)));
}

#[test]
fn everything_reads_back() {
    let bytes = encoded_batch();
    let view = batch::BatchView::parse(&bytes).unwrap();
    assert_eq!(view.iter().collect::<Vec<_>>(), samples::commands());
    assert_eq!(view.len(), samples::commands().len());
    for record in records() {
        let bytes = encoded_record(&record);
        assert_eq!((bytes.len(), bytes.len() % record::ALIGN_BYTES), (record.encoded_bytes(), 0));
        let (header, read) = record::Record::decode(&bytes, DISK).unwrap();
        assert_eq!((read, header.place, header.record_bytes()), (record, place(true), bytes.len()));
        assert_eq!(record::decode_header(&bytes[..record::HEADER_BYTES], DISK), Ok(header));
        assert!(matches!(record::Record::decode(&bytes, DISK + 1), Err(CodecError::Foreign { .. })));
    }
    let control = samples::control();
    assert_eq!(control::decode(&*control::encode(&control, 12).unwrap()), Ok((12, control)));
    let snapshot = samples::snapshot();
    assert_eq!(snapshot::decode(&snapshot::encode(&snapshot)), Ok(snapshot));
    assert_eq!(state_hash::decode(&state_hash::encode(StateHash(5))), Ok(StateHash(5)));
}

/// Every single flipped bit and every cut is noticed.
fn fragile(name: &str, good: &[u8], accepts: impl Fn(&[u8]) -> bool) {
    assert!(accepts(good), "{name}");
    let mut bytes = good.to_vec();
    for bit in 0..good.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(!accepts(&bytes), "{name}: bit {bit} flipped");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    for end in 0..good.len() {
        assert!(!accepts(&good[..end]), "{name}: cut at {end}");
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    for record in records() {
        fragile("record", &encoded_record(&record), |bytes| record::Record::decode(bytes, DISK).is_ok());
    }
    let slot = control::encode(&samples::control(), 12).unwrap();
    fragile("control", &*slot, |bytes| control::decode(bytes).is_ok());
    fragile("snapshot", &snapshot::encode(&samples::snapshot()), |bytes| snapshot::decode(bytes).is_ok());
}

#[test]
fn the_better_slot_is_chosen_and_damage_is_told() {
    use control::Choice;
    let (old, new) = (samples::control(), journal_core::Control { quarantined: true, ..samples::control() });
    let [a, b] = [(&old, 4), (&new, 5)].map(|(control, generation)| control::encode(control, generation).unwrap());
    let blank = vec![0; control::SLOT_BYTES];
    let found = |control: &journal_core::Control, generation, other| Choice::Found {
        control: control.clone(),
        generation,
        other,
    };
    assert_eq!(control::choose(&*a, &*b), found(&new, 5, None));
    assert_eq!(control::choose(&*b, &*a), found(&new, 5, None));
    assert_eq!(control::choose(&*a, &*a), found(&old, 4, None));
    assert_eq!(control::choose(&blank, &blank), Choice::Blank);
    assert!(matches!(control::choose(&blank, &*a), Choice::Found { generation: 4, other: Some(_), .. }));
    for bit in 0..control::SLOT_BYTES * 8 {
        let mut torn = b.clone();
        torn[bit / 8] ^= 1 << (bit % 8);
        let told = control::choose(&*a, &*torn);
        assert!(matches!(told, Choice::Found { generation: 4, other: Some(_), .. }), "bit {bit}: {told:?}");
        assert!(matches!(control::choose(&*torn, &blank), Choice::Lost { .. }), "bit {bit}");
    }
    let contradicts = control::encode(&new, 4).unwrap();
    assert!(matches!(control::choose(&*a, &*contradicts), Choice::Lost { .. }));
}

#[test]
fn what_does_not_fit_is_refused() {
    let voter = journal_core::Voter { gateway: "g".repeat(65), disk_id: 1 };
    let config = |voters| journal_core::VoterConfig { generation: 1, current: voters, pending: Vec::new() };
    let control = |voters| journal_core::Control { config: config(voters), ..samples::control() };
    assert!(control::encode(&control(vec![voter]), 1).is_err());
    assert!(control::encode(&control(vec![journal_core::Voter::default(); 8]), 1).is_err());
    assert!(control::encode(&control(vec![journal_core::Voter::default(); 7]), 1).is_ok());
    let large = samples::entry(&vec![0; MAX_PAYLOAD_BYTES + 1]);
    let mut bytes = vec![1, 2, 3];
    assert!(record::Record::Entry(large).encode(place(true), &mut bytes).is_err());
    assert_eq!(bytes, [1, 2, 3]);
    let largest = record::Record::Entry(samples::entry(&vec![7; MAX_PAYLOAD_BYTES]));
    assert_eq!(encoded_record(&largest).len(), record::MAX_RECORD_BYTES);
}

/// Arbitrary bytes are refused or read, never a panic; what is read is written to the same bytes again.
fn feed(bytes: &[u8]) {
    if let Ok(view) = batch::BatchView::parse(bytes) {
        let mut again = Vec::new();
        batch::encode(&view.iter().collect::<Vec<_>>(), &mut again);
        assert_eq!(again, bytes);
    }
    if let Ok((header, read)) = record::Record::decode(bytes, DISK) {
        let mut again = Vec::new();
        read.encode(header.place, &mut again).unwrap();
        assert_eq!(again, bytes[..again.len()]);
    }
    if let Ok((generation, control)) = control::decode(bytes) {
        assert_eq!(&control::encode(&control, generation).unwrap()[..], bytes);
    }
    if let Ok(read) = snapshot::decode(bytes) {
        assert_eq!(snapshot::encode(&read), bytes);
    }
    if let Ok(hash) = state_hash::decode(bytes) {
        assert_eq!(state_hash::encode(hash), bytes);
    }
}

#[test]
fn arbitrary_bytes_never_panic() {
    let mut rng = ChaCha8Rng::seed_from_u64(20);
    let mut corpus = vec![encoded_batch(), snapshot::encode(&samples::snapshot()), state_hash::encode(StateHash(1))];
    corpus.extend(records().iter().map(encoded_record));
    corpus.push(control::encode(&samples::control(), 3).unwrap().to_vec());
    for round in 0..60_000_u32 {
        let mut bytes = corpus[rng.random_range(0..corpus.len())].clone();
        for _ in 0..rng.random_range(1..6) {
            let at = rng.random_range(0..bytes.len());
            match rng.random_range(0..4) {
                0 => bytes[at] = rng.random(),
                1 => bytes.truncate(at.max(1)),
                2 => bytes.push(rng.random()),
                _ => {
                    let end = (at + 8).min(bytes.len());
                    bytes[at..end].fill(if round % 2 == 0 { 0xff } else { 0 });
                }
            }
        }
        // Checksums keep most of this out; behind them the fields must hold as well.
        if round % 3 == 0 {
            samples::repair(&mut bytes);
        }
        feed(&bytes);
    }
    for _ in 0..20_000 {
        let mut bytes = vec![0; rng.random_range(0..300)];
        rng.fill_bytes(&mut bytes);
        feed(&bytes);
    }
}
