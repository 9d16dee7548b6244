//! The layouts that batches and snapshots are made of, and the numbers that stand for enumerations. A number, once
//! given, is never given to anything else.

use bytes::BufMut;
use types::{
    AccountId, AccountLimit, Cancel, ClientOrderId, Command, Epoch, Incarnation, Instrument, InstrumentId,
    InstrumentState, InstrumentStateChange, LogId, MassCancel, OrderId, OrderStatus, OrderTarget, OrderType, Place,
    Price, Qty, RejectReason, Replace, Rules, SelfTradePrevention, Seq, Side, Submit, Symbol, TimeInForce,
};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{I64, U32, U64, U128};

use super::CodecError;
use crate::{ChainHash, Tail};

/// Both directions of a table of numbers; the match is exhaustive, so a new variant cannot be forgotten.
macro_rules! numbers {
    ($type:ident, $to:ident, $from:ident, $field:literal, { $($variant:ident = $number:literal),+ $(,)? }) => {
        pub(super) const fn $to(value: $type) -> u8 {
            match value { $($type::$variant => $number),+ }
        }

        pub(super) const fn $from(number: u8, what: &'static str) -> Result<$type, CodecError> {
            match number {
                $($number => Ok($type::$variant),)+
                _ => Err(CodecError::Invalid { what, field: $field }),
            }
        }
    };
}

numbers!(Side, side_number, side, "side", { Buy = 1, Sell = 2 });
numbers!(OrderType, order_type_number, order_type, "order type", { Limit = 1, Market = 2 });
numbers!(TimeInForce, time_in_force_number, time_in_force, "time in force", {
    GoodTillCancel = 1, ImmediateOrCancel = 2, FillOrKill = 3,
});
numbers!(SelfTradePrevention, prevention_number, prevention, "self-trade prevention", {
    CancelNewest = 1, CancelOldest = 2, CancelBoth = 3, Decrement = 4,
});
numbers!(InstrumentState, state_number, state, "instrument state", {
    PreOpen = 1, Continuous = 2, Halted = 3, CancelOnly = 4, Closed = 5,
});
numbers!(OrderStatus, status_number, status, "order status", {
    New = 1, PartiallyFilled = 2, Filled = 3, Canceled = 4, Rejected = 5, Done = 6,
});
numbers!(RejectReason, reason_number, reason, "reject reason", {
    DuplicateClientOrderId = 1, UnknownInstrument = 2, InstrumentNotTrading = 3, UnknownOrder = 4, OrderClosed = 5,
    InvalidAccount = 6, PriceNotOnTick = 7, PriceOutsideLimits = 8, PriceOutsideBand = 9, QuantityNotOnLot = 10,
    QuantityTooSmall = 11, QuantityTooLarge = 12, NotionalTooLarge = 13, TooManyOpenOrders = 14,
    WouldTakeLiquidity = 15, NotEnoughLiquidity = 16, UnsupportedCombination = 17, QuantityBelowFilled = 18,
    InstrumentExists = 19, InvalidInstrument = 20, InvalidRules = 21, CapacityExhausted = 22,
});

/// A yes or no.
pub(super) const fn flag(number: u8, what: &'static str, field: &'static str) -> Result<bool, CodecError> {
    match number {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(CodecError::Invalid { what, field }),
    }
}

/// Bytes that nothing uses yet.
pub(super) fn unused(bytes: &[u8], what: &'static str) -> Result<(), CodecError> {
    if bytes.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(CodecError::Invalid { what, field: "unused bytes" }) }
}

pub(super) fn client_order_id(bytes: &[u8; 36], what: &'static str) -> Result<ClientOrderId, CodecError> {
    ClientOrderId::from_padded(bytes).map_err(|_| CodecError::Invalid { what, field: "client order id" })
}

/// An optional side: 0 is none.
fn side_or_none(number: u8, what: &'static str) -> Result<Option<Side>, CodecError> {
    if number == 0 { Ok(None) } else { side(number, what).map(Some) }
}

/// A layout: fixed size, no alignment, any bytes are a value of it.
macro_rules! layout {
    ($(#[$doc:meta])* $name:ident, $size:literal, { $($field:ident : $type:ty),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::KnownLayout, zerocopy::Immutable,
            zerocopy::Unaligned,
        )]
        #[repr(C)]
        pub(super) struct $name { $(pub(super) $field: $type),+ }

        const _: () = assert!(size_of::<$name>() == $size, "a layout never changes its size");
    };
}
pub(super) use layout;

