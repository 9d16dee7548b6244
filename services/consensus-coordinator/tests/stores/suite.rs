//! What every store must keep, whatever it is made of.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use consensus_coordinator::{Acquire, Acquired, Aim, LeaseStore, Policy, ShardState, StoreError};
use journal_core::placement::{Note, Target};
use types::{Epoch, Incarnation, ShardId};
use wire::convert::Engine;

/// Pause between two looks at what another process does: it cannot be awaited, only asked for again. Every loop that
/// does so has an end.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
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
        tokio::time::sleep(LOOK_AGAIN).await;
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
                tokio::time::sleep(LOOK_AGAIN).await;
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
    sessions(fixture).await;
    leases(fixture).await;
    restored(fixture).await;
    targets(fixture).await;
    policy(fixture).await;
    operations(fixture).await;
    shards(fixture).await;
    rush(fixture).await;
    hints(fixture).await;
}

/// A reading: asked for again while the store does not answer, as coordinators do.
pub(crate) async fn state(store: &dyn LeaseStore, shard: u32) -> ShardState {
    for _ in 0..600 {
        match store.read().await {
            Ok(reading) => return reading.shards.get(&ShardId(shard)).cloned().unwrap_or_default(),
            Err(StoreError::Unavailable(_)) => tokio::time::sleep(LOOK_AGAIN).await,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the store did not answer within 30 s");
}

pub(crate) async fn leader(store: &dyn LeaseStore, shard: u32) -> Option<Epoch> {
    state(store, shard).await.leader().map(|leader| leader.epoch)
}

async fn one_leader(fixture: &dyn Fixture) {
    let (store, other) = (fixture.store("/one").await, fixture.store("/one").await);
    assert_eq!(leader(&*store, 0).await, None);
    let held = store.acquire(wish(0, 1)).await.unwrap();
    assert_eq!(held.epoch, Epoch { number: 1, owner: Incarnation(1) });
    assert_eq!((held.ttl, held.config.generation), (TTL, 0));
    for store in [&store, &other] {
        let Err(StoreError::Held(leader)) = store.acquire(wish(0, 2)).await else { panic!("two leaders") };
        assert_eq!((leader.engine, leader.epoch), (engine(1), held.epoch));
        assert!(leader.ttl <= TTL);
    }
    assert_eq!(other.keep(&engine(1), None).await, Ok(TTL), "by any of them");
    assert!(store.endpoints().await.iter().all(|endpoint| endpoint.answer.is_ok()));
    store.renew().await.unwrap();
    assert_eq!(leader(&*store, 0).await, Some(held.epoch), "new connections change nothing");
    assert_eq!(store.keep(&engine(1), None).await, Ok(TTL));
}

async fn a_new_epoch_for_the_same_leader(fixture: &dyn Fixture) {
    let store = fixture.store("/again").await;
    let first = store.acquire(wish(0, 1)).await.unwrap().epoch;
    let second = store.acquire(wish(0, 1)).await.unwrap().epoch;
    assert_eq!(second.number, first.number + 1);
    assert_eq!(store.restore(ShardId(0), &engine(1), first).await, Ok(false), "I13: an old epoch is over");
    assert_eq!(store.end(ShardId(0), first).await, Ok(false));
    assert_eq!(leader(&*store, 0).await, Some(second), "a late release changes nothing");
}

async fn release(fixture: &dyn Fixture) {
    let store = fixture.store("/release").await;
    assert_eq!(store.end(ShardId(0), Epoch { number: 1, owner: Incarnation(1) }).await, Ok(false));
    let held = store.acquire(wish(0, 1)).await.unwrap().epoch;
    assert_eq!(store.end(ShardId(0), held).await, Ok(true));
    assert_eq!(store.end(ShardId(0), held).await, Ok(false));
    let found = state(&*store, 0).await;
    let holder = found.holder.clone().unwrap();
    assert_eq!((found.number, holder.epoch, holder.ended, found.leader()), (held.number, held, true, None));
    assert_eq!(store.restore(ShardId(0), &engine(1), held).await, Ok(false), "what was ended stays ended");
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

async fn sessions(fixture: &dyn Fixture) {
    let (store, other) = (fixture.store("/sessions").await, fixture.store("/sessions").await);
    let note = Note { away: false, cold: [ShardId(3)].into() };
    store.keep(&engine(1), Some(&note)).await.unwrap();
    let found = other.read().await.unwrap().engines;
    assert_eq!((&found[&Incarnation(1)].engine, &found[&Incarnation(1)].note), (&engine(1), &note));
    other.keep(&engine(1), None).await.unwrap();
    assert_eq!(store.read().await.unwrap().engines[&Incarnation(1)].note, note, "a sign of life alone changes no note");
    store.leave(Incarnation(1)).await.unwrap();
    store.leave(Incarnation(9)).await.unwrap();
    let left = other.read().await.unwrap().engines;
    assert!(left[&Incarnation(1)].note.away && left.len() == 1);
    other.keep(&engine(1), Some(&Note::default())).await.unwrap();
    assert!(!store.read().await.unwrap().engines[&Incarnation(1)].note.away);
    fixture.pass(TTL * 2).await;
    eventually("the session ends", || async { other.read().await.unwrap().engines.is_empty() }).await;
}

async fn leases(fixture: &dyn Fixture) {
    let store = fixture.store("/leases").await;
    let held = store.acquire(wish(0, 1)).await.unwrap().epoch;
    // Kept alive, it lasts beyond its time.
    for _ in 0..3 {
        fixture.pass(TTL / 2).await;
        store.keep(&engine(1), None).await.unwrap();
    }
    assert_eq!(leader(&*store, 0).await, Some(held));
    // Silent, it ends by itself, and a sign of life alone does not bring it back. etcd ends leases late.
    fixture.pass(TTL * 2).await;
    eventually("the lease ends", || async { leader(&*store, 0).await.is_none() }).await;
    store.keep(&engine(1), None).await.unwrap();
    let found = state(&*store, 0).await;
    assert_eq!((found.leader(), found.holder.map(|holder| holder.ended)), (None, Some(false)));
    let next = until_acquired(&*store, wish(0, 2)).await.epoch;
    assert_eq!(next, Epoch { number: held.number + 1, owner: Incarnation(2) });
    assert_eq!(store.end(ShardId(0), held).await, Ok(false));
    assert_eq!(leader(&*store, 0).await, Some(next));
}

/// Whose lease ran out goes on under the same epoch, unless somebody else was given the shard.
async fn restored(fixture: &dyn Fixture) {
    let store = fixture.store("/restored").await;
    let (one, two) = (store.acquire(wish(0, 1)).await.unwrap().epoch, store.acquire(wish(1, 1)).await.unwrap().epoch);
    assert_eq!(store.restore(ShardId(0), &engine(1), one).await, Ok(false), "it has it");
    fixture.pass(TTL * 2).await;
    eventually("the lease ends", || async { leader(&*store, 0).await.is_none() }).await;
    let stranger = Epoch { owner: Incarnation(2), ..one };
    assert_eq!(store.restore(ShardId(0), &engine(2), stranger).await, Ok(false));
    assert_eq!(store.restore(ShardId(0), &engine(1), one).await, Ok(true));
    assert_eq!(leader(&*store, 0).await, Some(one));
    until_acquired(&*store, wish(1, 2)).await;
    assert_eq!(store.restore(ShardId(1), &engine(1), two).await, Ok(false));
}

async fn targets(fixture: &dyn Fixture) {
    let store = fixture.store("/targets").await;
    let held = store.acquire(wish(0, 1)).await.unwrap().epoch;
    store.acquire(wish(1, 1)).await.unwrap();
    let target = Target { engine: Incarnation(2), forced: true };
    let aim = Aim { shard: ShardId(0), led: Some(held), target, lasts: TTL, rest: None };
    assert_eq!(store.aim(Aim { led: None, ..aim }).await, Ok(false), "somebody leads");
    assert_eq!(
        store.aim(Aim { led: Some(Epoch { number: 9, ..held }), ..aim }).await,
        Ok(false),
        "somebody else leads"
    );
    assert_eq!(store.aim(aim).await, Ok(true));
    assert_eq!(state(&*store, 0).await.target, Some(target));
    // Moves rest; what an operator wants does not.
    assert!(!store.read().await.unwrap().resting);
    let moving = Aim { rest: Some(TTL), ..aim };
    assert_eq!(store.aim(moving).await, Ok(false), "it has a target");
    store.end(ShardId(0), held).await.unwrap();
    let next = store.acquire(wish(0, 2)).await.unwrap().epoch;
    assert_eq!(state(&*store, 0).await.target, None, "who was meant has it");
    let moving = Aim { led: Some(next), target: Target { forced: false, ..target }, ..moving };
    assert_eq!(store.aim(moving).await, Ok(true));
    let other = leader(&*store, 1).await;
    assert_eq!(store.aim(Aim { shard: ShardId(1), led: other, ..moving }).await, Ok(false), "one move at a time");
    assert!(store.read().await.unwrap().resting);
    fixture.pass(TTL * 2).await;
    eventually("targets and rest end", || async {
        let reading = store.read().await.unwrap();
        !reading.resting && reading.shards[&ShardId(0)].target.is_none()
    })
    .await;
}

async fn policy(fixture: &dyn Fixture) {
    let (store, other) = (fixture.store("/policy").await, fixture.store("/policy").await);
    let none = store.read().await.unwrap().policy;
    assert_eq!(none, Policy::default());
    let paused = Policy { paused: true, reason: "night".to_owned(), since_us: 7, ..Policy::default() };
    assert_eq!(store.set_policy(&none, &paused).await, Ok(true));
    assert_eq!(other.set_policy(&none, &Policy::default()).await, Ok(false), "it was changed meanwhile");
    assert_eq!(other.read().await.unwrap().policy, paused);
}

async fn operations(fixture: &dyn Fixture) {
    let (store, other) = (fixture.store("/operations").await, fixture.store("/operations").await);
    assert_eq!(store.begin("a", "running", TTL).await, Ok(None));
    assert_eq!(other.begin("a", "mine", TTL).await, Ok(Some("running".to_owned())));
    store.finish("a", Some("done"), TTL * 10).await.unwrap();
    assert_eq!(other.begin("a", "mine", TTL).await, Ok(Some("done".to_owned())));
    other.finish("a", None, TTL).await.unwrap();
    assert_eq!(other.begin("a", "again", TTL).await, Ok(None));
    fixture.pass(TTL * 2).await;
    eventually("what nobody finished is forgotten", || async { store.begin("a", "x", TTL).await == Ok(None) }).await;
}

async fn shards(fixture: &dyn Fixture) {
    let store = fixture.store("/shards").await;
    for (shard, number) in [(12, 1), (2, 2), (0, 1)] {
        store.acquire(wish(shard, number)).await.unwrap();
    }
    let reading = store.read().await.unwrap();
    let led: Vec<_> = reading.shards.iter().map(|(shard, state)| (shard.0, state.leader().unwrap().engine)).collect();
    assert_eq!(led, [(0, engine(1)), (2, engine(2)), (12, engine(1))]);
    assert!(reading.shards.values().all(|state| state.number == 1), "every shard counts for itself");
    let before = reading.revision;
    store.end(ShardId(0), Epoch { number: 1, owner: Incarnation(1) }).await.unwrap();
    assert!(store.read().await.unwrap().revision > before);
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
        assert_eq!(fixture.store("/rush").await.end(ShardId(0), won[0]).await, Ok(true));
    }
}

/// Whoever watches is told of what another one changed.
async fn hints(fixture: &dyn Fixture) {
    let (store, other) = (fixture.store("/hints").await, fixture.store("/hints").await);
    for number in 1..=3 {
        other.acquire(Acquire { highest_promised: number * 10, ..wish(0, 1) }).await.unwrap();
        let seen = tokio::time::timeout(Duration::from_secs(30), async {
            while state(&*store, 0).await.number != number * 10 + 1 {
                store.changed().await;
            }
        });
        assert!(seen.await.is_ok(), "no hint came");
    }
}
