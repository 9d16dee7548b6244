//! Short texts held inline: symbols and client order ids. Printable ASCII without spaces, so that they can stand
//! in logs, URLs and fixed binary layouts as they are.

use std::fmt;
use std::str::FromStr;

/// At most `N` bytes of printable ASCII (0x21 to 0x7e), at least one; the unused rest is zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InlineText<const N: usize> {
    bytes: [u8; N],
    len: u8,
}

/// An instrument's symbol, 1 to 16 characters.
pub type Symbol = InlineText<16>;

/// A client's own id for a request, 1 to 36 characters (a UUID in its usual spelling fits). FIX tag 11.
pub type ClientOrderId = InlineText<36>;

/// Why a text was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextError {
    /// No characters at all.
    Empty,
    /// More characters than the type holds.
    TooLong {
        /// Characters given.
        length: usize,
        /// Characters allowed.
        limit: usize,
    },
    /// A byte outside 0x21 to 0x7e.
    NotPrintable {
        /// Offset of the byte.
        at: usize,
    },
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "must not be empty"),
            Self::TooLong { length, limit } => write!(f, "is {length} characters long, at most {limit} are allowed"),
            Self::NotPrintable { at } => {
                write!(f, "has a character at offset {at} that is not printable ASCII without spaces")
            }
        }
    }
}

impl std::error::Error for TextError {}

impl<const N: usize> InlineText<N> {
    const FITS: () = assert!(N <= u8::MAX as usize, "the length is kept in one byte");

    /// Checks and copies `text`.
    pub const fn new(text: &str) -> Result<Self, TextError> {
        let () = Self::FITS;
        let given = text.as_bytes();
        if given.is_empty() {
            return Err(TextError::Empty);
        }
        if given.len() > N {
            return Err(TextError::TooLong { length: given.len(), limit: N });
        }
        let mut bytes = [0; N];
        let mut at = 0;
        while at < given.len() {
            if given[at] < 0x21 || given[at] > 0x7e {
                return Err(TextError::NotPrintable { at });
            }
            bytes[at] = given[at];
            at += 1;
        }
        #[expect(clippy::cast_possible_truncation, reason = "N fits a byte, and the length is at most N")]
        let len = given.len() as u8;
        Ok(Self { bytes, len })
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The text's bytes, without the zero rest.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// All `N` bytes, the unused ones zero.
    #[must_use]
    pub const fn padded(&self) -> &[u8; N] {
        &self.bytes
    }

    /// Reads what [`padded`](Self::padded) gave: the text ends at the first zero byte, only zeroes follow it.
    pub fn from_padded(bytes: &[u8; N]) -> Result<Self, TextError> {
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(N);
        if let Some(at) = bytes[end..].iter().position(|byte| *byte != 0) {
            return Err(TextError::NotPrintable { at: end + at });
        }
        let text = std::str::from_utf8(&bytes[..end]).map_err(|e| TextError::NotPrintable { at: e.valid_up_to() })?;
        Self::new(text)
    }
}

impl<const N: usize> FromStr for InlineText<N> {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl<const N: usize> fmt::Display for InlineText<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl<const N: usize> fmt::Debug for InlineText<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_it_cannot_hold() {
        assert_eq!(Symbol::new(""), Err(TextError::Empty));
        assert_eq!(Symbol::new("ABCDEFGHIJKLMNOPQ"), Err(TextError::TooLong { length: 17, limit: 16 }));
        assert_eq!(Symbol::new("A B"), Err(TextError::NotPrintable { at: 1 }));
        assert_eq!(Symbol::new("Ä"), Err(TextError::NotPrintable { at: 0 }));
    }

    #[test]
    fn padded_form_reads_back() {
        let symbol = Symbol::new("BTC-USD").expect("valid");
        assert_eq!(Symbol::from_padded(symbol.padded()), Ok(symbol));
        let mut dirty = *symbol.padded();
        dirty[12] = b'X';
        assert_eq!(Symbol::from_padded(&dirty), Err(TextError::NotPrintable { at: 12 }));
        assert_eq!(Symbol::from_padded(&[0; 16]), Err(TextError::Empty));
    }
}