layout!(/** An epoch. */ EpochLayout, 24, { number: U64, owner: U128 });
layout!(/** A tail. */ TailLayout, 48, { epoch: EpochLayout, seq: U64, chain: [u8; 16] });
layout!(/** A place. */ PlaceLayout, 40, { log_id: U128, epoch: U64, seq: U64, index: U32, unused: [u8; 4] });
layout!(/** A submit. */ SubmitLayout, 72, {
    account: U64, client_order_id: [u8; 36], instrument: U32, price: I64, quantity: U64, side: u8, order_type: u8,
    time_in_force: u8, post_only: u8, self_trade_prevention: u8, unused: [u8; 3],
});
layout!(/** An order named by number (kind 1, the rest zero) or by client id (kind 2, the number zero). */ TargetLayout, 48, {
    kind: u8, unused: [u8; 3], order_id: U64, client_order_id: [u8; 36],
});
layout!(/** A cancel. */ CancelLayout, 96, {
    account: U64, client_order_id: [u8; 36], instrument: U32, target: TargetLayout,
});
layout!(/** A replace. */ ReplaceLayout, 112, { cancel: CancelLayout, price: I64, quantity: U64 });
layout!(/** A mass cancel. */ MassCancelLayout, 56, {
    account: U64, client_order_id: [u8; 36], instrument: U32, has_instrument: u8, side: u8, unused: [u8; 6],
});
layout!(/** An instrument's definition. */ InstrumentLayout, 104, {
    symbol: [u8; 16], max_notional: U128, tick_size: U64, lot_size: U64, min_quantity: U64, max_quantity: U64,
    low_limit_price: I64, high_limit_price: I64, reference_price: I64, band_basis_points: U32, price_decimals: u8,
    quantity_decimals: u8, state: u8, unused: [u8; 9],
});
layout!(/** An instrument's new state. */ StateChangeLayout, 8, { instrument: U32, state: u8, unused: [u8; 3] });
layout!(/** An account's limit. */ AccountLimitLayout, 16, { account: U64, max_open_orders: U32, unused: [u8; 4] });
layout!(/** The shard's limits. */ RulesLayout, 16, {
    idempotency_window_us: U64, max_open_orders: U32, idempotency_capacity: U32,
});

impl From<Epoch> for EpochLayout {
    fn from(epoch: Epoch) -> Self {
        Self { number: epoch.number.into(), owner: epoch.owner.0.into() }
    }
}

impl From<&EpochLayout> for Epoch {
    fn from(layout: &EpochLayout) -> Self {
        Self { number: layout.number.get(), owner: Incarnation(layout.owner.get()) }
    }
}

impl From<Tail> for TailLayout {
    fn from(tail: Tail) -> Self {
        Self { epoch: tail.epoch.into(), seq: tail.seq.0.into(), chain: tail.chain.0 }
    }
}

impl From<&TailLayout> for Tail {
    fn from(layout: &TailLayout) -> Self {
        Self { epoch: (&layout.epoch).into(), seq: Seq(layout.seq.get()), chain: ChainHash(layout.chain) }
    }
}

impl From<Place> for PlaceLayout {
    fn from(place: Place) -> Self {
        Self {
            log_id: place.log_id.0.into(),
            epoch: place.epoch.into(),
            seq: place.seq.0.into(),
            index: place.index.into(),
            unused: [0; 4],
        }
    }
}

impl PlaceLayout {
    pub(super) fn read(&self, what: &'static str) -> Result<Place, CodecError> {
        unused(&self.unused, what)?;
        Ok(Place {
            log_id: LogId(self.log_id.get()),
            epoch: self.epoch.get(),
            seq: Seq(self.seq.get()),
            index: self.index.get(),
        })
    }
}

impl From<&Submit> for SubmitLayout {
    fn from(order: &Submit) -> Self {
        Self {
            account: order.account.0.into(),
            client_order_id: *order.client_order_id.padded(),
            instrument: order.instrument.0.into(),
            price: order.price.0.into(),
            quantity: order.quantity.0.into(),
            side: side_number(order.side),
            order_type: order_type_number(order.order_type),
            time_in_force: time_in_force_number(order.time_in_force),
            post_only: order.post_only.into(),
            self_trade_prevention: prevention_number(order.self_trade_prevention),
            unused: [0; 3],
        }
    }
}

impl SubmitLayout {
    pub(super) fn read(&self, what: &'static str) -> Result<Submit, CodecError> {
        unused(&self.unused, what)?;
        Ok(Submit {
            account: AccountId(self.account.get()),
            client_order_id: client_order_id(&self.client_order_id, what)?,
            instrument: InstrumentId(self.instrument.get()),
            side: side(self.side, what)?,
            order_type: order_type(self.order_type, what)?,
            time_in_force: time_in_force(self.time_in_force, what)?,
            post_only: flag(self.post_only, what, "post-only flag")?,
            price: Price(self.price.get()),
            quantity: Qty(self.quantity.get()),
            self_trade_prevention: prevention(self.self_trade_prevention, what)?,
        })
    }
}

