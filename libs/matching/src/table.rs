//! What was answered to whom: the idempotency table, oldest outcome first, found by (account, client order id) and,
//! for submits, by order id. Entries are never moved; their queue is a chain through them.

use crate::digest::{self, KeptRequest, Sums};
use crate::index::Index;
use crate::order_index::OrderIndex;
use crate::slab::{Linked, NONE, Slab};
use types::{
    AccountId, ClientOrderId, ClosedOrder, Fill, IdempotencyEntry, OrderId, OrderStatus, Outcome, Place, Qty,
    RejectReason, Seq, Timestamp,
};

/// What an entry has to do with an order, beyond naming it in its outcome.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Made {
    /// Not the accepted submit of an order.
    Nothing,
    /// The submit of an order that is open, at this handle.
    Open(u32),
    /// The submit of an order that is not open any more.
    Closed(ClosedOrder),
}

/// A kept outcome: three cache lines. The first says whose it is, the last changes when its order closes.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Entry {
    pub(crate) account: AccountId,
    pub(crate) client_order_id: ClientOrderId,
    status: OrderStatus,
    reason: Option<RejectReason>,
    next: u32,
    first_fill: u32,
    index: u32,
    canceled_orders: u32,

    /// Its [`digest::request_key`], to find it in the index when it is dropped.
    key: u64,
    pub(crate) payload_hash: u64,
    timestamp: Timestamp,
    /// A little-endian number: as such it would be aligned to 16 bytes.
    log_id: [u8; 16],
    epoch: u64,
    seq: Seq,
    order_id: OrderId,

    cumulative: Qty,
    leaves: Qty,
    pub(crate) made: Made,
    /// Its [`digest::kept_outcome`], for when it leaves the front of the queue; little-endian like the log's id.
    digest: [u8; 16],
}

const _: () = assert!(size_of::<Entry>() == 192);

impl Linked for Entry {
    fn next(&self) -> u32 {
        self.next
    }

    fn set_next(&mut self, next: u32) {
        self.next = next;
    }
}

impl Entry {
    fn new(key: u64, digest: u128, request: &KeptRequest, first_fill: u32, made: Made) -> Self {
        let KeptRequest { place, outcome, .. } = request;
        Self {
            account: request.account,
            client_order_id: request.client_order_id,
            status: outcome.status,
            reason: outcome.reason,
            index: place.index,
            payload_hash: request.payload_hash,
            key,
            timestamp: request.timestamp,
            log_id: place.log_id.0.to_le_bytes(),
            epoch: place.epoch,
            seq: place.seq,
            order_id: outcome.order_id,
            cumulative: outcome.cumulative,
            leaves: outcome.leaves,
            canceled_orders: outcome.canceled_orders,
            first_fill,
            next: NONE,
            made,
            digest: digest.to_le_bytes(),
        }
    }

    /// The entry as it was recorded.
    pub(crate) fn request(&self) -> KeptRequest {
        KeptRequest {
            account: self.account,
            client_order_id: self.client_order_id,
            payload_hash: self.payload_hash,
            timestamp: self.timestamp,
            place: Place {
                log_id: types::LogId(u128::from_le_bytes(self.log_id)),
                epoch: self.epoch,
                seq: self.seq,
                index: self.index,
            },
            outcome: Outcome {
                status: self.status,
                reason: self.reason,
                order_id: self.order_id,
                cumulative: self.cumulative,
                leaves: self.leaves,
                canceled_orders: self.canceled_orders,
                original: None,
            },
        }
    }

    /// The order that this entry's client id names: that of an accepted request about one order.
    pub(crate) fn names(&self) -> Option<OrderId> {
        (self.status != OrderStatus::Rejected && self.order_id.0 != 0).then_some(self.order_id)
    }

    const fn is_open(&self) -> bool {
        matches!(self.made, Made::Open(_))
    }
}

/// A fill of a kept outcome, chained to the next one.
#[derive(Clone, Copy, Debug)]
struct KeptFill {
    fill: Fill,
    next: u32,
}

impl Linked for KeptFill {
    fn next(&self) -> u32 {
        self.next
    }

    fn set_next(&mut self, next: u32) {
        self.next = next;
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Table {
    entries: Slab<Entry>,
    fills: Slab<KeptFill>,
    by_request: Index,
    /// Accepted submits by the order they made.
    by_order: OrderIndex,
    oldest: u32,
    newest: u32,
    /// Entries of submits whose order is open.
    open: u32,
}

impl Table {
    /// Empty; the next order will be `next`.
    pub(crate) fn new(next: OrderId) -> Self {
        Self {
            entries: Slab::new(),
            fills: Slab::new(),
            by_request: Index::new(0),
            by_order: OrderIndex::new(next),
            oldest: NONE,
            newest: NONE,
            open: 0,
        }
    }

    /// Finds requests by an index that is scattered by `key`.
    pub(crate) fn scatter(&mut self, key: u128) {
        let mut index = Index::new(key);
        for handle in self.handles() {
            index.insert(self.entries[handle].key, handle);
        }
        self.by_request = index;
    }

    /// Entries kept.
    pub(crate) const fn len(&self) -> u32 {
        self.entries.len()
    }

    /// Entries that may be dropped: all but those of open orders.
    pub(crate) const fn droppable(&self) -> u32 {
        self.entries.len() - self.open
    }

    pub(crate) fn get(&self, handle: u32) -> &Entry {
        &self.entries[handle]
    }

    /// The entry of a request, `key` being its [`digest::request_key`].
    pub(crate) fn find(&self, key: u64, account: AccountId, client_order_id: &ClientOrderId) -> Option<u32> {
        self.by_request.find(key, |handle| {
            let entry = &self.entries[handle];
            entry.account == account && entry.client_order_id == *client_order_id
        })
    }

    /// The entry of the submit that made an order.
    pub(crate) fn find_order(&self, id: OrderId) -> Option<u32> {
        self.by_order.find(id, |handle| self.entries[handle].order_id == id)
    }

    /// The fills of an entry, in the order they happened.
    pub(crate) fn fills(&self, handle: u32) -> impl Iterator<Item = Fill> + '_ {
        let mut at = self.entries[handle].first_fill;
        std::iter::from_fn(move || {
            (at != NONE).then(|| {
                let kept = &self.fills[at];
                at = kept.next;
                kept.fill
            })
        })
    }

    /// All entries, oldest first.
    pub(crate) fn handles(&self) -> impl Iterator<Item = u32> + '_ {
        let mut at = self.oldest;
        std::iter::from_fn(move || {
            (at != NONE).then(|| {
                let handle = at;
                at = self.entries[at].next;
                handle
            })
        })
    }

