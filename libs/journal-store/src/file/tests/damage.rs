//! Rot: single bits in records, header slots, control slots and snapshots, and files that are not there.

use super::sim::SimDisk;
use super::{Expected, Step, open, payload, recovered};
use crate::file::layout::{CONTROL, SEGMENT_MIN, segment_name, slot_bytes, snapshot_name};
use crate::{Storage, StoreError};

/// A closed storage after some steps.
fn closed(steps: &[Step]) -> (SimDisk, Expected) {
    let disk = SimDisk::new();
    let (mut storage, found) = recovered(&disk);
    let mut state = Expected::new(&found);
    for step in steps {
        state.step(&mut storage, *step).expect("writes");
    }
    drop(storage);
    (disk.after_kill(), state)
}

fn record_bytes(payload: usize) -> usize {
    64 + (72 + payload).next_multiple_of(64)
}

fn refused(disk: &SimDisk) -> (String, u64, u64) {
    match open(disk).recover() {
        Err(StoreError::Corrupt { segment, offset, seq, .. }) => (segment, offset, seq.0),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn every_bit_of_the_last_three_records() {
    // In units of one and in one unit of three; the last one written just before the storage was closed.
    for steps in [
        &[Step::Write(2, 50), Step::Write(1, 100), Step::Write(1, 0), Step::Write(1, 130)][..],
        &[Step::Write(1, 50), Step::Write(3, 60)],
        &[Step::Write(1, 50), Step::Replace(1, 2, 60)],
    ] {
        let (disk, state) = closed(steps);
        let name = segment_name(1);
        let image = disk.content(&name);
        let end = image.iter().rposition(|byte| *byte != 0).expect("records") / 64 * 64 + 64;
        let count = state.log.len();
        let last: Vec<usize> =
            state.log[count.saturating_sub(3)..].iter().map(|e| record_bytes(e.payload.len())).collect();
        let start = end - last.iter().sum::<usize>();
        let first_seq = state.log[count.saturating_sub(3)].seq.0;
        for byte in start..end {
            for bit in 0..8 {
                let damaged = disk.after_kill();
                damaged.damage(&name, |bytes| bytes[byte] ^= 1 << bit);
                let before = damaged.content(&name);
                let (segment, offset, seq) = refused(&damaged);
                let what = format!("bit {bit} of byte {byte} in {start}..{end}: {segment} {offset} {seq}");
                assert_eq!(segment, name, "{what}");
                let offset = usize::try_from(offset).expect("small");
                let mut place = start;
                let hit = last
                    .iter()
                    .take_while(|len| {
                        place += **len;
                        place <= byte
                    })
                    .count();
                assert!(offset <= byte && byte < offset + last[hit], "{what}");
                assert_eq!(seq, first_seq + hit as u64, "{what}");
                assert!(damaged.content(&name) == before, "{what}: the segment was changed");
            }
        }
        // And as it was, it is accepted.
        let (storage, found) = recovered(&disk);
        assert!(state.is(&storage, &found));
    }
}

/// A quiet log proves its last unit without being closed. A busy one cannot tell rot there from a write cut short.
#[test]
fn the_last_unit_of_a_log_that_was_killed() {
    for (steps, quiet) in [
        (&[Step::Write(1, 50), Step::Write(1, 60), Step::Settle][..], true),
        (&[Step::Write(1, 50), Step::Write(1, 60)], false),
    ] {
        let disk = SimDisk::new();
        let (mut storage, found) = recovered(&disk);
        let mut state = Expected::new(&found);
        for step in steps {
            state.step(&mut storage, *step).expect("writes");
        }
        let killed = disk.after_kill();
        let name = segment_name(1);
        let end = killed.content(&name).iter().rposition(|byte| *byte != 0).expect("records");
        killed.damage(&name, |bytes| bytes[end] ^= 1);
        if quiet {
            assert_eq!(refused(&killed).2, 2);
        } else {
            assert_eq!(recovered(&killed).1.tail.seq.0, 1);
        }
    }
}

#[test]
fn a_bit_of_every_byte_of_every_older_record() {
    let (disk, state) = closed(&[
        Step::Write(1, 10),
        Step::Write(3, 300),
        Step::Replace(3, 2, 500),
        Step::Write(2, 700),
        Step::Write(1, 1500),
        Step::Write(4, 100),
    ]);
    let names: Vec<String> = disk.names().into_iter().filter(|name| name.ends_with(".segment")).collect();
    assert!(names.len() > 1, "{names:?}");
    for name in names {
        let image = disk.content(&name);
        let start = usize::try_from(slot_bytes(SEGMENT_MIN)).expect("small");
        let end = image.iter().rposition(|byte| *byte != 0).expect("records");
        for byte in start..end {
            let damaged = disk.after_kill();
            damaged.damage(&name, |bytes| bytes[byte] ^= 1 << (byte % 8));
            assert_eq!(refused(&damaged).0, name, "byte {byte}");
        }
        for byte in 0..start {
            let damaged = disk.after_kill();
            damaged.damage(&name, |bytes| bytes[byte] ^= 1 << (byte % 8));
            let (storage, found) = recovered(&damaged);
            assert!(state.is(&storage, &found), "a slot is not needed while its record is whole");
        }
        let zeroed = disk.after_kill();
        zeroed.damage(&name, |bytes| bytes[start..].fill(0));
        assert_eq!(refused(&zeroed).0, name, "all records are gone");
    }
}

#[test]
fn every_bit_of_both_control_slots() {
    let (disk, state) = closed(&[Step::Promise, Step::Write(2, 50), Step::Promise, Step::Promise, Step::Trim(1)]);
    let whole = disk.content(CONTROL);
    assert_eq!(whole.len(), 8192);
    for byte in 0..whole.len() {
        for bit in 0..8 {
            let damaged = disk.after_kill();
            damaged.damage(CONTROL, |bytes| bytes[byte] ^= 1 << bit);
            let (_, found) = recovered(&damaged);
            assert_eq!((found.control.promised, found.control.base.seq), (state.promised, state.base));
            assert!(damaged.content(CONTROL) == whole, "bit {bit} of byte {byte} was not repaired");
        }
    }
    for byte in [0, 9, 100, 2000, 4095] {
        let damaged = disk.after_kill();
        damaged.damage(CONTROL, |bytes| {
            bytes[byte] ^= 1;
            bytes[4096 + byte] ^= 1;
        });
        assert_eq!(refused(&damaged).0, CONTROL, "both slots are damaged");
    }
    let blank = disk.after_kill();
    blank.damage(CONTROL, |bytes| bytes.fill(0));
    assert_eq!(refused(&blank).0, CONTROL);
    let short = disk.after_kill();
    short.damage(CONTROL, |bytes| bytes.truncate(4096));
    assert_eq!(refused(&short).0, CONTROL);
}

#[test]
fn every_bit_of_a_snapshot() {
    let (disk, state) = closed(&[Step::Write(1, 10), Step::Snapshot, Step::Write(1, 10), Step::Snapshot]);
    let (older, newest) = (state.log[0].tail(), state.log[1].tail());
    let name = snapshot_name(newest.seq.0);
    let latest = |disk: &SimDisk| open(disk).snapshots().latest();
    assert_eq!(latest(&disk).expect("reads").expect("there is one").0, newest);
    for byte in 0..disk.content(&name).len() {
        for bit in 0..8 {
            let damaged = disk.after_kill();
            damaged.damage(&name, |bytes| bytes[byte] ^= 1 << bit);
            let (at, bytes) = latest(&damaged).expect("reads").expect("the older one");
            assert_eq!((at, &bytes[..]), (older, &payload(older.seq.0, 1000)[..]), "bit {bit} of byte {byte}");
        }
    }
    let both = disk.after_kill();
    both.damage(&name, |bytes| bytes.truncate(50));
    both.damage(&snapshot_name(older.seq.0), |bytes| bytes[500] ^= 1);
    assert!(matches!(latest(&both), Err(StoreError::Corrupt { segment, .. }) if segment == name));
}

#[test]
fn missing_and_misplaced_files() {
    let (disk, _) = closed(&[
        Step::Write(2, 1500),
        Step::Write(2, 1500),
        Step::Write(2, 1500),
        Step::Write(2, 1500),
        Step::Snapshot,
    ]);
    let names: Vec<String> = disk.names().into_iter().filter(|name| name.ends_with(".segment")).collect();
    assert!(names.len() >= 3, "{names:?}");
    for name in &names[..names.len() - 1] {
        let damaged = disk.after_kill();
        damaged.remove_file(name);
        refused(&damaged);
    }
    for remove in [&[CONTROL][..], &[CONTROL, &names[0]]] {
        let damaged = disk.after_kill();
        remove.iter().for_each(|name| damaged.remove_file(name));
        assert_eq!(refused(&damaged).0, CONTROL);
    }
    let none = disk.after_kill();
    names.iter().for_each(|name| none.remove_file(name));
    refused(&none);
    // The records of another disk.
    let (other, _) = closed(&[Step::Write(2, 1500)]);
    let foreign = disk.after_kill();
    foreign.damage(&names[names.len() - 1], |bytes| *bytes = other.content(&segment_name(1)));
    refused(&foreign);
}
