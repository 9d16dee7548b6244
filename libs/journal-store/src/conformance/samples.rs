//! Entries and units to write in tests.

use bytes::Bytes;
use journal_core::{Control, Entry, EntryKind, Recovered, Tail, Unit};
use types::{Epoch, Incarnation, LogId, Seq, Timestamp};

/// Epoch `number` of the one owner that has it.
#[must_use]
pub fn epoch(number: u64) -> Epoch {
    Epoch { number, owner: Incarnation(u128::from(number) << 64 | 7) }
}

/// `payloads.len()` chained entries after `after`.
#[must_use]
pub fn batch(log_id: LogId, epoch: Epoch, after: &Tail, payloads: &[&[u8]]) -> Vec<Entry> {
    let mut tail = *after;
    payloads
        .iter()
        .map(|payload| {
            let seq = tail.seq.next();
            let entry = Entry::seal(
                log_id,
                epoch,
                seq,
                EntryKind::Batch,
                Timestamp(1_000 + seq.0),
                tail.chain,
                Bytes::copy_from_slice(payload),
            );
            tail = entry.tail();
            entry
        })
        .collect()
}

/// A unit of batches after `after`.
#[must_use]
pub fn unit(log_id: LogId, epoch: Epoch, after: &Tail, payloads: &[&[u8]]) -> Unit {
    Unit { epoch, truncate_to: None, entries: batch(log_id, epoch, after, payloads) }
}

/// A unit that first forgets what stands after `after`.
#[must_use]
pub fn truncating(log_id: LogId, epoch: Epoch, after: &Tail, payloads: &[&[u8]]) -> Unit {
    Unit { truncate_to: Some(after.seq), ..unit(log_id, epoch, after, payloads) }
}

/// The control record found, with another promise.
#[must_use]
pub fn control(found: &Recovered, promised: Epoch) -> Control {
    Control { promised, ..found.control.clone() }
}

/// The log as it is after a unit, as plain data: what a test expects to read back.
pub fn extend(log: &mut Vec<Entry>, unit: &Unit) {
    if let Some(to) = unit.truncate_to {
        log.retain(|entry| entry.seq <= to);
    }
    log.extend(unit.entries.iter().cloned());
    debug_assert!(log.iter().enumerate().all(|(index, entry)| entry.seq == Seq(index as u64 + 1)));
}
