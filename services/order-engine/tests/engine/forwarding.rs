//! Clients that only know an engine which does not lead.

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use order_engine::Config;
use wire::client::{Session, SessionOptions};
use wire::forwarding;
use wire::pb::marketdata::v1::{
    GetBookRequest, GetStateDigestRequest, GetStateDigestResponse, ListInstrumentsRequest, StreamBookRequest,
    StreamTradesRequest,
};
use wire::pb::orders::v1::order_session_request::Command;
use wire::pb::orders::v1::{
    GetOrderRequest, GetTopologyRequest, MassCancelRequest, OrderStatus, get_order_request::Key,
};
use wire::status::{ApiError, ErrorCode};

use crate::support::requests::{SYMBOL, buy, cancel, replace, sell};
use crate::support::{Engine, Rig, code};

/// A leader, and an engine that follows it and knows it.
async fn pair(rig: &Rig) -> (Engine, Engine) {
    let leader = rig.launch_named("leader").await;
    leader.ready().await;
    let follower = rig.launch_named("follower").await;
    follower.settled().await;
    (leader, follower)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_and_questions_are_answered_by_the_leader() {
    let rig = Rig::new();
    let (leader, follower) = pair(&rig).await;
    let mut orders = follower.orders();
    let report = orders.submit_order(buy(1, "a", 1000, 5)).await.unwrap().into_inner().report.unwrap();
    assert_eq!(report.status(), OrderStatus::New);
    let again = leader.orders().submit_order(buy(1, "a", 1000, 5)).await.unwrap().into_inner().report.unwrap();
    assert!(again.duplicate, "it is the same order, wherever it is asked for");
    let report = orders.replace_order(replace(1, "b", "a", 1100, 7)).await.unwrap().into_inner().report.unwrap();
    assert_eq!(report.status(), OrderStatus::New);
    orders.submit_order(buy(1, "c", 900, 1)).await.unwrap();
    let report = orders.cancel_order(cancel(1, "d", "c")).await.unwrap().into_inner().report.unwrap();
    assert_eq!(report.status(), OrderStatus::Canceled);

    let key = Some(Key::ClientOrderId("b".to_owned()));
    let found =
        orders.get_order(GetOrderRequest { account_id: 1, key, ..Default::default() }).await.unwrap().into_inner();
    assert_eq!(found.order.unwrap().quantity, 7);
    let key = Some(Key::ClientOrderId("nobody".to_owned()));
    assert_eq!(
        code(orders.get_order(GetOrderRequest { account_id: 1, key, ..Default::default() }).await),
        ErrorCode::NotFound
    );
    let mut market = follower.market_data();
    let book = GetBookRequest { symbol: SYMBOL.to_owned(), depth: 1, ..Default::default() };
    assert_eq!(market.get_book(book).await.unwrap().into_inner().book.unwrap().bids[0].quantity, 7);
    let listed = market.list_instruments(ListInstrumentsRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.instruments.len(), 3);
    let digest = market.get_state_digest(GetStateDigestRequest::default()).await.unwrap().into_inner();
    assert_eq!(GetStateDigestResponse { stale: true, ..digest }, leader.digest().await);

    let all = MassCancelRequest { account_id: 1, client_order_id: "all".to_owned(), ..Default::default() };
    assert_eq!(orders.mass_cancel(all).await.unwrap().into_inner().report.unwrap().canceled_orders, 1);
    follower.stop().await;
    leader.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_keeps_its_order_on_the_way_to_the_leader() {
    let rig = Rig::new();
    let (leader, follower) = pair(&rig).await;
    let session = Session::open(follower.channel.clone(), SessionOptions::default()).await.unwrap();
    let mut replies = Vec::new();
    for n in 0..500 {
        replies.push(session.send(Command::Submit(buy(1, &format!("o{n}"), 1000, 1))).await.unwrap());
    }
    let mut last = None;
    for reply in replies {
        let report = reply.await.result.unwrap();
        let place = report.place.unwrap();
        let here = Some((place.seq, place.index));
        assert!(here > last, "{here:?} after {last:?}");
        last = here;
    }
    let all = MassCancelRequest { account_id: 1, client_order_id: "all".to_owned(), ..Default::default() };
    let report = session.call(Command::MassCancel(all)).await.unwrap();
    assert_eq!(report.canceled_orders, 500);
    session.close().await;
    follower.stop().await;
    leader.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_passed_on() {
    let rig = Rig::new();
    let (leader, follower) = pair(&rig).await;
    let mut market = follower.market_data();
    let request = StreamBookRequest { symbol: SYMBOL.to_owned() };
    let mut book = market.stream_book(request).await.unwrap().into_inner();
    assert!(book.next().await.unwrap().unwrap().update.is_some(), "the snapshot");
    let mut trades = market.stream_trades(StreamTradesRequest::default()).await.unwrap().into_inner();
    leader.orders().submit_order(buy(1, "a", 1000, 5)).await.unwrap();
    leader.orders().submit_order(sell(2, "b", 1000, 2)).await.unwrap();
    assert!(book.next().await.unwrap().unwrap().update.is_some(), "the first order");
    assert_eq!(trades.next().await.unwrap().unwrap().trade.unwrap().quantity, 2);
    follower.stop().await;
    let end = ApiError::from_status(&trades.next().await.unwrap().unwrap_err());
    assert_eq!(end.code, ErrorCode::ShuttingDown);
    leader.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_handed_on_once_is_refused_with_a_hint() {
    let rig = Rig::new();
    let (leader, follower) = pair(&rig).await;
    let mut request = tonic::Request::new(buy(1, "a", 1000, 5));
    forwarding::mark(request.metadata_mut(), types::ShardId(0));
    let error = ApiError::from_status(&follower.orders().submit_order(request).await.unwrap_err());
    assert_eq!(error.code, ErrorCode::NotLeader);
    let topology = follower.orders().get_topology(GetTopologyRequest {}).await.unwrap().into_inner();
    assert_eq!((topology.shards, topology.leaders.len()), (1, 1));
    assert_eq!(topology.leaders[0], *error.leader.unwrap(), "both name the leader");
    assert_eq!(topology.leaders[0].engine, "leader");
    let of_leader = leader.orders().get_topology(GetTopologyRequest {}).await.unwrap().into_inner();
    assert_eq!(of_leader.leaders, topology.leaders);
    leader.stop().await;
    follower.ready().await;
    let report = follower.orders().submit_order(buy(1, "a", 1000, 5)).await.unwrap().into_inner().report.unwrap();
    assert!(!report.duplicate);
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_is_handed_on_than_an_engine_may_have_unanswered() {
    let rig = Rig::with(Config { unanswered_max: 8, answer_timeout_ms: 60_000, ..Config::default() });
    let (leader, follower) = pair(&rig).await;
    rig.voter.disk.hold(true);
    let mut calls: FuturesUnordered<_> = (0..20)
        .map(|n| {
            let mut orders = follower.orders();
            async move { orders.submit_order(buy(1, &format!("o{n}"), 1000, 1)).await }
        })
        .collect();
    // The leader has room for the eight that wait there: it is the follower that refuses.
    for _ in 0..12 {
        let error = ApiError::from_status(&calls.next().await.unwrap().unwrap_err());
        assert_eq!(error.code, ErrorCode::Overloaded);
        assert!(error.message.contains("the way to the leader"), "{error}");
    }
    rig.voter.disk.hold(false);
    for _ in 0..8 {
        calls.next().await.unwrap().unwrap();
    }
    follower.stop().await;
    leader.stop().await;
}
