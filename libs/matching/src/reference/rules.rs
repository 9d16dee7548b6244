//! What may be asked, for the reference exchange: one condition after another.

use super::matching::match_order;
use super::{ReferenceExchange, acceptable};
use types::{
    AccountId, Instrument, InstrumentId, InstrumentState, OrderId, OrderSnapshot, OrderType, Price, Qty, RejectReason,
    Submit, TimeInForce,
};

/// End of the counters of orders and trades.
const COUNTER_END: u64 = 1 << 48;

fn check_price(instrument: &Instrument, last: Option<Price>, price: Price) -> Result<(), RejectReason> {
    let wide = i128::from(price.0);
    if wide % i128::from(instrument.tick_size) != 0 {
        return Err(RejectReason::PriceNotOnTick);
    }
    if wide < i128::from(instrument.low_limit_price.0) || wide > i128::from(instrument.high_limit_price.0) {
        return Err(RejectReason::PriceOutsideLimits);
    }
    if instrument.band_basis_points != 0 {
        let reference = match last {
            Some(last) => i128::from(last.0),
            None => i128::from(instrument.reference_price.0),
        };
        let away = if wide > reference { wide - reference } else { reference - wide };
        let size = if reference < 0 { -reference } else { reference };
        if away * 10_000 > size * i128::from(instrument.band_basis_points) {
            return Err(RejectReason::PriceOutsideBand);
        }
    }
    Ok(())
}

fn check_quantity(instrument: &Instrument, price: Price, quantity: Qty) -> Result<(), RejectReason> {
    if !quantity.0.is_multiple_of(instrument.lot_size) {
        return Err(RejectReason::QuantityNotOnLot);
    }
    if quantity.0 < instrument.min_quantity.0 {
        return Err(RejectReason::QuantityTooSmall);
    }
    if quantity.0 > instrument.max_quantity.0 {
        return Err(RejectReason::QuantityTooLarge);
    }
    let notional = u128::from(price.0.unsigned_abs()) * u128::from(quantity.0);
    if instrument.max_notional != 0 && notional > instrument.max_notional {
        return Err(RejectReason::NotionalTooLarge);
    }
    Ok(())
}

/// Some price and some quantity must be possible.
pub(super) fn check_instrument(i: &Instrument) -> Result<(), RejectReason> {
    let bad = Err(RejectReason::InvalidInstrument);
    if i.price_decimals > 12 || i.quantity_decimals > 12 || i.tick_size == 0 || i.lot_size == 0 {
        return bad;
    }
    if i.min_quantity.0 < i.lot_size || i.max_quantity < i.min_quantity || i.high_limit_price < i.low_limit_price {
        return bad;
    }
    // The first lot multiple from the least quantity on, and the first tick multiple from the lowest price on.
    let lot = u128::from(i.lot_size);
    if u128::from(i.min_quantity.0).div_ceil(lot) * lot > u128::from(i.max_quantity.0) {
        return bad;
    }
    let tick = i128::from(i.tick_size);
    let low = i128::from(i.low_limit_price.0);
    let first = low + (tick - low.rem_euclid(tick)) % tick;
    if first > i128::from(i.high_limit_price.0) {
        return bad;
    }
    let reference = i.reference_price;
    let outside = reference < i.low_limit_price || reference > i.high_limit_price;
    if i.band_basis_points != 0 && (reference == Price(0) || outside) {
        return bad;
    }
    Ok(())
}

impl ReferenceExchange {
    /// What holds for every request: an account, an instrument that exists and is not closed.
    pub(super) fn check_request(&self, account: AccountId, id: Option<InstrumentId>) -> Result<(), RejectReason> {
        if account == AccountId(0) {
            return Err(RejectReason::InvalidAccount);
        }
        let Some(id) = id else { return Ok(()) };
        let Some(instrument) = self.state.instruments.get(id.0 as usize) else {
            return Err(RejectReason::UnknownInstrument);
        };
        if instrument.state == InstrumentState::Closed {
            return Err(RejectReason::InstrumentNotTrading);
        }
        Ok(())
    }

