//! What can be traded, and under which limits.

use crate::{Price, Qty, Symbol};

/// The definition of an instrument, as an operator gives it. All prices are in its price unit, all quantities in
/// its quantity unit (see [`Price`] and [`Qty`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instrument {
    /// Its name, unique.
    pub symbol: Symbol,
    /// Decimal digits of the price unit, 0 to 12.
    pub price_decimals: u8,
    /// Decimal digits of the quantity unit, 0 to 12.
    pub quantity_decimals: u8,
    /// Every order price is a multiple of it. At least 1.
    pub tick_size: u64,
    /// Every order quantity is a multiple of it. At least 1.
    pub lot_size: u64,
    /// Smallest order quantity. At least `lot_size`.
    pub min_quantity: Qty,
    /// Largest order quantity.
    pub max_quantity: Qty,
    /// Largest |price| × quantity of one order; 0 is no limit.
    pub max_notional: u128,
    /// Lowest price an order may carry. FIX tag 1148.
    pub low_limit_price: Price,
    /// Highest price an order may carry. FIX tag 1149.
    pub high_limit_price: Price,
    /// How far an order price may be from the reference price (the last trade, before the first one
    /// `reference_price`), in hundredths of a percent of it; 0 is no band.
    pub band_basis_points: u32,
    /// Reference price before the first trade. Not looked at when there is no band.
    pub reference_price: Price,
    /// State it starts in.
    pub state: InstrumentState,
}

/// What is allowed on an instrument now. FIX tag 326 in spirit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InstrumentState {
    /// Before the session: nothing but cancels.
    PreOpen,
    /// Trading.
    Continuous,
    /// Stopped: nothing but cancels. Entered and left by an operator.
    Halted,
    /// Winding down: nothing but cancels, and quantity may be replaced downwards.
    CancelOnly,
    /// Over: nothing, not even cancels; entering it cancels every resting order.
    Closed,
}
