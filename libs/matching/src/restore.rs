//! The state as plain data and back. A restored exchange is the same in every respect that can be seen: state hash,
//! snapshot, and what it does from then on.

use crate::digest::{self, KeptRequest, OpenOrder};
use crate::exchange::{COUNTER_END, Exchange, MAX_INSTRUMENTS, MAX_OPEN_ORDERS, SHARD_END};
use crate::limits;
use crate::slab::NONE;
use crate::table::Made;
use std::fmt;
use types::{
    AccountLimit, AccountSnapshot, IdempotencyEntry, InstrumentSnapshot, InstrumentState, OrderId, OrderSnapshot,
    OrderStatus, Side, Snapshot,
};

/// Why a snapshot is not one of an exchange: what contradicts what. The bytes were changed or never were right;
/// take another snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreError {
    /// The shard's number has more than 16 bits.
    Shard,
    /// The limits contradict themselves.
    Rules,
    /// A counter is 0 or beyond its end, or below a number already given.
    Counter,
    /// The instrument at this position contradicts itself, repeats a symbol, or is one too many.
    Instrument(usize),
    /// The account at this position is 0 or out of order.
    Account(usize),
    /// This order contradicts itself, its instrument or its neighbours, or its submit is not among the outcomes.
    Order(OrderId),
    /// The outcome at this position contradicts itself or repeats the key of another.
    Outcome(usize),
    /// Bids and asks of the instrument at this position cross.
    Crossed(usize),
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the snapshot is damaged, use another one: ")?;
        match self {
            Self::Shard => write!(f, "the shard's number is too large"),
            Self::Rules => write!(f, "the limits contradict themselves"),
            Self::Counter => write!(f, "a counter is out of its range"),
            Self::Instrument(at) => write!(f, "instrument {at} is not valid"),
            Self::Account(at) => write!(f, "account limit {at} is not valid or out of order"),
            Self::Order(id) => write!(f, "order {id} is not valid"),
            Self::Outcome(at) => write!(f, "kept outcome {at} is not valid"),
            Self::Crossed(at) => write!(f, "the book of instrument {at} is crossed"),
        }
    }
}

impl std::error::Error for RestoreError {}

