//! Books and trades as subscribers see them.

use std::collections::BTreeMap;

use order_engine::Config;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use wire::pb::marketdata::v1::stream_book_response::Update;
use wire::pb::marketdata::v1::{BookLevel, BookSnapshot, GetBookRequest, StreamBookRequest, StreamTradesRequest};
use wire::pb::orders::v1::{Side, SubmitOrderRequest};
use wire::status::{ApiError, ErrorCode};

use crate::support::requests::{SYMBOL, buy, cancel, limit, replace, sell};
use crate::support::{Engine, Rig, code};

/// A book kept from a stream.
#[derive(Default, PartialEq, Debug)]
struct Kept {
    bids: BTreeMap<i64, (u64, u32)>,
    asks: BTreeMap<i64, (u64, u32)>,
}

impl Kept {
    fn of(snapshot: &BookSnapshot) -> Self {
        let mut kept = Self::default();
        kept.change(&snapshot.bids, &snapshot.asks);
        kept
    }

    fn change(&mut self, bids: &[BookLevel], asks: &[BookLevel]) {
        for (levels, side) in [(bids, &mut self.bids), (asks, &mut self.asks)] {
            for level in levels {
                if level.quantity == 0 {
                    side.remove(&level.price);
                } else {
                    side.insert(level.price, (level.quantity, level.orders));
                }
            }
        }
    }
}

async fn whole_book(engine: &Engine) -> BookSnapshot {
    let request = GetBookRequest { symbol: SYMBOL.to_owned(), depth: 1000, ..Default::default() };
    engine.market_data().get_book(request).await.unwrap().into_inner().book.unwrap()
}

