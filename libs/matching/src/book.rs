//! Where open orders stand: the queue at each price, and their chains by account. Every change to an open order
//! goes through here, so that level totals, account counters and the sum behind the state hash cannot part.

use crate::accounts::Accounts;
use crate::digest::{self, OpenOrder, Sums};
use crate::ladder::{Ladder, Rank, Rung};
use crate::slab::{Linked, NONE, Slab};
use types::{AccountId, InstrumentId, Price, Qty, SelfTradePrevention, Side};

/// An open order and its places.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(crate) struct Order {
    pub(crate) open: OpenOrder,
    /// Its submit in the idempotency table.
    pub(crate) entry: u32,
    /// Queue it stands in; none while a replace is matching it.
    queue: u32,
    previous: u32,
    next: u32,
    /// Its account, and its neighbours among the account's orders.
    owner: u32,
    owner_previous: u32,
    owner_next: u32,
}

impl Linked for Order {
    fn next(&self) -> u32 {
        self.next
    }

    fn set_next(&mut self, next: u32) {
        self.next = next;
    }
}

/// The orders at one price, first come first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queue {
    /// Sum of what is open; can exceed 64 bits.
    pub(crate) total: u128,
    pub(crate) first: u32,
    pub(crate) last: u32,
    pub(crate) count: u32,
}

impl Linked for Queue {
    fn next(&self) -> u32 {
        self.first
    }

    fn set_next(&mut self, next: u32) {
        self.first = next;
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Books {
    /// Bids and asks of each instrument.
    ladders: Vec<[Ladder; 2]>,
    queues: Slab<Queue>,
    orders: Slab<Order>,
    pub(crate) accounts: Accounts,
}

const fn index(side: Side) -> usize {
    match side {
        Side::Buy => 0,
        Side::Sell => 1,
    }
}

impl Books {
    pub(crate) fn new() -> Self {
        Self { ladders: Vec::new(), queues: Slab::new(), orders: Slab::new(), accounts: Accounts::new() }
    }

    /// Empty books for the next instrument.
    pub(crate) fn add_instrument(&mut self) {
        self.ladders.push([Ladder::default(), Ladder::default()]);
    }

    /// Open orders.
    pub(crate) const fn len(&self) -> u32 {
        self.orders.len()
    }

    pub(crate) fn order(&self, handle: u32) -> &Order {
        &self.orders[handle]
    }

    pub(crate) fn queue(&self, handle: u32) -> &Queue {
        &self.queues[handle]
    }

    pub(crate) fn ladder(&self, instrument: InstrumentId, side: Side) -> &Ladder {
        &self.ladders[instrument.0 as usize][index(side)]
    }

    /// The order next in turn on a side: the first at the best price.
    pub(crate) fn best(&self, instrument: InstrumentId, side: Side) -> Option<(Rank, u32)> {
        let rung = self.ladder(instrument, side).best()?;
        Some((rung.rank, self.queues[rung.queue].first))
    }

    /// The orders at one price, first come first.
    pub(crate) fn in_queue(&self, rung: Rung) -> impl Iterator<Item = u32> + '_ {
        chain(self.queues[rung.queue].first, |handle| self.orders[handle].next)
    }

    /// The orders of one side in the order they would trade.
    pub(crate) fn in_turn(&self, instrument: InstrumentId, side: Side) -> impl Iterator<Item = u32> + '_ {
        self.ladder(instrument, side).best_first().flat_map(|rung| self.in_queue(rung))
    }

