//! Rows of the history as bytes, for backups: the columns in their order, each value with its kind before it.
//!
//! ```text
//! row:    table u8 | values
//! value:  0 i64 | 1 i16 | 2 length u8, text | 3 id [u8; 16]      numbers in little-endian order
//! ```
//! Deliberately absent: checksums; whoever stores the bytes keeps those.

use super::query::Keyed;
use super::values::{
    Columns, EXECUTION_COLUMNS, INSTRUMENT_COLUMNS, ORDER_COLUMNS, TRADE_COLUMNS, Value, execution_values,
    instrument_values, order_values, read_execution, read_instrument, read_order, read_trade, trade_values,
};
use super::{ExecutionRow, HistoryError, InstrumentRow, OrderRow, RowBatch, Stamp, TradeRow};

/// A row of any table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    Instrument(InstrumentRow),
    Order(OrderRow),
    Execution(ExecutionRow),
    Trade(TradeRow),
}

const INSTRUMENT: u8 = 0;
const ORDER: u8 = 1;
const EXECUTION: u8 = 2;
const TRADE: u8 = 3;

impl Row {
    /// The request that caused it.
    pub(crate) fn stamp(&self) -> &Stamp {
        match self {
            Self::Instrument(row) => &row.stamp,
            Self::Order(row) => &row.stamp,
            Self::Execution(row) => &row.stamp,
            Self::Trade(row) => &row.stamp,
        }
    }

    /// Appends its bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Instrument(row) => encode(INSTRUMENT, &instrument_values(row), out),
            Self::Order(row) => encode(ORDER, &order_values(row), out),
            Self::Execution(row) => encode(EXECUTION, &execution_values(row), out),
            Self::Trade(row) => encode(TRADE, &trade_values(row), out),
        }
    }

    /// Takes a row off the front of `bytes`.
    ///
    /// # Errors
    /// [`HistoryError::Damaged`] if they are no row.
    pub(crate) fn decode(bytes: &mut &[u8]) -> Result<Self, HistoryError> {
        Ok(match take(bytes, 1)?[0] {
            INSTRUMENT => Self::Instrument(read_instrument(&Archived::take(INSTRUMENT_COLUMNS.len(), bytes)?)?),
            ORDER => Self::Order(read_order(&Archived::take(ORDER_COLUMNS.len(), bytes)?)?),
            EXECUTION => Self::Execution(read_execution(&Archived::take(EXECUTION_COLUMNS.len(), bytes)?)?),
            TRADE => Self::Trade(read_trade(&Archived::take(TRADE_COLUMNS.len(), bytes)?)?),
            table => return Err(damaged(format!("there is no table {table}"))),
        })
    }

    /// Adds it to a batch.
    pub(crate) fn add_to(self, batch: &mut RowBatch) {
        match self {
            Self::Instrument(row) => batch.instrument(row),
            Self::Order(row) => batch.create(row),
            Self::Execution(row) => batch.execution(row),
            Self::Trade(row) => batch.trade(row),
        }
    }
}

/// Where the rows after this one begin.
pub(super) fn key(row: &Row) -> Option<super::page::Key> {
    match row {
        Row::Instrument(_) => None,
        Row::Order(row) => Some(row.key()),
        Row::Execution(row) => Some(row.key()),
        Row::Trade(row) => Some(row.key()),
    }
}

fn damaged(what: impl Into<String>) -> HistoryError {
    HistoryError::Damaged(what.into())
}

fn encode(table: u8, values: &[Value], out: &mut Vec<u8>) {
    out.push(table);
    for value in values {
        match value {
            Value::Int(number) => {
                out.push(0);
                out.extend_from_slice(&number.to_le_bytes());
            }
            Value::Small(number) => {
                out.push(1);
                out.extend_from_slice(&number.to_le_bytes());
            }
            Value::Text(text) => {
                let text = text.as_str();
                // At most 40 bytes: see `ShortText`.
                out.extend_from_slice(&[2, u8::try_from(text.len()).unwrap_or(u8::MAX)]);
                out.extend_from_slice(text.as_bytes());
            }
            Value::Id(id) => {
                out.push(3);
                out.extend_from_slice(id);
            }
        }
    }
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], HistoryError> {
    let (front, rest) = bytes.split_at_checked(count).ok_or_else(|| damaged("a row is cut short"))?;
    *bytes = rest;
    Ok(front)
}

fn array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], HistoryError> {
    take(bytes, N)?.try_into().map_err(|_| damaged("a row is cut short"))
}

/// A row as it was archived.
struct Archived(Vec<Archive>);

enum Archive {
    Int(i64),
    Small(i16),
    Text(String),
    Id([u8; 16]),
}

impl Archived {
    fn take(columns: usize, bytes: &mut &[u8]) -> Result<Self, HistoryError> {
        let value = |_| {
            Ok(match take(bytes, 1)?[0] {
                0 => Archive::Int(i64::from_le_bytes(array(bytes)?)),
                1 => Archive::Small(i16::from_le_bytes(array(bytes)?)),
                2 => {
                    let length = usize::from(take(bytes, 1)?[0]);
                    let text = std::str::from_utf8(take(bytes, length)?).map_err(|error| damaged(error.to_string()))?;
                    Archive::Text(text.to_owned())
                }
                3 => Archive::Id(array(bytes)?),
                kind => return Err(damaged(format!("there is no kind {kind} of value"))),
            })
        };
        (0..columns).map(value).collect::<Result<_, _>>().map(Self)
    }

    fn wrong(at: usize) -> HistoryError {
        damaged(format!("column {at} is of another kind"))
    }
}

impl Columns for Archived {
    fn int(&self, at: usize) -> Result<i64, HistoryError> {
        match self.0.get(at) {
            Some(Archive::Int(number)) => Ok(*number),
            _ => Err(Self::wrong(at)),
        }
    }

    fn small(&self, at: usize) -> Result<i16, HistoryError> {
        match self.0.get(at) {
            Some(Archive::Small(number)) => Ok(*number),
            _ => Err(Self::wrong(at)),
        }
    }

    fn text(&self, at: usize) -> Result<String, HistoryError> {
        match self.0.get(at) {
            Some(Archive::Text(text)) => Ok(text.clone()),
            _ => Err(Self::wrong(at)),
        }
    }

    fn id(&self, at: usize) -> Result<[u8; 16], HistoryError> {
        match self.0.get(at) {
            Some(Archive::Id(id)) => Ok(*id),
            _ => Err(Self::wrong(at)),
        }
    }
}
