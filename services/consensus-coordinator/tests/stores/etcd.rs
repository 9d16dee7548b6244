//! The etcd store against a real etcd: the common suite, an etcd that stands still, an etcd that is away.

use std::time::{Duration, Instant};

use super::server::Etcd;
use super::suite::{self, Fixture, engine, wish};
use consensus_coordinator::StoreError;
use types::ShardId;

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
    etcd.signal("STOP");
    let begun = Instant::now();
    assert!(matches!(store.keep_alive(ShardId(0), &engine(1), held.epoch).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.acquire(wish(1, 2)).await, Err(StoreError::Unavailable(_))));
    assert!(store.endpoints().await.iter().all(|endpoint| endpoint.answer.is_err()));
    // A call without a limit would wait for ever; what is measured here is only that there is one.
    assert!(begun.elapsed() < Duration::from_secs(60), "took {:?}", begun.elapsed());
    etcd.signal("CONT");
    suite::eventually("the store answers again", || async { store.shards().await.is_ok() }).await;
    let again = suite::until_acquired(&*store, wish(0, 2)).await;
    assert!(again.epoch.number > held.epoch.number);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_etcd_that_is_away_is_unavailable_and_nothing_is_forgotten() {
    let mut etcd = Etcd::start().await;
    let store = etcd.store("/away").await;
    let held = store.acquire(wish(0, 1)).await.unwrap();
    etcd.kill();
    assert!(matches!(store.shards().await, Err(StoreError::Unavailable(_))));
    etcd.restart().await;
    suite::eventually("the store answers again", || async { store.shards().await.is_ok() }).await;
    let again = suite::until_acquired(&*store, wish(0, 2)).await;
    assert!(again.epoch.number > held.epoch.number, "a restarted etcd gave {} out again", again.epoch.number);
}
