//! Rows to columns and back: the one place that knows how a row lies in a table.
//!
//! Unsigned 64-bit numbers are stored in two's complement: nothing is lost, equality and numbers below 2^63 behave as
//! one expects. Deliberately absent: SQL statements.

use journal_core::ChainHash;
use types::{
    InlineText, Instrument, InstrumentId, LogId, OrderId, Place, Price, Qty, Seq, ShardId, Timestamp, TradeId,
};

use super::codes::{Code, optional};
use super::{Cursor, ExecutionRow, HistoryError, InstrumentRow, OrderRow, Stamp, TradeRow};

/// Columns of `orders`, in the order of [`order_values`] and [`read_order`].
pub(super) const ORDER_COLUMNS: &[&str] = &[
    "shard",
    "log_id",
    "epoch",
    "seq",
    "idx",
    "created_us",
    "updated_us",
    "order_id",
    "account_id",
    "client_order_id",
    "symbol",
    "side",
    "order_type",
    "time_in_force",
    "price",
    "quantity",
    "cumulative",
    "leaves",
    "status",
    "reject_reason",
];

/// Columns of `executions`, in the order of [`execution_values`] and [`read_execution`].
pub(super) const EXECUTION_COLUMNS: &[&str] = &[
    "shard",
    "log_id",
    "epoch",
    "seq",
    "idx",
    "transact_us",
    "number",
    "kind",
    "order_id",
    "account_id",
    "client_order_id",
    "symbol",
    "side",
    "price",
    "quantity",
    "cumulative",
    "leaves",
    "trade_id",
    "reject_reason",
];

/// Columns of `trades`, in the order of [`trade_values`] and [`read_trade`].
pub(super) const TRADE_COLUMNS: &[&str] = &[
    "shard",
    "log_id",
    "epoch",
    "seq",
    "idx",
    "transact_us",
    "number",
    "trade_id",
    "symbol",
    "price",
    "quantity",
    "maker_order_id",
    "maker_account_id",
    "taker_order_id",
    "taker_account_id",
    "taker_side",
];

/// Columns of `instruments`, in the order of [`instrument_values`] and [`read_instrument`].
pub(super) const INSTRUMENT_COLUMNS: &[&str] = &[
    "shard",
    "instrument",
    "log_id",
    "epoch",
    "seq",
    "idx",
    "symbol",
    "price_decimals",
    "quantity_decimals",
    "tick_size",
    "lot_size",
    "min_quantity",
    "max_quantity",
    "max_notional",
    "low_limit_price",
    "high_limit_price",
    "band_basis_points",
    "reference_price",
    "state",
    "updated_us",
];

/// Columns of `projection`, in the order of [`cursor_values`] and [`read_cursor`].
pub(super) const CURSOR_COLUMNS: &[&str] = &["shard", "log_id", "seq", "chain"];

/// A value of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// BIGINT.
    Int(i64),
    /// SMALLINT.
    Small(i16),
    /// TEXT; never longer than 39 bytes.
    Text(ShortText),
    /// BLOB or BYTEA of 16 bytes.
    Id([u8; 16]),
}

/// A text held inline: rows are built by the hundred thousand, and none of them should allocate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct ShortText {
    bytes: [u8; 40],
    len: u8,
}

impl ShortText {
    fn new(text: &str) -> Self {
        let mut bytes = [0; 40];
        let len = text.len().min(bytes.len());
        bytes[..len].copy_from_slice(&text.as_bytes()[..len]);
        Self { bytes, len: u8::try_from(len).unwrap_or_default() }
    }

    /// The text.
    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl std::fmt::Debug for ShortText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_str().fmt(f)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Int(number.cast_signed())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Int(i64::from(number))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(ShortText::new(text))
    }
}

fn text<const N: usize>(value: Option<&InlineText<N>>) -> Value {
    const { assert!(N <= 40, "fits a short text") };
    Value::from(value.map_or("", InlineText::as_str))
}

fn log_id(id: LogId) -> Value {
    Value::Id(id.0.to_be_bytes())
}

pub(super) fn order_values(row: &OrderRow) -> [Value; 20] {
    let Stamp { shard, place, at } = row.stamp;
    [
        shard.0.into(),
        log_id(place.log_id),
        place.epoch.into(),
        place.seq.0.into(),
        place.index.into(),
        at.0.into(),
        row.updated.0.into(),
        row.order_id.0.into(),
        row.account.0.into(),
        text(Some(&row.client_order_id)),
        text(row.symbol.as_ref()),
        Value::Small(row.side.code()),
        Value::Small(row.order_type.code()),
        Value::Small(row.time_in_force.code()),
        Value::Int(row.price.0),
        row.quantity.0.into(),
        row.cumulative.0.into(),
        row.leaves.0.into(),
        Value::Small(row.status.code()),
        Value::Small(optional(row.reject_reason)),
    ]
}

