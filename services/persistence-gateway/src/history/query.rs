//! The questions: filters and pages turned into SQL that both databases understand.
//!
//! Newest first, by log time, shard, request and row number. A page ends after a row and the next one begins below it.
//! Deliberately absent: execution, and any text from a client in the SQL: values are always parameters.

use std::hash::{Hash, Hasher};

use types::{AccountId, ClientOrderId, OrderId, OrderStatus, ShardId, Symbol, Timestamp};
use xxhash_rust::xxh3::Xxh3Default;

use super::codes::Code;
use super::page::{Key, PageToken};
use super::values::{CURSOR_COLUMNS, EXECUTION_COLUMNS, INSTRUMENT_COLUMNS, ORDER_COLUMNS, TRADE_COLUMNS, Value};
use super::{ExecutionKind, ExecutionRow, OrderRow, Stamp, TradeRow};

/// Which orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OrderFilter {
    /// Only of this account.
    pub account: Option<AccountId>,
    /// Only on this instrument.
    pub symbol: Option<Symbol>,
    /// Only in this state.
    pub status: Option<OrderStatus>,
    /// Only with this client id.
    pub client_order_id: Option<ClientOrderId>,
    /// Only with this number.
    pub order_id: Option<OrderId>,
    /// Submitted at or after this time.
    pub from: Option<Timestamp>,
    /// Submitted before this time.
    pub to: Option<Timestamp>,
}

/// Which executions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ExecutionFilter {
    /// Only of this account.
    pub account: Option<AccountId>,
    /// Only on this instrument.
    pub symbol: Option<Symbol>,
    /// Only of this order.
    pub order_id: Option<OrderId>,
    /// Only of this kind.
    pub kind: Option<ExecutionKind>,
    /// At or after this time.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub to: Option<Timestamp>,
}

/// Which trades.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TradeFilter {
    /// Only those this account took part in.
    pub account: Option<AccountId>,
    /// Only on this instrument.
    pub symbol: Option<Symbol>,
    /// Only those of this order.
    pub order_id: Option<OrderId>,
    /// At or after this time.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub to: Option<Timestamp>,
}

/// Which part of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Most rows wanted, at least 1.
    pub size: u32,
    /// Only rows after the one named here.
    pub after: Option<PageToken>,
}

/// A row that has a place in "newest first".
pub(crate) trait Keyed {
    fn key(&self) -> Key;
}

fn key(stamp: &Stamp, number: u32) -> Key {
    Key { at_us: stamp.at.0, shard: stamp.shard.0, index: stamp.place.index, number }
}

impl Keyed for OrderRow {
    fn key(&self) -> Key {
        key(&self.stamp, 0)
    }
}

impl Keyed for ExecutionRow {
    fn key(&self) -> Key {
        key(&self.stamp, self.number)
    }
}

impl Keyed for TradeRow {
    fn key(&self) -> Key {
        key(&self.stamp, self.number)
    }
}

/// Digest of a question without its page, which a token is bound to.
pub(super) fn question(table: &str, filter: &impl Hash) -> u64 {
    let mut hasher = Xxh3Default::new();
    table.hash(&mut hasher);
    filter.hash(&mut hasher);
    hasher.finish()
}

/// A statement with its parameters.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

impl Statement {
    /// `columns` from `from`, each column prefixed by `prefix`.
    fn select(columns: &[&str], prefix: &str, from: &str) -> Self {
        let columns: Vec<String> = columns.iter().map(|column| format!("{prefix}{column}")).collect();
        Self { sql: format!("SELECT {} FROM {from} WHERE 1 = 1", columns.join(", ")), values: Vec::new() }
    }

    fn bind(&mut self, value: Value) -> usize {
        self.values.push(value);
        self.values.len()
    }

    /// Adds a condition, `?` in it standing for the value.
    fn and(&mut self, condition: &str, value: impl Into<Value>) {
        let at = self.bind(value.into());
        self.sql.push_str(" AND ");
        self.sql.push_str(&condition.replace('?', &format!("${at}")));
    }

    fn and_if<T>(&mut self, condition: &str, value: Option<T>, to: impl FnOnce(T) -> Value) {
        if let Some(value) = value {
            self.and(condition, to(value));
        }
    }

    /// Restricts to rows below the page before, orders newest first and asks for one row more than the page holds:
    /// whether it comes tells whether there is a next page.
    fn page(mut self, columns: &[&str], page: &Page) -> Self {
        if let Some(PageToken(key)) = page.after {
            let position = [key.at_us.into(), key.shard.into(), key.index.into(), key.number.into()];
            let marks: Vec<String> =
                position.into_iter().take(columns.len()).map(|value| format!("${}", self.bind(value))).collect();
            self.sql.push_str(&format!(" AND ({}) < ({})", columns.join(", "), marks.join(", ")));
        }
        let newest_first: Vec<String> = columns.iter().map(|column| format!("{column} DESC")).collect();
        let limit = self.bind(Value::Int(i64::from(page.size) + 1));
        self.sql.push_str(&format!(" ORDER BY {} LIMIT ${limit}", newest_first.join(", ")));
        self
    }
}

/// Times before 2^63 compare as stored; later bounds (year 292,277) are as good as none.
fn time(at: Timestamp) -> Value {
    Value::Int(i64::try_from(at.0).unwrap_or(i64::MAX))
}

