//! Reads all segments at start and tells a write that was cut short from damage to what was durable.
//!
//! ```text
//! the last unit is incomplete or bad, no later unit, no header slot of it   → torn: never acknowledged, cut
//! anything else that is bad, missing or out of order                        → corrupt: refused, nothing is cut
//! ```
//!
//! A unit is numbered after its first record, so the number a unit must have is known wherever the scan stands. A later
//! segment proves that everything before it was durable, a later unit that the one before it was, a header slot that
//! its own unit was.
//!
//! Deliberately absent: writing. Zeroing what was cut is the storage's work.

use std::collections::VecDeque;

use journal_core::codec::CodecError;
use journal_core::codec::record::{ALIGN_BYTES, HEADER_BYTES, Header, Record, decode_header};
use journal_core::{Control, Recovered};
use types::Seq;

use super::segment::{Location, Segment, headers_of};
use crate::StoreError;
use crate::replay::Replay;

/// Zeroes are recognised in blocks of this size.
const ZEROES: [u8; 4096] = [0; 4096];

/// What the segments hold.
pub(super) struct Scanned {
    pub(super) recovered: Recovered,
    /// Where the entries above the base are.
    pub(super) index: VecDeque<Location>,
    /// Number of the next record.
    pub(super) next_record: u64,
    /// Where it goes in the last segment.
    pub(super) end: u64,
    /// Whether bytes of a unit that was cut are left behind `end`.
    pub(super) remains: bool,
    /// First record and encoded headers of the last unit, if it is in the last segment.
    pub(super) last_unit: Option<(u64, Vec<u8>)>,
}

/// A record of a unit that is not complete yet.
struct Pending {
    header: Header,
    record: Record,
    offset: u64,
}

struct Scanner {
    disk_id: u128,
    base: Seq,
    replay: Replay,
    index: VecDeque<Location>,
    next_record: u64,
    last_unit: Option<(u64, Vec<u8>)>,
}

/// Reads and checks `segments`, oldest first.
pub(super) fn scan(segments: &[&Segment], control: &Control) -> Result<Scanned, StoreError> {
    let mut scanner = Scanner {
        disk_id: control.disk_id,
        base: control.base.seq,
        replay: Replay::new(control.clone()),
        index: VecDeque::new(),
        next_record: segments.first().map_or(1, |segment| segment.first_record),
        last_unit: None,
    };
    let mut end = (0, false);
    for (ordinal, segment) in segments.iter().enumerate() {
        let mut bytes = vec![0; usize::try_from(segment.len).map_err(|_| StoreError::invalid("segment too long"))?];
        segment.file.read_at(&mut bytes, 0).map_err(segment.failed("read"))?;
        let next = segments.get(ordinal + 1).map(|next| next.first_record);
        let ordinal = u32::try_from(ordinal).map_err(|_| StoreError::invalid("too many segments"))?;
        end = scanner.segment(segment, ordinal, &bytes, next)?;
    }
    let Scanner { replay, index, next_record, last_unit, .. } = scanner;
    let expected = replay.expected();
    let recovered = replay.finish().map_err(|reason| StoreError::Corrupt {
        segment: segments.last().map_or_else(String::new, |segment| segment.name.clone()),
        offset: end.0,
        seq: expected,
        reason,
    })?;
    Ok(Scanned { recovered, index, next_record, end: end.0, remains: end.1, last_unit })
}

