//! An engine that does not lead follows the committed log, and leads from what it has.

use journal_core::codec;
use order_engine::Config;
use types::Seq;

use crate::support::requests::{buy, sell};
use crate::support::{Engine, Rig, replay};

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
