//! The control file: two slots, always both written, one after the other, each durable before the next begins.
//!
//! Whatever is cut short or damaged, one slot is whole; and since nothing is answered before both are written, rot in
//! one of them cannot take a promise back.

use std::io;
use std::sync::Arc;

use journal_core::Control;
use journal_core::codec::control::{Choice, SLOT_BYTES, choose, decode, encode};
use types::Seq;

use super::disk::{Disk, DiskFile, create_zeroed};
use super::layout::{CONTROL, CONTROL_NEW};
use crate::StoreError;

pub(super) struct ControlFile {
    file: Arc<dyn DiskFile>,
    generation: u64,
}

fn failed(operation: &'static str) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError::io(operation, CONTROL, source)
}

fn corrupt(reason: String) -> StoreError {
    StoreError::Corrupt { segment: CONTROL.to_owned(), offset: 0, seq: Seq(0), reason }
}

impl ControlFile {
    /// Makes the file. It appears whole or not at all.
    pub(super) fn create(disk: &dyn Disk, control: &Control) -> Result<Self, StoreError> {
        let file = create_zeroed(disk, CONTROL_NEW, 2 * SLOT_BYTES as u64).map_err(failed("create"))?;
        let mut this = Self { file, generation: 0 };
        this.write(control)?;
        disk.rename(CONTROL_NEW, CONTROL).map_err(failed("rename"))?;
        disk.sync_dir().map_err(failed("sync the directory"))?;
        Ok(this)
    }

    /// Reads the file, and repairs the slot that a crash or rot left behind the other.
    pub(super) fn open(disk: &dyn Disk) -> Result<(Self, Control), StoreError> {
        let file = disk.open(CONTROL).map_err(failed("open"))?;
        // Nothing that only the page cache has may be believed, and nothing that only the disk has be missed.
        file.sync().map_err(failed("sync"))?;
        file.drop_cache();
        let size = file.size().map_err(failed("read"))?;
        if size != 2 * SLOT_BYTES as u64 {
            return Err(corrupt(format!("{size} bytes long, should be {}", 2 * SLOT_BYTES)));
        }
        let mut bytes = vec![0; 2 * SLOT_BYTES];
        file.read_at(&mut bytes, 0).map_err(failed("read"))?;
        let (a, b) = bytes.split_at(SLOT_BYTES);
        let (control, generation) = match choose(a, b) {
            Choice::Found { control, generation, other } => {
                if let Some(error) = other {
                    tracing::warn!(%error, generation, "one of the two control slots was damaged; the other is whole, repairing");
                }
                (control, generation)
            }
            Choice::Blank => return Err(corrupt("both slots are blank".to_owned())),
            Choice::Lost { a, b } => return Err(corrupt(format!("no slot is whole: {a}; {b}"))),
        };
        let this = Self { file, generation };
        if a != b {
            // Only the worse slot: the better one must stay whole whatever happens now.
            let a_is_good = decode(a).is_ok_and(|(found, _)| found == generation);
            this.write_slot(&control, usize::from(a_is_good))?;
        }
        Ok((this, control))
    }

    pub(super) fn write(&mut self, control: &Control) -> Result<(), StoreError> {
        self.generation += 1;
        self.write_slot(control, 0)?;
        self.write_slot(control, 1)
    }

    fn write_slot(&self, control: &Control, slot: usize) -> Result<(), StoreError> {
        let bytes = encode(control, self.generation).map_err(|error| StoreError::invalid(error.to_string()))?;
        self.file.write_at(&bytes[..], (slot * SLOT_BYTES) as u64).map_err(failed("write"))?;
        self.file.sync().map_err(failed("sync"))
    }
}