    /// The open orders of an account, ascending by order id.
    pub(crate) fn of_account(&self, account: AccountId) -> impl Iterator<Item = u32> + '_ {
        let first = self.accounts.find(account).map_or(NONE, |owner| self.accounts.get(owner).first);
        chain(first, |handle| self.orders[handle].owner_next)
    }

    /// The order after one of the same account.
    pub(crate) fn after_in_account(&self, handle: u32) -> Option<u32> {
        let next = self.orders[handle].owner_next;
        (next != NONE).then_some(next)
    }

    /// How many orders an account has open.
    pub(crate) fn open_orders(&self, account: AccountId) -> u32 {
        self.accounts.find(account).map_or(0, |owner| self.accounts.get(owner).open_orders)
    }

    /// Whether an order on `side` at `limit` would meet one of the other side.
    pub(crate) fn crosses(&self, instrument: InstrumentId, side: Side, limit: Price) -> bool {
        let resting = side.opposite();
        self.ladder(instrument, resting).best().is_some_and(|best| best.rank >= Rank::of(resting, limit))
    }

    /// Whether all of `wanted` would trade at `limit` or better.
    ///
    /// What counts is what would trade, under the prevention mode of the incoming order, before it meets an order
    /// of its own account that ends it or eats into it:
    /// - cancel oldest: own orders are taken out of the way, so everything but them counts;
    /// - cancel newest, cancel both: meeting an own order cancels the rest, so nothing from there on counts;
    /// - decrement: meeting an own order takes quantity away that is then never filled, so again nothing counts.
    pub(crate) fn can_fill(&self, order: &OpenOrder, limit: Price, wanted: Qty) -> bool {
        let resting = order.side.opposite();
        let limit = Rank::of(resting, limit);
        let wanted = u128::from(wanted.0);
        let rungs = self.ladder(order.instrument, resting).best_first().take_while(|rung| rung.rank >= limit);
        let alone = self.open_orders(order.account) == 0;
        let mut found = 0_u128;
        for rung in rungs {
            if alone {
                found += self.queues[rung.queue].total;
            } else {
                for handle in self.in_queue(rung) {
                    let other = &self.orders[handle].open;
                    if other.account != order.account {
                        found += u128::from(other.leaves.0);
                    } else if order.self_trade_prevention != SelfTradePrevention::CancelOldest {
                        return found >= wanted;
                    }
                    if found >= wanted {
                        return true;
                    }
                }
            }
            if found >= wanted {
                return true;
            }
        }
        false
    }

    /// Makes an order one of its account, the last one. It is in no queue yet: [`Self::enqueue`] follows.
    pub(crate) fn admit(&mut self, open: OpenOrder, entry: u32) -> u32 {
        let owner = self.accounts.find_or_add(open.account);
        let account = self.accounts.get_mut(owner);
        let owner_previous = account.last;
        let handle = self.orders.insert(Order {
            open,
            entry,
            queue: NONE,
            previous: NONE,
            next: NONE,
            owner,
            owner_previous,
            owner_next: NONE,
        });
        account.last = handle;
        account.open_orders += 1;
        if owner_previous == NONE {
            account.first = handle;
        } else {
            self.orders[owner_previous].owner_next = handle;
        }
        handle
    }

    /// Says which entry is the order's submit.
    pub(crate) fn set_entry(&mut self, handle: u32, entry: u32) {
        self.orders[handle].entry = entry;
    }

    /// Puts an order with new content at the end of the queue at its price.
    pub(crate) fn enqueue(&mut self, handle: u32, open: OpenOrder, sums: &mut Sums) {
        sums.orders = sums.orders.wrapping_add(digest::open_order(&open));
        let rank = Rank::of(open.side, open.price);
        let ladder = &mut self.ladders[open.instrument.0 as usize][index(open.side)];
        let queue = ladder.find(rank).unwrap_or_else(|| {
            let queue = self.queues.insert(Queue { total: 0, first: NONE, last: NONE, count: 0 });
            ladder.insert(rank, queue);
            queue
        });
        let level = &mut self.queues[queue];
        let previous = level.last;
        level.total += u128::from(open.leaves.0);
        level.count += 1;
        level.last = handle;
        if previous == NONE {
            level.first = handle;
        } else {
            self.orders[previous].next = handle;
        }
        let order = &mut self.orders[handle];
        order.open = open;
        order.queue = queue;
        order.previous = previous;
        order.next = NONE;
    }

    /// Takes an order out of its queue; it stays an order of its account until [`Self::forget`] or
    /// [`Self::enqueue`].
    pub(crate) fn dequeue(&mut self, handle: u32, sums: &mut Sums) {
        let Order { open, queue, previous, next, .. } = self.orders[handle];
        sums.orders = sums.orders.wrapping_sub(digest::open_order(&open));
        let level = &mut self.queues[queue];
        level.total -= u128::from(open.leaves.0);
        level.count -= 1;
        if previous == NONE {
            level.first = next;
        }
        if next == NONE {
            level.last = previous;
        }
        if level.count == 0 {
            self.queues.remove(queue);
            self.ladders[open.instrument.0 as usize][index(open.side)].remove(Rank::of(open.side, open.price));
        }
        if previous != NONE {
            self.orders[previous].next = next;
        }
        if next != NONE {
            self.orders[next].previous = previous;
        }
    }

    /// Forgets an order that is in no queue any more.
    pub(crate) fn forget(&mut self, handle: u32) {
        let Order { owner, owner_previous, owner_next, .. } = self.orders[handle];
        let account = self.accounts.get_mut(owner);
        account.open_orders -= 1;
        if owner_previous == NONE {
            account.first = owner_next;
        }
        if owner_next == NONE {
            account.last = owner_previous;
        }
        if owner_previous != NONE {
            self.orders[owner_previous].owner_next = owner_next;
        }
        if owner_next != NONE {
            self.orders[owner_next].owner_previous = owner_previous;
        }
        self.accounts.release_if_idle(owner);
        self.orders.remove(handle);
    }

    /// Changes quantities of an order where it stands.
    pub(crate) fn change(&mut self, handle: u32, sums: &mut Sums, change: impl FnOnce(&mut OpenOrder)) -> OpenOrder {
        let order = &mut self.orders[handle];
        let before = order.open;
        change(&mut order.open);
        let after = order.open;
        let level = &mut self.queues[order.queue];
        level.total = level.total - u128::from(before.leaves.0) + u128::from(after.leaves.0);
        sums.orders = sums.orders.wrapping_sub(digest::open_order(&before)).wrapping_add(digest::open_order(&after));
        after
    }
}

/// Follows links from `first`.
fn chain(first: u32, next: impl Fn(u32) -> u32) -> impl Iterator<Item = u32> {
    let mut at = first;
    std::iter::from_fn(move || {
        (at != NONE).then(|| {
            let handle = at;
            at = next(handle);
            handle
        })
    })
}
