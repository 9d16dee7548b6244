//! The control slot: 4 KiB that hold all of [`Control`], with a generation and a checksum.
//!
//! A disk keeps two slots. A new control is written to both, one after the other, each made durable before the next
//! begins, and is durable once both hold it: then a write cut short leaves the other slot whole, and so does rot in
//! one of them. [`choose`] takes the newer whole one and tells about the other.
//!
//! ```text
//! magic [u8; 8] | version u32 | quarantined u8 | current u8 | pending u8 | unused u8 | generation u64 | log_id u128
//! disk_id u128 | promised (epoch, owner) | base (epoch, owner, seq, chain) | config generation u64
//! (current + pending) × ( disk_id u128 | gateway [u8; 64], padded with zeroes ) | zeroes | crc u32
//! ```

use types::LogId;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U32, U64, U128};

use super::checksum::crc32c;
use super::layout::{EpochLayout, TailLayout, flag, layout, unused};
use super::{CodecError, take, take_many};
use crate::{Control, Voter, VoterConfig};

/// Size of a slot: one page, which disks write in one go more often than not.
pub const SLOT_BYTES: usize = 4096;
/// Most voters of one list. Seven survive the loss of three; nobody needs more.
pub const MAX_VOTERS: usize = 7;
/// Longest name of a gateway, bytes of UTF-8 without zero bytes.
pub const MAX_GATEWAY_BYTES: usize = 64;
/// Version of the layout that is written.
pub const VERSION: u32 = 1;

const WHAT: &str = "control slot";
const MAGIC: [u8; 8] = *b"HMCTRL\r\n";
const CRC_AT: usize = SLOT_BYTES - size_of::<U32>();

layout!(/** Front of a slot. */ ControlLayout, 136, {
    magic: [u8; 8], version: U32, quarantined: u8, current: u8, pending: u8, unused: u8, generation: U64,
    log_id: U128, disk_id: U128, promised: EpochLayout, base: TailLayout, config_generation: U64,
});
layout!(/** A voter. */ VoterLayout, 80, { disk_id: U128, gateway: [u8; MAX_GATEWAY_BYTES] });

const _: () = assert!(size_of::<ControlLayout>() + 2 * MAX_VOTERS * size_of::<VoterLayout>() <= CRC_AT);

/// What two slots hold together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Neither slot was ever written.
    Blank,
    /// A control to go on with.
    Found {
        /// It.
        control: Control,
        /// Its generation.
        generation: u64,
        /// What is wrong with the other slot, if anything: cut short while it was written, or damaged. Writing
        /// the control again repairs it.
        other: Option<CodecError>,
    },
    /// Nothing to go on with: at least one slot is damaged and the other is no help.
    Lost {
        /// What is wrong with the first.
        a: CodecError,
        /// What is wrong with the second.
        b: CodecError,
    },
}

/// The slot for `control`.
///
/// # Errors
/// [`CodecError::TooLarge`] or [`CodecError::Invalid`] for voters that do not fit.
pub fn encode(control: &Control, generation: u64) -> Result<Box<[u8; SLOT_BYTES]>, CodecError> {
    let Control { log_id, disk_id, promised, config, base, quarantined } = control;
    let mut slot = Vec::with_capacity(SLOT_BYTES);
    let layout = ControlLayout {
        magic: MAGIC,
        version: VERSION.into(),
        quarantined: (*quarantined).into(),
        current: voter_count(&config.current)?,
        pending: voter_count(&config.pending)?,
        unused: 0,
        generation: generation.into(),
        log_id: log_id.0.into(),
        disk_id: (*disk_id).into(),
        promised: (*promised).into(),
        base: (*base).into(),
        config_generation: config.generation.into(),
    };
    slot.extend_from_slice(layout.as_bytes());
    for voter in config.current.iter().chain(&config.pending) {
        let name = voter.gateway.as_bytes();
        if name.len() > MAX_GATEWAY_BYTES {
            return Err(CodecError::TooLarge { what: "gateway name", limit: MAX_GATEWAY_BYTES, given: name.len() });
        }
        if name.contains(&0) {
            return Err(CodecError::Invalid { what: WHAT, field: "gateway name" });
        }
        let mut gateway = [0; MAX_GATEWAY_BYTES];
        gateway[..name.len()].copy_from_slice(name);
        slot.extend_from_slice(VoterLayout { disk_id: voter.disk_id.into(), gateway }.as_bytes());
    }
    slot.resize(CRC_AT, 0);
    slot.extend_from_slice(&crc32c(&slot).to_le_bytes());
    Ok(slot.into_boxed_slice().try_into().expect("resized to exactly one slot"))
}

