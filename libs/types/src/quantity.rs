//! Price, quantity, side: exact integers, never floating point.

use std::fmt;

/// A price: signed, in the instrument's price unit, 10^-`price_decimals` of the quote currency.
///
/// With `price_decimals` = 4, 585.33 is 5,853,300. A valid order price is a multiple of the instrument's
/// `tick_size`, which is given in the same unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Price(pub i64);

/// A quantity: unsigned, in the instrument's quantity unit, 10^-`quantity_decimals` of the base asset.
///
/// A valid order quantity is a multiple of the instrument's `lot_size`, which is given in the same unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Qty(pub u64);

/// Which side of the book an order is for. FIX tag 54.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Wants to buy; rests among the bids.
    Buy,
    /// Wants to sell; rests among the asks.
    Sell,
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Qty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Qty {
    /// No quantity.
    pub const ZERO: Self = Self(0);

    /// Whether nothing is left.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The smaller of two quantities.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }
}

impl Side {
    /// The side this one trades with.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }
}

/// Price times quantity: exact, in price unit times quantity unit.
///
/// Cannot overflow: |price| < 2^63 and quantity < 2^64 give less than 2^127.
impl std::ops::Mul<Qty> for Price {
    type Output = i128;

    fn mul(self, quantity: Qty) -> i128 {
        i128::from(self.0) * i128::from(quantity.0)
    }
}
