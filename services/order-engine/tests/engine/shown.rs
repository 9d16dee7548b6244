//! What an engine shows of itself to operators.

use crate::support::requests::buy;
use crate::support::{Engine, Rig};

/// Returns when the engine says that it is so far with leading.
async fn stands(engine: &Engine, state: &str) {
    while engine.detail("leadership-0").as_deref() != Some(state) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_far_it_is_with_leading() {
    let rig = Rig::new();
    let engine = rig.start().await;
    stands(&engine, "leading").await;
    rig.coordinator.give_to("engine-1");
    stands(&engine, "follower").await;
    // The voter's disk stands still, so that its promise for the next epoch is not given.
    rig.voter.disk.hold(true);
    rig.coordinator.free();
    stands(&engine, "fencing").await;
    rig.voter.disk.hold(false);
    engine.ready().await;
    stands(&engine, "leading").await;
    engine.stop().await;
    assert_eq!(rig.coordinator.released(), [3], "only what is held is given back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_much_memory_its_state_takes() {
    let rig = Rig::new();
    let engine = rig.start().await;
    let part = |name: &str| engine.memory.memory().components.get(&format!("order_engine.{name}-0")).copied();
    assert_eq!((part("book"), part("idempotency")), (Some(0), Some(0)));
    engine.orders().submit_order(buy(1, "o", 1000, 1)).await.unwrap();
    while part("book") == Some(0) || part("idempotency") == Some(0) {
        tokio::task::yield_now().await;
    }
    engine.stop().await;

    // Built again from the log.
    let engine = rig.start().await;
    let part = |name: &str| engine.memory.memory().components.get(&format!("order_engine.{name}-0")).copied();
    while part("book") == Some(0) || part("idempotency") == Some(0) {
        tokio::task::yield_now().await;
    }
    engine.stop().await;
}
