//! What both sides of a book have, and an order of prices in which the best comes first on either side.

use types::{Price, Side};

/// One of something for each side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PerSide<T> {
    bids: T,
    asks: T,
}

impl<T> PerSide<T> {
    /// That of one side.
    pub(super) fn get(&self, side: Side) -> &T {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }

    /// That of one side, to change it.
    pub(super) fn get_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }
}

/// Both sides.
pub(super) const SIDES: [Side; 2] = [Side::Buy, Side::Sell];

/// A number that is smaller for a better price: an ask's price, a bid's price negated.
pub(super) fn rank(side: Side, price: Price) -> i64 {
    match side {
        Side::Buy => price.0.saturating_neg(),
        Side::Sell => price.0,
    }
}

/// The price that has this rank.
pub(super) fn price_at(side: Side, rank: i64) -> Price {
    match side {
        Side::Buy => Price(rank.saturating_neg()),
        Side::Sell => Price(rank),
    }
}

/// Whether an order of `side` at `price` would trade with one of the other side at `other`.
pub(super) fn crosses(side: Side, price: Price, other: Price) -> bool {
    rank(side.opposite(), other) <= rank(side.opposite(), price)
}
