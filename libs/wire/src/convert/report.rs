//! Answers: outcomes, orders and trades to protobuf, and places both ways.

use types::{
    AccountId, ClientOrderId, ClosedOrder, Fill, LogId, OrderId, OrderSnapshot, OrderStatus, Original, Outcome, Place,
    Qty, Seq, ShardId, Symbol, Timestamp, Trade,
};

use super::field::within;
use crate::pb::marketdata::v1 as marketdata;
use crate::pb::orders::v1 as pb;
use crate::status::ApiError;

/// The answer to a command. `place` is where this execution stands; for a retry the answer carries the place of the
/// first one and its time, which are in `outcome`. Operator's commands have no `client_order_id`.
#[must_use]
pub fn report(
    shard: ShardId,
    place: Place,
    timestamp: Timestamp,
    client_order_id: Option<ClientOrderId>,
    outcome: &Outcome,
    fills: &[Fill],
) -> pb::OrderReport {
    let executed = outcome.original.unwrap_or(Original { place, timestamp });
    pb::OrderReport {
        place: Some(place_to_pb(executed.place)),
        shard: shard.0,
        status: pb::OrderStatus::from(outcome.status).into(),
        reject_reason: outcome.reason.map_or(pb::RejectReason::Unspecified, pb::RejectReason::from).into(),
        order_id: outcome.order_id.0,
        client_order_id: client_order_id.map(|id| id.to_string()).unwrap_or_default(),
        cumulative_quantity: outcome.cumulative.0,
        leaves_quantity: outcome.leaves.0,
        fills: fills.iter().map(fill).collect(),
        duplicate: outcome.original.is_some(),
        canceled_orders: outcome.canceled_orders,
        transact_time_us: executed.timestamp.0,
        // Whoever knows the journal says so.
        volatile: false,
    }
}

/// A place in the journal.
#[must_use]
pub fn place_to_pb(place: Place) -> pb::Place {
    pb::Place { log_id: place.log_id.to_string(), epoch: place.epoch, seq: place.seq.0, index: place.index }
}

/// A place in the journal, as another process sent it under the field `name`.
pub fn place(name: &str, given: &pb::Place) -> Result<Place, ApiError> {
    let log_id = log_id(&given.log_id)
        .ok_or_else(|| ApiError::invalid(within(name, "log_id"), "must be 32 hexadecimal digits"))?;
    Ok(Place { log_id, epoch: given.epoch, seq: Seq(given.seq), index: given.index })
}

/// An order that is open.
#[must_use]
pub fn open_order(order: &OrderSnapshot, symbol: &Symbol) -> pb::Order {
    let status = if order.cumulative == Qty::ZERO { OrderStatus::New } else { OrderStatus::PartiallyFilled };
    pb::Order {
        order_id: order.order_id.0,
        account_id: order.account.0,
        client_order_id: order.client_order_id.to_string(),
        symbol: symbol.to_string(),
        side: pb::Side::from(order.side).into(),
        price: order.price.0,
        quantity: order.quantity.0,
        cumulative_quantity: order.cumulative.0,
        leaves_quantity: order.leaves.0,
        status: pb::OrderStatus::from(status).into(),
    }
}

/// An order that is no longer open.
#[must_use]
pub fn closed_order(
    order_id: OrderId,
    account: AccountId,
    client_order_id: &ClientOrderId,
    closed: &ClosedOrder,
    symbol: &Symbol,
) -> pb::Order {
    pb::Order {
        order_id: order_id.0,
        account_id: account.0,
        client_order_id: client_order_id.to_string(),
        symbol: symbol.to_string(),
        side: pb::Side::from(closed.side).into(),
        price: closed.price.0,
        quantity: closed.quantity.0,
        cumulative_quantity: closed.cumulative.0,
        leaves_quantity: 0,
        status: pb::OrderStatus::from(closed.status).into(),
    }
}

/// A trade as everybody may see it.
#[must_use]
pub fn trade(trade: &Trade, symbol: &Symbol, place: Place, timestamp: Timestamp) -> marketdata::Trade {
    marketdata::Trade {
        trade_id: trade.trade_id.0,
        symbol: symbol.to_string(),
        price: trade.price.0,
        quantity: trade.quantity.0,
        taker_side: pb::Side::from(trade.taker_side).into(),
        place: Some(place_to_pb(place)),
        transact_time_us: timestamp.0,
    }
}

fn fill(fill: &Fill) -> pb::Fill {
    pb::Fill { trade_id: fill.trade_id.0, price: fill.price.0, quantity: fill.quantity.0, maker_order_id: fill.maker.0 }
}

/// Exactly 32 digits: no sign, no shorter spelling.
fn log_id(text: &str) -> Option<LogId> {
    let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if digits { text.parse().ok() } else { None }
}
