//! Clients against a small server of their own, over an in-process connection.
#![allow(clippy::unwrap_used, reason = "tests")]

mod cluster;
mod server;

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::transport::Channel;

use self::server::{Behaviour, start};
use super::*;
use crate::pb::orders::v1 as pb;
use crate::pb::orders::v1::order_session_request::Command;
use crate::status::{ApiError, ErrorCode};

fn order(id: &str) -> pb::SubmitOrderRequest {
    pb::SubmitOrderRequest { account_id: 1, client_order_id: id.to_owned(), quantity: 1, ..Default::default() }
}

fn policy() -> RetryPolicy {
    RetryPolicy { backoff_min: Duration::from_millis(1), ..RetryPolicy::default() }
}

fn client(channel: &Channel) -> OrderClient {
    OrderClient::new(channel.clone(), policy())
}

#[tokio::test]
async fn a_request_is_sent_until_it_is_answered() {
    let (channel, behaviour) = start(Behaviour {
        refusals: vec![
            ApiError::overloaded("the queue", Duration::from_millis(1)),
            ApiError::unknown_outcome("deposed"),
            ApiError::not_ready("recovering"),
        ],
        ..Behaviour::default()
    });
    let report = client(&channel).submit(&order("a-1")).await.unwrap();
    assert_eq!(report.client_order_id, "a-1");
    assert_eq!(behaviour.calls.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_final_error_is_not_retried() {
    let (channel, behaviour) =
        start(Behaviour { refusals: vec![ApiError::invalid("side", "must be set")], ..Behaviour::default() });
    let error = client(&channel).submit(&order("a-1")).await.unwrap_err();
    assert_eq!((error.code, error.field.as_deref()), (ErrorCode::InvalidArgument, Some("side")));
    assert_eq!(behaviour.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_was_once_in_doubt_stays_so_when_time_runs_out() {
    // Longer than the deadline, so that the client gives up at once.
    let never = Duration::from_secs(60);
    let refusals = vec![ApiError::unknown_outcome("deposed"), ApiError::overloaded("the queue", never)];
    let (channel, _) = start(Behaviour { refusals, ..Behaviour::default() });
    let error = client(&channel).submit(&order("a-1")).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::UnknownOutcome, "the first attempt may have been executed");

    let refusals = vec![ApiError::overloaded("the queue", never)];
    let (channel, _) = start(Behaviour { refusals, ..Behaviour::default() });
    let error = client(&channel).submit(&order("a-1")).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Overloaded, "it was never executed, and the error says so");
}

/// The first attempt was executed, and its answer was lost; then the key was revoked.
#[tokio::test]
async fn what_was_once_in_doubt_stays_so_when_a_later_attempt_is_refused_for_good() {
    let refusals = vec![
        ApiError::new(ErrorCode::DeadlineExceeded, "late"),
        ApiError::new(ErrorCode::Unauthenticated, "the key was revoked"),
    ];
    let (channel, behaviour) = start(Behaviour { refusals, ..Behaviour::default() });
    let error = client(&channel).submit(&order("a-1")).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::UnknownOutcome, "the first attempt may have been executed");
    assert!(error.message.contains("the key was revoked"), "{error}");
    assert_eq!(behaviour.calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_missing_order_is_none() {
    let (channel, _) = start(Behaviour::default());
    let request =
        pb::GetOrderRequest { account_id: 1, key: Some(pb::get_order_request::Key::OrderId(5)), ..Default::default() };
    assert_eq!(client(&channel).get(&request).await, Ok(None));
}

#[tokio::test]
async fn sessions_keep_answers_apart() {
    let (channel, _) = start(Behaviour { reverse_in_groups_of: 4, ..Behaviour::default() });
    let session = Session::open(channel, SessionOptions::default()).await.unwrap();
    let mut replies = Vec::new();
    for number in 0..40 {
        let id = format!("a-{number}");
        let reply = session.send(Command::Submit(order(&id))).await.unwrap();
        replies.push((id, reply));
    }
    for (id, reply) in replies {
        let answer = reply.await;
        assert_eq!(answer.result.unwrap().client_order_id, id);
    }
    session.close().await;
}

#[tokio::test]
async fn an_error_of_one_request_leaves_the_session_open() {
    let (channel, _) = start(Behaviour { refusals: vec![ApiError::not_ready("starting")], ..Behaviour::default() });
    let session = Session::open(channel, SessionOptions::default()).await.unwrap();
    let error = session.call(Command::Submit(order("a-1"))).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::NotReady);
    assert!(session.call(Command::Submit(order("a-2"))).await.is_ok());
}

#[tokio::test]
async fn the_end_of_a_session_leaves_what_was_in_flight_in_doubt() {
    let (channel, behaviour) = start(Behaviour { held: true, ..Behaviour::default() });
    let session = Session::open(channel, SessionOptions { in_flight: 2, ..SessionOptions::default() }).await.unwrap();
    let first = session.send(Command::Submit(order("a-1"))).await.unwrap();
    let second = session.send(Command::Submit(order("a-2"))).await.unwrap();
    assert_eq!(session.in_flight(), 2);
    behaviour.end_sessions.notify_one();
    for reply in [first, second] {
        assert_eq!(reply.await.result.unwrap_err().code, ErrorCode::UnknownOutcome);
    }
    let error = session.send(Command::Submit(order("a-3"))).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unreachable, "{error}");
}

/// A reader that stands still must slow its sender down. Without the windows of [`crate::transport`], h2 ends the
/// whole connection after some 2,700 of these requests.
#[tokio::test]
async fn a_reader_that_stands_still_does_not_cost_the_connection() {
    const REQUESTS: usize = 6_000;
    let (channel, behaviour) = start(Behaviour { held: true, ..Behaviour::default() });
    let options = SessionOptions { in_flight: REQUESTS, ..SessionOptions::default() };
    let session = Session::open(channel.clone(), options).await.unwrap();
    let probe = client(&channel);
    let get =
        pb::GetOrderRequest { account_id: 1, key: Some(pb::get_order_request::Key::OrderId(5)), ..Default::default() };
    let mut replies = Vec::new();
    for number in 0..REQUESTS {
        replies.push(session.send(Command::Submit(order(&format!("a-{number:030}")))).await.unwrap());
        // A round trip over the same connection, so that each request leaves in a frame of its own.
        assert_eq!(probe.get(&get).await, Ok(None), "after {number} requests");
    }
    behaviour.release.notify_one();
    for reply in replies {
        assert!(reply.await.result.is_ok());
    }
}

#[tokio::test]
async fn a_message_that_cannot_be_decoded_is_the_senders_fault() {
    let (channel, behaviour) = start(Behaviour::default());
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.unwrap();
    // Field 1 is bytes here and a number there.
    let wrong = crate::pb::journal::v1::ReadRequest { log_id: vec![1; 16].into(), ..Default::default() };
    let path = http::uri::PathAndQuery::from_static("/hivemind.orders.v1.OrderService/SubmitOrder");
    let codec = crate::codec::ProtobufCodec::<_, pb::SubmitOrderResponse>::default();
    let status = grpc.unary(tonic::Request::new(wrong), path, codec).await.unwrap_err();
    assert_eq!(ApiError::from_status(&status).code, ErrorCode::InvalidArgument);
    assert!(status.message().contains("account_id"), "{status}");
    assert_eq!(behaviour.calls.load(Ordering::SeqCst), 0);
}
