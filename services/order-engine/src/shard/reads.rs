//! Questions answered from the applied state, between two inputs of the loop: a read sees whole commands only.
//!
//! Deliberately absent: anything uncommitted, and the history of orders that the engine no longer remembers.

use super::applier::Applier;
use super::{BookFeed, BookView, DigestView, InstrumentView, InstrumentsView, OrderFound, Query, Told};
use types::{AccountId, InstrumentId, OrderTarget, Side, Symbol};

/// Answers one question. Whoever has gone meanwhile gets nothing.
pub(super) fn answer(applier: &mut Applier, query: Query, stale: bool) {
    match query {
        Query::Order { account, key, reply } => {
            let _ = reply.send(Told { view: order(applier, account, key), stale });
        }
        Query::Book { symbol, depth, reply } => {
            let book = applier.exchange.instrument_id(&symbol).map(|id| book(applier, id, symbol, depth));
            let _ = reply.send(Told { view: book, stale });
        }
        Query::FollowBook { symbol, reply } => {
            let feed = applier.exchange.instrument_id(&symbol).map(|id| BookFeed {
                snapshot: book(applier, id, symbol, usize::MAX),
                changes: applier.feeds.follow_book(id),
            });
            let _ = reply.send(Told { view: feed, stale });
        }
        Query::FollowTrades { of, reply } => {
            let known = of.is_none_or(|symbol| applier.exchange.instrument_id(&symbol).is_some());
            let _ = reply.send(Told { view: known.then(|| applier.feeds.follow_trades()), stale });
        }
        Query::Instruments { reply } => {
            let _ = reply.send(Told { view: instruments(applier), stale });
        }
        Query::Digest { reply } => {
            let _ = reply.send(Told { view: digest(applier), stale });
        }
    }
}

fn order(applier: &Applier, account: AccountId, key: OrderTarget) -> OrderFound {
    let exchange = &applier.exchange;
    let found = match key {
        OrderTarget::OrderId(id) => exchange.order(id),
        OrderTarget::ClientOrderId(id) => exchange.order_by_client_id(account, &id),
    };
    let order = found.filter(|order| order.account == account).and_then(|order| {
        let (definition, _, _) = exchange.instrument(order.instrument)?;
        Some((order, definition.symbol))
    });
    OrderFound { order, as_of: applier.applied().seq }
}

fn book(applier: &Applier, instrument: InstrumentId, symbol: Symbol, depth: usize) -> BookView {
    let side = |side| applier.exchange.depth(instrument, side, depth).collect();
    BookView {
        symbol,
        bids: side(Side::Buy),
        asks: side(Side::Sell),
        as_of: applier.applied().seq,
        book_seq: applier.feeds.book_seq(instrument),
    }
}

fn instruments(applier: &Applier) -> InstrumentsView {
    let instruments = applier.exchange.instruments().map(|(_, definition, state, last_price)| InstrumentView {
        definition: *definition,
        state,
        last_price,
    });
    InstrumentsView { instruments: instruments.collect(), as_of: applier.applied().seq }
}

fn digest(applier: &Applier) -> DigestView {
    DigestView {
        log_id: applier.log_id(),
        as_of: applier.applied().seq,
        state_hash: applier.exchange.state_hash(),
        instruments: u32::try_from(applier.exchange.instruments().count()).unwrap_or(u32::MAX),
        open_orders: applier.exchange.open_orders() as u64,
    }
}
