//! The etcd store against a real etcd: the common suite, an etcd that stands still, an etcd that is away.

use std::time::{Duration, Instant};

use super::server::Etcd;
use super::suite::{self, Fixture, engine, wish};
use consensus_coordinator::StoreError;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_what_every_store_keeps() {
    let etcd = Etcd::start().await;
    suite::run(&etcd).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_comes_with_the_voters_of_its_transaction() {
    let etcd = Etcd::start().await;
    let store = etcd.store("/voters").await;
    let config = r#"{"generation":4,"current":[{"gateway":"g1","disk":"0a"},{"gateway":"g2","disk":"0b"}]}"#;
    etcd.put("/voters/s/0/config", config).await;
    let acquired = store.acquire(wish(0, 1)).await.unwrap();
    assert_eq!(acquired.config.generation, 4);
    assert_eq!(acquired.config.current[1].disk_id, 11);
    etcd.put("/voters/s/0/config", "not json").await;
    assert!(matches!(store.acquire(wish(0, 1)).await, Err(StoreError::Corrupt(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clusters_with_other_prefixes_do_not_meet() {
    let etcd = Etcd::start().await;
    let (one, other) = (etcd.store("/one").await, etcd.store("/other").await);
    one.acquire(wish(0, 1)).await.unwrap();
    assert_eq!(other.acquire(wish(0, 2)).await.unwrap().epoch.number, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_etcd_that_stands_still_is_unavailable_and_comes_back() {
    let etcd = Etcd::start().await;
    let store = etcd.store("/frozen").await;
    let held = store.acquire(wish(0, 1)).await.unwrap();
    etcd.signal(0, "STOP");
    let begun = Instant::now();
    assert!(matches!(store.keep(&engine(1), None).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.acquire(wish(1, 2)).await, Err(StoreError::Unavailable(_))));
    assert!(store.endpoints().await.iter().all(|endpoint| endpoint.answer.is_err()));
    // A call without a limit would wait for ever; what is measured here is only that there is one.
    assert!(begun.elapsed() < Duration::from_secs(60), "took {:?}", begun.elapsed());
    etcd.signal(0, "CONT");
    suite::eventually("the store answers again", || async { store.read().await.is_ok() }).await;
    let again = suite::until_acquired(&*store, wish(0, 2)).await;
    assert!(again.epoch.number > held.epoch.number);
}

/// etcd closes connections that ask too often whether it lives, and a call that comes at that moment is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_connection_is_kept() {
    let etcd = Etcd::start().await;
    let store = etcd.store("/silent").await;
    store.read().await.unwrap();
    let before = etcd.connections();
    assert!(!before.is_empty());
    // etcd closes at the third sign of life within 5 s of the one before.
    tokio::time::sleep(Duration::from_secs(8)).await;
    let after = etcd.connections();
    assert!(before.iter().all(|port| after.contains(port)), "had {before:?}, has {after:?}");
}

/// With a limit of 5 s for a call, none fails because one member of three stands still.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_stands_still_fails_no_call() {
    let etcd = Etcd::start_with(3).await;
    let store = etcd.store("/still").await;
    for still in 0..3 {
        etcd.signal(still, "STOP");
        for _ in 0..20 {
            store.keep(&engine(1), None).await.unwrap();
            store.read().await.unwrap();
        }
        etcd.signal(still, "CONT");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_etcd_that_is_away_is_unavailable_and_nothing_is_forgotten() {
    let mut etcd = Etcd::start().await;
    let store = etcd.store("/away").await;
    let held = store.acquire(wish(0, 1)).await.unwrap();
    etcd.kill(0);
    assert!(matches!(store.read().await, Err(StoreError::Unavailable(_))));
    etcd.restart().await;
    suite::eventually("the store answers again", || async { store.read().await.is_ok() }).await;
    let again = suite::until_acquired(&*store, wish(0, 2)).await;
    assert!(again.epoch.number > held.epoch.number, "a restarted etcd gave {} out again", again.epoch.number);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_keep_what_every_store_keeps() {
    let etcd = Etcd::start_with(3).await;
    suite::run(&etcd).await;
}

/// The loss of a member, of the one that leads, and of all: epochs ascend, and who led goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_loses_members_forgets_nothing() {
    let mut etcd = Etcd::start_with(3).await;
    let store = etcd.store("/members").await;
    let held = store.acquire(wish(0, 1)).await.unwrap().epoch;
    let leads = etcd.leader().await;
    for lost in [(leads + 1) % 3, leads] {
        etcd.kill(lost);
        suite::eventually("two of three answer", || async { store.keep(&engine(1), None).await.is_ok() }).await;
        assert_eq!(suite::leader(&*store, 0).await, Some(held));
        assert!(store.endpoints().await[lost].answer.is_err());
        etcd.start_again(lost);
        suite::eventually("all answer", || async {
            store.endpoints().await.iter().all(|endpoint| endpoint.answer.is_ok())
        })
        .await;
    }
    (0..3).for_each(|member| etcd.kill(member));
    assert!(matches!(store.read().await, Err(StoreError::Unavailable(_))));
    (0..3).for_each(|member| etcd.start_again(member));
    // Whether or not its lease has run out meanwhile.
    suite::eventually("the leader goes on", || async {
        let _ = store.restore(types::ShardId(0), &engine(1), held).await;
        store.read().await.is_ok() && suite::leader(&*store, 0).await == Some(held)
    })
    .await;
    let next = suite::until_acquired(&*store, wish(0, 1)).await.epoch;
    assert_eq!(next.number, held.number + 1);
}
