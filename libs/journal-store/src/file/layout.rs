//! How a data directory and a segment file are laid out.
//!
//! ```text
//! control                  two control slots, 4 KiB each, always written one after the other
//! <record number>.segment  named after the first physical record in it
//!   header slots           a ring of the newest record headers, 1/256 of the file, 4 KiB to 256 KiB
//!   records                back to back from here; zeroes behind the last one
//! <seq>.snapshot           see the snapshot store
//! prepared.tmp             the next segment, being filled with zeroes
//! lock                     names the process that uses the directory
//! ```
//!
//! A header slot is written after the sync that made its record durable. So a slot on disk proves that its record was
//! durable, which is what tells rot from a write cut short; slots of one sync with their records would prove nothing,
//! since a power loss keeps any part of an unfinished sync. Only the last unit needs them, since every other one is
//! proven by its successor: they are written when the log falls quiet, so that a busy one pays nothing for them.

use journal_core::codec::record::{ALIGN_BYTES, HEADER_BYTES};

pub(super) const CONTROL: &str = "control";
pub(super) const CONTROL_NEW: &str = "control.tmp";
pub(super) const PREPARED: &str = "prepared.tmp";
const SEGMENT_SUFFIX: &str = ".segment";
const SNAPSHOT_SUFFIX: &str = ".snapshot";

/// Everything in a segment is laid out in pages of this size.
pub(super) const PAGE: u64 = 4096;
/// Most bytes of header slots: 4096 headers, many times a unit.
const SLOTS_MAX: u64 = 256 << 10;
/// Smallest segment: a page of slots and a page of records.
pub(super) const SEGMENT_MIN: u64 = 2 * PAGE;
/// Largest segment that positions can express.
pub(super) const SEGMENT_MAX: u64 = (u32::MAX as u64) * ALIGN_BYTES as u64;

/// Bytes of header slots in a segment of `len` bytes.
pub(super) const fn slot_bytes(len: u64) -> u64 {
    let wanted = (len / 256).next_multiple_of(PAGE);
    if wanted > SLOTS_MAX {
        SLOTS_MAX
    } else if wanted < PAGE {
        PAGE
    } else {
        wanted
    }
}

/// Number of header slots in a segment of `len` bytes.
pub(super) const fn slot_count(len: u64) -> u64 {
    slot_bytes(len) / HEADER_BYTES as u64
}

/// Length of a segment for records of `needed` bytes: the usual one unless they do not fit.
pub(super) const fn segment_len(usual: u64, needed: u64) -> u64 {
    let mut len = usual;
    while len - slot_bytes(len) < needed {
        len = (needed + slot_bytes(len)).next_multiple_of(PAGE);
    }
    len
}

pub(super) fn segment_name(first_record: u64) -> String {
    format!("{first_record:020}{SEGMENT_SUFFIX}")
}

pub(super) fn snapshot_name(seq: u64) -> String {
    format!("{seq:020}{SNAPSHOT_SUFFIX}")
}

pub(super) fn parse_segment(name: &str) -> Option<u64> {
    parse(name, SEGMENT_SUFFIX)
}

pub(super) fn parse_snapshot(name: &str) -> Option<u64> {
    parse(name, SNAPSHOT_SUFFIX)
}

fn parse(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        assert_eq!(segment_name(17), "00000000000000000017.segment");
        assert_eq!(parse_segment(&segment_name(u64::MAX)), Some(u64::MAX));
        for name in ["17.segment", "+0000000000000000017.segment", "00000000000000000017.snapshot", PREPARED, CONTROL] {
            assert_eq!(parse_segment(name), None, "{name}");
        }
        assert_eq!(parse_snapshot(&snapshot_name(3)), Some(3));
    }

    #[test]
    fn slots_scale_with_the_segment() {
        assert_eq!(slot_bytes(64 << 20), 256 << 10);
        assert_eq!(slot_bytes(SEGMENT_MIN), PAGE);
        for needed in [1, 4096, 4097, 1 << 20, 100 << 20] {
            let len = segment_len(SEGMENT_MIN, needed);
            assert!(len - slot_bytes(len) >= needed && len.is_multiple_of(PAGE), "{needed}: {len}");
            assert!(len < needed + SLOTS_MAX + 2 * PAGE);
        }
        assert_eq!(segment_len(64 << 20, 1 << 20), 64 << 20);
    }
}
