//! New keys, and the hash by which a key is known: what is kept cannot be turned back into a key.
//!
//! A key's secret has 256 random bits, so that a fast hash is enough: nobody can try them. BLAKE3 with a context of its
//! own, so that the hash of a key is the hash of nothing else.

use std::fmt;
use std::str::FromStr;

use rand::RngCore;
use wire::api_key::ApiKey;

/// BLAKE3's context string for these hashes: application, date, purpose.
const CONTEXT: &str = "hive-mind 2026-01-01 api key at rest";

/// Names the way a hash was made, so that another may be added.
const SCHEME: &str = "blake3:";

/// The hash of a key. Compared in constant time.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(blake3::Hash);

/// Why a text is no hash of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected blake3: and 64 hexadecimal digits, as `admin keys new` prints them")]
pub struct KeyHashError;

/// A new key of this id, which has to be one ([`wire::api_key::is_id`]).
///
/// # Errors
/// When `id` is none.
pub fn generate(id: &str) -> Result<ApiKey, wire::api_key::ApiKeyError> {
    let mut secret = [0_u8; 32];
    // A generator for cryptography, seeded by the kernel.
    rand::rng().fill_bytes(&mut secret);
    let digits: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("hm_{id}_{digits}").parse()
}

impl KeyHash {
    /// The hash of a key.
    #[must_use]
    pub fn of(key: &ApiKey) -> Self {
        Self(blake3::Hash::from_bytes(blake3::derive_key(CONTEXT, key.reveal().as_bytes())))
    }
}

impl KeyHash {
    /// Its first digits: they tell two keys of one id apart, and nothing about the key.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.0.to_hex()[..12].to_owned()
    }
}

impl FromStr for KeyHash {
    type Err = KeyHashError;

    fn from_str(text: &str) -> Result<Self, KeyHashError> {
        let digits = text.strip_prefix(SCHEME).ok_or(KeyHashError)?;
        blake3::Hash::from_hex(digits).map(Self).map_err(|_| KeyHashError)
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.0.to_hex())
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({}…)", &self.0.to_hex()[..8])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_known_by_its_hash_only() {
        let key = generate("ops").expect("an id");
        let hash = KeyHash::of(&key);
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_ne!(KeyHash::of(&generate("ops").expect("an id")), hash);
        assert!(!hash.to_string().contains(&key.reveal()[7..]));
        assert!(generate("not an id").is_err());
        assert_eq!("sha1:00".parse::<KeyHash>(), Err(KeyHashError));
    }
}
