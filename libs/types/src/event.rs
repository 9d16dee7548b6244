//! What the matching core says happened. Events of one command follow one another in the order they happened;
//! the outcome is the answer to the client.

use crate::{
    AccountId, AccountLimit, ClientOrderId, Instrument, InstrumentId, InstrumentStateChange, OrderId, Place, Price,
    Qty, Rules, Side, Submit, Timestamp, TradeId,
};

/// One thing that happened while a command was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A new order passed all checks and got its number. Precedes its trades.
    Accepted {
        /// Its number.
        order_id: OrderId,
        /// The order as submitted.
        order: Submit,
    },
    /// The command was refused; nothing changed but the idempotency table.
    Rejected {
        /// Why.
        reason: RejectReason,
    },
    /// Two orders traded.
    Trade(Trade),
    /// The rest of an order joined the end of the queue at its price.
    Rested(RestedEvent),
    /// A resting or incoming order lost quantity without a trade (self-trade prevention by decrement).
    Decremented {
        /// Which order.
        order_id: OrderId,
        /// Its instrument.
        instrument: InstrumentId,
        /// Its side.
        side: Side,
        /// Its price.
        price: Price,
        /// What it lost.
        by: Qty,
        /// What is still open; at zero the order is done.
        leaves: Qty,
    },
    /// The open rest of an order was cancelled.
    Canceled {
        /// Which order.
        order_id: OrderId,
        /// Its account.
        account: AccountId,
        /// Its instrument.
        instrument: InstrumentId,
        /// Its side.
        side: Side,
        /// Its price.
        price: Price,
        /// What was still open.
        quantity: Qty,
        /// Whether it stood in the book (an IOC rest never did).
        was_resting: bool,
        /// Why.
        cause: CancelCause,
    },
    /// An order got a new price or quantity. Precedes the trades of a crossing replace.
    Replaced(ReplaceEvent),
    /// An instrument was added.
    InstrumentDefined {
        /// The number it got.
        instrument: InstrumentId,
        /// Its definition.
        definition: Instrument,
    },
    /// An instrument is in another state now.
    InstrumentStateChanged(InstrumentStateChange),
    /// An account's limit changed.
    AccountLimitChanged(AccountLimit),
    /// The shard's limits changed.
    RulesChanged(Rules),
    /// A retry: nothing changed, the outcome is that of the first time.
    Duplicate {
        /// Where the request was executed.
        original: Place,
    },
}

/// Two orders traded, at the maker's price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trade {
    /// Its number.
    pub trade_id: TradeId,
    /// What was traded.
    pub instrument: InstrumentId,
    /// The maker's price.
    pub price: Price,
    /// How much.
    pub quantity: Qty,
    /// The resting order.
    pub maker: OrderId,
    /// Its account.
    pub maker_account: AccountId,
    /// Its open quantity after the trade.
    pub maker_leaves: Qty,
    /// Its filled quantity after the trade.
    pub maker_cumulative: Qty,
    /// The incoming order.
    pub taker: OrderId,
    /// Its account.
    pub taker_account: AccountId,
    /// Its side; the maker's is the opposite.
    pub taker_side: Side,
    /// Its open quantity after the trade.
    pub taker_leaves: Qty,
    /// Its filled quantity after the trade.
    pub taker_cumulative: Qty,
}

/// An order joined the end of the queue at its price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestedEvent {
    /// Which order.
    pub order_id: OrderId,
    /// Its account.
    pub account: AccountId,
    /// Its instrument.
    pub instrument: InstrumentId,
    /// Its side.
    pub side: Side,
    /// Its price.
    pub price: Price,
    /// Its open quantity.
    pub leaves: Qty,
}

