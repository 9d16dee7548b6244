//! Sessions: order, bounds, ends.

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use order_engine::Config;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use wire::pb::orders::v1::get_order_request::Key;
use wire::pb::orders::v1::order_session_response::Result as Answered;
use wire::pb::orders::v1::{GetOrderRequest, OrderSessionRequest, OrderSessionResponse, OrderStatus};
use wire::status::{ApiError, ErrorCode};

use crate::support::requests::{buy, in_session};
use crate::support::{Engine, Rig, code};

async fn open(engine: &Engine) -> (mpsc::Sender<OrderSessionRequest>, Streaming<OrderSessionResponse>) {
    let (requests, queue) = mpsc::channel(4096);
    let answers = engine.orders().order_session(ReceiverStream::new(queue)).await.unwrap().into_inner();
    (requests, answers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_are_answered_in_their_order_refusals_too() {
    let engine = Rig::new().start().await;
    let (requests, mut answers) = open(&engine).await;
    for n in 0..1000_u64 {
        // Every tenth is malformed, and refused at the door, long before the others come back from the journal.
        let quantity = u64::from(n % 10 != 9);
        requests.send(in_session(n * 3, buy(1, &format!("o{n}"), 1000, quantity))).await.unwrap();
    }
    drop(requests);
    let mut last_place = (0, 0);
    for n in 0..1000_u64 {
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!(answer.client_seq, n * 3);
        match answer.result.unwrap() {
            Answered::Report(report) => {
                assert_ne!(n % 10, 9);
                assert_eq!((report.status(), report.client_order_id), (OrderStatus::New, format!("o{n}")));
                let place = report.place.unwrap();
                assert!((place.seq, place.index) > last_place || n == 0, "executed in the order of the session");
                last_place = (place.seq, place.index);
            }
            Answered::Error(error) => {
                assert_eq!((n % 10, error.reason.as_str(), error.field.as_str()), (9, "INVALID_ARGUMENT", "quantity"));
            }
        }
    }
    assert!(answers.message().await.unwrap().is_none(), "half-closed, so it ends after the last answer");
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_is_refused_at_once_and_the_rest_is_answered() {
    let config = Config { unanswered_max: 8, answer_timeout_ms: 60_000, ..Config::default() };
    let rig = Rig::with(config);
    let engine = rig.start().await;
    rig.voter.disk.hold(true);
    let mut calls: FuturesUnordered<_> = (0..20)
        .map(|n| {
            let mut orders = engine.orders();
            async move { orders.submit_order(buy(1, &format!("o{n}"), 1000, 1)).await }
        })
        .collect();
    // The disk stands still: eight are let in and wait, the others hear so now.
    for _ in 0..12 {
        let error = ApiError::from_status(&calls.next().await.unwrap().unwrap_err());
        assert_eq!(error.code, ErrorCode::Overloaded);
        assert!(error.retry_after.is_some());
    }
    rig.voter.disk.hold(false);
    for _ in 0..8 {
        calls.next().await.unwrap().unwrap();
    }
    engine.ready().await;
    engine.orders().submit_order(buy(1, "again", 1000, 1)).await.unwrap();
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_has_a_limit_of_its_own() {
    // The disk never answers: what was let in is answered UNKNOWN in the end, and only then the session moves on.
    let rig = Rig::with(Config { session_unanswered_max: 4, ..Config::default() });
    let engine = rig.start().await;
    rig.voter.disk.hold(true);
    let (requests, mut answers) = open(&engine).await;
    for n in 0..7 {
        requests.send(in_session(n, buy(1, &format!("o{n}"), 1000, 1))).await.unwrap();
    }
    drop(requests);
    let mut reasons = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        let Some(Answered::Error(error)) = answer.result else { panic!("nothing can be executed") };
        reasons.push(error.reason);
    }
    assert_eq!(reasons[..4], ["UNKNOWN_OUTCOME"; 4]);
    assert_eq!(reasons[4..], ["OVERLOADED"; 3]);
    rig.voter.disk.hold(false);
    engine.ready().await;
    engine.stop().await;
}

/// A client that sends and sends and reads nothing: what comes after its last place is not executed behind its back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_without_a_place_for_the_answer_executes_nothing() {
    let rig = Rig::with(Config { session_unanswered_max: 4, answer_timeout_ms: 60_000, ..Config::default() });
    let engine = rig.start().await;
    rig.voter.disk.hold(true);
    let (requests, mut answers) = open(&engine).await;
    requests.send(in_session(0, buy(1, "first", 1000, 1))).await.unwrap();
    // Two places for each of four; these are refused at once, and wait for the answer to the first.
    for n in 1..8 {
        requests.send(in_session(n, buy(1, "malformed", 1000, 0))).await.unwrap();
    }
    requests.send(in_session(8, buy(1, "beyond", 1000, 1))).await.unwrap();
    // The session takes nothing more, so it has looked at all of them.
    requests.closed().await;
    rig.voter.disk.hold(false);
    let end = loop {
        match answers.message().await {
            Ok(answer) => assert!(answer.unwrap().client_seq < 8),
            Err(status) => break ApiError::from_status(&status),
        }
    };
    assert_eq!(end.code, ErrorCode::SlowConsumer);
    let find = |id: &str| {
        let key = Some(Key::ClientOrderId(id.to_owned()));
        let (mut orders, request) = (engine.orders(), GetOrderRequest { account_id: 1, key, ..Default::default() });
        async move { orders.get_order(request).await }
    };
    find("first").await.unwrap();
    assert_eq!(code(find("beyond").await), ErrorCode::NotFound);
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_engine_answers_what_it_took_and_ends_its_sessions() {
    // One order after the other goes to the journal, so that most are still waiting when the engine is told to stop.
    let rig = Rig::with(Config { batch_commands_max: 1, appends_in_flight_max: 1, ..Config::default() });
    let engine = rig.start().await;
    let (requests, mut answers) = open(&engine).await;
    for n in 0..50 {
        requests.send(in_session(n, buy(1, &format!("o{n}"), 1000, 1))).await.unwrap();
    }
    let first = answers.message().await.unwrap().unwrap();
    assert_eq!(first.client_seq, 0);
    let stop = tokio::spawn(engine.stop());
    let (mut next, mut refused) = (1, 0);
    let end = loop {
        match answers.message().await {
            Ok(Some(answer)) => {
                assert_eq!(answer.client_seq, next);
                next += 1;
                refused += u32::from(matches!(answer.result, Some(Answered::Error(_))));
            }
            Ok(None) => panic!("ended as if the client had asked for it"),
            Err(status) => break ApiError::from_status(&status),
        }
    };
    assert_eq!(end.code, ErrorCode::ShuttingDown);
    // The one that was being read in that moment.
    assert!(refused <= 1, "{refused} of {next} were taken and then refused");
    stop.await.unwrap();
    assert_eq!(rig.coordinator.released(), [1], "the leadership is given back");
}
