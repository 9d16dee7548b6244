//! The complete state of one shard's exchange as plain data, in one canonical order: equal states give equal
//! snapshots. What is derived (levels, indexes, counters of open orders) is not in it.

use crate::{
    AccountId, ClientOrderId, Fill, Instrument, InstrumentId, InstrumentState, OrderId, OrderStatus, Outcome, Place,
    Price, Qty, Rules, SelfTradePrevention, ShardId, Side, Timestamp,
};

/// Everything that the next command can depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Whose state.
    pub shard: ShardId,
    /// Timestamp of the last applied command.
    pub now: Timestamp,
    /// Limits of the shard.
    pub rules: Rules,
    /// Counter part of the next order id.
    pub next_order: u64,
    /// Counter part of the next trade id.
    pub next_trade: u64,
    /// Number given to the next order that joins a queue; orders at one price stand in ascending order of it.
    pub next_priority: u64,
    /// By number.
    pub instruments: Vec<InstrumentSnapshot>,
    /// Accounts with a limit of their own, ascending.
    pub accounts: Vec<AccountSnapshot>,
    /// Open orders, ascending by order id.
    pub orders: Vec<OrderSnapshot>,
    /// Kept outcomes, oldest first.
    pub idempotency: Vec<IdempotencyEntry>,
}

/// An instrument and what changes about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstrumentSnapshot {
    /// Its definition; `definition.state` is the state it started in.
    pub definition: Instrument,
    /// Its state now.
    pub state: InstrumentState,
    /// Price of the last trade.
    pub last_price: Option<Price>,
}

/// An account with a limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountSnapshot {
    /// Which account.
    pub account: AccountId,
    /// Its limit.
    pub max_open_orders: u32,
}

/// An open order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderSnapshot {
    /// Its number.
    pub order_id: OrderId,
    /// Its account.
    pub account: AccountId,
    /// Client id of the submit, under which its idempotency entry is found.
    pub client_order_id: ClientOrderId,
    /// Its instrument.
    pub instrument: InstrumentId,
    /// Its side.
    pub side: Side,
    /// Its price.
    pub price: Price,
    /// Total quantity, as submitted or last replaced.
    pub quantity: Qty,
    /// Filled so far.
    pub cumulative: Qty,
    /// Still open. Less than `quantity - cumulative` after a decrement.
    pub leaves: Qty,
    /// Place in the queue at its price: lower is earlier.
    pub priority: u64,
    /// Used again when a replace makes it cross.
    pub self_trade_prevention: SelfTradePrevention,
    /// Post-only orders stay so through a replace.
    pub post_only: bool,
}

/// A request that was executed, and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyEntry {
    /// Whose request.
    pub account: AccountId,
    /// Its id.
    pub client_order_id: ClientOrderId,
    /// Digest of its content.
    pub payload_hash: u64,
    /// When it was executed, in log time.
    pub timestamp: Timestamp,
    /// Where it was executed.
    pub place: Place,
    /// The answer; `original` is `None`. Its `order_id` is the order the request created or named.
    pub outcome: Outcome,
    /// The fills of the answer.
    pub fills: Vec<Fill>,
    /// For an accepted submit whose order is no longer open: how the order ended.
    pub closed: Option<ClosedOrder>,
}

/// What is remembered of an order that is no longer open, as long as the entry of its submit is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosedOrder {
    /// [`OrderStatus::Filled`] or [`OrderStatus::Canceled`].
    pub status: OrderStatus,
    /// Its instrument.
    pub instrument: InstrumentId,
    /// Its side.
    pub side: Side,
    /// Its last price.
    pub price: Price,
    /// Its last total quantity.
    pub quantity: Qty,
    /// How much of it was filled.
    pub cumulative: Qty,
}
