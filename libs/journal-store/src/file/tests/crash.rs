//! The end, or an error, at every single operation; and again during the recovery that follows.

use super::sim::{EIO, ENOSPC, Fault, SimDisk, Survivors};
use super::{open, run};
use crate::Storage;

fn survivors(random: u64) -> Vec<Survivors> {
    let mut all = vec![Survivors::Nothing, Survivors::Everything];
    all.extend((0..random).map(Survivors::Random));
    all
}

/// Number of operations of the whole script.
fn operations() -> u64 {
    let disk = SimDisk::new();
    let run = run(&disk);
    assert!(run.acknowledged.is_some() && run.in_flight.is_none());
    let operations = disk.operations();
    assert!(operations > 100, "{operations}");
    let rolls = disk.log().iter().filter(|line| line.contains("rename prepared")).count();
    assert!(rolls >= 4, "the script must fill several segments");
    run.check(&disk.after_kill(), &|| "no fault".to_owned());
    run.check(&disk.after_power_loss(Survivors::Nothing), &|| "power loss at the end".to_owned());
    operations
}

#[test]
fn power_loss_at_every_operation() {
    for at in 0..operations() {
        let disk = SimDisk::new();
        disk.fail_at(at, Fault::PowerLoss);
        let run = run(&disk);
        for survivors in survivors(12) {
            let what = || format!("power loss at {at}, {:?}, {survivors:?}", disk.log().last());
            run.check(&disk.after_power_loss(survivors), &what);
        }
    }
}

#[test]
fn kill_at_every_operation() {
    for at in 0..operations() {
        let disk = SimDisk::new();
        disk.fail_at(at, Fault::PowerLoss);
        let run = run(&disk);
        // The process is gone, the page cache is not; then the power goes after all.
        run.check(&disk.after_kill(), &|| format!("kill at {at}"));
        run.check_kept(&disk.after_kill(), &|| format!("kill at {at}, then power loss"));
    }
}

#[test]
fn power_loss_during_recovery() {
    for at in (0..operations()).step_by(3) {
        let disk = SimDisk::new();
        disk.fail_at(at, Fault::PowerLoss);
        let run = run(&disk);
        for first in [Survivors::Everything, Survivors::Random(at), Survivors::First(700)] {
            for again in 0.. {
                let halted = disk.after_power_loss(first);
                halted.fail_at(again, Fault::PowerLoss);
                if open(&halted).recover().is_ok() {
                    break;
                }
                for second in [Survivors::Nothing, Survivors::Everything, Survivors::Random(again)] {
                    let what = || format!("power loss at {at} {first:?}, then at {again} of recovery {second:?}");
                    run.check(&halted.after_power_loss(second), &what);
                }
            }
        }
    }
}

#[test]
fn errors_at_every_operation() {
    for fault in [EIO, ENOSPC] {
        for at in 0..operations() {
            let disk = SimDisk::new();
            disk.fail_at(at, fault);
            let run = run(&disk);
            let what = || format!("{fault:?} at {at}, {:?}", disk.log().get(usize::try_from(at).expect("small")));
            run.check(&disk.after_kill(), &what);
            run.check_kept(&disk.after_kill(), &what);
            for survivors in survivors(4) {
                run.check(&disk.after_power_loss(survivors), &what);
            }
        }
    }
}
