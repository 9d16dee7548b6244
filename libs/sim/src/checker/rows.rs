//! The history against the log: every order and every trade, each once. Rule 8.

use std::collections::BTreeMap;

use super::replay::Replayed;
use super::{Rule, Verdict};

/// What history holds; it must go to the end of the log.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// Position up to which it goes.
    pub projected_seq: u64,
    /// Orders that were accepted.
    pub orders: Vec<OrderRow>,
    /// Trades.
    pub trades: Vec<TradeRow>,
}

/// An order in history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRow {
    /// Number.
    pub order_id: u64,
    /// Account.
    pub account: u64,
    /// Client's id of the submit.
    pub id: String,
    /// Where it was submitted.
    pub seq: u64,
    /// Where it was submitted.
    pub index: u32,
    /// Filled so far.
    pub cumulative: u64,
}

/// A trade in history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TradeRow {
    /// Number.
    pub trade_id: u64,
    /// Price.
    pub price: i64,
    /// Quantity.
    pub quantity: u64,
    /// Resting order.
    pub maker: u64,
    /// Incoming order.
    pub taker: u64,
}

pub(super) fn check(rows: &Rows, replayed: &Replayed, verdict: &mut Verdict) {
    verdict.rows = rows.orders.len() + rows.trades.len();
    if rows.projected_seq < replayed.end {
        let found = format!("seq {}", rows.projected_seq);
        verdict.violation(Rule::History, "the history", format!("all up to seq {}", replayed.end), found);
    }
    let orders = replayed.orders.iter().map(|(number, order)| {
        let (seq, index) = order.place;
        let (account, id, cumulative) = (order.account, order.id.to_string(), order.cumulative);
        (*number, OrderRow { order_id: *number, account, id, seq, index, cumulative })
    });
    compare("order", orders.collect(), rows.orders.iter().map(|row| (row.order_id, row)), verdict);
    let trades = replayed.trades.iter().map(|trade| {
        let (price, quantity) = (trade.price.0, trade.quantity.0);
        let trade_id = trade.trade_id.0;
        (trade_id, TradeRow { trade_id, price, quantity, maker: trade.maker.0, taker: trade.taker.0 })
    });
    compare("trade", trades.collect(), rows.trades.iter().map(|row| (row.trade_id, row)), verdict);
}

fn compare<'a, R: PartialEq + std::fmt::Debug + 'a>(
    what: &str,
    mut expected: BTreeMap<u64, R>,
    rows: impl Iterator<Item = (u64, &'a R)>,
    verdict: &mut Verdict,
) {
    for (number, row) in rows {
        match expected.remove(&number) {
            Some(there) if there == *row => {}
            Some(there) => {
                verdict.violation(Rule::History, format!("{what} {number}"), format!("{there:?}"), format!("{row:?}"));
            }
            None => {
                let expected = "one row of what is in the log";
                verdict.violation(Rule::History, format!("{what} {number}"), expected, format!("{row:?} as well"));
            }
        }
    }
    for (number, there) in expected {
        verdict.violation(Rule::History, format!("{what} {number}"), format!("{there:?}"), "no row".to_owned());
    }
}