/// Some account's random request: new orders that cross now and then, cancels, replaces.
async fn trade(engine: &Engine, random: &mut ChaCha8Rng, n: u64) {
    // Three accounts in turn, each changing orders of its own.
    let account = n % 3 + 1;
    let side = if random.random() { Side::Buy } else { Side::Sell };
    let price = 100 * random.random_range(95..106);
    let quantity = random.random_range(1..20);
    let target = format!("o{}", n % 3 + 3 * random.random_range(n / 6..=n / 3));
    let mut orders = engine.orders();
    match random.random_range(0..10) {
        0..6 => {
            let request = SubmitOrderRequest {
                self_trade_prevention: random.random_range(1..=4),
                ..limit(account, &format!("o{n}"), side, price, quantity)
            };
            drop(orders.submit_order(request).await.unwrap());
        }
        6..8 => drop(orders.cancel_order(cancel(account, &format!("o{n}"), &target)).await.unwrap()),
        _ => {
            let request = replace(account, &format!("o{n}"), &target, price, quantity);
            drop(orders.replace_order(request).await.unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_followed_book_has_no_gaps_and_equals_the_book() {
    let engine = Rig::new().start().await;
    let mut random = ChaCha8Rng::seed_from_u64(7);
    for n in 0..100 {
        trade(&engine, &mut random, n).await;
    }
    let request = StreamBookRequest { symbol: SYMBOL.to_owned() };
    let mut early = engine.market_data().stream_book(request.clone()).await.unwrap().into_inner();
    let load = async {
        for n in 100..1500 {
            trade(&engine, &mut random, n).await;
        }
    };
    let middle = async {
        let mut trades = Vec::new();
        let stream = engine.market_data().stream_book(request.clone()).await.unwrap().into_inner();
        trades.push(stream);
        trades
    };
    let ((), mut late) = tokio::join!(load, middle);
    let now = whole_book(&engine).await;
    assert!(now.book_seq > 500, "the load changed the book {} times", now.book_seq);
    for stream in [&mut early, &mut late[0]] {
        let first = stream.message().await.unwrap().unwrap();
        let Some(Update::Snapshot(snapshot)) = first.update else { panic!("a snapshot comes first") };
        let mut kept = Kept::of(&snapshot);
        let mut seq = snapshot.book_seq;
        while seq < now.book_seq {
            let update = stream.message().await.unwrap().unwrap().update;
            let Some(Update::Increment(increment)) = update else { panic!("increments follow") };
            assert_eq!(increment.book_seq, seq + 1, "no gaps");
            seq = increment.book_seq;
            kept.change(&increment.bids, &increment.asks);
        }
        assert_eq!(kept, Kept::of(&now));
    }
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trades_are_told_once_and_in_order() {
    let engine = Rig::new().start().await;
    let of = |symbol: &str| StreamTradesRequest { symbol: symbol.to_owned() };
    let mut all = engine.market_data().stream_trades(of("")).await.unwrap().into_inner();
    let mut own = engine.market_data().stream_trades(of(SYMBOL)).await.unwrap().into_inner();
    let on_coin = |request: SubmitOrderRequest| SubmitOrderRequest { symbol: "BTC-USD".to_owned(), ..request };
    for n in 0..3 {
        engine.orders().submit_order(sell(1, &format!("s{n}"), 1000 + 100 * n, 2)).await.unwrap();
    }
    engine.orders().submit_order(on_coin(sell(1, "coin", 50, 1))).await.unwrap();
    engine.orders().submit_order(on_coin(buy(2, "coin", 50, 1))).await.unwrap();
    engine.orders().submit_order(buy(2, "b", 1200, 5)).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..4 {
        let trade = all.message().await.unwrap().unwrap().trade.unwrap();
        assert_eq!(trade.taker_side(), Side::Buy);
        seen.push((trade.symbol.clone(), trade.price, trade.quantity));
    }
    let expected = [("BTC-USD", 50, 1), (SYMBOL, 1000, 2), (SYMBOL, 1100, 2), (SYMBOL, 1200, 1)];
    assert_eq!(seen, expected.map(|(symbol, price, quantity)| (symbol.to_owned(), price, quantity)));
    for (price, quantity) in [(1000, 2), (1100, 2), (1200, 1)] {
        let trade = own.message().await.unwrap().unwrap().trade.unwrap();
        assert_eq!((trade.symbol.as_str(), trade.price, trade.quantity), (SYMBOL, price, quantity));
    }
    engine.stop().await;
    let end = all.message().await.unwrap_err();
    assert_eq!(ApiError::from_status(&end).code, ErrorCode::ShuttingDown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_does_not_read_is_ended_and_nobody_waits_for_it() {
    let engine = Rig::with(Config { book_feed_capacity: 16, ..Config::default() }).start().await;
    let request = StreamBookRequest { symbol: SYMBOL.to_owned() };
    let mut stream = engine.market_data().stream_book(request).await.unwrap().into_inner();
    // More than the ring and the windows of the connection hold.
    let mut pending = Vec::new();
    for n in 0..6000 {
        let mut orders = engine.orders();
        pending
            .push(tokio::spawn(async move { orders.submit_order(buy(1, &format!("o{n}"), 100 * (n + 1), 1)).await }));
        if pending.len() == 200 {
            for order in pending.drain(..) {
                order.await.unwrap().unwrap();
            }
        }
    }
    let end = loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("ended without saying why"),
            Err(status) => break ApiError::from_status(&status),
        }
    };
    assert_eq!(end.code, ErrorCode::SlowConsumer);
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_not_found() {
    let engine = Rig::new().start().await;
    let nope = "NOPE".to_owned();
    let book =
        engine.market_data().get_book(GetBookRequest { symbol: nope.clone(), depth: 0, ..Default::default() }).await;
    assert_eq!(code(book), ErrorCode::NotFound);
    let stream = engine.market_data().stream_book(StreamBookRequest { symbol: nope.clone() }).await;
    assert_eq!(code(stream.map(|_| ())), ErrorCode::NotFound);
    let stream = engine.market_data().stream_trades(StreamTradesRequest { symbol: nope }).await;
    assert_eq!(code(stream.map(|_| ())), ErrorCode::NotFound);
    let deep = engine
        .market_data()
        .get_book(GetBookRequest { symbol: SYMBOL.to_owned(), depth: 1001, ..Default::default() })
        .await;
    assert_eq!(code(deep), ErrorCode::InvalidArgument);
    engine.stop().await;
}
