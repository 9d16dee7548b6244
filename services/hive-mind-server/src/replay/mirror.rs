//! The book as it will be when everything planned so far has been executed, order by order: it decides what to send
//! next and what must come back. The exchange's own book is compared with the file; this one never is on its own.

use std::collections::{BTreeMap, HashMap, VecDeque};

use types::{Price, Qty, Side};

use super::messages::FileOrder;
use super::side::{PerSide, price_at, rank};

/// An order of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Name {
    /// One that the message file names.
    File(FileOrder),
    /// Quantity that only the order-book file shows, numbered.
    Filler(u64),
}

/// A resting order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resting {
    /// Its side.
    pub(super) side: Side,
    /// Its price.
    pub(super) price: Price,
    /// Filled so far.
    pub(super) cumulative: Qty,
    /// Still open, at least 1.
    pub(super) leaves: Qty,
}

impl Resting {
    /// Total quantity when this much is open.
    pub(super) fn total_with(&self, leaves: Qty) -> Qty {
        Qty(self.cumulative.0 + leaves.0)
    }
}

/// All resting orders.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    queues: PerSide<BTreeMap<i64, VecDeque<Name>>>,
    orders: HashMap<Name, Resting>,
}

impl Mirror {
    /// A resting order.
    pub(super) fn get(&self, name: Name) -> Option<Resting> {
        self.orders.get(&name).copied()
    }

    /// Number of resting orders.
    pub(super) fn len(&self) -> usize {
        self.orders.len()
    }

    /// The best price of a side.
    pub(super) fn best(&self, side: Side) -> Option<Price> {
        self.queues.get(side).first_key_value().map(|(rank, _)| price_at(side, *rank))
    }

    /// The first price of a side that is worse than `price`.
    pub(super) fn next_worse(&self, side: Side, price: Price) -> Option<Price> {
        let after = rank(side, price).saturating_add(1);
        self.queues.get(side).range(after..).next().map(|(rank, _)| price_at(side, *rank))
    }

    /// The orders at one price, in order of priority.
    pub(super) fn queue(&self, side: Side, price: Price) -> Vec<Name> {
        let queue = self.queues.get(side).get(&rank(side, price));
        queue.map(|queue| queue.iter().copied().collect()).unwrap_or_default()
    }

    /// The orders at better prices than `price`, or also at it, best first.
    pub(super) fn ahead(&self, side: Side, price: Price, including: bool) -> Vec<Name> {
        let end = rank(side, price).saturating_add(i64::from(including));
        self.queues.get(side).range(..end).flat_map(|(_, queue)| queue.iter().copied()).collect()
    }

    /// Prices and open quantities of a side, best first.
    pub(super) fn levels(&self, side: Side) -> impl Iterator<Item = (Price, Qty)> + '_ {
        self.queues.get(side).iter().map(move |(rank, queue)| {
            let open = queue.iter().filter_map(|name| self.orders.get(name)).map(|order| order.leaves.0).sum();
            (price_at(side, *rank), Qty(open))
        })
    }

    /// A new order joins the end of its queue.
    pub(super) fn insert(&mut self, name: Name, side: Side, price: Price, leaves: Qty) {
        self.orders.insert(name, Resting { side, price, cumulative: Qty::ZERO, leaves });
        self.queues.get_mut(side).entry(rank(side, price)).or_default().push_back(name);
    }

    /// An order has this much open now, keeping its place; at zero it leaves.
    pub(super) fn set_leaves(&mut self, name: Name, leaves: Qty) {
        if leaves.is_zero() {
            self.remove(name);
        } else if let Some(order) = self.orders.get_mut(&name) {
            order.leaves = leaves;
        }
    }

    /// An order trades.
    pub(super) fn fill(&mut self, name: Name, quantity: Qty) {
        if let Some(order) = self.orders.get_mut(&name) {
            order.cumulative.0 += quantity.0;
            let leaves = Qty(order.leaves.0.saturating_sub(quantity.0));
            self.set_leaves(name, leaves);
        }
    }

    /// An order goes to the end of its queue.
    pub(super) fn requeue(&mut self, name: Name) {
        if let Some(order) = self.get(name) {
            let at = rank(order.side, order.price);
            if let Some(queue) = self.queues.get_mut(order.side).get_mut(&at) {
                queue.retain(|other| *other != name);
                queue.push_back(name);
            }
        }
    }

    /// An order leaves.
    fn remove(&mut self, name: Name) {
        if let Some(order) = self.orders.remove(&name) {
            let at = rank(order.side, order.price);
            let side = self.queues.get_mut(order.side);
            if let Some(queue) = side.get_mut(&at) {
                queue.retain(|other| *other != name);
                if queue.is_empty() {
                    side.remove(&at);
                }
            }
        }
    }
}
