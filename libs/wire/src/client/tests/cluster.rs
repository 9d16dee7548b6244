//! Clients of a cluster: one engine they were told of, and the leader that they learn of.

use std::sync::atomic::Ordering;

use super::server::{Behaviour, start, start_on_tcp};
use super::{order, policy};
use crate::api_key::{ApiKey, Credentials};
use crate::client::{Cluster, OrderClient, SessionOptions, Sessions};
use crate::pb::orders::v1 as pb;
use crate::pb::orders::v1::order_session_request::Command;
use crate::status::ApiError;
use crate::transport::ClientOptions;

fn on_symbol(id: &str) -> pb::SubmitOrderRequest {
    pb::SubmitOrderRequest { symbol: "AAPL".to_owned(), ..order(id) }
}

fn hint(address: &str, epoch: u64) -> pb::LeaderHint {
    pb::LeaderHint { shard: 0, engine: "leader".to_owned(), address: address.to_owned(), epoch }
}

#[tokio::test]
async fn requests_go_straight_to_the_leader_that_is_known() {
    let (address, leader, _task) = start_on_tcp().await;
    let (target, known) = start(Behaviour { leaders: vec![hint(&address, 3)], ..Behaviour::default() });
    let cluster = Cluster::roaming(vec![target], &ClientOptions::default()).unwrap();
    let client = OrderClient::of(cluster.clone(), policy());
    for n in 0..5 {
        client.submit(&on_symbol(&format!("a-{n}"))).await.unwrap();
    }
    let mut sessions = Sessions::new(cluster, SessionOptions::default());
    sessions.send(Command::Submit(on_symbol("b"))).await.unwrap().await.result.unwrap();
    sessions.close().await;
    assert_eq!((known.calls.load(Ordering::SeqCst), leader.calls.load(Ordering::SeqCst)), (0, 6));
}

/// A leader that is found asks for a key as well as the engine that was named.
#[tokio::test]
async fn the_key_is_shown_to_leaders_too() {
    let (address, leader, _task) = start_on_tcp().await;
    let (target, _) = start(Behaviour { leaders: vec![hint(&address, 3)], ..Behaviour::default() });
    let key = format!("hm_trader_{}", "ab".repeat(32)).parse::<ApiKey>().unwrap();
    let options = ClientOptions { credentials: Credentials::new(Some(&key)), ..ClientOptions::default() };
    let client = OrderClient::of(Cluster::roaming(vec![target], &options).unwrap(), policy());
    client.submit(&on_symbol("a")).await.unwrap();
    assert_eq!(leader.keys.lock().unwrap()[..], [Some("trader".to_owned())]);
}

#[tokio::test]
async fn a_hint_is_followed_and_remembered() {
    let (address, leader, _task) = start_on_tcp().await;
    let (target, known) =
        start(Behaviour { refusals: vec![ApiError::not_leader(hint(&address, 3))], ..Behaviour::default() });
    let client = OrderClient::of(Cluster::roaming(vec![target], &ClientOptions::default()).unwrap(), policy());
    client.submit(&on_symbol("a")).await.unwrap();
    client.submit(&on_symbol("b")).await.unwrap();
    assert_eq!((known.calls.load(Ordering::SeqCst), leader.calls.load(Ordering::SeqCst)), (1, 2));
}

#[tokio::test]
async fn an_older_hint_changes_nothing_and_a_dead_leader_is_left() {
    let (address, leader, task) = start_on_tcp().await;
    let (target, known) = start(Behaviour::default());
    let cluster = Cluster::roaming(vec![target], &ClientOptions::default()).unwrap();
    assert!(cluster.learn(&hint(&address, 3)));
    assert!(!cluster.learn(&hint("http://127.0.0.1:9", 2)));
    let client = OrderClient::of(cluster, policy());
    client.submit(&on_symbol("a")).await.unwrap();
    assert_eq!((known.calls.load(Ordering::SeqCst), leader.calls.load(Ordering::SeqCst)), (0, 1));
    task.abort();
    // The connection is gone, or refused: the request goes to the engine that hands it on.
    assert!(task.await.unwrap_err().is_cancelled());
    client.submit(&on_symbol("b")).await.unwrap();
    assert_eq!(known.calls.load(Ordering::SeqCst) + leader.calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_fixed_client_keeps_to_its_engine() {
    let (target, known) = start(Behaviour { leaders: vec![hint("http://127.0.0.1:9", 3)], ..Behaviour::default() });
    let cluster = Cluster::fixed(target);
    assert!(!cluster.learn(&hint("http://127.0.0.1:9", 9)));
    OrderClient::of(cluster, policy()).submit(&on_symbol("a")).await.unwrap();
    assert_eq!(known.calls.load(Ordering::SeqCst), 1);
}