fn text<const N: usize>(text: types::InlineText<N>) -> Value {
    Value::from(text.as_str())
}

pub(super) fn orders(filter: &OrderFilter, page: &Page) -> Statement {
    let mut sql = Statement::select(ORDER_COLUMNS, "", "orders");
    sql.and_if("account_id = ?", filter.account, |id| id.0.into());
    sql.and_if("symbol = ?", filter.symbol, text);
    sql.and_if("status = ?", filter.status, |status| Value::Small(status.code()));
    sql.and_if("client_order_id = ?", filter.client_order_id, text);
    // The second half lets the planner use the partial index.
    sql.and_if("order_id = ? AND order_id <> 0", filter.order_id, |id| id.0.into());
    sql.and_if("created_us >= ?", filter.from, time);
    sql.and_if("created_us < ?", filter.to, time);
    sql.page(&["created_us", "shard", "idx"], page)
}

pub(super) fn executions(filter: &ExecutionFilter, page: &Page) -> Statement {
    let mut sql = Statement::select(EXECUTION_COLUMNS, "", "executions");
    sql.and_if("account_id = ?", filter.account, |id| id.0.into());
    sql.and_if("symbol = ?", filter.symbol, text);
    sql.and_if("order_id = ? AND order_id <> 0", filter.order_id, |id| id.0.into());
    sql.and_if("kind = ?", filter.kind, |kind| Value::Small(kind.code()));
    sql.and_if("transact_us >= ?", filter.from, time);
    sql.and_if("transact_us < ?", filter.to, time);
    sql.page(&["transact_us", "shard", "idx", "number"], page)
}

pub(super) fn trades(filter: &TradeFilter, page: &Page) -> Statement {
    if filter.account.is_none() && filter.order_id.is_none() {
        let mut sql = Statement::select(TRADE_COLUMNS, "", "trades");
        sql.and_if("symbol = ?", filter.symbol, text);
        sql.and_if("transact_us >= ?", filter.from, time);
        sql.and_if("transact_us < ?", filter.to, time);
        return sql.page(&["transact_us", "shard", "idx", "number"], page);
    }
    // The executions know by account and by order in which trades they took part; an account never trades with
    // itself, so each trade comes once. An execution's number is that of its trade, or one more for the maker: both
    // orders are the same, and comparing the execution's number with that of the last trade seen excludes exactly
    // the trades up to it.
    let mut sql = Statement::select(
        TRADE_COLUMNS,
        "t.",
        "executions e JOIN trades t ON t.transact_us = e.transact_us AND t.shard = e.shard AND t.idx = e.idx \
         AND t.trade_id = e.trade_id AND e.trade_id <> 0",
    );
    sql.and_if("e.account_id = ?", filter.account, |id| id.0.into());
    sql.and_if("e.order_id = ? AND e.order_id <> 0", filter.order_id, |id| id.0.into());
    sql.and_if("e.symbol = ?", filter.symbol, text);
    sql.and_if("e.transact_us >= ?", filter.from, time);
    sql.and_if("e.transact_us < ?", filter.to, time);
    sql.page(&["e.transact_us", "e.shard", "e.idx", "e.number"], page)
}

/// Rows of one shard whose requests stand in entries with log times in a range: what a verifier compares.
pub(super) fn range(table: Table, shard: ShardId, from: Timestamp, to: Timestamp, limit: u32, after: Key) -> Statement {
    let (columns, name, time_column, key) = match table {
        Table::Orders => (ORDER_COLUMNS, "orders", "created_us", &["created_us", "shard", "idx"][..]),
        Table::Executions => {
            (EXECUTION_COLUMNS, "executions", "transact_us", &["transact_us", "shard", "idx", "number"][..])
        }
        Table::Trades => (TRADE_COLUMNS, "trades", "transact_us", &["transact_us", "shard", "idx", "number"][..]),
    };
    let mut sql = Statement::select(columns, "", name);
    sql.and("shard = ?", shard.0);
    sql.and(&format!("{time_column} >= ?"), time(from));
    sql.and(&format!("{time_column} <= ?"), time(to));
    let position = [after.at_us.into(), after.shard.into(), after.index.into(), after.number.into()];
    let marks: Vec<String> =
        position.into_iter().take(key.len()).map(|value| format!("${}", sql.bind(value))).collect();
    sql.sql.push_str(&format!(" AND ({}) > ({})", key.join(", "), marks.join(", ")));
    let limit = sql.bind(Value::Int(i64::from(limit)));
    sql.sql.push_str(&format!(" ORDER BY {} LIMIT ${limit}", key.join(", ")));
    sql
}

/// A table that a verifier goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Orders,
    Executions,
    Trades,
}

/// All instruments of a shard.
pub(super) fn instruments(shard: ShardId) -> Statement {
    let mut sql = Statement::select(INSTRUMENT_COLUMNS, "", "instruments");
    sql.and("shard = ?", shard.0);
    sql.sql.push_str(" ORDER BY instrument");
    sql
}

/// How far each shard is.
pub(super) fn cursors() -> Statement {
    let mut sql = Statement::select(CURSOR_COLUMNS, "", "projection");
    sql.sql.push_str(" ORDER BY shard");
    sql
}
