//! A load against a node that misbehaves, and the search afterwards on one that has lost orders.

use std::collections::BTreeMap;
use std::sync::Arc;

use wire::client::Cluster;
use wire::pb::orders::v1 as pb;

use super::super::check::find_afterwards;
use super::super::drive::{Plan, Progress, drive};
use super::super::tally::Expected;
use super::market;
use super::node::{Node, start};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_session_leaves_in_doubt_is_found_out() {
    let (channel, node) = start(Node { hang_up_after: 40, ..Node::default() });
    let cluster = Cluster::fixed(channel);
    let plan = Plan { rate: 1e6, warmup: 0, requests: 200, connections: 2 };
    let progress = Arc::new(Progress::default());
    let driven = drive(&[cluster.clone(), cluster.clone()], plan, &market(1), &progress).await.expect("a full run");
    let tally = driven.tally;
    assert_eq!((tally.sent, tally.acknowledged, tally.unresolved, tally.turned_away), (200, 200, 0, 0));
    assert!(tally.resolved > 0, "sessions were lost on the way");
    assert_eq!(node.engine.lock().expect("no panic under the lock").len(), 200, "each was executed once");

    let findings = find_afterwards(&cluster, &tally.expected, tally.last_seq).await.expect("a complete search");
    assert_eq!((findings.found_in_engine, findings.lost), (tally.new_orders, 0));
}

fn order(order_id: u64, client_order_id: &str) -> pb::Order {
    let status = pb::OrderStatus::New.into();
    pb::Order { order_id, account_id: 5, client_order_id: client_order_id.to_owned(), status, ..Default::default() }
}

#[tokio::test]
async fn a_lost_order_is_noticed() {
    let engine = [order(1, "kept"), order(20, "renumbered"), order(3, "undone")];
    let (channel, _) = start(Node {
        engine: BTreeMap::from(engine.map(|order| (order.client_order_id.clone(), order))).into(),
        history: vec![order(4, "old"), order(5, "someone-elses")],
        ..Node::default()
    });
    let expect = |client_order_id: &str, cumulative_quantity| Expected {
        account_id: 5,
        client_order_id: client_order_id.to_owned(),
        cumulative_quantity,
        closed: None,
    };
    let expected = BTreeMap::from([
        (1, expect("kept", 0)),
        (2, expect("renumbered", 0)),
        (3, expect("undone", 7)),
        (4, expect("old", 0)),
        (5, expect("mine", 0)),
        (6, expect("gone", 0)),
    ]);
    let findings = find_afterwards(&Cluster::fixed(channel), &expected, 3).await.expect("a complete search");
    assert_eq!((findings.found_in_engine, findings.found_in_history, findings.lost), (1, 1, 4), "{findings:?}");
    assert_eq!(findings.lost_orders.len(), 4);
}
