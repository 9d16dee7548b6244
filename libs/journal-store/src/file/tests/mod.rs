//! The segment files over a simulated disk: every torn write, every flipped bit, every failing or last operation.
//!
//! A script of changes is run against a storage and against plain data beside it; whatever happens to the disk, what
//! is found afterwards must be the state acknowledged last, or that with the one change in flight.

mod crash;
mod damage;
mod sim;
mod torn;

use std::sync::Arc;

use journal_core::{Control, Entry, Recovered, Tail, Unit};
use types::{Epoch, LogId, Seq};

use super::layout::SEGMENT_MIN;
use super::{FileStorage, Preparation};
use crate::conformance::{epoch, extend, truncating, unit};
use crate::{Storage, StoreError};
use sim::{SimDisk, Survivors};

/// One change.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A unit of so many entries of so many bytes.
    Write(usize, usize),
    /// The same after forgetting so many entries.
    Replace(u64, usize, usize),
    /// A unit whose entries come from an older epoch than its writer.
    Copy(usize),
    /// A promise of the next epoch.
    Promise,
    /// Forgets all but so many entries.
    Trim(u64),
    Snapshot,
    /// The log falls quiet.
    Settle,
}

/// Several rolls (a segment has room for 4 KiB of records), and everything that may stand before and behind one.
const SCRIPT: &[Step] = &[
    Step::Write(1, 10),
    Step::Promise,
    Step::Write(3, 300),
    Step::Write(2, 40),
    Step::Settle,
    Step::Replace(3, 2, 500),
    Step::Settle,
    Step::Write(2, 700),
    Step::Snapshot,
    Step::Write(1, 1500),
    Step::Copy(1),
    Step::Write(4, 100),
    Step::Replace(4, 1, 900),
    Step::Trim(2),
    Step::Write(1, 6000),
    Step::Settle,
    Step::Settle,
    Step::Snapshot,
    Step::Promise,
    Step::Write(2, 200),
    Step::Trim(1),
    Step::Write(1, 64),
];

/// What a storage holds, as plain data.
#[derive(Clone, Debug, Default, PartialEq)]
struct Expected {
    log_id: LogId,
    log: Vec<Entry>,
    base: Seq,
    promised: Epoch,
    /// Highest epoch ever used.
    epoch: u64,
    snapshot: Option<Tail>,
}

fn open(disk: &SimDisk) -> FileStorage {
    FileStorage::on_disk(Arc::new(disk.clone()), SEGMENT_MIN, Preparation::OnDemand).expect("a legal length")
}

fn recovered(disk: &SimDisk) -> (FileStorage, Recovered) {
    let mut storage = open(disk);
    let found = storage.recover().expect("recovers");
    (storage, found)
}

fn payload(seq: u64, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (seq as usize * 31 + index * 7) as u8).collect()
}

impl Expected {
    fn new(found: &Recovered) -> Self {
        Self { log_id: found.control.log_id, promised: found.control.promised, ..Self::default() }
    }

    fn tail(&self) -> Tail {
        self.log.last().map_or_else(Tail::default, Entry::tail)
    }

    fn unit(&mut self, step: Step) -> Option<Unit> {
        let (forget, count, bytes) = match step {
            Step::Write(count, bytes) => (0, count, bytes),
            Step::Replace(forget, count, bytes) => (forget, count, bytes),
            Step::Copy(count) => (0, count, 80),
            Step::Promise | Step::Trim(_) | Step::Snapshot | Step::Settle => return None,
        };
        self.epoch = self.epoch.max(1) + u64::from(forget > 0);
        let keep = self.log.len() - usize::try_from(forget).expect("small");
        let after = self.log[..keep].last().map_or_else(Tail::default, Entry::tail);
        let payloads: Vec<Vec<u8>> = (0..count as u64).map(|index| payload(after.seq.0 + index, bytes)).collect();
        let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        let make = if forget > 0 { truncating } else { unit };
        let mut unit = make(self.log_id, epoch(self.epoch), &after, &payloads);
        if matches!(step, Step::Copy(_)) {
            self.epoch += 1;
            unit.epoch = epoch(self.epoch);
        }
        Some(unit)
    }

    /// Applies a step to a storage and to this.
    fn step(&mut self, storage: &mut FileStorage, step: Step) -> Result<(), StoreError> {
        if let Some(unit) = self.unit(step) {
            extend(&mut self.log, &unit);
            self.promised = unit.epoch;
            return storage.write(&unit);
        }
        match step {
            Step::Promise => {
                self.epoch += 1;
                self.promised = epoch(self.epoch);
                let control = Control { promised: self.promised, ..storage.service.position()?.control.clone() };
                storage.persist_control(&control)
            }
            Step::Trim(keep) => {
                let base = self.log[self.log.len() - 1 - usize::try_from(keep).expect("small")].tail();
                self.base = base.seq;
                storage.trim(&base)
            }
            Step::Snapshot => {
                self.snapshot = Some(self.tail());
                storage.snapshots().put(&self.tail(), &payload(self.tail().seq.0, 1000))
            }
            Step::Settle => storage.settle(),
            Step::Write(..) | Step::Replace(..) | Step::Copy(_) => unreachable!("these are units"),
        }
    }