fn voter_count(voters: &[Voter]) -> Result<u8, CodecError> {
    match u8::try_from(voters.len()) {
        Ok(count) if voters.len() <= MAX_VOTERS => Ok(count),
        _ => Err(CodecError::TooLarge { what: "voter list", limit: MAX_VOTERS, given: voters.len() }),
    }
}

/// Reads a slot: its generation and the control. A slot that was never written (zeroes) is [`CodecError::Magic`].
pub fn decode(bytes: &[u8]) -> Result<(u64, Control), CodecError> {
    let Ok(slot) = <&[u8; SLOT_BYTES]>::try_from(bytes) else {
        return Err(CodecError::Truncated { what: WHAT, needed: SLOT_BYTES, given: bytes.len() });
    };
    let (content, crc) = slot.split_at(CRC_AT);
    let mut rest = content;
    let layout = take::<ControlLayout>(&mut rest, WHAT)?;
    if layout.magic != MAGIC {
        return Err(CodecError::Magic { what: WHAT });
    }
    if crc32c(content).to_le_bytes() != crc {
        return Err(CodecError::Checksum { what: WHAT });
    }
    if layout.version.get() != VERSION {
        return Err(CodecError::Version { what: WHAT, version: layout.version.get() });
    }
    unused(&[layout.unused], WHAT)?;
    let current = read_voters(&mut rest, layout.current)?;
    let pending = read_voters(&mut rest, layout.pending)?;
    unused(rest, WHAT)?;
    let control = Control {
        log_id: LogId(layout.log_id.get()),
        disk_id: layout.disk_id.get(),
        promised: (&layout.promised).into(),
        config: VoterConfig { generation: layout.config_generation.get(), current, pending },
        base: (&layout.base).into(),
        quarantined: flag(layout.quarantined, WHAT, "quarantine flag")?,
    };
    Ok((layout.generation.get(), control))
}

fn read_voters(rest: &mut &[u8], count: u8) -> Result<Vec<Voter>, CodecError> {
    if usize::from(count) > MAX_VOTERS {
        return Err(CodecError::TooLarge { what: "voter list", limit: MAX_VOTERS, given: count.into() });
    }
    let voters = take_many::<VoterLayout>(rest, count.into(), WHAT)?;
    voters.iter().map(read_voter).collect()
}

fn read_voter(layout: &VoterLayout) -> Result<Voter, CodecError> {
    let end = layout.gateway.iter().position(|byte| *byte == 0).unwrap_or(MAX_GATEWAY_BYTES);
    unused(&layout.gateway[end..], WHAT)?;
    let gateway = std::str::from_utf8(&layout.gateway[..end])
        .map_err(|_| CodecError::Invalid { what: WHAT, field: "gateway name" })?;
    Ok(Voter { gateway: gateway.to_owned(), disk_id: layout.disk_id.get() })
}

/// Chooses between the two slots of a disk. Missing bytes count as damage, zeroes as never written.
///
/// A blank slot beside a whole one is reported in `other` like a damaged one: every control is written to both. Two
/// whole slots that hold different controls under one generation are [`Choice::Lost`].
#[must_use]
pub fn choose(a: &[u8], b: &[u8]) -> Choice {
    match (decode(a), decode(b)) {
        (Ok((generation, control)), Ok((other, second))) => match generation.cmp(&other) {
            std::cmp::Ordering::Less => Choice::Found { control: second, generation: other, other: None },
            std::cmp::Ordering::Equal if control != second => {
                let differs = CodecError::Invalid { what: WHAT, field: "generation" };
                Choice::Lost { a: differs.clone(), b: differs }
            }
            _ => Choice::Found { control, generation, other: None },
        },
        (Ok((generation, control)), Err(error)) | (Err(error), Ok((generation, control))) => {
            Choice::Found { control, generation, other: Some(error) }
        }
        (Err(error_a), Err(error_b)) => {
            if is_blank(a) && is_blank(b) {
                Choice::Blank
            } else {
                Choice::Lost { a: error_a, b: error_b }
            }
        }
    }
}

fn is_blank(slot: &[u8]) -> bool {
    slot.len() == SLOT_BYTES && slot.iter().all(|byte| *byte == 0)
}
