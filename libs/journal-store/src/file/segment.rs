//! One segment file, and the one being prepared for the time when it is full.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use journal_core::codec::record::{HEADER_BYTES, Header};

use super::disk::{Disk, DiskFile, create_zeroed};
use super::layout::{PREPARED, SEGMENT_MAX, SEGMENT_MIN, segment_len, segment_name, slot_bytes, slot_count};
use crate::StoreError;

/// A segment in use.
pub(super) struct Segment {
    pub(super) name: String,
    /// Number of the first physical record in it.
    pub(super) first_record: u64,
    pub(super) len: u64,
    pub(super) file: Arc<dyn DiskFile>,
}

impl Segment {
    pub(super) fn open(disk: &dyn Disk, first_record: u64) -> Result<Self, StoreError> {
        let name = segment_name(first_record);
        let file = disk.open(&name).map_err(|source| StoreError::io("open", &name, source))?;
        let len = file.size().map_err(|source| StoreError::io("read", &name, source))?;
        if !(SEGMENT_MIN..=SEGMENT_MAX).contains(&len) {
            return Err(StoreError::Corrupt {
                segment: name,
                offset: 0,
                seq: types::Seq(0),
                reason: format!("a segment of {len} bytes"),
            });
        }
        file.drop_cache();
        Ok(Self { name, first_record, len, file })
    }

    /// Where its records begin.
    pub(super) fn data_start(&self) -> u64 {
        slot_bytes(self.len)
    }

    pub(super) fn failed(&self, operation: &'static str) -> impl FnOnce(io::Error) -> StoreError {
        move |source| StoreError::io(operation, self.name.clone(), source)
    }

    /// Repeats the headers of durable records in their slots. `headers` are encoded, of consecutive records.
    pub(super) fn write_slots(&self, first_record: u64, headers: &[u8]) -> Result<(), StoreError> {
        let slots = slot_count(self.len);
        let count = (headers.len() / HEADER_BYTES) as u64;
        let skip = count.saturating_sub(slots);
        let (mut record, mut headers) = (first_record + skip, &headers[skip as usize * HEADER_BYTES..]);
        while !headers.is_empty() {
            let slot = record % slots;
            let here = headers.len().min((slots - slot) as usize * HEADER_BYTES);
            self.file.write_at(&headers[..here], slot * HEADER_BYTES as u64).map_err(self.failed("write"))?;
            headers = &headers[here..];
            record = record - slot + slots;
        }
        Ok(())
    }
}

/// Position of a record: which segment since the storage was opened, and where in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) segment: u32,
    /// In units of the record alignment.
    block: u32,
}

impl Location {
    pub(super) fn new(segment: u32, offset: u64) -> Self {
        let block = offset / journal_core::codec::record::ALIGN_BYTES as u64;
        Self { segment, block: u32::try_from(block).expect("segments are at most SEGMENT_MAX long") }
    }

    pub(super) fn offset(self) -> u64 {
        u64::from(self.block) * journal_core::codec::record::ALIGN_BYTES as u64
    }
}

/// Encoded headers of records, as [`Segment::write_slots`] takes them, cut out of encoded records.
pub(super) fn headers_of(records: &[u8], headers: &[Header]) -> Vec<u8> {
    let mut out = Vec::with_capacity(headers.len() * HEADER_BYTES);
    let mut offset = 0;
    for header in headers {
        out.extend_from_slice(&records[offset..offset + HEADER_BYTES]);
        offset += header.record_bytes();
    }
    out
}

/// When the next segment is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preparation {
    /// On a thread of its own, while the current one fills.
    Ahead,
    /// When it is needed: tests count the operations.
    #[cfg(test)]
    OnDemand,
}

/// Makes segments.
pub(super) struct Preparer {
    disk: Arc<dyn Disk>,
    usual_len: u64,
    preparation: Preparation,
    running: Option<JoinHandle<io::Result<Arc<dyn DiskFile>>>>,
}

impl Preparer {
    pub(super) fn new(disk: Arc<dyn Disk>, usual_len: u64, preparation: Preparation) -> Self {
        Self { disk, usual_len, preparation, running: None }
    }

    /// Starts making the next segment, unless that was done already.
    pub(super) fn start(&mut self) {
        if self.running.is_some() || self.preparation != Preparation::Ahead {
            return;
        }
        let (disk, len) = (Arc::clone(&self.disk), self.usual_len);
        // If no thread can be had, the segment is made when it is needed.
        self.running = std::thread::Builder::new()
            .name("journal-prepare".to_owned())
            .spawn(move || {
                let made = create_zeroed(&*disk, PREPARED, len);
                if let Err(error) = &made {
                    tracing::warn!(%error, bytes = len, "the next journal segment cannot be prepared; writes will be refused when the current one is full");
                }
                made
            })
            .ok();
    }

    /// Forgets a segment that is being made, after waiting for it: nothing must write under its name any more.
    pub(super) fn discard(&mut self) {
        if let Some(running) = self.running.take() {
            // Whether it failed no longer matters.
            let _ = running.join();
        }
    }

    /// A durable, empty segment with room for `needed` bytes of records.
    pub(super) fn take(&mut self, first_record: u64, needed: u64) -> Result<Segment, StoreError> {
        let len = segment_len(self.usual_len, needed);
        let prepared = self.running.take().map(JoinHandle::join);
        let made = match prepared {
            Some(Ok(made)) if len == self.usual_len => made,
            // Too small, or the thread died: make another over it.
            _ => create_zeroed(&*self.disk, PREPARED, len),
        };
        let file = made.map_err(|source| {
            // The reserved part would keep others from finding room; the name is overwritten next time anyway.
            if let Err(error) = self.disk.remove(PREPARED) {
                tracing::debug!(%error, "an unfinished segment could not be removed");
            }
            full_or_failed("create", PREPARED, source)
        })?;
        let name = segment_name(first_record);
        self.disk.rename(PREPARED, &name).map_err(|source| StoreError::io("rename", &name, source))?;
        self.disk.sync_dir().map_err(|source| StoreError::io("sync the directory of", &name, source))?;
        Ok(Segment { name, first_record, len, file })
    }
}

impl Drop for Preparer {
    fn drop(&mut self) {
        // A thread left alone could still be writing when the directory is opened again.
        self.discard();
    }
}

pub(super) fn full_or_failed(operation: &'static str, path: &str, source: io::Error) -> StoreError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { path: path.to_owned() },
        _ => StoreError::io(operation, path, source),
    }
}
