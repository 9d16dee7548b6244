//! A journal that lives as long as the process: for simulations and for tests of everything above a storage.
//!
//! The contents belong to a [`MemoryDisk`]; a storage opened on it again finds them, as after a restart.
//! Deliberately absent: durability, and torn writes (the simulated disk below the segment files has those).

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use journal_core::{ChainHash, Control, Entry, Recovered, Tail, Unit};
use types::{Epoch, LogId, Seq};

use crate::admission::{Position, Service};
use crate::replay::Replay;
use crate::{LogReader, SnapshotStore, Storage, StoreError};

/// Snapshots kept: the newest, and one more should it be damaged.
const SNAPSHOTS_KEPT: usize = 2;

/// How a call on a [`MemoryStorage`] fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryFault {
    /// Nothing was written.
    Lost,
    /// Everything was written, but the call fails all the same: the outcome is in doubt.
    WrittenUnknown,
    /// No room; the storage goes on.
    Full,
}

/// What a [`MemoryStorage`] keeps. Clones share it.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    contents: Mutex<Contents>,
    released: Condvar,
}

#[derive(Default)]
struct Contents {
    control: Option<Control>,
    entries: VecDeque<Entry>,
    snapshots: BTreeMap<Seq, (Tail, Bytes)>,
    /// Remaining changes before the fault.
    fault: Option<(u64, MemoryFault)>,
    held: bool,
}

/// A storage on a [`MemoryDisk`].
pub struct MemoryStorage {
    disk: MemoryDisk,
    service: Service,
}

impl MemoryDisk {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the change (write, control record or trim) after the next `after` ones fail.
    pub fn fail_after(&self, after: u64, fault: MemoryFault) {
        self.contents().fault = Some((after, fault));
    }

    /// While set, changes wait, as on a disk that does not answer.
    pub fn hold(&self, held: bool) {
        self.contents().held = held;
        self.shared.released.notify_all();
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        // A panic elsewhere leaves no half-made change behind: every change below is one assignment or push.
        self.shared.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies a change, or the fault that is due.
    fn change(&self, change: impl FnOnce(&mut Contents)) -> Result<(), StoreError> {
        let mut contents = self.contents();
        while contents.held {
            contents = self.shared.released.wait(contents).unwrap_or_else(PoisonError::into_inner);
        }
        let fault = match contents.fault.take() {
            Some((0, fault)) => Some(fault),
            Some((after, fault)) => {
                contents.fault = Some((after - 1, fault));
                None
            }
            None => None,
        };
        match fault {
            None => {
                change(&mut contents);
                return Ok(());
            }
            Some(MemoryFault::WrittenUnknown) => change(&mut contents),
            Some(MemoryFault::Lost) => {}
            Some(MemoryFault::Full) => return Err(StoreError::Full { path: "memory".to_owned() }),
        }
        Err(StoreError::io("write", "memory", std::io::Error::other("injected")))
    }
}

impl Contents {
    fn chain_at(&self, seq: Seq) -> Option<ChainHash> {
        let control = self.control.as_ref()?;
        if seq == control.base.seq {
            return Some(control.base.chain);
        }
        self.index_of(seq).map(|index| self.entries[index].chain)
    }

    fn index_of(&self, seq: Seq) -> Option<usize> {
        let first = self.entries.front()?.seq;
        let index = usize::try_from(seq.0.checked_sub(first.0)?).ok()?;
        (index < self.entries.len()).then_some(index)
    }
}

impl MemoryStorage {
    /// Opens what the disk holds.
    #[must_use]
    pub fn open(disk: &MemoryDisk) -> Self {
        Self { disk: disk.clone(), service: Service::New }
    }