    /// Whether a recovered storage holds exactly this.
    fn is(&self, storage: &FileStorage, found: &Recovered) -> bool {
        let Some(kept) = self.log.get(usize::try_from(found.control.base.seq.0).expect("small")..) else {
            return false;
        };
        let snapshot = storage.snapshots().latest().expect("snapshots are whole");
        if let Some((at, bytes)) = &snapshot {
            assert_eq!(bytes[..], payload(at.seq.0, 1000), "a snapshot has another content");
        }
        let read = storage.log().read(found.control.base.seq.next(), Seq(u64::MAX), usize::MAX).expect("reads");
        assert_eq!(read.last().map_or(found.control.base, Entry::tail), found.tail, "reader and tail disagree");
        found.tail == self.tail()
            && read == kept
            && found.chains == kept.iter().map(|entry| entry.chain).collect::<Vec<_>>()
            && found.control.base.seq == self.base
            && found.control.promised == self.promised
            && snapshot.map(|(at, _)| at) == self.snapshot
    }
}

/// The state acknowledged last, and that with the change in flight, if there is one.
struct Run {
    acknowledged: Option<Expected>,
    in_flight: Option<Expected>,
}

/// Runs the script until something fails.
fn run(disk: &SimDisk) -> Run {
    let mut storage = open(disk);
    let found = match storage.recover() {
        Ok(found) => found,
        Err(error) => {
            assert!(!matches!(error, StoreError::Corrupt { .. }), "{error}");
            assert!(error.is_refusal() || matches!(storage.recover(), Err(StoreError::OutOfService { .. })));
            return Run { acknowledged: None, in_flight: None };
        }
    };
    let mut acknowledged = Expected::new(&found);
    for step in SCRIPT {
        let mut next = acknowledged.clone();
        match next.step(&mut storage, *step) {
            Ok(()) => acknowledged = next,
            Err(StoreError::Full { .. }) => {
                // Nothing was written, and the storage goes on.
                let mut again = acknowledged.clone();
                if again.step(&mut storage, *step).is_err() {
                    return Run { acknowledged: Some(acknowledged), in_flight: Some(next) };
                }
                acknowledged = again;
            }
            Err(error) => {
                assert!(matches!(error, StoreError::Io { .. }), "{error}");
                if !matches!(step, Step::Snapshot) {
                    assert_out_of_service(&mut storage, &acknowledged);
                }
                return Run { acknowledged: Some(acknowledged), in_flight: Some(next) };
            }
        }
    }
    Run { acknowledged: Some(acknowledged), in_flight: None }
}

fn assert_out_of_service(storage: &mut FileStorage, state: &Expected) {
    let next = unit(state.log_id, epoch(99), &state.tail(), &[b"no"]);
    assert!(matches!(storage.write(&next), Err(StoreError::OutOfService { .. })));
    assert!(matches!(storage.persist_control(&Control::default()), Err(StoreError::OutOfService { .. })));
    assert!(matches!(storage.trim(&state.tail()), Err(StoreError::OutOfService { .. })));
    assert!(matches!(storage.recover(), Err(StoreError::OutOfService { .. })));
}

impl Run {
    /// What a recovery found after a kill is relied upon from then on, so it must outlive a power loss, even if only
    /// the page cache had it before.
    fn check_kept(&self, disk: &SimDisk, context: &dyn Fn() -> String) {
        let mut storage = open(disk);
        let found = storage.recover().unwrap_or_else(|error| panic!("{}: {error}", context()));
        // Before the storage is closed, which syncs once more.
        let disk = disk.after_power_loss(Survivors::Nothing);
        drop(storage);
        assert_eq!(recovered(&disk).1, found, "{}", context());
        self.check(&disk, context);
    }

    /// Recovers `disk` and checks that nothing acknowledged is missing and nothing torn is there; then that the
    /// storage goes on, and that what was cut stays away.
    fn check(&self, disk: &SimDisk, context: &dyn Fn() -> String) {
        let mut storage = open(disk);
        let found = storage.recover().unwrap_or_else(|error| panic!("{}: {error}", context()));
        let Some(acknowledged) = &self.acknowledged else {
            assert_eq!(found.tail, Tail::default(), "{}", context());
            return;
        };
        // A promise made for a unit stays even if the unit did not arrive.
        let promised = self.in_flight.iter().map(|next| Expected { promised: next.promised, ..acknowledged.clone() });
        let mut state = std::iter::once(acknowledged.clone())
            .chain(self.in_flight.clone())
            .chain(promised)
            .find(|state| state.is(&storage, &found))
            .unwrap_or_else(|| panic!("{}: neither state\n{found:#?}\n{acknowledged:#?}", context()));
        // Other content than before at the same place, and shorter, so that remains would show.
        state.epoch = state.epoch.max(state.promised.number) + 1;
        for bytes in [3, 20] {
            state.step(&mut storage, Step::Write(1, bytes)).unwrap_or_else(|error| panic!("{}: {error}", context()));
        }
        let disk = disk.after_kill();
        let (storage, found) = recovered(&disk);
        assert!(state.is(&storage, &found), "{}: not as after going on\n{found:#?}", context());
    }
}