pub(super) fn execution_values(row: &ExecutionRow) -> [Value; 19] {
    let Stamp { shard, place, at } = row.stamp;
    [
        shard.0.into(),
        log_id(place.log_id),
        place.epoch.into(),
        place.seq.0.into(),
        place.index.into(),
        at.0.into(),
        row.number.into(),
        Value::Small(row.kind.code()),
        row.order_id.0.into(),
        row.account.0.into(),
        text(row.client_order_id.as_ref()),
        text(row.symbol.as_ref()),
        Value::Small(optional(row.side)),
        Value::Int(row.price.0),
        row.quantity.0.into(),
        row.cumulative.0.into(),
        row.leaves.0.into(),
        row.trade_id.0.into(),
        Value::Small(optional(row.reject_reason)),
    ]
}

pub(super) fn trade_values(row: &TradeRow) -> [Value; 16] {
    let Stamp { shard, place, at } = row.stamp;
    [
        shard.0.into(),
        log_id(place.log_id),
        place.epoch.into(),
        place.seq.0.into(),
        place.index.into(),
        at.0.into(),
        row.number.into(),
        row.trade_id.0.into(),
        text(Some(&row.symbol)),
        Value::Int(row.price.0),
        row.quantity.0.into(),
        row.maker.0.into(),
        row.maker_account.0.into(),
        row.taker.0.into(),
        row.taker_account.0.into(),
        Value::Small(row.taker_side.code()),
    ]
}

pub(super) fn instrument_values(row: &InstrumentRow) -> [Value; 20] {
    let Stamp { shard, place, at } = row.stamp;
    let definition = &row.definition;
    [
        shard.0.into(),
        row.instrument.0.into(),
        log_id(place.log_id),
        place.epoch.into(),
        place.seq.0.into(),
        place.index.into(),
        text(Some(&definition.symbol)),
        Value::Small(i16::from(definition.price_decimals)),
        Value::Small(i16::from(definition.quantity_decimals)),
        definition.tick_size.into(),
        definition.lot_size.into(),
        definition.min_quantity.0.into(),
        definition.max_quantity.0.into(),
        Value::from(definition.max_notional.to_string().as_str()),
        Value::Int(definition.low_limit_price.0),
        Value::Int(definition.high_limit_price.0),
        definition.band_basis_points.into(),
        Value::Int(definition.reference_price.0),
        Value::Small(definition.state.code()),
        at.0.into(),
    ]
}

pub(super) fn cursor_values(shard: ShardId, cursor: &Cursor) -> [Value; 4] {
    [shard.0.into(), log_id(cursor.log_id), cursor.seq.0.into(), Value::Id(cursor.chain.0)]
}

/// A row as a database gives it, by position of the column.
pub(super) trait Columns {
    fn int(&self, at: usize) -> Result<i64, HistoryError>;
    fn small(&self, at: usize) -> Result<i16, HistoryError>;
    fn text(&self, at: usize) -> Result<String, HistoryError>;
    fn id(&self, at: usize) -> Result<[u8; 16], HistoryError>;
}

/// Reads a row column by column, in order.
pub(super) struct Reader<'a, R>(&'a R, usize);

impl<'a, R: Columns> Reader<'a, R> {
    pub(super) fn new(row: &'a R) -> Self {
        Self(row, 0)
    }

    fn step(&mut self) -> usize {
        self.1 += 1;
        self.1 - 1
    }

    pub(super) fn int(&mut self) -> Result<i64, HistoryError> {
        let at = self.step();
        self.0.int(at)
    }

    pub(super) fn unsigned(&mut self) -> Result<u64, HistoryError> {
        Ok(self.int()?.cast_unsigned())
    }

    fn narrow(&mut self) -> Result<u32, HistoryError> {
        let number = self.int()?;
        u32::try_from(number).map_err(|_| self.damaged(number))
    }

    pub(super) fn id(&mut self) -> Result<u128, HistoryError> {
        let at = self.step();
        Ok(u128::from_be_bytes(self.0.id(at)?))
    }

    fn code<T: Code>(&mut self) -> Result<T, HistoryError> {
        self.optional_code()?.ok_or_else(|| self.damaged(0))
    }

    fn optional_code<T: Code>(&mut self) -> Result<Option<T>, HistoryError> {
        let at = self.step();
        match self.0.small(at)? {
            0 => Ok(None),
            code => T::from_code(code).map(Some).ok_or_else(|| self.damaged(i64::from(code))),
        }
    }

    fn text<const N: usize>(&mut self) -> Result<Option<InlineText<N>>, HistoryError> {
        let at = self.step();
        let text = self.0.text(at)?;
        if text.is_empty() {
            return Ok(None);
        }
        InlineText::new(&text)
            .map(Some)
            .map_err(|error| HistoryError::Damaged(format!("a text in column {at} {error}")))
    }

    fn some_text<const N: usize>(&mut self) -> Result<InlineText<N>, HistoryError> {
        let at = self.1;
        self.text()?.ok_or_else(|| HistoryError::Damaged(format!("the text in column {at} is empty")))
    }

