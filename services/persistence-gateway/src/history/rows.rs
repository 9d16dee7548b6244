//! Rows of the history as plain data, and a batch of them as it is written in one transaction.
//!
//! Deliberately absent: SQL, and where rows come from.

use std::collections::HashMap;

use types::{
    AccountId, ClientOrderId, Instrument, InstrumentId, OrderId, OrderStatus, OrderType, Place, Price, Qty,
    RejectReason, Seq, ShardId, Side, Symbol, TimeInForce, Timestamp, TradeId,
};

/// Where and when the request stands that caused a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Whose log.
    pub shard: ShardId,
    /// Place in it.
    pub place: Place,
    /// Log time.
    pub at: Timestamp,
}

/// An order in its last known state. A refused order has number 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderRow {
    /// Its submit.
    pub stamp: Stamp,
    /// When it last changed.
    pub updated: Timestamp,
    /// Its number; 0 if it was refused.
    pub order_id: OrderId,
    /// Its account.
    pub account: AccountId,
    /// Client id of its submit.
    pub client_order_id: ClientOrderId,
    /// Its instrument; none if there is no such instrument.
    pub symbol: Option<Symbol>,
    /// Its side.
    pub side: Side,
    /// Limit or market.
    pub order_type: OrderType,
    /// How long it was meant to stay.
    pub time_in_force: TimeInForce,
    /// Its price.
    pub price: Price,
    /// Its total quantity.
    pub quantity: Qty,
    /// Filled so far.
    pub cumulative: Qty,
    /// Still open.
    pub leaves: Qty,
    /// Its state.
    pub status: OrderStatus,
    /// Why it was refused.
    pub reject_reason: Option<RejectReason>,
}

/// What changed about an order that has a row already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderChange {
    /// Which order.
    pub order_id: OrderId,
    /// When.
    pub updated: Timestamp,
    /// Its price now.
    pub price: Price,
    /// Its total quantity now.
    pub quantity: Qty,
    /// Filled so far.
    pub cumulative: Qty,
    /// Still open.
    pub leaves: Qty,
    /// Its state now.
    pub status: OrderStatus,
}

/// What happened to an order. FIX tag 150.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExecutionKind {
    /// Accepted.
    New,
    /// Traded.
    Trade,
    /// Cancelled.
    Canceled,
    /// Replaced.
    Replaced,
    /// Lost quantity by self-trade prevention.
    Decremented,
    /// Refused.
    Rejected,
}

/// One thing that happened to one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecutionRow {
    /// The causing request.
    pub stamp: Stamp,
    /// Number among the executions of that request, from 0.
    pub number: u32,
    /// What happened.
    pub kind: ExecutionKind,
    /// The order; 0 for a refused submit.
    pub order_id: OrderId,
    /// Its account.
    pub account: AccountId,
    /// Client id of the causing request; none where another account's or an operator's request caused it.
    pub client_order_id: Option<ClientOrderId>,
    /// Its instrument; none if the request named an unknown one, or none.
    pub symbol: Option<Symbol>,
    /// Its side; none if the refused request named none.
    pub side: Option<Side>,
    /// Trade price, or the order's price.
    pub price: Price,
    /// Quantity traded, cancelled, lost, or the order's new total.
    pub quantity: Qty,
    /// Filled so far.
    pub cumulative: Qty,
    /// Still open.
    pub leaves: Qty,
    /// The trade; 0 if none.
    pub trade_id: TradeId,
    /// Why it was refused.
    pub reject_reason: Option<RejectReason>,
}

/// A trade with both its sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TradeRow {
    /// The causing request.
    pub stamp: Stamp,
    /// Number of the taker's execution; the maker's is one more.
    pub number: u32,
    /// Its number.
    pub trade_id: TradeId,
    /// Its instrument.
    pub symbol: Symbol,
    /// The maker's price.
    pub price: Price,
    /// How much.
    pub quantity: Qty,
    /// The resting order.
    pub maker: OrderId,
    /// Its account.
    pub maker_account: AccountId,
    /// The incoming order.
    pub taker: OrderId,
    /// Its account.
    pub taker_account: AccountId,
    /// Its side.
    pub taker_side: Side,
}

/// An instrument and its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstrumentRow {
    /// The request that defined or last changed it.
    pub stamp: Stamp,
    /// Its number.
    pub instrument: InstrumentId,
    /// Its definition; `definition.state` is the state it is in now.
    pub definition: Instrument,
}

/// What becomes of an order in a batch, in the order it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OrderTouch {
    Created(OrderRow),
    Changed(Seq, OrderChange),
}

