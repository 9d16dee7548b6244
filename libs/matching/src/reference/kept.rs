//! Where the kept requests of the reference exchange are: by request, and the submit of each order.

use std::collections::BTreeMap;

use types::{AccountId, ClientOrderId, IdempotencyEntry, OrderId, Snapshot};

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    /// Number of the request, counted over all that were ever kept.
    requests: BTreeMap<(AccountId, ClientOrderId), usize>,
    submits: BTreeMap<OrderId, (AccountId, ClientOrderId)>,
    /// Number of the next request, and of the oldest that is kept.
    next: usize,
    oldest: usize,
}

impl Kept {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let mut kept = Self::default();
        for entry in &snapshot.idempotency {
            kept.push(entry);
            if entry.closed.is_some() {
                kept.order(entry.outcome.order_id, entry.account, entry.client_order_id);
            }
        }
        for order in &snapshot.orders {
            kept.order(order.order_id, order.account, order.client_order_id);
        }
        kept
    }

    /// A request that is put behind all others.
    pub(super) fn push(&mut self, entry: &IdempotencyEntry) {
        self.requests.insert((entry.account, entry.client_order_id), self.next);
        self.next += 1;
    }

    /// The oldest request, that is no longer there. Its order is still known while it is open.
    pub(super) fn forget(&mut self, entry: &IdempotencyEntry) {
        self.requests.remove(&(entry.account, entry.client_order_id));
        self.oldest += 1;
        if entry.closed.is_some() {
            self.submits.remove(&entry.outcome.order_id);
        }
    }

    /// An order that got its number.
    pub(super) fn order(&mut self, id: OrderId, account: AccountId, client_order_id: ClientOrderId) {
        self.submits.insert(id, (account, client_order_id));
    }

    /// Position of a request among those that are kept.
    pub(super) fn find(&self, account: AccountId, id: &ClientOrderId) -> Option<usize> {
        self.requests.get(&(account, *id)).map(|number| number - self.oldest)
    }

    /// The request that an order came by.
    pub(super) fn submit(&self, id: OrderId) -> Option<(AccountId, ClientOrderId)> {
        self.submits.get(&id).copied()
    }
}
