//! What every store must keep, whatever it is made of.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use consensus_coordinator::{Acquire, Acquired, Kept, LeaseStore, StoreError};
use types::{Epoch, Incarnation, ShardId};
use wire::convert::Engine;

/// Lease time of all stores under test: the shortest that etcd grants as it is asked for.
pub(crate) const TTL: Duration = Duration::from_secs(2);

/// Somewhere to keep epochs, and its time.
#[async_trait]
pub(crate) trait Fixture: Sync {
    /// A store over the data called `name`: a new one, or another coordinator's view of the same.
    async fn store(&self, name: &str) -> Arc<dyn LeaseStore>;
    /// Lets time pass.
    async fn pass(&self, time: Duration);
}

pub(crate) fn engine(number: u128) -> Engine {
    Engine {
        name: format!("engine-{number}"),
        incarnation: Incarnation(number),
        address: format!("http://e{number}:1"),
    }
}

pub(crate) fn wish(shard: u32, number: u128) -> Acquire {
    Acquire { shard: ShardId(shard), engine: engine(number), highest_promised: 0 }
}

/// Waits for something that takes its own time.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    for _ in 0..600 {
        if is_so().await {
            return;
        }
        // The state of another process cannot be awaited, only asked for again; the loop has an end.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what}: not within 30 s");
}

