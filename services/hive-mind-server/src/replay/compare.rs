//! A book beside a row of the file: every price that the row shows, and where the two differ.

use serde::Serialize;
use types::{Price, Qty, Side};

use super::depth::Row;
use super::side::rank;

/// Which prices of one side the rows before have shown, and so determine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Window {
    /// None: there was no row yet.
    #[default]
    Nothing,
    /// From the best to this one.
    UpTo(Price),
    /// All: the last row had room for more levels than there were.
    Everything,
}

impl Window {
    /// What a row shows of a side.
    pub(super) fn of(row: &Row, side: Side) -> Self {
        row.worst(side).map_or(Self::Everything, Self::UpTo)
    }

    /// Whether a price is within it.
    pub(super) fn shows(self, side: Side, price: Price) -> bool {
        match self {
            Self::Nothing => false,
            Self::UpTo(worst) => rank(side, price) <= rank(side, worst),
            Self::Everything => true,
        }
    }
}

/// One price at which book and file differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    /// Which side.
    pub(super) side: Side,
    /// The level of the side, from 1, counting the prices of both.
    pub(super) level: usize,
    /// At which price.
    pub(super) price: Price,
    /// Open quantity in the file.
    pub(super) file: Qty,
    /// Open quantity in the book.
    pub(super) book: Qty,
    /// Whether it makes the best price or its quantity differ.
    pub(super) best: bool,
}

/// Why book and file differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Cause {
    /// The row shows a price that no row before did: orders that stood there since before the first message, or were
    /// entered out of view. They are entered at this moment, so that the next row finds them.
    LevelRevealed,
    /// The price was shown before, then was out of view, and orders there were entered or taken away meanwhile. The
    /// same happens to them at this moment.
    ChangedOutOfView,
    /// The row's message could not be applied; see the report's list of such rows.
    MessageNotApplied,
}

impl Cause {
    /// For people.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::LevelRevealed => "level comes into view",
            Self::ChangedOutOfView => "level changed out of view",
            Self::MessageNotApplied => "message not applied",
        }
    }
}

/// All differences of a side at the prices that `row` shows. `book` goes from the best price on.
pub(super) fn gaps(row: &Row, side: Side, book: impl Iterator<Item = (Price, Qty)>) -> Vec<Gap> {
    let worst = row.worst(side).map_or(i64::MAX, |price| rank(side, price));
    let mut file = row.levels.get(side).iter().copied().peekable();
    let mut book = book.take_while(|(price, _)| rank(side, *price) <= worst).peekable();
    let best = file.peek().map_or(i64::MIN, |(price, _)| rank(side, *price));
    let mut found = Vec::new();
    for level in 1.. {
        let next_of_file = file.peek().map_or(i64::MAX, |(price, _)| rank(side, *price));
        let next_of_book = book.peek().map_or(i64::MAX, |(price, _)| rank(side, *price));
        let at = next_of_file.min(next_of_book);
        let in_file = if next_of_file == at { file.next() } else { None };
        let in_book = if next_of_book == at { book.next() } else { None };
        let Some((price, _)) = in_file.or(in_book) else { break };
        let quantity = |entry: Option<(Price, Qty)>| entry.map_or(Qty::ZERO, |(_, quantity)| quantity);
        let (file, book) = (quantity(in_file), quantity(in_book));
        if file != book {
            found.push(Gap { side, level, price, file, book, best: at <= best || level == 1 });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::depth::parse_row;
    use super::*;

    fn asks(levels: &[(i64, u64)]) -> Vec<(i64, u64, u64, usize, bool)> {
        let row = parse_row(1, "103,5,100,7,105,1,99,1").expect("a row");
        let book = levels.iter().map(|&(price, quantity)| (Price(price), Qty(quantity)));
        let gaps = gaps(&row, Side::Sell, book);
        gaps.iter().map(|gap| (gap.price.0, gap.file.0, gap.book.0, gap.level, gap.best)).collect()
    }

    #[test]
    fn only_differences_at_visible_prices_count() {
        assert_eq!(asks(&[(103, 5), (105, 1), (106, 4)]), []);
        assert_eq!(asks(&[(103, 5), (104, 2), (105, 1)]), [(104, 0, 2, 2, false)]);
        assert_eq!(asks(&[(103, 4), (105, 1)]), [(103, 5, 4, 1, true)]);
        assert_eq!(asks(&[(102, 1), (103, 5)]), [(102, 0, 1, 1, true), (105, 1, 0, 3, false)]);
        assert_eq!(asks(&[(102, 1), (103, 4), (105, 1)]), [(102, 0, 1, 1, true), (103, 5, 4, 2, true)]);
        assert_eq!(asks(&[]), [(103, 5, 0, 1, true), (105, 1, 0, 2, false)]);
    }

    #[test]
    fn a_window_ends_at_the_worst_price_shown() {
        let row = parse_row(1, "103,5,100,7,105,1,-9999999999,0").expect("a row");
        let asks = Window::of(&row, Side::Sell);
        assert!(asks.shows(Side::Sell, Price(105)) && !asks.shows(Side::Sell, Price(106)));
        assert!(Window::of(&row, Side::Buy).shows(Side::Buy, Price(1)));
        assert!(!Window::default().shows(Side::Buy, Price(100)));
    }
}