impl Scanner {
    /// Reads one segment; the answer is where its records end, and whether something to be cut is left there.
    fn segment(
        &mut self,
        segment: &Segment,
        ordinal: u32,
        bytes: &[u8],
        next_segment: Option<u64>,
    ) -> Result<(u64, bool), StoreError> {
        let corrupt = |offset: u64, seq: Seq, reason: String| StoreError::Corrupt {
            segment: segment.name.clone(),
            offset,
            seq,
            reason,
        };
        self.last_unit = None;
        let mut offset = segment.data_start();
        let mut unit: Vec<Pending> = Vec::new();
        let mut unit_start = offset;
        let error = loop {
            let rest = &bytes[offset as usize..];
            if rest.len() < HEADER_BYTES {
                break None;
            }
            let (header, record) = match Record::decode(rest, self.disk_id) {
                Ok(found) => found,
                Err(error) => break Some(error),
            };
            let unit_no = unit.first().map_or(self.next_record, |first| first.header.place.phys_no);
            if (header.place.phys_no, header.place.unit_no) != (self.next_record, unit_no) {
                let reason = format!(
                    "record {} of unit {} where record {} of unit {unit_no} belongs",
                    header.place.phys_no, header.place.unit_no, self.next_record
                );
                return Err(corrupt(offset, header.seq, reason));
            }
            self.next_record += 1;
            unit.push(Pending { header, record, offset });
            offset += header.record_bytes() as u64;
            if header.place.last_in_unit {
                let headers: Vec<Header> = unit.iter().map(|pending| pending.header).collect();
                self.last_unit = Some((unit_no, headers_of(&bytes[unit_start as usize..], &headers)));
                for Pending { header, record, offset } in unit.drain(..) {
                    self.apply(record, Location::new(ordinal, offset))
                        .map_err(|reason| corrupt(offset, header.seq, reason))?;
                }
                unit_start = offset;
            }
        };
        let unit_no = unit.first().map_or(self.next_record, |first| first.header.place.phys_no);
        let expected = unit.last().map_or(self.replay.expected(), |last| last.header.seq.next());
        if let Some(next) = next_segment {
            if unit.is_empty() && next == self.next_record {
                return Ok((offset, false));
            }
            let what = error.map_or_else(|| "the file ends".to_owned(), |error| error.to_string());
            let reason = format!("{what}, but the next segment begins with record {next}");
            return Err(corrupt(offset, self.lost_seq(bytes, segment, offset, expected), reason));
        }
        if let Some(reason) = self.evidence(segment, bytes, offset, unit_no, error.as_ref()) {
            return Err(corrupt(offset, self.lost_seq(bytes, segment, offset, expected), reason));
        }
        self.next_record = unit_no;
        Ok((unit_start, !is_zero(&bytes[unit_start as usize..])))
    }

    fn apply(&mut self, record: Record, location: Location) -> Result<(), String> {
        match record {
            Record::Entry(entry) => {
                self.replay.promise(entry.epoch);
                self.replay.push(&entry)?;
                if entry.seq > self.base {
                    self.index.push_back(location);
                }
            }
            Record::Truncate { to, by } => {
                self.replay.promise(by);
                self.replay.truncate(to)?;
                self.index.truncate(usize::try_from(to.0.saturating_sub(self.base.0)).unwrap_or(usize::MAX));
            }
        }
        Ok(())
    }

    /// Why what cannot be read at `offset`, part of unit `unit_no`, was durable once; `None` if nothing says so.
    fn evidence(
        &self,
        segment: &Segment,
        bytes: &[u8],
        offset: u64,
        unit_no: u64,
        error: Option<&CodecError>,
    ) -> Option<String> {
        match error {
            None | Some(CodecError::Magic { .. } | CodecError::Checksum { .. }) => {}
            // A cut-short write does not get its checksum right.
            Some(error) => return Some(error.to_string()),
        }
        let what = error.map_or_else(|| "the file ends within a unit".to_owned(), ToString::to_string);
        let (slots, records) = bytes.split_at(segment.data_start() as usize);
        if let Some(slot) = self.headers(slots).find(|header| header.place.unit_no >= unit_no) {
            return Some(format!("{what}; a header slot says that record {} was durable", slot.place.phys_no));
        }
        let behind = &records[(offset - segment.data_start()) as usize..];
        let later = self.headers(behind).find(|header| header.place.unit_no > unit_no)?;
        Some(format!("{what}; record {} of a later unit stands behind it", later.place.phys_no))
    }

    /// All headers at any possible place.
    fn headers<'a>(&self, bytes: &'a [u8]) -> impl Iterator<Item = Header> + 'a {
        let disk_id = self.disk_id;
        bytes
            .chunks(ZEROES.len())
            .filter(|page| !is_zero(page))
            .flat_map(|page| page.chunks_exact(ALIGN_BYTES))
            .filter_map(move |place| decode_header(place, disk_id).ok())
    }

    /// The seq of the record that cannot be read, as well as it can be told.
    fn lost_seq(&self, bytes: &[u8], segment: &Segment, offset: u64, expected: Seq) -> Seq {
        if let Ok(header) = decode_header(&bytes[offset as usize..], self.disk_id) {
            return header.seq;
        }
        let lost = self.next_record;
        let mut slots = self.headers(&bytes[..segment.data_start() as usize]);
        slots.find(|header| header.place.phys_no == lost).map_or(expected, |header| header.seq)
    }
}

pub(super) fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(ZEROES.len()).all(|chunk| *chunk == ZEROES[..chunk.len()])
}
