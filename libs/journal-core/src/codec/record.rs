//! Physical records: how entries and truncations stand in a segment file, one after the other, each beginning at a
//! multiple of [`ALIGN_BYTES`].
//!
//! ```text
//! header, 64 bytes:
//!   magic [u8; 4] | type u8 | version u8 = 1 | last_in_unit u8 | unused u8 | salt u32 | len u32
//!   phys_no u64 | unit_no u64 | seq u64 | chain [u8; 16] | payload_crc u32 | header_crc u32
//! content, `len` bytes, then zeroes up to the next multiple of 64; payload_crc is over both:
//!   ENTRY  log_id u128 | epoch u64 | owner u128 | timestamp u64 | prev_chain [u8; 16] | kind u8 | unused [u8; 7] | payload
//!   TRUNC  epoch u64 | owner u128 | unused [u8; 8]
//! ```
//!
//! A truncation is a record like any other, so that cutting and appending are one write unit. The header names the
//! entry (seq and chain) and is meant to be repeated elsewhere: a lost entry can then still be named.

use bytes::Bytes;
use types::{Epoch, LogId, Seq, Timestamp};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U32, U64, U128};

use super::checksum::crc32c;
use super::layout::{EpochLayout, flag, layout, unused};
use super::{CodecError, take};
use crate::{ChainHash, Entry, EntryKind, MAX_PAYLOAD_BYTES};

/// Size of a header.
pub const HEADER_BYTES: usize = 64;
/// Records begin at multiples of this, so that a header never lies across two sectors.
pub const ALIGN_BYTES: usize = 64;
/// Largest record, header and padding included.
pub const MAX_RECORD_BYTES: usize = HEADER_BYTES + (size_of::<EntryLayout>() + MAX_PAYLOAD_BYTES).next_multiple_of(64);
/// Version of the layout that is written.
pub const VERSION: u8 = 1;

const HEADER: &str = "record header";
const RECORD: &str = "record";
const MAGIC: [u8; 4] = *b"HMJ\xf1";
const ENTRY: u8 = 1;
const TRUNCATE: u8 = 2;

layout!(/** A header; `header_crc` is over the 60 bytes before it. */ HeaderLayout, 64, {
    magic: [u8; 4], record_type: u8, version: u8, last_in_unit: u8, unused: u8, salt: U32, len: U32, phys_no: U64,
    unit_no: U64, seq: U64, chain: [u8; 16], payload_crc: U32, header_crc: U32,
});
layout!(/** Front of an entry's content. */ EntryLayout, 72, {
    log_id: U128, epoch: EpochLayout, timestamp: U64, prev_chain: [u8; 16], kind: u8, unused: [u8; 7],
});
layout!(/** A truncation's content. */ TruncateLayout, 32, { epoch: EpochLayout, unused: [u8; 8] });

/// Where a record stands among all records of its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Identity of the disk; a record found on another disk is refused.
    pub disk_id: u128,
    /// Number of the record, counted from the first one ever written to this disk.
    pub phys_no: u64,
    /// Number of its write unit.
    pub unit_no: u64,
    /// Whether the unit ends with it. A unit without its last record was never acknowledged.
    pub last_in_unit: bool,
}

/// What kind of record it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordType {
    /// An entry.
    Entry,
    /// A truncation.
    Truncate,
}

/// A header that is as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What follows.
    pub record_type: RecordType,
    /// Where it stands.
    pub place: Place,
    /// Seq of the entry, or the last seq that a truncation keeps.
    pub seq: Seq,
    /// Hash of the entry; zero for a truncation.
    pub chain: ChainHash,
    /// Bytes of content, without padding.
    pub len: usize,
    payload_crc: u32,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An entry.
    Entry(Entry),
    /// Everything after a seq is forgotten.
    Truncate {
        /// Last seq that is kept.
        to: Seq,
        /// Leader by whose order.
        by: Epoch,
    },
}

impl Header {
    /// Bytes from the beginning of this record to the beginning of the next.
    #[must_use]
    pub const fn record_bytes(&self) -> usize {
        HEADER_BYTES + self.len.next_multiple_of(ALIGN_BYTES)
    }
}

