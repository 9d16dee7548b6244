//! The last unit cut at every byte, from either end, over zeroes and over garbage.

use super::sim::{Fault, SimDisk, Survivors};
use super::{Expected, Run, Step, open, recovered};
use crate::file::layout::{SEGMENT_MIN, segment_name, slot_bytes};

/// Some acknowledged units, then `last` with its sync missing: what was acknowledged, and with it what was not.
fn interrupted(before: &[Step], last: Step) -> (SimDisk, Run) {
    let disk = SimDisk::new();
    let (mut storage, found) = recovered(&disk);
    let mut acknowledged = Expected::new(&found);
    for step in before {
        acknowledged.step(&mut storage, *step).expect("writes");
    }
    let mut next = acknowledged.clone();
    let written = disk.operations() + 1;
    disk.fail_at(written, Fault::PowerLoss);
    next.step(&mut storage, last).expect_err("the sync fails");
    assert!(disk.log().last().is_some_and(|line| line.starts_with("sync")), "{:?}", disk.log().last());
    (disk, Run { acknowledged: Some(acknowledged), in_flight: Some(next) })
}

fn every_byte(before: &[Step], last: Step, unit_bytes: usize) {
    let (disk, run) = interrupted(before, last);
    // Whole blocks are written.
    let unsynced = 4096;
    let (mut cut, mut whole) = (0, 0);
    for bytes in 0..=unsynced {
        for survivors in [Survivors::First(bytes), Survivors::Last(bytes)] {
            let found = disk.after_power_loss(survivors);
            let (_, state) = recovered(&found.after_kill());
            let in_flight = run.in_flight.as_ref().expect("there is one");
            *(if state.tail == in_flight.tail() { &mut whole } else { &mut cut }) += 1;
            run.check(&found, &|| format!("{survivors:?} of {unsynced}"));
        }
    }
    assert!(cut >= 2 * (unit_bytes - 64 * 8) && whole >= 2, "cut {cut} times, found whole {whole} times");
}

#[test]
fn single_record() {
    every_byte(&[Step::Write(1, 10), Step::Write(2, 40)], Step::Write(1, 600), 768);
}

#[test]
fn several_records() {
    every_byte(&[Step::Write(1, 10), Step::Write(2, 40)], Step::Write(3, 100), 3 * 256);
}

#[test]
fn a_truncation_and_what_follows_it() {
    every_byte(&[Step::Write(3, 10), Step::Write(2, 40)], Step::Replace(4, 2, 200), 128 + 2 * 384);
}

#[test]
fn the_first_unit_of_all() {
    every_byte(&[], Step::Write(2, 100), 2 * 256);
}

#[test]
fn garbage_in_place_of_what_did_not_arrive() {
    let (disk, run) = interrupted(&[Step::Write(1, 10), Step::Write(2, 40)], Step::Write(2, 100));
    let start = usize::try_from(slot_bytes(SEGMENT_MIN)).expect("small") + 192 + 2 * 192;
    for from in 0..512 {
        for garbage in [0xff, 0x48] {
            let found = disk.after_power_loss(Survivors::Everything);
            found.damage(&segment_name(1), |bytes| bytes[start + from..start + 512].fill(garbage));
            run.check(&found, &|| format!("{garbage:x} from {from}"));
        }
    }
}

/// What was cut must not come back when a later unit is cut at the same place.
#[test]
fn remains_do_not_join_later_units() {
    let (disk, mut run) = interrupted(&[Step::Write(1, 10)], Step::Write(4, 100));
    // Of the block, what was there before and the first record of the unit are lost, the other three are whole.
    let mut disk = disk.after_power_loss(Survivors::Last(4096 - 192 - 256));
    for round in 0..5 {
        let (mut storage, found) = recovered(&disk);
        let acknowledged = run.acknowledged.as_mut().expect("there is one");
        assert_eq!(found.tail, acknowledged.tail(), "round {round}");
        // Of the same length as the lost record, and again without its sync.
        let mut next = acknowledged.clone();
        disk.fail_at(disk.operations() + 1, Fault::PowerLoss);
        next.step(&mut storage, Step::Write(1, 100)).expect_err("the sync fails");
        drop(storage);
        let written = disk.after_power_loss(Survivors::Everything);
        let again = Run { acknowledged: run.acknowledged.clone(), in_flight: Some(next) };
        again.check(&written, &|| format!("round {round}"));
        disk = disk.after_power_loss(Survivors::Nothing);
    }
    assert!(open(&disk).service.position().is_err(), "a new storage is not open before recovery");
}
