//! The order-book file: row by row the best levels of both sides after the message of the same row. Columns: ask
//! price, ask size, bid price, bid size, repeated per level; a level that is not there has size 0 and a price of
//! ±9999999999.

use types::{Price, Qty, Side};

use super::csv::{Cells, LARGEST_PRICE, LARGEST_QUANTITY, ParseError};
use super::side::{PerSide, rank};

/// What an empty level has for a price, either sign.
const NO_PRICE: i64 = 9_999_999_999;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Levels of each side, best first, without the empty ones.
    pub(super) levels: PerSide<Vec<(Price, Qty)>>,
    /// Levels a row has room for.
    pub(super) depth: usize,
}

impl Row {
    /// The worst price that is visible on a side; `None` when the side has fewer levels than fit, so that all of it
    /// is visible.
    pub(super) fn worst(&self, side: Side) -> Option<Price> {
        let levels = self.levels.get(side);
        if levels.len() < self.depth { None } else { levels.last().map(|(price, _)| *price) }
    }
}

/// Reads one line.
pub(super) fn parse_row(line: usize, text: &str) -> Result<Row, ParseError> {
    let columns = text.split(',').count();
    let mut cells = Cells::new(line, text);
    if !columns.is_multiple_of(4) {
        return Err(cells.error("whole row", &format!("{columns} columns"), "four columns for every level"));
    }
    let mut row = Row { levels: PerSide::default(), depth: columns / 4 };
    for _ in 0..row.depth {
        for (side, price_column, size_column) in
            [(Side::Sell, "ask price", "ask size"), (Side::Buy, "bid price", "bid size")]
        {
            let price = cells.number(price_column, (-NO_PRICE, LARGEST_PRICE.0), "a price up to 10^11 price units")?;
            #[expect(clippy::cast_possible_wrap, reason = "far below 2^63")]
            let largest = LARGEST_QUANTITY.0 as i64;
            let quantity = cells.number(size_column, (0, largest), "a size from 0 to 10^9")?;
            if quantity == 0 {
                continue;
            }
            let levels = row.levels.get_mut(side);
            let before = levels.last().map_or(i64::MIN, |(before, _)| rank(side, *before));
            if price <= 0 || before >= rank(side, Price(price)) {
                return Err(cells.error(price_column, &price.to_string(), "levels from best to worst"));
            }
            levels.push((Price(price), Qty(quantity.unsigned_abs())));
        }
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_without_its_empty_levels() {
        let row = parse_row(1, "103,5,100,7,104,1,-9999999999,0\r").expect("a row");
        assert_eq!(row.levels.get(Side::Sell), &[(Price(103), Qty(5)), (Price(104), Qty(1))]);
        assert_eq!(row.levels.get(Side::Buy), &[(Price(100), Qty(7))]);
        assert_eq!((row.worst(Side::Sell), row.worst(Side::Buy)), (Some(Price(104)), None));
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_column() {
        let wrong = [
            ("103,5,100", "whole row"),
            ("103,5,x,7", "bid price"),
            ("103,-5,100,7", "ask size"),
            ("103,5,100,7,102,1,99,1", "ask price"),
            ("103,5,100,7,104,1,100,1", "bid price"),
        ];
        for (text, column) in wrong {
            let error = parse_row(9, text).expect_err(text);
            assert_eq!((error.line, error.column), (9, column), "{text}");
        }
    }
}
