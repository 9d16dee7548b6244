//! Where every held entry is, for readers on other threads; the newest ones are kept in memory too, so that readers
//! that follow the end of the log do not touch the disk.
//!
//! Only durable entries come here. The lock is held for short copies only; file reads happen outside of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use journal_core::codec::record::{HEADER_BYTES, Record, decode_header};
use journal_core::{ChainHash, Entry};
use types::Seq;

use super::disk::Disk;
use super::segment::{Location, Segment};
use crate::{LogReader, StoreError};

/// Most bytes of payload kept in memory: some seconds of heavy traffic, which is how far a healthy reader lags.
const RECENT_BYTES: usize = 16 << 20;
/// Most entries kept in memory, for the same reason; bounds what small ones cost beside their payload.
const RECENT_ENTRIES: usize = 1 << 16;
/// Entries copied under the lock at once: some ten microseconds.
const COPY_ENTRIES: usize = 256;
/// Bytes read ahead at once from a file.
const READ_BYTES: u64 = 64 << 10;

#[derive(Default)]
pub(super) struct Log {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    disk_id: u128,
    base: Seq,
    index: VecDeque<Location>,
    /// The first one has the ordinal `dropped`.
    segments: VecDeque<Arc<Segment>>,
    dropped: u32,
    /// The last entries of the index.
    recent: VecDeque<Entry>,
    recent_bytes: usize,
}

/// A part of a range, as found under the lock.
enum Part {
    Recent(Vec<Entry>),
    OnDisk { disk_id: u128, places: Vec<(Arc<Segment>, Location)> },
}

impl Log {
    fn state(&self) -> MutexGuard<'_, State> {
        // Changes below are complete before anything that can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts with what a scan found.
    pub(super) fn reset(&self, disk_id: u128, base: Seq, index: VecDeque<Location>, segments: Vec<Segment>) {
        let segments = segments.into_iter().map(Arc::new).collect();
        *self.state() = State { disk_id, base, index, segments, ..State::default() };
    }

    /// The segment being written, and its ordinal.
    pub(super) fn active(&self) -> Option<(Arc<Segment>, u32)> {
        let state = self.state();
        let ordinal = state.dropped + u32::try_from(state.segments.len()).ok()?.checked_sub(1)?;
        Some((Arc::clone(state.segments.back()?), ordinal))
    }

    pub(super) fn add_segment(&self, segment: Segment) {
        self.state().segments.push_back(Arc::new(segment));
    }

    /// Makes a durable unit visible.
    pub(super) fn append(&self, truncate_to: Option<Seq>, entries: &[Entry], locations: &[Location]) {
        let mut state = self.state();
        if let Some(to) = truncate_to {
            let base = state.base;
            state.index.truncate(usize::try_from(to.0.saturating_sub(base.0)).unwrap_or(usize::MAX));
            while let Some(last) = state.recent.pop_back_if(|entry| entry.seq > to) {
                state.recent_bytes -= last.payload.len();
            }
        }
        state.index.extend(locations);
        for entry in entries {
            state.recent_bytes += entry.payload.len();
            state.recent.push_back(entry.clone());
        }
        while state.recent.len() > RECENT_ENTRIES || state.recent_bytes > RECENT_BYTES {
            let Some(first) = state.recent.pop_front() else { break };
            state.recent_bytes -= first.payload.len();
        }
    }

    /// Forgets entries up to `base` and removes the segments that hold none above it, but never the last segment.
    pub(super) fn trim(&self, disk: &dyn Disk, base: Seq) -> Result<(), StoreError> {
        {
            let mut state = self.state();
            let count = usize::try_from(base.0.saturating_sub(state.base.0)).unwrap_or(usize::MAX);
            let count = count.min(state.index.len());
            state.index.drain(..count);
            state.base = state.base.max(base);
            while let Some(first) = state.recent.pop_front_if(|entry| entry.seq <= base) {
                state.recent_bytes -= first.payload.len();
            }
        }
        loop {
            let name = {
                let mut state = self.state();
                let needed = state.index.front().map_or(u32::MAX, |location| location.segment);
                if state.segments.len() < 2 || needed <= state.dropped {
                    return Ok(());
                }
                state.dropped += 1;
                state.segments.pop_front().map(|segment| segment.name.clone()).unwrap_or_default()
            };
            disk.remove(&name).map_err(|source| StoreError::io("remove", &name, source))?;
            // One by one, oldest first: a gap would look like a lost file.
            disk.sync_dir().map_err(|source| StoreError::io("sync the directory of", &name, source))?;
        }
    }

