//! Small values of messages in memory that many of them share: the ids and hashes of a journal request, 16 bytes each,
//! would otherwise be allocated one by one, half a dozen for every entry.
//!
//! Whether they are is a matter of the process: the messages are the same. Deliberately absent: large values; those
//! are handed on as they came.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};

/// Values of a block: 4 KiB, which live until the last message with one of them is gone.
const BLOCK: usize = 256 * 16;

/// Whether each value is allocated by itself.
static ALONE: AtomicBool = AtomicBool::new(false);

thread_local! {
    static REST: RefCell<BytesMut> = RefCell::default();
}

/// Chooses for this process.
pub fn share_buffers(share: bool) {
    // Nothing else is read or written by it: any order will do.
    ALONE.store(!share, Ordering::Relaxed);
}

/// Whether buffers are shared in this process.
#[must_use]
pub fn buffers_are_shared() -> bool {
    !ALONE.load(Ordering::Relaxed)
}

/// The value as a field of a message.
pub(super) fn bytes16(value: &[u8; 16]) -> Bytes {
    if !buffers_are_shared() {
        return Bytes::copy_from_slice(value);
    }
    REST.with_borrow_mut(|rest| {
        if rest.capacity() < value.len() {
            *rest = BytesMut::with_capacity(BLOCK);
        }
        rest.extend_from_slice(value);
        rest.split().freeze()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r59_shared_values_stand_side_by_side_and_are_what_was_given() {
        let values: Vec<[u8; 16]> = (0..1_000_u128).map(u128::to_be_bytes).collect();
        let far = |made: &[Bytes]| {
            let pairs = made.windows(2).map(|pair| (pair[0].as_ptr() as usize, pair[1].as_ptr() as usize));
            pairs.filter(|(first, second)| first + 16 != *second).count()
        };
        let shared: Vec<Bytes> = values.iter().map(bytes16).collect();
        assert!(shared.iter().zip(&values).all(|(made, given)| made[..] == given[..]));
        // One new block for every 256 of them, wherever the rest of the last test's block ended.
        assert!(far(&shared) <= 5, "{} of 999 are not beside the one before", far(&shared));
    }
}
