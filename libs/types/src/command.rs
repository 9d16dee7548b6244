//! What may stand in the journal. A command is applied exactly once, at one place in the log, by every replica.

use crate::{AccountId, ClientOrderId, Instrument, InstrumentId, InstrumentState, OrderId, Price, Qty, Side};

/// A request to change the state of the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// A new order.
    Submit(Submit),
    /// Take an order off the book.
    Cancel(Cancel),
    /// Change an order's price or quantity.
    Replace(Replace),
    /// Take many orders of one account off the book.
    MassCancel(MassCancel),
    /// Operator: add an instrument. Its number is the next free one.
    DefineInstrument(Instrument),
    /// Operator: move an instrument to another state.
    SetInstrumentState(InstrumentStateChange),
    /// Operator: set how many open orders one account may have.
    SetAccountLimit(AccountLimit),
    /// Operator: set the limits that hold for the whole shard.
    SetRules(Rules),
}

/// A new order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submit {
    /// Whose order.
    pub account: AccountId,
    /// The client's id for this request, unique per account.
    pub client_order_id: ClientOrderId,
    /// What to trade.
    pub instrument: InstrumentId,
    /// Buy or sell.
    pub side: Side,
    /// Limit or market.
    pub order_type: OrderType,
    /// How long it stays.
    pub time_in_force: TimeInForce,
    /// Refuse instead of taking liquidity. Limit GTC only.
    pub post_only: bool,
    /// Limit price; for a market order the protection price beyond which it does not trade.
    pub price: Price,
    /// Quantity to trade.
    pub quantity: Qty,
    /// What to do when it meets an order of the same account.
    pub self_trade_prevention: SelfTradePrevention,
}

/// Take an order off the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancel {
    /// Whose order; must be the order's account.
    pub account: AccountId,
    /// The client's id for this request, unique per account. FIX tag 11 of the cancel request.
    pub client_order_id: ClientOrderId,
    /// Instrument of the order.
    pub instrument: InstrumentId,
    /// Which order.
    pub target: OrderTarget,
}

/// Change an order's price or total quantity. A smaller quantity at the same price keeps the place in the queue;
/// any other change loses it, and the order is matched again like a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replace {
    /// Whose order; must be the order's account.
    pub account: AccountId,
    /// The client's id for this request, unique per account. FIX tag 11 of the replace request.
    pub client_order_id: ClientOrderId,
    /// Instrument of the order.
    pub instrument: InstrumentId,
    /// Which order.
    pub target: OrderTarget,
    /// New limit price.
    pub price: Price,
    /// New total quantity, what is filled already included (FIX tag 38); must exceed what is filled.
    pub quantity: Qty,
}

/// Take every open order of an account off the book, or those of one instrument or side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MassCancel {
    /// Whose orders.
    pub account: AccountId,
    /// The client's id for this request, unique per account.
    pub client_order_id: ClientOrderId,
    /// Only this instrument.
    pub instrument: Option<InstrumentId>,
    /// Only this side.
    pub side: Option<Side>,
}

/// Which order a cancel or replace means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderTarget {
    /// By the exchange's number.
    OrderId(OrderId),
    /// By the client's id of the submit, or of an accepted replace of it. FIX tag 41.
    ClientOrderId(ClientOrderId),
}

/// FIX tag 40.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OrderType {
    /// Not worse than its price.
    Limit,
    /// At the best prices there are, not worse than the protection price; what is left is cancelled.
    Market,
}

/// FIX tag 59.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimeInForce {
    /// Until it is filled or cancelled.
    GoodTillCancel,
    /// What can trade at once trades, the rest is cancelled.
    ImmediateOrCancel,
    /// All of it at once or nothing.
    FillOrKill,
}

/// What happens when an incoming order would trade with a resting one of the same account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SelfTradePrevention {
    /// The rest of the incoming order is cancelled.
    CancelNewest,
    /// The resting order is cancelled, matching goes on.
    CancelOldest,
    /// Both are cancelled.
    CancelBoth,
    /// Both lose the smaller of the two quantities without a trade; matching goes on.
    Decrement,
}

/// Move an instrument to another state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstrumentStateChange {
    /// Which one.
    pub instrument: InstrumentId,
    /// Its new state.
    pub state: InstrumentState,
}

/// How many open orders an account may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountLimit {
    /// Which account.
    pub account: AccountId,
    /// Most orders resting at one time; 0 stops new orders of the account.
    pub max_open_orders: u32,
}

/// Limits of the whole shard. They are journaled, since the state depends on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Open orders an account may have unless it has a limit of its own.
    pub max_open_orders: u32,
    /// How long, in log time, the outcome of a request is kept for its retries, microseconds.
    pub idempotency_window_us: u64,
    /// How many outcomes are kept at the most, not counting those of submits whose order is still open: these are
    /// never dropped, so that the id of an open order cannot be used again. The oldest go first.
    pub idempotency_capacity: u32,
}

impl Default for Rules {
    /// 10,000 open orders an account, outcomes for a day, at most 4 million of them (about 1 GB when full).
    fn default() -> Self {
        Self { max_open_orders: 10_000, idempotency_window_us: 24 * 3_600 * 1_000_000, idempotency_capacity: 4_000_000 }
    }
}

impl Command {
    /// The account and request id it is idempotent by; none for operator commands, which are idempotent by content.
    #[must_use]
    pub const fn request(&self) -> Option<(AccountId, ClientOrderId)> {
        match self {
            Self::Submit(c) => Some((c.account, c.client_order_id)),
            Self::Cancel(c) => Some((c.account, c.client_order_id)),
            Self::Replace(c) => Some((c.account, c.client_order_id)),
            Self::MassCancel(c) => Some((c.account, c.client_order_id)),
            Self::DefineInstrument(_) | Self::SetInstrumentState(_) | Self::SetAccountLimit(_) | Self::SetRules(_) => {
                None
            }
        }
    }
}
