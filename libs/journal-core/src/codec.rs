//! Everything of the journal as bytes: fixed little-endian layouts, each with a version, read through zero-copy
//! views. One value has exactly one encoding: unused bytes are zero, and readers refuse anything else, so that what
//! was accepted once is encoded to the same bytes again.
//!
//! Deliberately absent: protobuf (in `wire`), files and sectors (in `journal-store`).

use zerocopy::FromBytes;

pub mod batch;
pub mod checksum;
pub mod control;
mod layout;
pub mod record;
pub mod snapshot;
pub mod state_hash;

/// Why bytes were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Fewer bytes than the content needs.
    #[error("{what} is cut short: {needed} bytes needed, {given} given")]
    Truncated {
        /// What was read.
        what: &'static str,
        /// Bytes needed, at least.
        needed: usize,
        /// Bytes given.
        given: usize,
    },
    /// The first bytes are not those of this kind of content.
    #[error("{what} does not begin as it should")]
    Magic {
        /// What was read.
        what: &'static str,
    },
    /// A version this program does not read.
    #[error("{what} has version {version}, which this version of the program does not read")]
    Version {
        /// What was read.
        what: &'static str,
        /// The version found.
        version: u32,
    },
    /// The bytes are not those that were written.
    #[error("{what} does not match its checksum")]
    Checksum {
        /// What was read.
        what: &'static str,
    },
    /// It was written for another disk.
    #[error("{what} belongs to another disk")]
    Foreign {
        /// What was read.
        what: &'static str,
    },
    /// A field holds what cannot stand there.
    #[error("{what}: invalid {field}")]
    Invalid {
        /// What was read.
        what: &'static str,
        /// Which field.
        field: &'static str,
    },
    /// More than fits.
    #[error("{what} is too large: {given}, at most {limit} fit")]
    TooLarge {
        /// What was read or written.
        what: &'static str,
        /// Largest size.
        limit: usize,
        /// Size given.
        given: usize,
    },
}

/// Splits the front of `bytes` off as a `T`.
pub(crate) fn take<'a, T>(bytes: &mut &'a [u8], what: &'static str) -> Result<&'a T, CodecError>
where
    T: FromBytes + zerocopy::KnownLayout + zerocopy::Immutable + zerocopy::Unaligned,
{
    let (view, rest) = T::ref_from_prefix(bytes).map_err(|_| CodecError::Truncated {
        what,
        needed: size_of::<T>(),
        given: bytes.len(),
    })?;
    *bytes = rest;
    Ok(view)
}

/// Splits the front of `bytes` off as `count` times `T`. The count is checked against the bytes that are there
/// before anything is reserved for it.
pub(crate) fn take_many<'a, T>(bytes: &mut &'a [u8], count: usize, what: &'static str) -> Result<&'a [T], CodecError>
where
    T: FromBytes + zerocopy::KnownLayout + zerocopy::Immutable + zerocopy::Unaligned,
{
    let (views, rest) = <[T]>::ref_from_prefix_with_elems(bytes, count).map_err(|_| CodecError::Truncated {
        what,
        needed: size_of::<T>().saturating_mul(count),
        given: bytes.len(),
    })?;
    *bytes = rest;
    Ok(views)
}
