//! Instruments and market data requests.

use types::{Command, Instrument, InstrumentState, InstrumentStateChange, Price, Symbol};

use super::field::{self, within};
use super::orders::{InstrumentLookup, UNKNOWN_INSTRUMENT};
use crate::pb::admin::v1 as admin;
use crate::pb::marketdata::v1 as pb;
use crate::status::ApiError;

/// Levels of each side that are sent when the request names no number.
pub const BOOK_DEPTH: u32 = 10;

/// Most levels of each side of one answer: some 30 kB.
pub const BOOK_DEPTH_MAX: u32 = 1000;

/// Most decimal digits of a unit.
const DECIMALS_MAX: u32 = 12;

/// The product of any price and any quantity is below it.
const NOTIONAL_MAX: u128 = 1 << 127;

/// A definition, from an operator or a configuration, under the field `name`. Contradictions between its fields
/// are the exchange's to refuse.
pub fn instrument(name: &str, given: &pb::Instrument) -> Result<Instrument, ApiError> {
    let at = |field: &str| within(name, field);
    let quantity = |field: &str, value: u64| field::quantity(&at(field), value);
    let state = field::optional::<pb::InstrumentState, _>(&at("state"), given.state)?;
    Ok(Instrument {
        symbol: field::text(&at("symbol"), &given.symbol)?,
        price_decimals: decimals(&at("price_decimals"), given.price_decimals)?,
        quantity_decimals: decimals(&at("quantity_decimals"), given.quantity_decimals)?,
        tick_size: field::at_least_one(&at("tick_size"), given.tick_size)?,
        lot_size: field::at_least_one(&at("lot_size"), given.lot_size)?,
        min_quantity: quantity("min_quantity", given.min_quantity)?,
        max_quantity: quantity("max_quantity", given.max_quantity)?,
        max_notional: notional(&at("max_notional"), &given.max_notional)?,
        low_limit_price: Price(given.low_limit_price),
        high_limit_price: Price(given.high_limit_price),
        band_basis_points: given.band_basis_points,
        reference_price: Price(given.reference_price),
        state: state.unwrap_or(InstrumentState::Continuous),
    })
}

/// A definition, with the instrument's present state.
#[must_use]
pub fn instrument_to_pb(definition: &Instrument, state: InstrumentState) -> pb::Instrument {
    pb::Instrument {
        symbol: definition.symbol.to_string(),
        price_decimals: definition.price_decimals.into(),
        quantity_decimals: definition.quantity_decimals.into(),
        tick_size: definition.tick_size,
        lot_size: definition.lot_size,
        min_quantity: definition.min_quantity.0,
        max_quantity: definition.max_quantity.0,
        max_notional: definition.max_notional.to_string(),
        low_limit_price: definition.low_limit_price.0,
        high_limit_price: definition.high_limit_price.0,
        band_basis_points: definition.band_basis_points,
        reference_price: definition.reference_price.0,
        state: pb::InstrumentState::from(state).into(),
    }
}

/// An operator adds an instrument.
pub fn define_instrument(request: &admin::DefineInstrumentRequest) -> Result<Command, ApiError> {
    let given = field::message("instrument", request.instrument.as_ref())?;
    instrument("instrument", given).map(Command::DefineInstrument)
}

/// An operator moves an instrument to another state.
pub fn set_instrument_state(
    request: &admin::SetInstrumentStateRequest,
    instruments: &dyn InstrumentLookup,
) -> Result<Command, ApiError> {
    let symbol: Symbol = field::text("symbol", &request.symbol)?;
    let state = field::required::<pb::InstrumentState, _>("state", request.state)?;
    let instrument = instruments.instrument_id(&symbol).unwrap_or(UNKNOWN_INSTRUMENT);
    Ok(Command::SetInstrumentState(InstrumentStateChange { instrument, state }))
}

/// Which book, and how many levels of each side.
pub fn book_request(request: &pb::GetBookRequest) -> Result<(Symbol, usize), ApiError> {
    let depth = match request.depth {
        0 => BOOK_DEPTH,
        depth if depth <= BOOK_DEPTH_MAX => depth,
        _ => return Err(ApiError::invalid("depth", format_args!("must be at most {BOOK_DEPTH_MAX}"))),
    };
    let depth = usize::try_from(depth).map_err(|error| ApiError::invalid("depth", error))?;
    Ok((field::text("symbol", &request.symbol)?, depth))
}

/// Which book to follow.
pub fn stream_book_request(request: &pb::StreamBookRequest) -> Result<Symbol, ApiError> {
    field::text("symbol", &request.symbol)
}

/// Whose trades to follow; none for all.
pub fn stream_trades_request(request: &pb::StreamTradesRequest) -> Result<Option<Symbol>, ApiError> {
    field::optional_text("symbol", &request.symbol)
}

fn decimals(field: &str, given: u32) -> Result<u8, ApiError> {
    match u8::try_from(given) {
        Ok(decimals) if given <= DECIMALS_MAX => Ok(decimals),
        _ => Err(ApiError::invalid(field, format_args!("must be at most {DECIMALS_MAX}"))),
    }
}

fn notional(field: &str, given: &str) -> Result<u128, ApiError> {
    if given.is_empty() {
        return Ok(0);
    }
    // `parse` alone would take a sign.
    let digits = given.bytes().all(|byte| byte.is_ascii_digit());
    match given.parse::<u128>() {
        Ok(value) if digits && value <= NOTIONAL_MAX => Ok(value),
        _ => Err(ApiError::invalid(field, "must be decimal digits, at most 2^127")),
    }
}