    /// Hash of an entry; `None` if the log does not hold it.
    pub(super) fn chain_at(&self, seq: Seq) -> Result<Option<ChainHash>, StoreError> {
        match self.read(seq, seq, 0) {
            Ok(entries) => Ok(entries.first().map(|entry| entry.chain)),
            Err(StoreError::Trimmed { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn part(&self, from: Seq, to: Seq) -> Result<Part, StoreError> {
        let state = self.state();
        if state.segments.is_empty() {
            return Err(StoreError::OutOfService { cause: "nothing was recovered yet".to_owned() });
        }
        if from <= state.base {
            return Err(StoreError::Trimmed { base: state.base });
        }
        if let Some(first) = state.recent.front()
            && first.seq <= from
        {
            let skip = usize::try_from(from.0 - first.seq.0).unwrap_or(usize::MAX).min(state.recent.len());
            let entries = state.recent.range(skip..).take(COPY_ENTRIES).take_while(|entry| entry.seq <= to);
            return Ok(Part::Recent(entries.cloned().collect()));
        }
        let skip = usize::try_from(from.0 - state.base.0 - 1).unwrap_or(usize::MAX).min(state.index.len());
        let count = usize::try_from(to.0.saturating_sub(from.0).saturating_add(1)).unwrap_or(usize::MAX);
        let places = state.index.range(skip..).take(count.min(COPY_ENTRIES)).map(|location| {
            let segment = (location.segment - state.dropped) as usize;
            (Arc::clone(&state.segments[segment]), *location)
        });
        Ok(Part::OnDisk { disk_id: state.disk_id, places: places.collect() })
    }
}

impl LogReader for Log {
    fn read(&self, from: Seq, to: Seq, max_bytes: usize) -> Result<Vec<Entry>, StoreError> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        let mut next = from;
        // Keeps an entry; false when the answer is complete.
        let mut keep = |entries: &mut Vec<Entry>, entry: Entry| {
            bytes += entry.payload.len();
            let fits = bytes <= max_bytes || entries.is_empty();
            // A truncation between two looks at the index: what was read before it is a good answer by itself.
            let continues = entries.last().is_none_or(|last: &Entry| last.chain == entry.prev_chain);
            if fits && continues {
                entries.push(entry);
            }
            fits && continues
        };
        while next <= to {
            match self.part(next, to) {
                // Trimmed in between: as above.
                Err(StoreError::Trimmed { .. }) if !entries.is_empty() => break,
                Err(error) => return Err(error),
                Ok(Part::Recent(part)) => {
                    for entry in part {
                        if !keep(&mut entries, entry) {
                            return Ok(entries);
                        }
                    }
                }
                Ok(Part::OnDisk { disk_id, places }) => {
                    let mut buffer = Buffer::default();
                    for (index, (segment, location)) in places.iter().enumerate() {
                        let seq = Seq(next.0 + index as u64);
                        if !keep(&mut entries, buffer.entry(segment, *location, disk_id, seq)?) {
                            return Ok(entries);
                        }
                    }
                }
            }
            let after = from.0 + entries.len() as u64;
            if after == next.0 {
                break;
            }
            next = Seq(after);
        }
        Ok(entries)
    }
}

/// A piece of a segment file.
#[derive(Default)]
struct Buffer {
    name: String,
    start: u64,
    bytes: Vec<u8>,
}

impl Buffer {
    /// The entry at `location`, checked: by then it was durable, so whatever is wrong with it is corruption.
    fn entry(&mut self, segment: &Segment, location: Location, disk_id: u128, seq: Seq) -> Result<Entry, StoreError> {
        let offset = location.offset();
        let corrupt = |reason: String| StoreError::Corrupt { segment: segment.name.clone(), offset, seq, reason };
        let header = self.at(segment, offset, HEADER_BYTES as u64)?;
        let header = decode_header(header, disk_id).map_err(|error| corrupt(error.to_string()))?;
        let record = self.at(segment, offset, header.record_bytes() as u64)?;
        match Record::decode(record, disk_id) {
            Ok((_, Record::Entry(entry))) if entry.seq == seq => Ok(entry),
            Ok(_) => Err(corrupt("another record than the index says".to_owned())),
            Err(error) => Err(corrupt(error.to_string())),
        }
    }

    fn at(&mut self, segment: &Segment, offset: u64, len: u64) -> Result<&[u8], StoreError> {
        let end = self.start + self.bytes.len() as u64;
        if self.name != segment.name || offset < self.start || offset + len > end {
            let count = len.max(READ_BYTES).min(segment.len.saturating_sub(offset));
            self.bytes.resize(count as usize, 0);
            (self.start, self.name) = (offset, segment.name.clone());
            segment.file.read_at(&mut self.bytes, offset).map_err(segment.failed("read"))?;
        }
        let from = (offset - self.start) as usize;
        Ok(&self.bytes[from..self.bytes.len().min(from + len as usize)])
    }
}
