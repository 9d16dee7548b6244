//! The payload of an entry of kind [`crate::EntryKind::StateHash`]: the digest of the exchange state before the entry,
//! by which replicas notice that they differ.
//!
//! ```text
//! version u8 = 1 | unused [u8; 15] | hash u128
//! ```

use types::StateHash;
use zerocopy::IntoBytes;
use zerocopy::little_endian::U128;

use super::layout::{layout, unused};
use super::{CodecError, take};

const WHAT: &str = "state hash";
const VERSION: u8 = 1;

layout!(/** The whole payload. */ StateHashLayout, 32, { version: u8, unused: [u8; 15], hash: U128 });

/// The payload for `hash`.
#[must_use]
pub fn encode(hash: StateHash) -> Vec<u8> {
    StateHashLayout { version: VERSION, unused: [0; 15], hash: hash.0.into() }.as_bytes().to_vec()
}

/// Reads a payload.
pub fn decode(bytes: &[u8]) -> Result<StateHash, CodecError> {
    let mut rest = bytes;
    let layout = take::<StateHashLayout>(&mut rest, WHAT)?;
    if layout.version != VERSION {
        return Err(CodecError::Version { what: WHAT, version: layout.version.into() });
    }
    unused(&layout.unused, WHAT)?;
    if !rest.is_empty() {
        return Err(CodecError::Invalid { what: WHAT, field: "length" });
    }
    Ok(StateHash(layout.hash.get()))
}