/// Asks until the leader before is gone.
pub(crate) async fn until_acquired(store: &dyn LeaseStore, wish: Acquire) -> Acquired {
    for _ in 0..600 {
        match store.acquire(wish.clone()).await {
            Ok(acquired) => return acquired,
            Err(StoreError::Held(_) | StoreError::Unavailable(_)) => {
                // As above: another holder's lease ends when the store says so.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the lease before did not end within 30 s");
}

pub(crate) async fn run(fixture: &dyn Fixture) {
    one_leader(fixture).await;
    a_new_epoch_for_the_same_leader(fixture).await;
    release(fixture).await;
    promises(fixture).await;
    leases(fixture).await;
    shards(fixture).await;
    rush(fixture).await;
}

async fn one_leader(fixture: &dyn Fixture) {
    let (store, other) = (fixture.store("/one").await, fixture.store("/one").await);
    assert_eq!(store.shards().await, Ok(Vec::new()));
    let held = store.acquire(wish(0, 1)).await.unwrap();
    assert_eq!(held.epoch, Epoch { number: 1, owner: Incarnation(1) });
    assert_eq!((held.ttl, held.config.generation), (TTL, 0));
    for store in [&store, &other] {
        let Err(StoreError::Held(leader)) = store.acquire(wish(0, 2)).await else { panic!("two leaders") };
        assert_eq!((leader.engine, leader.epoch), (engine(1), held.epoch));
        assert!(leader.ttl <= TTL);
    }
    assert!(matches!(other.keep_alive(ShardId(0), &engine(1), held.epoch).await, Ok(Kept::Alive(_))), "by any of them");
    let stranger = Epoch { owner: Incarnation(2), ..held.epoch };
    assert_eq!(store.keep_alive(ShardId(0), &engine(2), stranger).await, Ok(Kept::Gone));
    assert!(store.endpoints().await.iter().all(|endpoint| endpoint.answer.is_ok()));
}

async fn a_new_epoch_for_the_same_leader(fixture: &dyn Fixture) {
    let store = fixture.store("/again").await;
    let first = store.acquire(wish(0, 1)).await.unwrap().epoch;
    let second = store.acquire(wish(0, 1)).await.unwrap().epoch;
    assert_eq!(second.number, first.number + 1);
    assert_eq!(store.keep_alive(ShardId(0), &engine(1), first).await, Ok(Kept::Gone), "I13: an old epoch is over");
    assert!(matches!(store.keep_alive(ShardId(0), &engine(1), second).await, Ok(Kept::Alive(_))));
    assert_eq!(store.release(ShardId(0), first).await, Ok(false));
    assert!(matches!(store.acquire(wish(0, 2)).await, Err(StoreError::Held(_))), "a late release changes nothing");
}

async fn release(fixture: &dyn Fixture) {
    let store = fixture.store("/release").await;
    assert_eq!(store.release(ShardId(0), Epoch { number: 1, owner: Incarnation(1) }).await, Ok(false));
    let held = store.acquire(wish(0, 1)).await.unwrap().epoch;
    assert_eq!(store.release(ShardId(0), held).await, Ok(true));
    assert_eq!(store.release(ShardId(0), held).await, Ok(false));
    assert_eq!(store.keep_alive(ShardId(0), &engine(1), held).await, Ok(Kept::Gone));
    let shards = store.shards().await.unwrap();
    assert_eq!((shards[0].epoch, &shards[0].leader), (held.number, &None));
    let next = store.acquire(wish(0, 2)).await.unwrap().epoch;
    assert_eq!(next, Epoch { number: held.number + 1, owner: Incarnation(2) });
}

async fn promises(fixture: &dyn Fixture) {
    let store = fixture.store("/promises").await;
    let ahead = Acquire { highest_promised: 41, ..wish(0, 1) };
    assert_eq!(store.acquire(ahead.clone()).await.unwrap().epoch.number, 42);
    assert_eq!(store.acquire(ahead).await.unwrap().epoch.number, 43, "the counter is ahead by now");
    let last = Acquire { highest_promised: u64::MAX, ..wish(0, 1) };
    assert_eq!(store.acquire(last).await, Err(StoreError::Exhausted(u64::MAX)));
}

async fn leases(fixture: &dyn Fixture) {
    let store = fixture.store("/leases").await;
    let held = store.acquire(wish(0, 1)).await.unwrap().epoch;
    // Kept alive, it lasts beyond its time.
    for _ in 0..3 {
        fixture.pass(TTL / 2).await;
        assert!(matches!(store.keep_alive(ShardId(0), &engine(1), held).await, Ok(Kept::Alive(_))));
    }
    assert!(matches!(store.acquire(wish(0, 2)).await, Err(StoreError::Held(_))));
    // Silent, it ends by itself, and stays ended: a late sign of life does not bring it back. etcd ends leases late.
    fixture.pass(TTL * 2).await;
    assert_eq!(store.keep_alive(ShardId(0), &engine(1), held).await, Ok(Kept::Gone));
    let next = until_acquired(&*store, wish(0, 2)).await.epoch;
    assert_eq!(next, Epoch { number: held.number + 1, owner: Incarnation(2) });
    assert_eq!(store.keep_alive(ShardId(0), &engine(1), held).await, Ok(Kept::Gone));
    assert_eq!(store.release(ShardId(0), held).await, Ok(false));
    assert!(matches!(store.keep_alive(ShardId(0), &engine(2), next).await, Ok(Kept::Alive(_))));
}

async fn shards(fixture: &dyn Fixture) {
    let store = fixture.store("/shards").await;
    for (shard, number) in [(12, 1), (2, 2), (0, 1)] {
        store.acquire(wish(shard, number)).await.unwrap();
    }
    let shards = store.shards().await.unwrap();
    let led: Vec<_> =
        shards.iter().map(|shard| (shard.shard.0, shard.leader.as_ref().unwrap().engine.clone())).collect();
    assert_eq!(led, [(0, engine(1)), (2, engine(2)), (12, engine(1))]);
    assert!(shards.iter().all(|shard| shard.epoch == 1), "every shard counts for itself");
}

/// Many at once: one wins, and no number is ever given out twice.
async fn rush(fixture: &dyn Fixture) {
    let mut numbers = BTreeSet::new();
    for _ in 0..5 {
        let mut asking = Vec::new();
        for number in 1..=8 {
            let store = fixture.store("/rush").await;
            asking.push(tokio::spawn(async move { store.acquire(wish(0, number)).await }));
        }
        let mut won = Vec::new();
        for answer in asking {
            match answer.await.unwrap() {
                Ok(acquired) => won.push(acquired.epoch),
                Err(StoreError::Held(_) | StoreError::Contended) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(won.len(), 1, "{won:?}");
        assert!(numbers.insert(won[0].number), "epoch {} twice", won[0].number);
        assert_eq!(fixture.store("/rush").await.release(ShardId(0), won[0]).await, Ok(true));
    }
}
