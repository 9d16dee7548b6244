//! Whether an instrument, a price, a quantity or a combination may be. Exact: no product is rounded or overflows.

use types::{Instrument, OrderType, Price, Qty, RejectReason, Rules, Submit, TimeInForce};

/// Most decimal digits of a price or quantity unit.
const MAX_DECIMALS: u8 = 12;
/// Hundredths of a percent in the whole.
const BASIS_POINTS: i128 = 10_000;

/// Tick, static limits and band, in this order. `last` is the price of the last trade.
pub(crate) fn check_price(definition: &Instrument, last: Option<Price>, price: Price) -> Result<(), RejectReason> {
    let tick = definition.tick_size;
    // Prices are mostly far below 2^63 and ticks far below 2^32: the wide division is for the rest.
    let on_tick = match i64::try_from(tick) {
        Ok(tick) => price.0.checked_rem(tick) == Some(0),
        Err(_) => i128::from(price.0) % i128::from(tick) == 0,
    };
    if !on_tick {
        return Err(RejectReason::PriceNotOnTick);
    }
    if price < definition.low_limit_price || price > definition.high_limit_price {
        return Err(RejectReason::PriceOutsideLimits);
    }
    if definition.band_basis_points > 0 {
        let reference = i128::from(last.unwrap_or(definition.reference_price).0);
        let distance = (i128::from(price.0) - reference).abs();
        if distance * BASIS_POINTS > reference.abs() * i128::from(definition.band_basis_points) {
            return Err(RejectReason::PriceOutsideBand);
        }
    }
    Ok(())
}

/// Lot, least and most, notional, in this order.
pub(crate) fn check_quantity(definition: &Instrument, price: Price, quantity: Qty) -> Result<(), RejectReason> {
    if !quantity.0.is_multiple_of(definition.lot_size) {
        return Err(RejectReason::QuantityNotOnLot);
    }
    if quantity < definition.min_quantity {
        return Err(RejectReason::QuantityTooSmall);
    }
    if quantity > definition.max_quantity {
        return Err(RejectReason::QuantityTooLarge);
    }
    if definition.max_notional > 0 && (price * quantity).unsigned_abs() > definition.max_notional {
        return Err(RejectReason::NotionalTooLarge);
    }
    Ok(())
}

/// Order type, time in force and post-only: a market order does not stay, and post-only is for orders that do.
pub(crate) fn check_combination(order: &Submit) -> Result<(), RejectReason> {
    let stays = order.time_in_force == TimeInForce::GoodTillCancel;
    let allowed = match order.order_type {
        OrderType::Limit => stays || !order.post_only,
        OrderType::Market => !stays && !order.post_only,
    };
    if allowed { Ok(()) } else { Err(RejectReason::UnsupportedCombination) }
}

/// Whether some order could be valid on the instrument.
pub(crate) fn check_instrument(definition: &Instrument) -> Result<(), RejectReason> {
    let Instrument { tick_size, lot_size, min_quantity, max_quantity, .. } = *definition;
    let Instrument { low_limit_price: low, high_limit_price: high, reference_price, .. } = *definition;
    let decimals = definition.price_decimals <= MAX_DECIMALS && definition.quantity_decimals <= MAX_DECIMALS;
    let units = tick_size >= 1 && lot_size >= 1 && min_quantity.0 >= lot_size && max_quantity >= min_quantity;
    if !decimals || !units || low > high {
        return Err(RejectReason::InvalidInstrument);
    }
    let largest = max_quantity.0 - max_quantity.0 % lot_size;
    let highest = i128::from(high.0) - i128::from(high.0).rem_euclid(i128::from(tick_size));
    let reference = definition.band_basis_points == 0
        || (reference_price.0 != 0 && low <= reference_price && reference_price <= high);
    if largest < min_quantity.0 || highest < i128::from(low.0) || !reference {
        return Err(RejectReason::InvalidInstrument);
    }
    Ok(())
}

/// A table that keeps nothing could not recognise a retry.
pub(crate) const fn check_rules(rules: &Rules) -> Result<(), RejectReason> {
    if rules.idempotency_window_us == 0 || rules.idempotency_capacity == 0 {
        return Err(RejectReason::InvalidRules);
    }
    Ok(())
}