/// An order got a new price or quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplaceEvent {
    /// Which order; replacing keeps the number.
    pub order_id: OrderId,
    /// Its account.
    pub account: AccountId,
    /// The id of the replace request, by which the order can be named from now on.
    pub client_order_id: ClientOrderId,
    /// Its instrument.
    pub instrument: InstrumentId,
    /// Its side.
    pub side: Side,
    /// Price before.
    pub old_price: Price,
    /// Open quantity before.
    pub old_leaves: Qty,
    /// Price now.
    pub price: Price,
    /// Total quantity now.
    pub quantity: Qty,
    /// Open quantity now, before any trade that the change causes.
    pub leaves: Qty,
    /// Whether it kept its place. If not, it left the book and comes back by [`Event::Rested`], after its trades.
    pub kept_priority: bool,
}

/// One trade seen from the order that an outcome is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// The trade.
    pub trade_id: TradeId,
    /// The maker's price.
    pub price: Price,
    /// How much.
    pub quantity: Qty,
    /// The order it traded with.
    pub maker: OrderId,
}

/// The answer to a command: what its order was right after it. The fills stand beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The order's state after the command, or [`OrderStatus::Rejected`].
    pub status: OrderStatus,
    /// Why it was refused; `None` unless rejected.
    pub reason: Option<RejectReason>,
    /// The order; 0 for a refused submit, a mass cancel or an operator command.
    pub order_id: OrderId,
    /// Filled so far.
    pub cumulative: Qty,
    /// Still open.
    pub leaves: Qty,
    /// Orders cancelled by a mass cancel; 0 for everything else.
    pub canceled_orders: u32,
    /// Set when the outcome is that of an earlier execution of the same request: where and when that was.
    pub original: Option<Original>,
}

/// Where and when a request was executed the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Original {
    /// Where.
    pub place: Place,
    /// Log time of that place.
    pub timestamp: Timestamp,
}

/// FIX tag 39.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OrderStatus {
    /// In the book, nothing filled.
    New,
    /// In the book, partly filled.
    PartiallyFilled,
    /// Done, all filled (or, with decrement, all gone).
    Filled,
    /// Done, the rest was cancelled.
    Canceled,
    /// Refused.
    Rejected,
    /// An operator command took effect, or was already in effect.
    Done,
}

/// Why the rest of an order was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CancelCause {
    /// The client asked.
    Requested,
    /// A mass cancel.
    MassCancel,
    /// Immediate-or-cancel: the rest found nothing to trade with.
    ImmediateOrCancel,
    /// Market: the rest found nothing within the protection price.
    MarketRemainder,
    /// Self-trade prevention.
    SelfTrade,
    /// The instrument was closed.
    InstrumentClosed,
    /// A replaced order could not come back to rest.
    Replaced,
}

/// Why a command was refused. Business refusals only: they are journaled like everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RejectReason {
    /// The same client order id was used with another content.
    DuplicateClientOrderId,
    /// No such instrument.
    UnknownInstrument,
    /// The instrument's state does not allow it.
    InstrumentNotTrading,
    /// No such open order of this account on this instrument.
    UnknownOrder,
    /// The order was found but is filled or cancelled already.
    OrderClosed,
    /// Account 0.
    InvalidAccount,
    /// Price is not a multiple of the tick size.
    PriceNotOnTick,
    /// Price outside low and high limit price.
    PriceOutsideLimits,
    /// Price too far from the reference price.
    PriceOutsideBand,
    /// Quantity is not a multiple of the lot size.
    QuantityNotOnLot,
    /// Quantity below the minimum.
    QuantityTooSmall,
    /// Quantity above the maximum.
    QuantityTooLarge,
    /// |price| × quantity above the maximum.
    NotionalTooLarge,
    /// The account has as many open orders as it may.
    TooManyOpenOrders,
    /// Post-only, but it would trade at once.
    WouldTakeLiquidity,
    /// Fill-or-kill, but there is not enough to trade with.
    NotEnoughLiquidity,
    /// Order type, time in force and post-only do not go together.
    UnsupportedCombination,
    /// A replace to a total quantity not above what is filled.
    QuantityBelowFilled,
    /// The instrument exists already with another definition.
    InstrumentExists,
    /// The definition contradicts itself.
    InvalidInstrument,
    /// The limits contradict themselves.
    InvalidRules,
    /// No more numbers, instruments or orders can be given.
    CapacityExhausted,
}