    fn damaged(&self, value: i64) -> HistoryError {
        HistoryError::Damaged(format!("{value} in column {} means nothing", self.1 - 1))
    }

    /// shard, log_id, epoch, seq, idx, time.
    fn stamp(&mut self) -> Result<Stamp, HistoryError> {
        let shard = ShardId(self.narrow()?);
        let log_id = LogId(self.id()?);
        let (epoch, seq, index) = (self.unsigned()?, Seq(self.unsigned()?), self.narrow()?);
        Ok(Stamp { shard, place: Place { log_id, epoch, seq, index }, at: Timestamp(self.unsigned()?) })
    }

    fn byte(&mut self) -> Result<u8, HistoryError> {
        let at = self.step();
        let number = self.0.small(at)?;
        u8::try_from(number).map_err(|_| self.damaged(i64::from(number)))
    }

    /// A number of up to 39 digits, stored as text.
    fn wide(&mut self) -> Result<u128, HistoryError> {
        let at = self.step();
        self.0.text(at)?.parse().map_err(|_| HistoryError::Damaged(format!("column {at} is no number")))
    }

    fn qty(&mut self) -> Result<Qty, HistoryError> {
        Ok(Qty(self.unsigned()?))
    }

    fn price(&mut self) -> Result<Price, HistoryError> {
        Ok(Price(self.int()?))
    }

    fn order_id(&mut self) -> Result<OrderId, HistoryError> {
        Ok(OrderId(self.unsigned()?))
    }

    fn account(&mut self) -> Result<types::AccountId, HistoryError> {
        Ok(types::AccountId(self.unsigned()?))
    }
}

pub(super) fn read_order(row: &impl Columns) -> Result<OrderRow, HistoryError> {
    let mut row = Reader::new(row);
    Ok(OrderRow {
        stamp: row.stamp()?,
        updated: Timestamp(row.unsigned()?),
        order_id: row.order_id()?,
        account: row.account()?,
        client_order_id: row.some_text()?,
        symbol: row.text()?,
        side: row.code()?,
        order_type: row.code()?,
        time_in_force: row.code()?,
        price: row.price()?,
        quantity: row.qty()?,
        cumulative: row.qty()?,
        leaves: row.qty()?,
        status: row.code()?,
        reject_reason: row.optional_code()?,
    })
}

pub(super) fn read_execution(row: &impl Columns) -> Result<ExecutionRow, HistoryError> {
    let mut row = Reader::new(row);
    Ok(ExecutionRow {
        stamp: row.stamp()?,
        number: row.narrow()?,
        kind: row.code()?,
        order_id: row.order_id()?,
        account: row.account()?,
        client_order_id: row.text()?,
        symbol: row.text()?,
        side: row.optional_code()?,
        price: row.price()?,
        quantity: row.qty()?,
        cumulative: row.qty()?,
        leaves: row.qty()?,
        trade_id: TradeId(row.unsigned()?),
        reject_reason: row.optional_code()?,
    })
}

pub(super) fn read_trade(row: &impl Columns) -> Result<TradeRow, HistoryError> {
    let mut row = Reader::new(row);
    Ok(TradeRow {
        stamp: row.stamp()?,
        number: row.narrow()?,
        trade_id: TradeId(row.unsigned()?),
        symbol: row.some_text()?,
        price: row.price()?,
        quantity: row.qty()?,
        maker: row.order_id()?,
        maker_account: row.account()?,
        taker: row.order_id()?,
        taker_account: row.account()?,
        taker_side: row.code()?,
    })
}

pub(super) fn read_instrument(row: &impl Columns) -> Result<InstrumentRow, HistoryError> {
    let mut row = Reader::new(row);
    let shard = ShardId(row.narrow()?);
    let instrument = InstrumentId(row.narrow()?);
    let place =
        Place { log_id: LogId(row.id()?), epoch: row.unsigned()?, seq: Seq(row.unsigned()?), index: row.narrow()? };
    let definition = Instrument {
        symbol: row.some_text()?,
        price_decimals: row.byte()?,
        quantity_decimals: row.byte()?,
        tick_size: row.unsigned()?,
        lot_size: row.unsigned()?,
        min_quantity: row.qty()?,
        max_quantity: row.qty()?,
        max_notional: row.wide()?,
        low_limit_price: row.price()?,
        high_limit_price: row.price()?,
        band_basis_points: row.narrow()?,
        reference_price: row.price()?,
        state: row.code()?,
    };
    Ok(InstrumentRow { stamp: Stamp { shard, place, at: Timestamp(row.unsigned()?) }, instrument, definition })
}

pub(super) fn read_cursor(row: &impl Columns) -> Result<(ShardId, Cursor), HistoryError> {
    let mut row = Reader::new(row);
    let shard = ShardId(row.narrow()?);
    let log_id = LogId(row.id()?);
    Ok((shard, Cursor { log_id, seq: Seq(row.unsigned()?), chain: ChainHash(row.id()?.to_be_bytes()) }))
}
