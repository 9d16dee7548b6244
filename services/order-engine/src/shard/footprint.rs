//! About how much memory the state of a shard takes: written by its loop, read by whoever wants to know, without a
//! lock between them.
//!
//! Deliberately absent: the allocator's count. This says which part of the state the memory is for.

use matching::Exchange;
use std::sync::atomic::{AtomicU64, Ordering};

/// An order in the books with its links, its level and its place in the indexes, bytes. Together with an outcome's,
/// what `cargo bench -p matching -- resting` measures for a million orders.
const ORDER: u64 = 128;

/// An outcome kept for retries: a record of 192 bytes and its slot in an index that is 5/16 to 5/8 full.
const OUTCOME: u64 = 213;

/// Records are allocated so many at a time.
const PAGE: u64 = 1024;

/// What the parts of the state take, bytes.
#[derive(Debug, Default)]
pub(crate) struct Footprint {
    book: AtomicU64,
    idempotency: AtomicU64,
}

impl Footprint {
    /// Of the open orders.
    pub(crate) fn book(&self) -> u64 {
        self.book.load(Ordering::Relaxed)
    }

    /// Of the outcomes kept for retries.
    pub(crate) fn idempotency(&self) -> u64 {
        self.idempotency.load(Ordering::Relaxed)
    }

    /// Looks at the state after it has changed.
    pub(super) fn measure(&self, exchange: &Exchange) {
        self.grow(exchange.open_orders() as u64, exchange.idempotency_entries() as u64);
    }

    /// The state was dropped for another one.
    pub(super) fn replaced(&self, exchange: &Exchange) {
        // Relaxed, here and elsewhere: numbers for people, with one writer.
        self.book.store(0, Ordering::Relaxed);
        self.idempotency.store(0, Ordering::Relaxed);
        self.measure(exchange);
    }

    /// What has once been taken is kept for the next orders: it does not shrink with their number.
    fn grow(&self, orders: u64, outcomes: u64) {
        self.book.fetch_max(orders.next_multiple_of(PAGE) * ORDER, Ordering::Relaxed);
        self.idempotency.fetch_max(outcomes.next_multiple_of(PAGE) * OUTCOME, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::ShardId;

    #[test]
    fn grows_by_pages_stays_and_begins_anew_with_another_state() {
        let footprint = Footprint::default();
        let exchange = Exchange::new(ShardId(0));
        footprint.measure(&exchange);
        assert_eq!((footprint.book(), footprint.idempotency()), (0, 0));
        footprint.grow(1, PAGE + 1);
        assert_eq!((footprint.book(), footprint.idempotency()), (PAGE * ORDER, 2 * PAGE * OUTCOME));
        footprint.grow(0, 3 * PAGE);
        assert_eq!((footprint.book(), footprint.idempotency()), (PAGE * ORDER, 3 * PAGE * OUTCOME));
        footprint.replaced(&exchange);
        assert_eq!((footprint.book(), footprint.idempotency()), (0, 0));
    }
}
