//! Instruments as an operator writes them in TOML.
//!
//! Deliberately absent: business checks of a definition (tick above lot and the like): the matching core makes them
//! when the definition is applied, as for one that comes over gRPC.

use super::ConfigError;
use serde::{Deserialize, Serialize};
use types::{Instrument, InstrumentState, Price, Qty, ShardId, Symbol};

/// An instrument of the configuration. All prices in its price unit, 10^-`price_decimals` of the quote currency, all
/// quantities in its quantity unit, 10^-`quantity_decimals` of the base asset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InstrumentConfig {
    /// Its name, 1 to 16 printable characters without spaces. Required.
    pub symbol: String,
    /// Shard it belongs to; without it, the one that the hash of its symbol says. It stays where it was first traded:
    /// another shard named later would get a second book.
    pub shard: Option<u32>,
    /// Decimal digits of the price unit, 0 to 12.
    pub price_decimals: u8,
    /// Decimal digits of the quantity unit, 0 to 12.
    pub quantity_decimals: u8,
    /// Every order price is a multiple of it, at least 1.
    pub tick_size: u64,
    /// Every order quantity is a multiple of it, at least 1.
    pub lot_size: u64,
    /// Smallest order quantity; 0 means the lot size.
    pub min_quantity: u64,
    /// Largest order quantity.
    pub max_quantity: u64,
    /// Largest |price| times quantity of one order, decimal digits; "0" is no limit.
    pub max_notional: String,
    /// Lowest order price.
    pub low_limit_price: i64,
    /// Highest order price.
    pub high_limit_price: i64,
    /// Largest distance of an order price from the last trade, hundredths of a percent; 0 is no band.
    pub band_basis_points: u32,
    /// Stands for the last trade before the first one; needed only with a band.
    pub reference_price: i64,
}

impl Default for InstrumentConfig {
    /// Two decimals of price, whole units of quantity, no band and no notional limit.
    fn default() -> Self {
        Self {
            symbol: String::new(),
            shard: None,
            price_decimals: 2,
            quantity_decimals: 0,
            tick_size: 1,
            lot_size: 1,
            min_quantity: 0,
            max_quantity: 1_000_000_000_000,
            max_notional: "0".to_owned(),
            low_limit_price: 1,
            high_limit_price: 1_000_000_000_000,
            band_basis_points: 0,
            reference_price: 0,
        }
    }
}

impl InstrumentConfig {
    /// What a fresh node trades: two coins and a share.
    #[must_use]
    pub fn examples() -> Vec<Self> {
        let coin = |symbol: &str| Self { symbol: symbol.to_owned(), quantity_decimals: 6, ..Self::default() };
        vec![
            coin("BTC-USD"),
            coin("ETH-USD"),
            Self {
                symbol: "AAPL".to_owned(),
                price_decimals: 4,
                tick_size: 100,
                low_limit_price: 100,
                ..Self::default()
            },
        ]
    }

    /// Its shard among so many; none without a usable symbol.
    pub(crate) fn shard_among(&self, shards: u32) -> Option<ShardId> {
        let symbol = Symbol::new(&self.symbol).ok()?;
        Some(self.shard.map_or_else(|| types::shard_of(&symbol, shards), ShardId))
    }

    /// The definition for the journal, open for trading. The error names the key.
    pub fn to_instrument(&self) -> Result<Instrument, ConfigError> {
        let wrong = |key: &str, problem: String| ConfigError { key: key.to_owned(), problem };
        let symbol =
            Symbol::new(&self.symbol).map_err(|e| wrong("symbol", format!("{e} (given: {:?})", self.symbol)))?;
        let max_notional = self
            .max_notional
            .parse()
            .map_err(|_| wrong("max_notional", format!("is {:?}, wanted are decimal digits", self.max_notional)))?;
        Ok(Instrument {
            symbol,
            price_decimals: self.price_decimals,
            quantity_decimals: self.quantity_decimals,
            tick_size: self.tick_size,
            lot_size: self.lot_size,
            min_quantity: Qty(if self.min_quantity == 0 { self.lot_size } else { self.min_quantity }),
            max_quantity: Qty(self.max_quantity),
            max_notional,
            low_limit_price: Price(self.low_limit_price),
            high_limit_price: Price(self.high_limit_price),
            band_basis_points: self.band_basis_points,
            reference_price: Price(self.reference_price),
            state: InstrumentState::Continuous,
        })
    }
}
