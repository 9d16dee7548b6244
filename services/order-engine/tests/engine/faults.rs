//! The journal or the leadership goes away while orders are on their way.

use journal_core::FenceReply;
use journal_core::acceptor::Reply;
use order_engine::Config;
use wire::pb::marketdata::v1::GetBookRequest;
use wire::pb::orders::v1::OrderStatus;
use wire::status::{ApiError, ErrorCode, Retry};

use crate::support::requests::{SYMBOL, buy, sell};
use crate::support::{Engine, Rig, code};

async fn quantity_at_best_bid(engine: &Engine) -> u64 {
    // As it is, also while the journal stands still.
    let request = GetBookRequest { symbol: SYMBOL.to_owned(), depth: 1, allow_stale: true, ..Default::default() };
    let book = engine.market_data().get_book(request).await.unwrap().into_inner().book.unwrap();
    book.bids.first().map_or(0, |level| level.quantity)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_stream_delays_answers_and_doubles_none() {
    let rig = Rig::with(Config { answer_timeout_ms: 60_000, ..Config::default() });
    let engine = rig.start().await;
    for n in 0..20 {
        // Written, but the answer is lost with the stream: the entry is sent again, and recognized.
        rig.voter.lose_next_answer();
        let report = loop {
            // Between two streams the door may be closed for a moment.
            match engine.orders().submit_order(buy(1, &format!("o{n}"), 1000, 1)).await {
                Ok(response) => break response.into_inner().report.unwrap(),
                Err(status) => assert_eq!(ApiError::from_status(&status).code, ErrorCode::NotReady),
            }
            engine.ready().await;
        };
        assert_eq!((report.status(), report.duplicate), (OrderStatus::New, false));
    }
    engine.ready().await;
    assert_eq!(quantity_at_best_bid(&engine).await, 20);
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_cut_under_load_lose_and_double_nothing() {
    let rig = Rig::with(Config { answer_timeout_ms: 60_000, ..Config::default() });
    let engine = rig.start().await;
    let load = (0..8).map(|account| {
        let mut orders = engine.orders();
        let engine = &engine;
        async move {
            for n in 0..100 {
                let request = buy(account + 1, &format!("o{n}"), 1000, 1);
                while let Err(status) = orders.submit_order(request.clone()).await {
                    assert_eq!(ApiError::from_status(&status).code, ErrorCode::NotReady);
                    engine.ready().await;
                }
            }
        }
    });
    let cuts = async {
        for _ in 0..5 {
            let applied = engine.digest().await.as_of_seq;
            rig.voter.cut_streams();
            while engine.digest().await.as_of_seq == applied {
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::join!(futures::future::join_all(load), cuts);
    engine.ready().await;
    assert_eq!(quantity_at_best_bid(&engine).await, 800);
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deposed_leader_says_unknown_and_the_retry_finds_the_outcome() {
    let rig = Rig::new();
    let engine = rig.start().await;
    engine.orders().submit_order(buy(1, "before", 1000, 1)).await.unwrap();
    // The disk stands still, so that the order is on its way when somebody else is given the epoch.
    rig.voter.disk.hold(true);
    let mut orders = engine.orders();
    let order = tokio::spawn(async move { orders.submit_order(buy(1, "caught", 1000, 1)).await });
    while rig.voter.appended() < 1 + engine.digest().await.as_of_seq {
        tokio::task::yield_now().await;
    }
    let epoch = rig.coordinator.next_epoch();
    // Written, but not answered: what the leader hears next is that somebody else was promised more.
    rig.voter.lose_next_answer();
    let mut granted = rig.voter.fence_for(epoch);
    rig.voter.disk.hold(false);
    assert!(matches!(granted.recv().await, Some(Reply::Fence(FenceReply::Granted(_)))));
    let error = ApiError::from_status(&order.await.unwrap().unwrap_err());
    assert_eq!((error.code, error.code.retry()), (ErrorCode::UnknownOutcome, Retry::InDoubt));

    // The same engine gets the shard back under a higher epoch; the order was written, so that it executed once.
    engine.ready().await;
    let retry = engine.orders().submit_order(buy(1, "caught", 1000, 1)).await.unwrap().into_inner().report.unwrap();
    assert!(retry.duplicate);
    assert_eq!(quantity_at_best_bid(&engine).await, 2);
    assert!(retry.place.unwrap().epoch < engine_epoch(&engine).await);
    engine.stop().await;
}

async fn engine_epoch(engine: &Engine) -> u64 {
    let report = engine.orders().submit_order(sell(9, "epoch", 9000, 1)).await.unwrap().into_inner().report.unwrap();
    report.place.unwrap().epoch
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_lost_its_lease_steps_down_and_names_the_other() {
    let rig = Rig::new();
    let engine = rig.start().await;
    rig.coordinator.give_to("engine-1");
    engine.closed().await;
    let hint = loop {
        let status = engine.orders().submit_order(buy(1, "o", 1000, 1)).await.unwrap_err();
        let error = ApiError::from_status(&status);
        if let Some(hint) = error.leader {
            assert_eq!(error.code, ErrorCode::NotLeader);
            break hint;
        }
        assert_eq!(error.code, ErrorCode::NotReady);
        tokio::task::yield_now().await;
    };
    assert_eq!(hint.engine, "engine-1");
    rig.coordinator.free();
    engine.ready().await;
    engine.orders().submit_order(buy(1, "o", 1000, 1)).await.unwrap();
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_journal_means_unknown_then_no_new_commands_and_only_stale_reads() {
    let rig = Rig::with(Config { answer_timeout_ms: 100, ..Config::default() });
    let engine = rig.start().await;
    rig.voter.disk.hold(true);
    assert_eq!(code(engine.orders().submit_order(buy(1, "o", 1000, 1)).await), ErrorCode::UnknownOutcome);
    engine.closed().await;
    assert_eq!(code(engine.orders().submit_order(buy(1, "p", 1000, 1)).await), ErrorCode::NotReady);
    assert_eq!(quantity_at_best_bid(&engine).await, 0, "nothing uncommitted is visible");
    let request = GetBookRequest { symbol: SYMBOL.to_owned(), ..Default::default() };
    assert_eq!(code(engine.market_data().get_book(request).await), ErrorCode::NotReady);
    rig.voter.disk.hold(false);
    engine.ready().await;
    let retry = engine.orders().submit_order(buy(1, "o", 1000, 1)).await.unwrap().into_inner().report.unwrap();
    assert!(retry.duplicate, "what was answered unknown was committed in the end");
    assert_eq!(quantity_at_best_bid(&engine).await, 1);
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_does_not_lead_answers_unavailable() {
    let rig = Rig::new();
    rig.coordinator.give_to("engine-1");
    let engine = rig.launch().await;
    engine.settled().await;
    let error = loop {
        let status = engine.orders().submit_order(buy(1, "o", 1000, 1)).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unavailable);
        let error = ApiError::from_status(&status);
        if error.code == ErrorCode::NotLeader {
            break error;
        }
        tokio::task::yield_now().await;
    };
    assert!(error.retry_after.is_some());
    let book = engine
        .market_data()
        .get_book(GetBookRequest { symbol: SYMBOL.to_owned(), depth: 1, ..Default::default() })
        .await;
    assert_eq!(code(book), ErrorCode::NotLeader);
    engine.stop().await;
}
