//! Page tokens: where a page ended, for the request of the next one.
//!
//! A token names a row, not a number of rows, so that pages stay stable while rows are added at the front. It is bound
//! to the question: with other filters it is refused. It is not secret and grants nothing, hence no signature, only a
//! check against mistakes. Deliberately absent: how a key becomes a condition in SQL.

use std::fmt::Write;

use xxhash_rust::xxh3::xxh3_64;

/// Position of a row in "newest first": log time, then shard, then number of the request in its entry, then number of
/// the row in its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(super) at_us: u64,
    pub(super) shard: u32,
    pub(super) index: u32,
    pub(super) number: u32,
}

/// Position of the last row of a page, as clients see it: opaque text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageToken(pub(super) Key);

/// Leading byte of a token. Another meaning of the rest gets another number.
const VERSION: u8 = 1;
/// Version, question, key.
const BODY: usize = 1 + 8 + 8 + 4 + 4 + 4;
/// Body and four bytes of checksum.
const LENGTH: usize = BODY + 4;

impl PageToken {
    /// Writes the token for the question with digest `question`.
    pub(super) fn encode(self, question: u64) -> String {
        let Key { at_us, shard, index, number } = self.0;
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.push(VERSION);
        bytes.extend_from_slice(&question.to_le_bytes());
        bytes.extend_from_slice(&at_us.to_le_bytes());
        bytes.extend_from_slice(&shard.to_le_bytes());
        bytes.extend_from_slice(&index.to_le_bytes());
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(&checksum(&bytes));
        bytes.iter().fold(String::with_capacity(2 * LENGTH), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// Reads a token given with the question with digest `question`.
    ///
    /// # Errors
    /// What is wrong with it, for the client.
    pub(super) fn decode(text: &str, question: u64) -> Result<Self, &'static str> {
        const NOT_OURS: &str = "is not a token of this service; take next_page_token of the page before, unchanged";
        let bytes = unhex(text).ok_or(NOT_OURS)?;
        let (body, check) = bytes.split_at(BODY);
        if body[0] != VERSION || check != checksum(body) {
            return Err(NOT_OURS);
        }
        if u64::from_le_bytes(take(body, 1)) != question {
            return Err("belongs to a request with other filters; repeat the filters of the first page");
        }
        Ok(Self(Key {
            at_us: u64::from_le_bytes(take(body, 9)),
            shard: u32::from_le_bytes(take(body, 17)),
            index: u32::from_le_bytes(take(body, 21)),
            number: u32::from_le_bytes(take(body, 25)),
        }))
    }
}

fn checksum(body: &[u8]) -> [u8; 4] {
    take(&xxh3_64(body).to_le_bytes(), 0)
}

/// `N` bytes from `at`; the callers keep within the length.
fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

fn unhex(text: &str) -> Option<[u8; LENGTH]> {
    let text = text.as_bytes();
    if text.len() != 2 * LENGTH {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = [0; LENGTH];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: PageToken = PageToken(Key { at_us: u64::MAX - 5, shard: 3, index: 7, number: 9 });

    #[test]
    fn reads_back() {
        assert_eq!(PageToken::decode(&TOKEN.encode(42), 42), Ok(TOKEN));
    }

    #[test]
    fn refuses_every_changed_character_and_other_questions() {
        let text = TOKEN.encode(42);
        assert!(PageToken::decode(&text, 43).is_err_and(|why| why.contains("other filters")));
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(bytes).expect("ASCII");
            assert!(PageToken::decode(&changed, 42).is_err(), "changed at {at}");
        }
        for bad in ["", "x", "é", &text[1..], &format!("{text}00"), &"zz".repeat(LENGTH)] {
            assert!(PageToken::decode(bad, 42).is_err(), "{bad}");
        }
    }
}