    fn change(&mut self, change: impl FnOnce(&mut Contents)) -> Result<(), StoreError> {
        let result = self.disk.change(change);
        self.service.note(result)
    }
}

impl Storage for MemoryStorage {
    fn recover(&mut self) -> Result<Recovered, StoreError> {
        self.service.check()?;
        let mut contents = self.disk.contents();
        let control = contents.control.get_or_insert_with(|| Control {
            log_id: LogId(rand::random()),
            disk_id: rand::random(),
            ..Control::default()
        });
        let mut replay = Replay::new(control.clone());
        let corrupt = |seq, reason| StoreError::Corrupt { segment: "memory".to_owned(), offset: 0, seq, reason };
        for entry in &contents.entries {
            replay.promise(entry.epoch);
            replay.push(entry).map_err(|reason| corrupt(entry.seq, reason))?;
        }
        drop(contents);
        let recovered = replay.finish().map_err(|reason| corrupt(Seq(0), reason))?;
        self.service = Service::Open(Box::new(Position::of(&recovered)));
        Ok(recovered)
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn confirm(&mut self, epoch: Epoch) -> Result<(), StoreError> {
        self.service.position()?.admit_epoch(epoch)
    }

    fn persist_control(&mut self, control: &Control) -> Result<(), StoreError> {
        let control = self.service.position()?.admit_control(control)?;
        self.change(|contents| contents.control = Some(control.clone()))?;
        self.service.set_control(control);
        Ok(())
    }

    fn write(&mut self, unit: &Unit) -> Result<(), StoreError> {
        let position = self.service.position()?;
        position.admit(unit, |seq| Ok(self.disk.contents().chain_at(seq)))?;
        let Some(tail) = unit.entries.last().map(Entry::tail) else {
            return Err(StoreError::invalid("a unit without entries"));
        };
        let mut control = position.control.clone();
        control.promised = unit.epoch;
        self.change(|contents| {
            if let Some(to) = unit.truncate_to {
                contents.entries.retain(|entry| entry.seq <= to);
            }
            contents.entries.extend(unit.entries.iter().cloned());
            contents.control = Some(control);
        })?;
        self.service.set_written(unit.epoch, tail);
        Ok(())
    }

    fn trim(&mut self, base: &Tail) -> Result<(), StoreError> {
        let mut control = self.service.position()?.control.clone();
        if base.seq <= control.base.seq {
            return Ok(());
        }
        if self.disk.contents().chain_at(base.seq) != Some(base.chain) {
            return Err(StoreError::invalid(format!("base {} is not an entry of this log", base.seq)));
        }
        control.base = *base;
        self.change(|contents| {
            contents.entries.retain(|entry| entry.seq > base.seq);
            contents.control = Some(control.clone());
        })?;
        self.service.set_control(control);
        Ok(())
    }

    fn begin_after(&mut self, base: &Tail) -> Result<(), StoreError> {
        let control = self.service.position()?.admit_beginning(base)?;
        self.change(|contents| contents.control = Some(control))?;
        self.service = Service::New;
        Ok(())
    }

    fn log(&self) -> Arc<dyn LogReader> {
        Arc::new(self.disk.clone())
    }

    fn snapshots(&self) -> Arc<dyn SnapshotStore> {
        Arc::new(self.disk.clone())
    }
}

impl LogReader for MemoryDisk {
    fn read(&self, from: Seq, to: Seq, max_bytes: usize) -> Result<Vec<Entry>, StoreError> {
        let contents = self.contents();
        let base = contents.control.as_ref().map_or(Seq(0), |control| control.base.seq);
        if from <= base {
            return Err(StoreError::Trimmed { base });
        }
        let mut bytes = 0;
        let mut entries = Vec::new();
        let first = contents.index_of(from).unwrap_or(contents.entries.len());
        for entry in contents.entries.range(first..).take_while(|entry| entry.seq <= to) {
            bytes += entry.payload.len();
            if bytes > max_bytes && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        Ok(entries)
    }
}

impl SnapshotStore for MemoryDisk {
    fn put(&self, at: &Tail, bytes: &[u8]) -> Result<(), StoreError> {
        let mut contents = self.contents();
        contents.snapshots.insert(at.seq, (*at, Bytes::copy_from_slice(bytes)));
        while contents.snapshots.len() > SNAPSHOTS_KEPT {
            contents.snapshots.pop_first();
        }
        Ok(())
    }

    fn latest(&self) -> Result<Option<(Tail, Bytes)>, StoreError> {
        Ok(self.contents().snapshots.values().next_back().cloned())
    }
}
