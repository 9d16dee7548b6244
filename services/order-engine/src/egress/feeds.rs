//! Market data of one shard: numbered changes of books, and trades.
//!
//! Numbers are given whether somebody listens or not, so that a snapshot always names the change it contains. They
//! start again at 0 with each leadership: streams end with it, and a new one begins with a snapshot.

use super::touched::{self, Touched};
use matching::{Exchange, Level};
use std::sync::Arc;
use tokio::sync::broadcast;
use types::{Event, InstrumentId, Place, Side, Symbol, Timestamp, Trade};

/// What one command changed in one book.
#[derive(Debug)]
pub(crate) struct BookChange {
    pub(crate) symbol: Symbol,
    /// One more than that of the change before.
    pub(crate) book_seq: u64,
    pub(crate) place: Place,
    pub(crate) bids: Vec<Level>,
    pub(crate) asks: Vec<Level>,
}

/// One trade.
#[derive(Debug)]
pub(crate) struct TradeTick {
    pub(crate) symbol: Symbol,
    pub(crate) trade: Trade,
    pub(crate) place: Place,
    pub(crate) timestamp: Timestamp,
}

/// The feeds of a shard.
#[derive(Debug)]
pub(crate) struct Feeds {
    book_capacity: usize,
    trade_capacity: usize,
    /// By instrument number.
    books: Vec<Book>,
    trades: Option<broadcast::Sender<Arc<TradeTick>>>,
    touched: Vec<Touched>,
}

#[derive(Debug, Default)]
struct Book {
    book_seq: u64,
    /// Made with the first subscriber, dropped when the last one has gone.
    changes: Option<broadcast::Sender<Arc<BookChange>>>,
}

impl Feeds {
    /// Feeds that hold so many changes and trades for their slowest subscriber.
    pub(crate) const fn new(book_capacity: usize, trade_capacity: usize) -> Self {
        Self { book_capacity, trade_capacity, books: Vec::new(), trades: None, touched: Vec::new() }
    }

    /// Ends all streams: their subscribers see them closed.
    pub(crate) fn close(&mut self) {
        self.books.clear();
        self.trades = None;
    }

    /// Number of the last change of a book.
    pub(crate) fn book_seq(&self, instrument: InstrumentId) -> u64 {
        self.books.get(instrument.0 as usize).map_or(0, |book| book.book_seq)
    }

    /// All changes of a book after its present `book_seq`.
    pub(crate) fn follow_book(&mut self, instrument: InstrumentId) -> broadcast::Receiver<Arc<BookChange>> {
        let capacity = self.book_capacity;
        let changes = &mut self.book(instrument).changes;
        changes.get_or_insert_with(|| broadcast::channel(capacity).0).subscribe()
    }

    /// All trades from now on.
    pub(crate) fn follow_trades(&mut self) -> broadcast::Receiver<Arc<TradeTick>> {
        let capacity = self.trade_capacity;
        self.trades.get_or_insert_with(|| broadcast::channel(capacity).0).subscribe()
    }

    /// Publishes what one command did; `exchange` is as it was left by it.
    pub(crate) fn publish(&mut self, exchange: &Exchange, place: Place, timestamp: Timestamp, events: &[Event]) {
        let mut touched = std::mem::take(&mut self.touched);
        touched::collect(events, &mut touched);
        for of_one in touched.chunk_by(|a, b| a.instrument == b.instrument) {
            self.publish_book(exchange, place, of_one);
        }
        self.touched = touched;
        if self.trades.is_some() {
            self.publish_trades(exchange, place, timestamp, events);
        }
    }

    fn publish_book(&mut self, exchange: &Exchange, place: Place, touched: &[Touched]) {
        let Some(instrument) = touched.first().map(|level| level.instrument) else { return };
        let book = self.book(instrument);
        book.book_seq += 1;
        let book_seq = book.book_seq;
        let Some(changes) = &book.changes else { return };
        let Some((definition, _, _)) = exchange.instrument(instrument) else { return };
        let now = |side| {
            let levels = touched.iter().filter(move |level| level.side == side);
            levels.map(move |level| exchange.level(instrument, side, level.price)).collect()
        };
        let change =
            BookChange { symbol: definition.symbol, book_seq, place, bids: now(Side::Buy), asks: now(Side::Sell) };
        if changes.send(Arc::new(change)).is_err() {
            book.changes = None;
        }
    }

    fn publish_trades(&mut self, exchange: &Exchange, place: Place, timestamp: Timestamp, events: &[Event]) {
        for event in events {
            let Event::Trade(trade) = event else { continue };
            let Some((definition, _, _)) = exchange.instrument(trade.instrument) else { continue };
            let tick = TradeTick { symbol: definition.symbol, trade: *trade, place, timestamp };
            if self.trades.as_ref().is_some_and(|trades| trades.send(Arc::new(tick)).is_err()) {
                self.trades = None;
                return;
            }
        }
    }

    fn book(&mut self, instrument: InstrumentId) -> &mut Book {
        let at = instrument.0 as usize;
        if self.books.len() <= at {
            self.books.resize_with(at + 1, Book::default);
        }
        &mut self.books[at]
    }
}