impl Record {
    /// Its size on disk, header and padding included.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        let len = match self {
            Self::Entry(entry) => size_of::<EntryLayout>() + entry.payload.len(),
            Self::Truncate { .. } => size_of::<TruncateLayout>(),
        };
        HEADER_BYTES + len.next_multiple_of(ALIGN_BYTES)
    }

    /// Appends the record to `out` and returns its header, which is also the first [`HEADER_BYTES`] of what was
    /// appended.
    ///
    /// # Errors
    /// [`CodecError::TooLarge`] if the payload is above [`MAX_PAYLOAD_BYTES`]; `out` is unchanged then.
    pub fn encode(&self, place: Place, out: &mut Vec<u8>) -> Result<Header, CodecError> {
        if let Self::Entry(entry) = self
            && entry.payload.len() > MAX_PAYLOAD_BYTES
        {
            return Err(CodecError::TooLarge { what: RECORD, limit: MAX_PAYLOAD_BYTES, given: entry.payload.len() });
        }
        let start = out.len();
        out.reserve(self.encoded_bytes());
        out.resize(start + HEADER_BYTES, 0);
        let (record_type, seq, chain) = match self {
            Self::Entry(entry) => {
                let front = EntryLayout {
                    log_id: entry.log_id.0.into(),
                    epoch: entry.epoch.into(),
                    timestamp: entry.timestamp.0.into(),
                    prev_chain: entry.prev_chain.0,
                    kind: entry.kind.code(),
                    unused: [0; 7],
                };
                out.extend_from_slice(front.as_bytes());
                out.extend_from_slice(&entry.payload);
                (RecordType::Entry, entry.seq, entry.chain)
            }
            Self::Truncate { to, by } => {
                out.extend_from_slice(TruncateLayout { epoch: (*by).into(), unused: [0; 8] }.as_bytes());
                (RecordType::Truncate, *to, ChainHash::ZERO)
            }
        };
        let len = out.len() - start - HEADER_BYTES;
        out.resize(start + HEADER_BYTES + len.next_multiple_of(ALIGN_BYTES), 0);
        let payload_crc = crc32c(&out[start + HEADER_BYTES..]);
        let header = Header { record_type, place, seq, chain, len, payload_crc };
        out[start..start + HEADER_BYTES].copy_from_slice(HeaderLayout::from(&header).as_bytes());
        Ok(header)
    }

    /// Reads the record at the front of `bytes`: header, checksums, content, and the entry's own hash.
    ///
    /// Zeroes (a part of a segment that was never written) are [`CodecError::Magic`].
    pub fn decode(bytes: &[u8], disk_id: u128) -> Result<(Header, Self), CodecError> {
        let header = decode_header(bytes, disk_id)?;
        let Some(content) = bytes.get(HEADER_BYTES..header.record_bytes()) else {
            return Err(CodecError::Truncated { what: RECORD, needed: header.record_bytes(), given: bytes.len() });
        };
        if crc32c(content) != header.payload_crc {
            return Err(CodecError::Checksum { what: RECORD });
        }
        unused(&content[header.len..], RECORD)?;
        let mut rest = &content[..header.len];
        let record = match header.record_type {
            RecordType::Entry => {
                let front = take::<EntryLayout>(&mut rest, RECORD)?;
                unused(&front.unused, RECORD)?;
                let kind =
                    EntryKind::from_code(front.kind).ok_or(CodecError::Invalid { what: RECORD, field: "kind" })?;
                let entry = Entry {
                    log_id: LogId(front.log_id.get()),
                    epoch: (&front.epoch).into(),
                    seq: header.seq,
                    kind,
                    timestamp: Timestamp(front.timestamp.get()),
                    prev_chain: ChainHash(front.prev_chain),
                    chain: header.chain,
                    payload: Bytes::copy_from_slice(rest),
                };
                if !entry.verify() {
                    return Err(CodecError::Invalid { what: RECORD, field: "chain hash" });
                }
                Self::Entry(entry)
            }
            RecordType::Truncate => {
                let layout = take::<TruncateLayout>(&mut rest, RECORD)?;
                unused(&layout.unused, RECORD)?;
                unused(&header.chain.0, RECORD)?;
                unused(rest, RECORD)?;
                Self::Truncate { to: header.seq, by: (&layout.epoch).into() }
            }
        };
        Ok((header, record))
    }
}

/// The disk's part in a header: tells what is left of another disk's life from what belongs here.
fn salt(disk_id: u128) -> u32 {
    crc32c(&disk_id.to_le_bytes())
}

impl From<&Header> for HeaderLayout {
    fn from(header: &Header) -> Self {
        let len = u32::try_from(header.len).expect("limited to MAX_PAYLOAD_BYTES plus its front");
        let mut layout = Self {
            magic: MAGIC,
            record_type: match header.record_type {
                RecordType::Entry => ENTRY,
                RecordType::Truncate => TRUNCATE,
            },
            version: VERSION,
            last_in_unit: header.place.last_in_unit.into(),
            unused: 0,
            salt: salt(header.place.disk_id).into(),
            len: len.into(),
            phys_no: header.place.phys_no.into(),
            unit_no: header.place.unit_no.into(),
            seq: header.seq.0.into(),
            chain: header.chain.0,
            payload_crc: header.payload_crc.into(),
            header_crc: 0.into(),
        };
        layout.header_crc = layout.expected_crc().into();
        layout
    }
}

impl HeaderLayout {
    fn expected_crc(&self) -> u32 {
        crc32c(&self.as_bytes()[..HEADER_BYTES - size_of::<U32>()])
    }
}

/// Reads only the header at the front of `bytes`, for scans and for repeated headers.
pub fn decode_header(bytes: &[u8], disk_id: u128) -> Result<Header, CodecError> {
    let mut rest = bytes;
    let layout = take::<HeaderLayout>(&mut rest, HEADER)?;
    if layout.magic != MAGIC {
        return Err(CodecError::Magic { what: HEADER });
    }
    if layout.header_crc.get() != layout.expected_crc() {
        return Err(CodecError::Checksum { what: HEADER });
    }
    if layout.version != VERSION {
        return Err(CodecError::Version { what: HEADER, version: layout.version.into() });
    }
    if layout.salt.get() != salt(disk_id) {
        return Err(CodecError::Foreign { what: HEADER });
    }
    unused(&[layout.unused], HEADER)?;
    let len = layout.len.get() as usize;
    let (record_type, smallest, largest) = match layout.record_type {
        ENTRY => (RecordType::Entry, size_of::<EntryLayout>(), size_of::<EntryLayout>() + MAX_PAYLOAD_BYTES),
        TRUNCATE => (RecordType::Truncate, size_of::<TruncateLayout>(), size_of::<TruncateLayout>()),
        _ => return Err(CodecError::Invalid { what: HEADER, field: "type" }),
    };
    if !(smallest..=largest).contains(&len) {
        return Err(CodecError::Invalid { what: HEADER, field: "length" });
    }
    Ok(Header {
        record_type,
        place: Place {
            disk_id,
            phys_no: layout.phys_no.get(),
            unit_no: layout.unit_no.get(),
            last_in_unit: flag(layout.last_in_unit, HEADER, "end of unit")?,
        },
        seq: Seq(layout.seq.get()),
        chain: ChainHash(layout.chain),
        len,
        payload_crc: layout.payload_crc.get(),
    })
}