impl From<&OrderTarget> for TargetLayout {
    fn from(target: &OrderTarget) -> Self {
        let (kind, order_id, client_order_id) = match target {
            OrderTarget::OrderId(id) => (1, id.0, [0; 36]),
            OrderTarget::ClientOrderId(id) => (2, 0, *id.padded()),
        };
        Self { kind, unused: [0; 3], order_id: order_id.into(), client_order_id }
    }
}

impl TargetLayout {
    fn read(&self, what: &'static str) -> Result<OrderTarget, CodecError> {
        unused(&self.unused, what)?;
        match self.kind {
            1 => unused(&self.client_order_id, what).map(|()| OrderTarget::OrderId(OrderId(self.order_id.get()))),
            2 if self.order_id.get() == 0 => {
                client_order_id(&self.client_order_id, what).map(OrderTarget::ClientOrderId)
            }
            _ => Err(CodecError::Invalid { what, field: "target" }),
        }
    }
}

impl From<&Cancel> for CancelLayout {
    fn from(cancel: &Cancel) -> Self {
        Self {
            account: cancel.account.0.into(),
            client_order_id: *cancel.client_order_id.padded(),
            instrument: cancel.instrument.0.into(),
            target: (&cancel.target).into(),
        }
    }
}

impl CancelLayout {
    pub(super) fn read(&self, what: &'static str) -> Result<Cancel, CodecError> {
        Ok(Cancel {
            account: AccountId(self.account.get()),
            client_order_id: client_order_id(&self.client_order_id, what)?,
            instrument: InstrumentId(self.instrument.get()),
            target: self.target.read(what)?,
        })
    }
}

impl From<&Replace> for ReplaceLayout {
    fn from(replace: &Replace) -> Self {
        let Replace { account, client_order_id, instrument, target, price, quantity } = *replace;
        Self {
            cancel: (&Cancel { account, client_order_id, instrument, target }).into(),
            price: price.0.into(),
            quantity: quantity.0.into(),
        }
    }
}

impl ReplaceLayout {
    pub(super) fn read(&self, what: &'static str) -> Result<Replace, CodecError> {
        let Cancel { account, client_order_id, instrument, target } = self.cancel.read(what)?;
        let (price, quantity) = (Price(self.price.get()), Qty(self.quantity.get()));
        Ok(Replace { account, client_order_id, instrument, target, price, quantity })
    }
}

impl From<&MassCancel> for MassCancelLayout {
    fn from(cancel: &MassCancel) -> Self {
        Self {
            account: cancel.account.0.into(),
            client_order_id: *cancel.client_order_id.padded(),
            instrument: cancel.instrument.map_or(0, |instrument| instrument.0).into(),
            has_instrument: cancel.instrument.is_some().into(),
            side: cancel.side.map_or(0, side_number),
            unused: [0; 6],
        }
    }
}

impl MassCancelLayout {
    pub(super) fn read(&self, what: &'static str) -> Result<MassCancel, CodecError> {
        unused(&self.unused, what)?;
        let instrument = if flag(self.has_instrument, what, "instrument flag")? {
            Some(InstrumentId(self.instrument.get()))
        } else {
            unused(self.instrument.as_bytes(), what)?;
            None
        };
        Ok(MassCancel {
            account: AccountId(self.account.get()),
            client_order_id: client_order_id(&self.client_order_id, what)?,
            instrument,
            side: side_or_none(self.side, what)?,
        })
    }
}

impl From<&Instrument> for InstrumentLayout {
    fn from(instrument: &Instrument) -> Self {
        Self {
            symbol: *instrument.symbol.padded(),
            max_notional: instrument.max_notional.into(),
            tick_size: instrument.tick_size.into(),
            lot_size: instrument.lot_size.into(),
            min_quantity: instrument.min_quantity.0.into(),
            max_quantity: instrument.max_quantity.0.into(),
            low_limit_price: instrument.low_limit_price.0.into(),
            high_limit_price: instrument.high_limit_price.0.into(),
            reference_price: instrument.reference_price.0.into(),
            band_basis_points: instrument.band_basis_points.into(),
            price_decimals: instrument.price_decimals,
            quantity_decimals: instrument.quantity_decimals,
            state: state_number(instrument.state),
            unused: [0; 9],
        }
    }
}

