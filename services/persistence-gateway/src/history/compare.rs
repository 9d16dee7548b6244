//! Rows that should be there against rows that are, both sorted oldest first: what is missing, what is too much, what
//! differs and in which column. Absent: where either side comes from.

use std::cmp::Ordering;

use super::page::Key;
use super::query::Keyed;
use super::values::{
    EXECUTION_COLUMNS, INSTRUMENT_COLUMNS, ORDER_COLUMNS, TRADE_COLUMNS, Value, execution_values, instrument_values,
    order_values, trade_values,
};
use super::{ExecutionRow, InstrumentRow, OrderRow, Stamp, TradeRow};

/// A row of a table that can be compared.
pub(crate) trait Compared {
    /// Its table.
    const TABLE: &'static str;
    /// Columns, in the order of the values.
    #[doc(hidden)]
    const COLUMNS: &'static [&'static str];

    /// Where it comes from.
    fn stamp(&self) -> &Stamp;
    /// Number among the rows of its request.
    fn number(&self) -> u32;
    /// Its columns.
    #[doc(hidden)]
    fn texts(&self) -> Vec<String>;
}

fn texts(values: &[Value]) -> Vec<String> {
    values.iter().map(|value| format!("{value:?}")).collect()
}

macro_rules! compared {
    ($row:ty, $table:literal, $columns:ident, $values:ident, $number:expr) => {
        impl Compared for $row {
            const TABLE: &'static str = $table;
            const COLUMNS: &'static [&'static str] = $columns;

            fn stamp(&self) -> &Stamp {
                &self.stamp
            }

            fn number(&self) -> u32 {
                let number: fn(&Self) -> u32 = $number;
                number(self)
            }

            fn texts(&self) -> Vec<String> {
                texts(&$values(self))
            }
        }
    };
}

compared!(OrderRow, "orders", ORDER_COLUMNS, order_values, |_| 0);
compared!(ExecutionRow, "executions", EXECUTION_COLUMNS, execution_values, |row| row.number);
compared!(TradeRow, "trades", TRADE_COLUMNS, trade_values, |row| row.number);
compared!(InstrumentRow, "instruments", INSTRUMENT_COLUMNS, instrument_values, |row| row.instrument.0);

/// Describes how `found` differs from `expected`, if it does.
pub(crate) fn difference<T: Compared + PartialEq>(expected: &T, found: &T) -> Option<String> {
    if expected == found {
        return None;
    }
    let (wanted, given) = (expected.texts(), found.texts());
    let columns = T::COLUMNS.iter().zip(wanted.iter().zip(&given));
    let differing: Vec<String> = columns
        .filter(|(_, (wanted, given))| wanted != given)
        .map(|(column, (wanted, given))| format!("{column} is {given}, the journal says {wanted}"))
        .collect();
    Some(format!("{} differs: {}", name(expected), differing.join("; ")))
}

fn name<T: Compared>(row: &T) -> String {
    let place = &row.stamp().place;
    format!("row of {} from entry {} request {} number {}", T::TABLE, place.seq, place.index, row.number())
}

fn order(key: &Key) -> (u64, u32, u32, u32) {
    (key.at_us, key.shard, key.index, key.number)
}

/// Compares two lists, both oldest first; tells each difference.
pub(crate) fn compare<T: Compared + Keyed + PartialEq>(expected: &[T], found: &[T], mut differs: impl FnMut(String)) {
    let (mut wanted, mut given) = (expected.iter().peekable(), found.iter().peekable());
    loop {
        let which = match (wanted.peek(), given.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(wanted), Some(given)) => order(&wanted.key()).cmp(&order(&given.key())),
        };
        match which {
            Ordering::Less => {
                wanted.next().into_iter().for_each(|row| differs(format!("{} is missing", name(row))));
            }
            Ordering::Greater => {
                given.next().into_iter().for_each(|row| differs(format!("{} is not in the journal", name(row))));
            }
            Ordering::Equal => {
                if let (Some(wanted), Some(given)) = (wanted.next(), given.next())
                    && let Some(text) = difference(wanted, given)
                {
                    differs(text);
                }
            }
        }
    }
}