    pub(super) fn check_submit(&self, s: &Submit) -> Result<(), RejectReason> {
        if s.account == AccountId(0) {
            return Err(RejectReason::InvalidAccount);
        }
        let Some(instrument) = self.state.instruments.get(s.instrument.0 as usize) else {
            return Err(RejectReason::UnknownInstrument);
        };
        if s.post_only && (s.order_type != OrderType::Limit || s.time_in_force != TimeInForce::GoodTillCancel) {
            return Err(RejectReason::UnsupportedCombination);
        }
        if s.order_type == OrderType::Market && s.time_in_force == TimeInForce::GoodTillCancel {
            return Err(RejectReason::UnsupportedCombination);
        }
        if instrument.state != InstrumentState::Continuous {
            return Err(RejectReason::InstrumentNotTrading);
        }
        check_price(&instrument.definition, instrument.last_price, s.price)?;
        check_quantity(&instrument.definition, s.price, s.quantity)?;
        if s.time_in_force == TimeInForce::GoodTillCancel {
            let open = self.state.orders.iter().filter(|order| order.account == s.account).count();
            let own = self.state.accounts.iter().find(|limit| limit.account == s.account);
            let limit = own.map_or(self.state.rules.max_open_orders, |own| own.max_open_orders);
            if open as u64 >= u64::from(limit) {
                return Err(RejectReason::TooManyOpenOrders);
            }
        }
        if self.state.next_order >= COUNTER_END {
            return Err(RejectReason::CapacityExhausted);
        }
        self.check_trade_numbers()?;
        let order = OrderSnapshot {
            order_id: OrderId(0),
            account: s.account,
            client_order_id: s.client_order_id,
            instrument: s.instrument,
            side: s.side,
            price: s.price,
            quantity: s.quantity,
            cumulative: Qty(0),
            leaves: s.quantity,
            priority: 0,
            self_trade_prevention: s.self_trade_prevention,
            post_only: s.post_only,
        };
        if s.post_only && self.would_meet(&order) {
            return Err(RejectReason::WouldTakeLiquidity);
        }
        if s.time_in_force == TimeInForce::FillOrKill {
            // What it means: matched on a copy of the book, all of it trades.
            let mut copy = order;
            match_order(&mut self.state.orders.clone(), &mut copy);
            if copy.cumulative != s.quantity {
                return Err(RejectReason::NotEnoughLiquidity);
            }
        }
        Ok(())
    }

    pub(super) fn check_replace(
        &self,
        old: &OrderSnapshot,
        new: &OrderSnapshot,
        kept_priority: bool,
    ) -> Result<(), RejectReason> {
        let instrument = &self.state.instruments[old.instrument.0 as usize];
        if instrument.state == InstrumentState::CancelOnly && !kept_priority {
            return Err(RejectReason::InstrumentNotTrading);
        }
        if new.price != old.price {
            check_price(&instrument.definition, instrument.last_price, new.price)?;
        }
        check_quantity(&instrument.definition, new.price, new.quantity)?;
        if !kept_priority {
            self.check_trade_numbers()?;
            if old.post_only && self.would_meet(new) {
                return Err(RejectReason::WouldTakeLiquidity);
            }
        }
        Ok(())
    }

    fn would_meet(&self, order: &OrderSnapshot) -> bool {
        self.state
            .orders
            .iter()
            .filter(|other| other.instrument == order.instrument && other.side != order.side)
            .any(|other| acceptable(order.side, order.price, other.price))
    }

    fn check_trade_numbers(&self) -> Result<(), RejectReason> {
        if self.state.next_trade + self.state.orders.len() as u64 > COUNTER_END {
            return Err(RejectReason::CapacityExhausted);
        }
        Ok(())
    }
}