impl InstrumentLayout {
    pub(super) fn read(&self, what: &'static str) -> Result<Instrument, CodecError> {
        unused(&self.unused, what)?;
        Ok(Instrument {
            symbol: Symbol::from_padded(&self.symbol).map_err(|_| CodecError::Invalid { what, field: "symbol" })?,
            price_decimals: self.price_decimals,
            quantity_decimals: self.quantity_decimals,
            tick_size: self.tick_size.get(),
            lot_size: self.lot_size.get(),
            min_quantity: Qty(self.min_quantity.get()),
            max_quantity: Qty(self.max_quantity.get()),
            max_notional: self.max_notional.get(),
            low_limit_price: Price(self.low_limit_price.get()),
            high_limit_price: Price(self.high_limit_price.get()),
            band_basis_points: self.band_basis_points.get(),
            reference_price: Price(self.reference_price.get()),
            state: state(self.state, what)?,
        })
    }
}

impl From<&Rules> for RulesLayout {
    fn from(rules: &Rules) -> Self {
        Self {
            idempotency_window_us: rules.idempotency_window_us.into(),
            max_open_orders: rules.max_open_orders.into(),
            idempotency_capacity: rules.idempotency_capacity.into(),
        }
    }
}

impl From<&RulesLayout> for Rules {
    fn from(layout: &RulesLayout) -> Self {
        Self {
            max_open_orders: layout.max_open_orders.get(),
            idempotency_window_us: layout.idempotency_window_us.get(),
            idempotency_capacity: layout.idempotency_capacity.get(),
        }
    }
}

/// The number a command's kind is stored as.
pub(super) const fn command_number(command: &Command) -> u8 {
    match command {
        Command::Submit(_) => 1,
        Command::Cancel(_) => 2,
        Command::Replace(_) => 3,
        Command::MassCancel(_) => 4,
        Command::DefineInstrument(_) => 5,
        Command::SetInstrumentState(_) => 6,
        Command::SetAccountLimit(_) => 7,
        Command::SetRules(_) => 8,
    }
}

/// Appends a command's layout, without its number.
pub(super) fn write_command(command: &Command, out: &mut impl BufMut) {
    match command {
        Command::Submit(submit) => out.put_slice(SubmitLayout::from(submit).as_bytes()),
        Command::Cancel(cancel) => out.put_slice(CancelLayout::from(cancel).as_bytes()),
        Command::Replace(replace) => out.put_slice(ReplaceLayout::from(replace).as_bytes()),
        Command::MassCancel(cancel) => out.put_slice(MassCancelLayout::from(cancel).as_bytes()),
        Command::DefineInstrument(instrument) => {
            out.put_slice(InstrumentLayout::from(instrument).as_bytes());
        }
        Command::SetInstrumentState(change) => {
            let (instrument, state) = (change.instrument.0.into(), state_number(change.state));
            out.put_slice(StateChangeLayout { instrument, state, unused: [0; 3] }.as_bytes());
        }
        Command::SetAccountLimit(limit) => {
            let (account, max_open_orders) = (limit.account.0.into(), limit.max_open_orders.into());
            out.put_slice(AccountLimitLayout { account, max_open_orders, unused: [0; 4] }.as_bytes());
        }
        Command::SetRules(rules) => out.put_slice(RulesLayout::from(rules).as_bytes()),
    }
}

/// Reads what [`write_command`] wrote off the front of `bytes`.
pub(super) fn read_command(number: u8, bytes: &mut &[u8], what: &'static str) -> Result<Command, CodecError> {
    Ok(match number {
        1 => Command::Submit(super::take::<SubmitLayout>(bytes, what)?.read(what)?),
        2 => Command::Cancel(super::take::<CancelLayout>(bytes, what)?.read(what)?),
        3 => Command::Replace(super::take::<ReplaceLayout>(bytes, what)?.read(what)?),
        4 => Command::MassCancel(super::take::<MassCancelLayout>(bytes, what)?.read(what)?),
        5 => Command::DefineInstrument(super::take::<InstrumentLayout>(bytes, what)?.read(what)?),
        6 => {
            let layout = super::take::<StateChangeLayout>(bytes, what)?;
            unused(&layout.unused, what)?;
            let instrument = InstrumentId(layout.instrument.get());
            Command::SetInstrumentState(InstrumentStateChange { instrument, state: state(layout.state, what)? })
        }
        7 => {
            let layout = super::take::<AccountLimitLayout>(bytes, what)?;
            unused(&layout.unused, what)?;
            let account = AccountId(layout.account.get());
            Command::SetAccountLimit(AccountLimit { account, max_open_orders: layout.max_open_orders.get() })
        }
        8 => Command::SetRules(super::take::<RulesLayout>(bytes, what)?.into()),
        _ => return Err(CodecError::Invalid { what, field: "command kind" }),
    })
}