impl Exchange {
    /// The complete state as plain data.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let limits = self.books.accounts.limits().iter();
        let mut orders = Vec::with_capacity(self.open_orders());
        for (instrument, ..) in self.instruments() {
            for side in [Side::Buy, Side::Sell] {
                orders.extend(self.books.in_turn(instrument, side).map(|handle| self.order_snapshot(handle)));
            }
        }
        orders.sort_unstable_by_key(|order: &OrderSnapshot| order.order_id);
        Snapshot {
            shard: self.shard,
            now: self.now,
            rules: self.rules,
            next_order: self.next_order,
            next_trade: self.next_trade,
            next_priority: self.next_priority,
            instruments: self
                .instruments()
                .map(|(_, definition, state, last_price)| InstrumentSnapshot {
                    definition: *definition,
                    state,
                    last_price,
                })
                .collect(),
            accounts: limits
                .map(|(account, limit)| AccountSnapshot { account: *account, max_open_orders: *limit })
                .collect(),
            orders,
            idempotency: self.table.handles().map(|handle| self.table.snapshot(handle)).collect(),
        }
    }

    fn order_snapshot(&self, handle: u32) -> OrderSnapshot {
        let order = self.books.order(handle);
        let open = &order.open;
        OrderSnapshot {
            order_id: open.id,
            account: open.account,
            client_order_id: self.table.get(order.entry).client_order_id,
            instrument: open.instrument,
            side: open.side,
            price: open.price,
            quantity: open.quantity,
            cumulative: open.cumulative,
            leaves: open.leaves,
            priority: open.priority,
            self_trade_prevention: open.self_trade_prevention,
            post_only: open.post_only,
        }
    }

    /// The exchange that `snapshot` describes.
    ///
    /// # Errors
    /// When it describes none. What could be checked cheaply is checked; compare the state hash as well.
    pub fn restore(snapshot: &Snapshot) -> Result<Self, RestoreError> {
        if snapshot.shard.0 >= SHARD_END {
            return Err(RestoreError::Shard);
        }
        limits::check_rules(&snapshot.rules).map_err(|_| RestoreError::Rules)?;
        let counters = [snapshot.next_order, snapshot.next_trade];
        if counters.iter().any(|counter| !(1..=COUNTER_END).contains(counter)) || snapshot.next_priority == 0 {
            return Err(RestoreError::Counter);
        }
        let mut exchange = Self::beginning_at(snapshot.shard, snapshot.next_order);
        exchange.now = snapshot.now;
        exchange.rules = snapshot.rules;
        exchange.next_trade = snapshot.next_trade;
        exchange.next_priority = snapshot.next_priority;
        for (at, instrument) in snapshot.instruments.iter().enumerate() {
            exchange.restore_instrument(instrument).ok_or(RestoreError::Instrument(at))?;
        }
        let mut previous = 0;
        for (at, limit) in snapshot.accounts.iter().enumerate() {
            if limit.account.0 <= previous {
                return Err(RestoreError::Account(at));
            }
            previous = limit.account.0;
            let AccountSnapshot { account, max_open_orders } = *limit;
            exchange.put_account_limit(AccountLimit { account, max_open_orders });
        }
        exchange.restore_orders(&snapshot.orders)?;
        for (at, entry) in snapshot.idempotency.iter().enumerate() {
            exchange.restore_outcome(&snapshot.orders, entry).ok_or(RestoreError::Outcome(at))?;
        }
        exchange.check_restored(snapshot)?;
        Ok(exchange)
    }

    fn restore_instrument(&mut self, instrument: &InstrumentSnapshot) -> Option<()> {
        let InstrumentSnapshot { definition, state, last_price } = instrument;
        limits::check_instrument(definition).ok()?;
        if self.markets.len() >= MAX_INSTRUMENTS {
            return None;
        }
        let place = self.symbols.binary_search_by_key(&definition.symbol, |(symbol, _)| *symbol).err()?;
        self.add_instrument(place, definition, *state, *last_price);
        Some(())
    }

    /// Fills the books: queues in the order of priority, accounts in the order of ids. An order gets its handle,
    /// its position in the snapshot, and its account first; then it is put into its queue.
    fn restore_orders(&mut self, orders: &[OrderSnapshot]) -> Result<(), RestoreError> {
        if orders.len() > MAX_OPEN_ORDERS as usize {
            return Err(RestoreError::Counter);
        }
        let mut previous = OrderId(0);
        let mut by_priority = Vec::with_capacity(orders.len());
        for order in orders {
            let damaged = RestoreError::Order(order.order_id);
            if order.order_id <= previous || !self.is_possible(order) {
                return Err(damaged);
            }
            previous = order.order_id;
            let open = OpenOrder {
                id: order.order_id,
                key: digest::request_key(order.account, &order.client_order_id),
                account: order.account,
                instrument: order.instrument,
                side: order.side,
                price: order.price,
                quantity: order.quantity,
                cumulative: order.cumulative,
                leaves: order.leaves,
                priority: order.priority,
                self_trade_prevention: order.self_trade_prevention,
                post_only: order.post_only,
            };
            by_priority.push((order.priority, self.books.admit(open, NONE)));
        }
        by_priority.sort_unstable();
        for pair in by_priority.windows(2) {
            if pair[0].0 == pair[1].0 {
                return Err(RestoreError::Order(self.books.order(pair[1].1).open.id));
            }
        }
        for (_, handle) in by_priority {
            let open = self.books.order(handle).open;
            self.books.enqueue(handle, open, &mut self.sums);
        }
        Ok(())
    }

    fn is_possible(&self, order: &OrderSnapshot) -> bool {
        let Ok(market) = self.market(order.instrument) else { return false };
        let total = u128::from(order.cumulative.0) + u128::from(order.leaves.0);
        market.state != InstrumentState::Closed
            && order.account.0 != 0
            && self.was_given(order.order_id)
            && (1..self.next_priority).contains(&order.priority)
            && !order.leaves.is_zero()
            && total <= u128::from(order.quantity.0)
    }

    /// Whether an order id is one of this shard below the counter.
    const fn was_given(&self, id: OrderId) -> bool {
        let counter = id.0 & (COUNTER_END - 1);
        id.0 / COUNTER_END == self.shard.0 as u64 && counter >= 1 && counter < self.next_order
    }

    fn restore_outcome(&mut self, orders: &[OrderSnapshot], entry: &IdempotencyEntry) -> Option<()> {
        let IdempotencyEntry { account, client_order_id, payload_hash, timestamp, place, outcome, fills, closed } =
            entry;
        let key = digest::request_key(*account, client_order_id);
        let rejected = outcome.status == OrderStatus::Rejected;
        let named = outcome.order_id.0 != 0;
        if rejected != outcome.reason.is_some()
            || outcome.original.is_some()
            || *timestamp > self.now
            || (named && !self.was_given(outcome.order_id))
            || self.table.find(key, *account, client_order_id).is_some()
        {
            return None;
        }
        let open = orders.binary_search_by_key(&outcome.order_id, |order| order.order_id).ok();
        let made = match (closed, open) {
            (Some(closed), None) => {
                let ended = matches!(closed.status, OrderStatus::Filled | OrderStatus::Canceled);
                let known = (closed.instrument.0 as usize) < self.markets.len();
                if rejected || !named || !ended || !known || self.table.find_order(outcome.order_id).is_some() {
                    return None;
                }
                Made::Closed(*closed)
            }
            (Some(_), Some(_)) => return None,
            (None, Some(at))
                if !rejected && orders[at].account == *account && orders[at].client_order_id == *client_order_id =>
            {
                Made::Open(u32::try_from(at).ok()?)
            }
            (None, _) => Made::Nothing,
        };
        let request = KeptRequest {
            account: *account,
            client_order_id: *client_order_id,
            payload_hash: *payload_hash,
            timestamp: *timestamp,
            place: *place,
            outcome: *outcome,
        };
        let handle = self.table.record(key, &request, fills, made, &mut self.sums);
        if let Made::Open(order) = made {
            self.books.set_entry(order, handle);
        }
        Some(())
    }

    /// What can only be checked when everything is in its place.
    fn check_restored(&self, snapshot: &Snapshot) -> Result<(), RestoreError> {
        for (handle, order) in (0..).zip(&snapshot.orders) {
            if self.books.order(handle).entry == NONE {
                return Err(RestoreError::Order(order.order_id));
            }
        }
        for (at, (instrument, ..)) in self.instruments().enumerate() {
            let bid = self.depth(instrument, Side::Buy, 1).next();
            if bid.is_some_and(|bid| self.books.crosses(instrument, Side::Buy, bid.price)) {
                return Err(RestoreError::Crossed(at));
            }
        }
        Ok(())
    }
}
