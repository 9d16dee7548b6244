//! The hash that ties every entry to all entries before it.

use std::fmt;
use std::str::FromStr;

use types::{Epoch, LogId, Seq, Timestamp};

use crate::EntryKind;

/// First 16 bytes of a BLAKE3 hash over an entry and the hash of the entry before it. Two logs with equal hashes at
/// one seq are equal up to there (I7).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainHash(pub [u8; 16]);

/// Why a text is not a chain hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a chain hash is 32 hexadecimal digits")]
pub struct ParseChainHashError;

impl ChainHash {
    /// What stands before the first entry.
    pub const ZERO: Self = Self([0; 16]);

    /// The hash of an entry. All numbers enter in little-endian order, identities as 16 bytes.
    #[must_use]
    pub(crate) fn of(
        prev: Self,
        log_id: LogId,
        epoch: Epoch,
        seq: Seq,
        kind: EntryKind,
        timestamp: Timestamp,
        payload: &[u8],
    ) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&prev.0);
        hasher.update(&log_id.0.to_le_bytes());
        hasher.update(&epoch.number.to_le_bytes());
        hasher.update(&epoch.owner.0.to_le_bytes());
        hasher.update(&seq.0.to_le_bytes());
        hasher.update(&[kind.code()]);
        hasher.update(&timestamp.0.to_le_bytes());
        hasher.update(payload);
        let mut chain = [0; 16];
        hasher.finalize_xof().fill(&mut chain);
        Self(chain)
    }
}

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChainHash({self})")
    }
}

impl FromStr for ChainHash {
    type Err = ParseChainHashError;

    /// Reads the 32 hexadecimal digits that `Display` writes.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ParseChainHashError);
        }
        u128::from_str_radix(text, 16).map(|value| Self(value.to_be_bytes())).map_err(|_| ParseChainHashError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_prints() {
        let hash = ChainHash([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);
        assert_eq!(hash.to_string(), "000102030405060708090a0b0c0d0eff");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!("+00102030405060708090a0b0c0d0eff".parse::<ChainHash>(), Err(ParseChainHashError));
        assert_eq!("00".parse::<ChainHash>(), Err(ParseChainHashError));
    }
}