    /// An entry as the snapshot shows it.
    pub(crate) fn snapshot(&self, handle: u32) -> IdempotencyEntry {
        let entry = &self.entries[handle];
        let KeptRequest { account, client_order_id, payload_hash, timestamp, place, outcome } = entry.request();
        let closed = if let Made::Closed(closed) = entry.made { Some(closed) } else { None };
        let fills = self.fills(handle).collect();
        IdempotencyEntry { account, client_order_id, payload_hash, timestamp, place, outcome, fills, closed }
    }

    /// Adds the newest entry. Its request must not be in yet.
    pub(crate) fn record(
        &mut self,
        key: u64,
        request: &KeptRequest,
        fills: &[Fill],
        made: Made,
        sums: &mut Sums,
    ) -> u32 {
        let mut first_fill = NONE;
        for fill in fills.iter().rev() {
            first_fill = self.fills.insert(KeptFill { fill: *fill, next: first_fill });
        }
        let digest = digest::kept_outcome(request, fills.iter().copied());
        let handle = self.entries.insert(Entry::new(key, digest, request, first_fill, made));
        self.by_request.insert(key, handle);
        sums.outcomes.push_back(digest);
        match made {
            Made::Nothing => {}
            Made::Open(_) => {
                self.open += 1;
                self.by_order.insert(request.outcome.order_id, handle);
            }
            Made::Closed(closed) => {
                self.by_order.insert(request.outcome.order_id, handle);
                sums.closed = sums.closed.wrapping_add(digest::closed_order(key, &closed));
            }
        }
        self.append(handle);
        handle
    }

    /// The order of an entry is open no more; `key` is that of the request.
    pub(crate) fn close(&mut self, handle: u32, key: u64, closed: ClosedOrder, sums: &mut Sums) {
        let entry = &mut self.entries[handle];
        debug_assert!(entry.is_open(), "an order closes once");
        entry.made = Made::Closed(closed);
        self.open -= 1;
        sums.closed = sums.closed.wrapping_add(digest::closed_order(key, &closed));
    }

    /// When the oldest entry was made.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        (self.oldest != NONE).then(|| self.entries[self.oldest].timestamp)
    }

    /// Begins to load where a request is.
    pub(crate) fn touch_request(&self, key: u64) {
        self.by_request.touch(key);
    }

    /// Begins to load where an order is.
    pub(crate) fn touch_order(&self, id: OrderId) {
        self.by_order.touch(id);
    }

    /// Begins to load what the next calls of [`Self::retire_oldest`] will need, so that the waiting passes beside
    /// other work.
    pub(crate) fn anticipate_retirement(&self) {
        if self.oldest != NONE {
            let oldest = &self.entries[self.oldest];
            self.by_request.touch(oldest.key);
            if oldest.next != NONE {
                let Entry { account, timestamp, cumulative, .. } = &self.entries[oldest.next];
                std::hint::black_box((*account, *timestamp, *cumulative));
            }
        }
    }

    /// Drops the oldest entry, or moves it to the back if its order is open.
    pub(crate) fn retire_oldest(&mut self, sums: &mut Sums) {
        let handle = self.oldest;
        if handle == NONE {
            return;
        }
        let Entry { next, key, order_id, first_fill, made, digest, .. } = self.entries[handle];
        let digest = u128::from_le_bytes(digest);
        sums.outcomes.pop_front(digest);
        self.oldest = next;
        if self.oldest == NONE {
            self.newest = NONE;
        }
        if let Made::Open(_) = made {
            sums.outcomes.push_back(digest);
            self.by_order.set_aside(order_id, handle);
            self.append(handle);
            return;
        }
        self.by_request.remove(key, handle);
        if let Made::Closed(closed) = made {
            self.by_order.remove(order_id, handle);
            sums.closed = sums.closed.wrapping_sub(digest::closed_order(key, &closed));
        }
        let mut fill = first_fill;
        while fill != NONE {
            let next = self.fills[fill].next;
            self.fills.remove(fill);
            fill = next;
        }
        self.entries.remove(handle);
    }

    fn append(&mut self, handle: u32) {
        self.entries[handle].next = NONE;
        if self.newest == NONE {
            self.oldest = handle;
        } else {
            self.entries[self.newest].next = handle;
        }
        self.newest = handle;
    }
}
