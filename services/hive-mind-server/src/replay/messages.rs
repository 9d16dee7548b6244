//! The message file: one row for everything that happened to a visible order, and for hidden executions and halts.
//! Columns: seconds after midnight, type, order id, size, price in ten thousandths of a dollar, direction.

use types::{Price, Qty, Side};

use super::csv::{Cells, LARGEST_PRICE, LARGEST_QUANTITY, ParseError};

/// The file's own number of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FileOrder(pub(super) i64);

/// Nanoseconds after midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TimeOfDay(pub(super) u64);

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Type 1: a new limit order stands in the book.
    Submit,
    /// Type 2: an order lost part of its size; it keeps its place.
    Reduce,
    /// Type 3: an order left the book.
    Delete,
    /// Type 4: a visible order traded.
    Execute,
    /// Type 5: a hidden order traded; the visible book does not change.
    ExecuteHidden,
    /// Type 6: an auction; the visible book does not change.
    Cross,
    /// Type 7: trading stopped (price -1), quotes are taken again (0), trading goes on (1).
    Halt,
}

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// When.
    pub(super) time: TimeOfDay,
    /// What.
    pub(super) action: Action,
    /// Which order; of an execution the resting one.
    pub(super) order: FileOrder,
    /// How much; at least 1 for types 1 to 4.
    pub(super) quantity: Qty,
    /// At what price; at least 1 for types 1 to 4.
    pub(super) price: Price,
    /// The side of the order, the resting one's in an execution.
    pub(super) side: Side,
}

/// Reads the whole file. Empty lines at the end are left out.
pub(super) fn parse(text: &str) -> Result<Vec<Message>, ParseError> {
    let lines = text.trim_end().lines().enumerate();
    lines.map(|(index, line)| parse_row(index + 1, line)).collect()
}

fn parse_row(line: usize, text: &str) -> Result<Message, ParseError> {
    let mut cells = Cells::new(line, text);
    let cell = cells.next("time")?;
    let time = time_of_day(cell)
        .ok_or_else(|| cells.error("time", cell, "seconds after midnight below 86400, with up to nine decimals"))?;
    let action = match cells.number("type", (1, 7), "a type from 1 to 7")? {
        1 => Action::Submit,
        2 => Action::Reduce,
        3 => Action::Delete,
        4 => Action::Execute,
        5 => Action::ExecuteHidden,
        6 => Action::Cross,
        _ => Action::Halt,
    };
    let order = cells.number("order id", (-1, i64::MAX), "an order id, or -1 for none")?;
    let of_visible_order = matches!(action, Action::Submit | Action::Reduce | Action::Delete | Action::Execute);
    let least = i64::from(of_visible_order);
    #[expect(clippy::cast_possible_wrap, reason = "far below 2^63")]
    let largest_quantity = LARGEST_QUANTITY.0 as i64;
    let quantity = cells.number("size", (least, largest_quantity), "a size from 1 to 10^9")?;
    let lowest = if of_visible_order { 1 } else { -1 };
    let price = cells.number("price", (lowest, LARGEST_PRICE.0), "a price from 1 to 10^11 price units")?;
    let side = match cells.number("direction", (-1, 1), "1 or -1")? {
        1 => Side::Buy,
        -1 => Side::Sell,
        // Rows that are about no order may say 0.
        _ if !of_visible_order => Side::Buy,
        _ => return Err(cells.error("direction", "0", "1 or -1")),
    };
    cells.end()?;
    Ok(Message {
        time,
        action,
        order: FileOrder(order),
        quantity: Qty(quantity.unsigned_abs()),
        price: Price(price),
        side,
    })
}

/// `34200.004241176` as nanoseconds. Decimals beyond the ninth are dropped.
fn time_of_day(cell: &str) -> Option<TimeOfDay> {
    const SECONDS_OF_A_DAY: u64 = 86_400;
    let (seconds, decimals) = cell.split_once('.').unwrap_or((cell, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: u64 = seconds.parse().ok().filter(|seconds| *seconds < SECONDS_OF_A_DAY)?;
    if !digits(decimals) {
        return None;
    }
    let padded = decimals.bytes().chain(std::iter::repeat(b'0')).take(9);
    let nanoseconds = padded.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Some(TimeOfDay(seconds * 1_000_000_000 + nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read() {
        let rows = parse("34200.5,1,7,18,5853300,1\r\n34200.50000000049,7,-1,0,-1,-1\n\n").expect("both are rows");
        assert_eq!(
            rows[0],
            Message {
                time: TimeOfDay(34_200_500_000_000),
                action: Action::Submit,
                order: FileOrder(7),
                quantity: Qty(18),
                price: Price(5_853_300),
                side: Side::Buy,
            }
        );
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[1].action, rows[1].price, rows[1].time), (Action::Halt, Price(-1), rows[0].time));
    }

    #[test]
    fn what_cannot_be_read_is_told_with_line_and_column() {
        let wrong = [
            ("x,1,7,18,5853300,1", "time"),
            ("86400,1,7,18,5853300,1", "time"),
            ("1.+5,1,7,18,5853300,1", "time"),
            ("34200,8,7,18,5853300,1", "type"),
            ("34200,1,-2,18,5853300,1", "order id"),
            ("34200,1,7,0,5853300,1", "size"),
            ("34200,4,7,18446744073709551616,5853300,1", "size"),
            ("34200,3,7,18,0,1", "price"),
            ("34200,1,7,18,5853300,2", "direction"),
            ("34200,1,7,18,5853300,0", "direction"),
            ("34200,1,7,18,5853300", "direction"),
            ("34200,1,7,18,5853300,1,", "end of the line"),
            ("", "time"),
        ];
        for (row, column) in wrong {
            let error = parse(&format!("34200,1,6,18,5853300,1\n{row}\n34200,1,8,18,5853300,1")).expect_err(row);
            assert_eq!((error.line, error.column), (2, column), "{row}");
        }
    }
}
