//! An engine that does not lead follows the committed log, and leads from what it has.

use journal_core::codec;
use order_engine::Config;
use types::Seq;
use wire::pb::marketdata::v1::{GetBookRequest, GetBookResponse, GetStateDigestRequest};
use wire::pb::orders::v1::get_order_request::Key;
use wire::pb::orders::v1::{GetOrderRequest, OrderReport};
use wire::status::{ApiError, ErrorCode};

use crate::support::requests::{SYMBOL, buy, sell};
use crate::support::{Engine, Rig, code, replay};

async fn load(engine: &Engine, from: u64) {
    for n in from..from + 50 {
        engine.orders().submit_order(buy(1, &format!("b{n}"), 1000, 1)).await.unwrap();
        engine.orders().submit_order(sell(2, &format!("s{n}"), 1100, 1)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_takes_over_without_a_snapshot() {
    let rig = Rig::new();
    let leader = rig.start().await;
    load(&leader, 0).await;
    let follows = rig.voter.follows();
    let standby = rig.launch().await;
    while rig.voter.follows() == follows {
        tokio::task::yield_now().await;
    }
    load(&leader, 50).await;
    let (before, snapshots) = (leader.digest().await, rig.voter.snapshots_read());
    leader.kill().await;
    rig.coordinator.free();
    standby.ready().await;
    let after = standby.digest().await;
    assert_eq!((&after.state_hash, &after.log_id), (&before.state_hash, &before.log_id));
    assert_eq!(after.as_of_seq, before.as_of_seq + 1, "only the epoch's first entry was added");
    assert_eq!(rig.voter.snapshots_read(), snapshots);
    standby.stop().await;
}

/// A snapshot with the state of an earlier entry: the next digest in the log does not agree with it.
fn wrong_snapshot(rig: &Rig) -> (journal_core::Tail, Vec<u8>) {
    let (at, _) = replay(&rig.voter, Seq(20));
    let (_, other) = replay(&rig.voter, Seq(15));
    (at, codec::snapshot::encode(&other.snapshot()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_differs_from_the_log_is_built_again() {
    let rig = Rig::with(Config { state_hash_interval: 50, ..Config::default() });
    let leader = rig.start().await;
    load(&leader, 0).await;
    let (at, bytes) = wrong_snapshot(&rig);
    rig.voter.give_other_snapshot(&at, &bytes);
    let snapshots = rig.voter.snapshots_read();
    let standby = rig.launch().await;
    while rig.voter.snapshots_read() < snapshots + 2 {
        tokio::task::yield_now().await;
    }
    load(&leader, 50).await;
    let before = leader.digest().await;
    leader.kill().await;
    rig.coordinator.free();
    standby.ready().await;
    assert_eq!(standby.digest().await.state_hash, before.state_hash);
    standby.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_state_that_differs_at_the_same_place_stops_the_shard() {
    let rig = Rig::with(Config { state_hash_interval: 50, ..Config::default() });
    let leader = rig.start().await;
    load(&leader, 0).await;
    let (at, bytes) = wrong_snapshot(&rig);
    rig.voter.put_snapshot(&at, &bytes);
    let error = rig.launch().await.fails().await.to_string();
    assert!(error.contains("state differs from the log at entry"), "{error}");
    load(&leader, 50).await;
    leader.stop().await;
}

async fn submit(engine: &Engine, id: &str) -> OrderReport {
    engine.orders().submit_order(buy(1, id, 1000, 1)).await.unwrap().into_inner().report.unwrap()
}

async fn book(engine: &Engine, allow_stale: bool, min_seq: u64) -> Result<GetBookResponse, tonic::Status> {
    let request = GetBookRequest { symbol: SYMBOL.to_owned(), allow_stale, min_seq, ..Default::default() };
    Ok(engine.market_data().get_book(request).await?.into_inner())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_answers_what_may_be_stale_from_what_it_has() {
    let rig = Rig::new();
    let leader = rig.start().await;
    let standby = rig.launch().await;
    let report = submit(&leader, "one").await;
    let seq = report.place.unwrap().seq;
    let found = book(&standby, true, seq).await.unwrap();
    assert!(found.stale);
    let found = found.book.unwrap();
    assert_eq!(found.bids[0].quantity, 1);
    assert!(found.as_of_seq >= seq);
    let key = Some(Key::OrderId(report.order_id));
    let request = GetOrderRequest { account_id: 1, key, allow_stale: true, min_seq: seq };
    let order = standby.orders().get_order(request).await.unwrap().into_inner();
    assert_eq!((order.order.unwrap().order_id, order.stale), (report.order_id, true));

    let refused = ApiError::from_status(&book(&standby, true, seq + 1000).await.unwrap_err());
    assert_eq!(refused.code, ErrorCode::NotReady);
    assert!(refused.retry_after.is_some());
    // The leader would be asked, but it is not at the address it has in this test.
    assert!(matches!(code(book(&standby, false, 0).await), ErrorCode::NotLeader | ErrorCode::Unreachable));

    assert!(!book(&leader, false, seq).await.unwrap().stale);
    assert_eq!(code(book(&leader, false, seq + 1000).await), ErrorCode::NotReady);
    standby.stop().await;
    leader.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_was_deposed_a_moment_ago_answers_no_read() {
    let rig = Rig::new();
    let engine = rig.start().await;
    submit(&engine, "one").await;
    assert!(book(&engine, false, 0).await.is_ok());
    // The voter promises more to somebody else; the engine hears of it with its next request only.
    let epoch = rig.coordinator.give_to("engine-1");
    let mut granted = rig.voter.fence_for(epoch);
    assert!(granted.recv().await.is_some());
    let (confirmed, stale) = tokio::join!(book(&engine, false, 0), book(&engine, true, 0));
    assert!(matches!(code(confirmed), ErrorCode::NotLeader | ErrorCode::NotReady));
    assert!(stale.unwrap().stale);
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_applies_nothing_that_is_not_committed() {
    let rig = Rig::new();
    let leader = rig.start().await;
    let standby = rig.launch().await;
    let seq = submit(&leader, "one").await.place.unwrap().seq;
    book(&standby, true, seq).await.unwrap();
    rig.voter.be_reckless(true);
    let committed = rig.voter.committed().0;
    let seq = submit(&leader, "two").await.place.unwrap().seq;
    assert!(seq > committed);
    let follows = rig.voter.follows();
    rig.voter.cut_streams();
    // Refused, and asked for again.
    while rig.voter.follows() < follows + 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(standby.digest().await.as_of_seq, committed);
    rig.voter.be_reckless(false);
    let seq = submit(&leader, "three").await.place.unwrap().seq;
    let request = GetStateDigestRequest { allow_stale: true, min_seq: seq, ..Default::default() };
    while let Err(status) = standby.market_data().get_state_digest(request).await {
        assert_eq!(ApiError::from_status(&status).code, ErrorCode::NotReady);
    }
    standby.stop().await;
    leader.stop().await;
}
