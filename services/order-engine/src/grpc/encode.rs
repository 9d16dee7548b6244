//! Views of the applied state as protobuf messages.
//!
//! Deliberately absent: requests and reports, which every client and service encodes alike (`wire::convert`).

use crate::egress::BookChange;
use crate::shard::{BookView, InstrumentView};
use matching::{Level, OrderView};
use types::{ShardId, Symbol};
use wire::convert;
use wire::pb::marketdata::v1::{BookIncrement, BookLevel, BookSnapshot, InstrumentStatus};
use wire::pb::orders::v1::{Order, OrderStatus, Side};

pub(super) fn order(order: &OrderView, symbol: &Symbol) -> Order {
    Order {
        order_id: order.order_id.0,
        account_id: order.account.0,
        client_order_id: order.client_order_id.to_string(),
        symbol: symbol.to_string(),
        side: Side::from(order.side).into(),
        price: order.price.0,
        quantity: order.quantity.0,
        cumulative_quantity: order.cumulative.0,
        leaves_quantity: order.leaves.0,
        status: OrderStatus::from(order.status).into(),
    }
}

pub(super) fn book(book: &BookView) -> BookSnapshot {
    BookSnapshot {
        symbol: book.symbol.to_string(),
        bids: levels(&book.bids),
        asks: levels(&book.asks),
        as_of_seq: book.as_of.0,
        book_seq: book.book_seq,
    }
}

pub(super) fn increment(change: &BookChange) -> BookIncrement {
    BookIncrement {
        symbol: change.symbol.to_string(),
        book_seq: change.book_seq,
        place: Some(convert::place_to_pb(change.place)),
        bids: levels(&change.bids),
        asks: levels(&change.asks),
    }
}

pub(super) fn instrument(shard: ShardId, view: &InstrumentView) -> InstrumentStatus {
    InstrumentStatus {
        instrument: Some(convert::instrument_to_pb(&view.definition, view.state)),
        shard: shard.0,
        last_price: view.last_price.map(|price| price.0),
    }
}

fn levels(levels: &[Level]) -> Vec<BookLevel> {
    let level = |level: &Level| BookLevel { price: level.price.0, quantity: level.quantity.0, orders: level.orders };
    levels.iter().map(level).collect()
}
