//! Reads. They change nothing and may be called between any two commands.

use crate::exchange::{Exchange, Market};
use crate::ladder::{Rank, Rung};
use crate::table::Made;
use crate::trading;
use types::{
    AccountId, ClientOrderId, Instrument, InstrumentId, InstrumentState, OrderId, OrderStatus, Place, Price, Qty,
    ShardId, Side, Symbol, Timestamp,
};

/// One price of a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// The price.
    pub price: Price,
    /// What is open there in all, in quantity units; 2^64 - 1 when it is more than that.
    pub quantity: Qty,
    /// Number of orders.
    pub orders: u32,
}

/// An order as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderView {
    /// Its number.
    pub order_id: OrderId,
    /// Its account.
    pub account: AccountId,
    /// Client id of its submit.
    pub client_order_id: ClientOrderId,
    /// Its instrument.
    pub instrument: InstrumentId,
    /// Its side.
    pub side: Side,
    /// Its price, as submitted or last replaced.
    pub price: Price,
    /// Total quantity, as submitted or last replaced.
    pub quantity: Qty,
    /// Filled so far.
    pub cumulative: Qty,
    /// Still open.
    pub leaves: Qty,
    /// Its state.
    pub status: OrderStatus,
    /// Where its submit was executed.
    pub place: Place,
    /// When its submit was executed.
    pub accepted: Timestamp,
}

impl Exchange {
    /// Whose exchange it is.
    #[must_use]
    pub const fn shard(&self) -> ShardId {
        self.shard
    }

    /// Timestamp of the last applied command; 0 before the first one.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// The limits that hold now.
    #[must_use]
    pub const fn rules(&self) -> types::Rules {
        self.rules
    }

    /// All instruments by number: definition, state, price of the last trade.
    pub fn instruments(
        &self,
    ) -> impl Iterator<Item = (InstrumentId, &Instrument, InstrumentState, Option<Price>)> + '_ {
        (0..).map(InstrumentId).zip(&self.markets).map(|(id, market)| {
            let Market { definition, state, last } = market;
            (id, definition, *state, *last)
        })
    }

    /// One instrument: definition, state, price of the last trade.
    #[must_use]
    pub fn instrument(&self, id: InstrumentId) -> Option<(&Instrument, InstrumentState, Option<Price>)> {
        self.markets.get(id.0 as usize).map(|market| (&market.definition, market.state, market.last))
    }

    /// The number of an instrument.
    #[must_use]
    pub fn instrument_id(&self, symbol: &Symbol) -> Option<InstrumentId> {
        let at = self.symbols.binary_search_by_key(symbol, |(symbol, _)| *symbol).ok()?;
        Some(self.symbols[at].1)
    }

    /// The best `levels` prices of one side, best first. Empty for an unknown instrument.
    pub fn depth(&self, instrument: InstrumentId, side: Side, levels: usize) -> impl Iterator<Item = Level> + '_ {
        let known = self.markets.get(instrument.0 as usize).map(|_| self.books.ladder(instrument, side));
        known.into_iter().flat_map(|ladder| ladder.best_first()).take(levels).map(move |rung| self.show(side, rung))
    }

    /// What stands at one price; quantity and orders are 0 when nothing does.
    #[must_use]
    pub fn level(&self, instrument: InstrumentId, side: Side, price: Price) -> Level {
        let rank = Rank::of(side, price);
        let known = self.markets.get(instrument.0 as usize);
        match known.and_then(|_| self.books.ladder(instrument, side).find(rank)) {
            Some(queue) => self.show(side, Rung { rank, queue }),
            None => Level { price, quantity: Qty::ZERO, orders: 0 },
        }
    }

    fn show(&self, side: Side, rung: Rung) -> Level {
        let queue = self.books.queue(rung.queue);
        let quantity = Qty(u64::try_from(queue.total).unwrap_or(u64::MAX));
        Level { price: rung.rank.price(side), quantity, orders: queue.count }
    }

    /// An order by its number: an open one, or a closed one whose submit is still in the idempotency table.
    #[must_use]
    pub fn order(&self, id: OrderId) -> Option<OrderView> {
        self.show_order(self.table.find_order(id)?)
    }

    fn show_order(&self, entry: u32) -> Option<OrderView> {
        let entry = self.table.get(entry);
        let request = entry.request();
        let (status, instrument, side, price, quantity, cumulative, leaves) = match entry.made {
            Made::Nothing => return None,
            Made::Open(handle) => {
                let o = &self.books.order(handle).open;
                (trading::open_status(o), o.instrument, o.side, o.price, o.quantity, o.cumulative, o.leaves)
            }
            Made::Closed(c) => (c.status, c.instrument, c.side, c.price, c.quantity, c.cumulative, Qty::ZERO),
        };
        Some(OrderView {
            order_id: request.outcome.order_id,
            account: request.account,
            client_order_id: request.client_order_id,
            instrument,
            side,
            price,
            quantity,
            cumulative,
            leaves,
            status,
            place: request.place,
            accepted: request.timestamp,
        })
    }

    /// An order by the client id of its submit, or of an accepted replace or cancel of it; as [`Self::order`].
    #[must_use]
    pub fn order_by_client_id(&self, account: AccountId, id: &ClientOrderId) -> Option<OrderView> {
        self.show_order(self.named(account, id)?)
    }

    /// Number of orders in the books.
    #[must_use]
    pub const fn open_orders(&self) -> usize {
        self.books.len() as usize
    }

    /// Number of outcomes kept for retries.
    #[must_use]
    pub const fn idempotency_entries(&self) -> usize {
        self.table.len() as usize
    }
}
