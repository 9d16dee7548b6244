//! `GET /admin/instruments` and `GET /admin/book`: what is traded, and one book, with prices and quantities as decimal
//! numbers.

use serde::Serialize;
use wire::pb::marketdata::v1 as pb;

/// What is traded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InstrumentsView {
    /// In order of definition.
    pub instruments: Vec<InstrumentView>,
}

/// An instrument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InstrumentView {
    /// Its name.
    pub symbol: String,
    /// "pre_open", "continuous", "halted", "cancel_only" or "closed".
    pub state: String,
    /// Its shard.
    pub shard: u32,
    /// Price of the last trade; null before the first.
    pub last_price: Option<String>,
    /// Smallest step of a price.
    pub tick_size: String,
    /// Smallest step of a quantity.
    pub lot_size: String,
}

/// A book.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BookView {
    /// Instrument.
    pub symbol: String,
    /// Best first.
    pub bids: Vec<LevelView>,
    /// Best first.
    pub asks: Vec<LevelView>,
    /// Position up to which the log was applied.
    pub as_of_seq: u64,
}

/// One price of a book.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LevelView {
    /// Price.
    pub price: String,
    /// Sum of the open quantities.
    pub quantity: String,
    /// Number of orders.
    pub orders: u32,
}

impl From<Vec<pb::InstrumentStatus>> for InstrumentsView {
    fn from(instruments: Vec<pb::InstrumentStatus>) -> Self {
        Self { instruments: instruments.into_iter().map(InstrumentView::from).collect() }
    }
}

impl From<pb::InstrumentStatus> for InstrumentView {
    fn from(status: pb::InstrumentStatus) -> Self {
        let pb::InstrumentStatus { instrument, shard, last_price } = status;
        let instrument = instrument.unwrap_or_default();
        Self {
            state: state_word(instrument.state()),
            shard,
            last_price: last_price.map(|price| decimal(price.into(), instrument.price_decimals)),
            tick_size: decimal(instrument.tick_size.into(), instrument.price_decimals),
            lot_size: decimal(instrument.lot_size.into(), instrument.quantity_decimals),
            symbol: instrument.symbol,
        }
    }
}

impl BookView {
    /// A book of `instrument`, which knows where the decimal points are.
    #[must_use]
    pub fn new(book: pb::BookSnapshot, instrument: &pb::Instrument) -> Self {
        let level = |level: pb::BookLevel| LevelView {
            price: decimal(level.price.into(), instrument.price_decimals),
            quantity: decimal(level.quantity.into(), instrument.quantity_decimals),
            orders: level.orders,
        };
        Self {
            symbol: book.symbol,
            bids: book.bids.into_iter().map(level).collect(),
            asks: book.asks.into_iter().map(level).collect(),
            as_of_seq: book.as_of_seq,
        }
    }
}

/// The word for a state, as it is written in commands.
#[must_use]
pub fn state_word(state: pb::InstrumentState) -> String {
    state.as_str_name().trim_start_matches("INSTRUMENT_STATE_").to_lowercase()
}

/// A number of units as a decimal number; there are at most 12 decimals.
fn decimal(units: i128, decimals: u32) -> String {
    let one = 10_i128.pow(decimals.min(12));
    let sign = if units < 0 { "-" } else { "" };
    let (whole, part) = (units.abs() / one, units.abs() % one);
    let width = decimals as usize;
    if decimals == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part:0>width$}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_become_decimal_numbers() {
        assert_eq!(decimal(5_000_100, 2), "50001.00");
        assert_eq!(decimal(7, 6), "0.000007");
        assert_eq!(decimal(-5, 1), "-0.5");
        assert_eq!(decimal(12, 0), "12");
    }
}