/// Rows of consecutive entries, to be written in one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowBatch {
    orders: Vec<OrderTouch>,
    instruments: Vec<InstrumentRow>,
    executions: Vec<ExecutionRow>,
    trades: Vec<TradeRow>,
}

/// Orders of a batch: one row each, in the state they had at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FinalOrders {
    /// Orders that the batch created, in order of creation.
    pub(crate) created: Vec<OrderRow>,
    /// Orders that existed before, in order of their numbers.
    pub(crate) changed: Vec<OrderChange>,
}

impl RowBatch {
    /// Adds an order.
    pub fn create(&mut self, row: OrderRow) {
        self.orders.push(OrderTouch::Created(row));
    }

    /// Adds a change of an order, made by entry `seq`.
    pub fn change(&mut self, seq: Seq, change: OrderChange) {
        self.orders.push(OrderTouch::Changed(seq, change));
    }

    /// Adds an instrument in its new state.
    pub fn instrument(&mut self, row: InstrumentRow) {
        self.instruments.push(row);
    }

    /// Adds an execution.
    pub fn execution(&mut self, row: ExecutionRow) {
        self.executions.push(row);
    }

    /// Adds a trade.
    pub fn trade(&mut self, row: TradeRow) {
        self.trades.push(row);
    }

    /// Executions, in the order they happened.
    #[must_use]
    pub fn executions(&self) -> &[ExecutionRow] {
        &self.executions
    }

    /// Trades, in the order they happened.
    #[must_use]
    pub fn trades(&self) -> &[TradeRow] {
        &self.trades
    }

    /// Instruments; one that changed twice is there twice.
    #[must_use]
    pub fn instruments(&self) -> &[InstrumentRow] {
        &self.instruments
    }

    /// Rows and changes held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.orders.len() + self.instruments.len() + self.executions.len() + self.trades.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all rows, keeps the memory.
    pub fn clear(&mut self) {
        self.orders.clear();
        self.instruments.clear();
        self.executions.clear();
        self.trades.clear();
    }

    /// Forgets the rows of entries up to `seq`: somebody else has written them.
    pub fn forget_until(&mut self, seq: Seq) {
        self.orders.retain(|touch| match touch {
            OrderTouch::Created(row) => row.stamp.place.seq > seq,
            OrderTouch::Changed(at, _) => *at > seq,
        });
        self.instruments.retain(|row| row.stamp.place.seq > seq);
        self.executions.retain(|row| row.stamp.place.seq > seq);
        self.trades.retain(|row| row.stamp.place.seq > seq);
    }

    /// The last state of each order of the batch.
    pub(crate) fn final_orders(&self) -> FinalOrders {
        let mut created: Vec<OrderRow> = Vec::new();
        let mut changed: Vec<OrderChange> = Vec::new();
        let mut created_at: HashMap<OrderId, usize> = HashMap::new();
        let mut changed_at: HashMap<OrderId, usize> = HashMap::new();
        for touch in &self.orders {
            match touch {
                OrderTouch::Created(row) => {
                    // Refused orders have no number, nothing follows them.
                    if row.order_id != OrderId(0) {
                        created_at.insert(row.order_id, created.len());
                    }
                    created.push(*row);
                }
                OrderTouch::Changed(_, change) => {
                    if let Some(at) = created_at.get(&change.order_id) {
                        created[*at].take(change);
                    } else if let Some(at) = changed_at.get(&change.order_id) {
                        changed[*at] = *change;
                    } else {
                        changed_at.insert(change.order_id, changed.len());
                        changed.push(*change);
                    }
                }
            }
        }
        // Ascending numbers: two writers of one database then lock rows in one order.
        changed.sort_unstable_by_key(|change| change.order_id);
        FinalOrders { created, changed }
    }

    /// The last state of each instrument of the batch.
    pub(crate) fn final_instruments(&self) -> Vec<InstrumentRow> {
        let mut last: Vec<InstrumentRow> = Vec::new();
        for row in &self.instruments {
            match last.iter_mut().find(|known| known.instrument == row.instrument) {
                Some(known) => *known = *row,
                None => last.push(*row),
            }
        }
        last
    }
}

impl OrderRow {
    /// Makes the row say what it says after `change`.
    pub(crate) fn take(&mut self, change: &OrderChange) {
        self.updated = change.updated;
        self.price = change.price;
        self.quantity = change.quantity;
        self.cumulative = change.cumulative;
        self.leaves = change.leaves;
        self.status = change.status;
    }
}
