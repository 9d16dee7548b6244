//! What the flow is traded as: an instrument whose limits let everything through that the reader lets through.

use types::InstrumentState;
use wire::pb::marketdata::v1::{Instrument, InstrumentState as State};

use super::csv::{LARGEST_PRICE, LARGEST_QUANTITY};
use super::messages::{Action, Message};

/// The file's price unit: ten thousandths of a dollar.
const PRICE_DECIMALS: u32 = 4;

/// One cent in price units: the tick of every US stock above a dollar.
const CENT: i64 = 100;

/// The definition. The tick is a cent, unless an order of the file has a finer price.
pub(super) fn definition(symbol: &str, messages: &[Message]) -> Instrument {
    let of_book = |message: &&Message| !matches!(message.action, Action::ExecuteHidden | Action::Cross | Action::Halt);
    let whole_cents = messages.iter().filter(of_book).all(|message| message.price.0 % CENT == 0);
    let tick = if whole_cents { CENT } else { 1 };
    Instrument {
        symbol: symbol.to_owned(),
        price_decimals: PRICE_DECIMALS,
        quantity_decimals: 0,
        tick_size: tick.unsigned_abs(),
        lot_size: 1,
        min_quantity: 1,
        // An order that is sent to the end of its queue has one more for a moment.
        max_quantity: LARGEST_QUANTITY.0 * 2,
        max_notional: String::new(),
        low_limit_price: tick,
        high_limit_price: LARGEST_PRICE.0,
        band_basis_points: 0,
        reference_price: 0,
        state: State::from(InstrumentState::Continuous).into(),
    }
}
