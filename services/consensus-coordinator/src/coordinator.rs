//! What the coordinator does with its store: gives leaderships, keeps them for engines that live, tells the deposed,
//! and remembers what it saw last, for when the store is away.
//!
//! Deliberately absent: gRPC, and any timer that renews a lease by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use service_kit::{Component, clock};
use types::{Epoch, ShardId};
use wire::convert::Engine;
use wire::pb::orders::v1::LeaderHint;
use wire::status::{ApiError, ErrorCode};

use crate::metrics::{CoordinatorMetrics, Operation};
use crate::{Acquire, Acquired, EndpointHealth, Kept, LeaseStore, ShardState, StoreError};

/// A lease is not renewed more often than this, however many streams an engine opens.
const RENEWAL_PAUSE: Duration = Duration::from_millis(300);

/// The coordinator of one process.
#[derive(Debug)]
pub(crate) struct Coordinator {
    store: Arc<dyn LeaseStore>,
    component: Component,
    metrics: CoordinatorMetrics,
    /// Limit of an acquisition: an engine waits three seconds for it.
    acquire_limit: Duration,
    seen: Mutex<Seen>,
}

/// What was seen last.
#[derive(Debug, Default)]
struct Seen {
    shards: BTreeMap<ShardId, SeenShard>,
    endpoints: Vec<EndpointHealth>,
    /// Since when the store does not answer, wall clock.
    failsafe_since_us: Option<u64>,
    told: BTreeSet<(ShardId, u64)>,
}

#[derive(Clone, Debug)]
struct SeenShard {
    state: ShardState,
    at: Instant,
    progress: Progress,
    renewed: Option<(Epoch, Instant)>,
}

/// How far a leader says it is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) commit: u64,
    pub(crate) applied: u64,
}

/// A shard as far as is known.
#[derive(Clone, Debug)]
pub(crate) struct ShardView {
    pub(crate) state: ShardState,
    pub(crate) progress: Progress,
}

/// How the store is.
#[derive(Clone, Debug)]
pub(crate) struct StoreView {
    pub(crate) kind: &'static str,
    pub(crate) endpoints: Vec<EndpointHealth>,
    pub(crate) failsafe_since_us: Option<u64>,
}

impl Coordinator {
    pub(crate) fn new(store: Arc<dyn LeaseStore>, component: Component, acquire_limit: Duration) -> Self {
        component.detail("store", store.kind());
        Self { store, component, metrics: CoordinatorMetrics::new(), acquire_limit, seen: Mutex::default() }
    }

    pub(crate) async fn acquire(&self, request: Acquire) -> Result<Acquired, ApiError> {
        let (shard, name) = (request.shard, request.engine.name.clone());
        let limited = async {
            let acquired = tokio::time::timeout(self.acquire_limit, self.store.acquire(request.clone())).await;
            acquired.unwrap_or_else(|_| Err(StoreError::Unavailable("no answer in time".to_owned())))
        };
        let acquired = self.timed(Operation::Acquire, limited).await.map_err(|error| to_api(shard, error))?;
        self.metrics.elections.increment(1);
        tracing::info!(%shard, engine = name, epoch = acquired.epoch.number, "consensus: election won, new leader");
        let leader = crate::Leader { engine: request.engine, epoch: acquired.epoch, ttl: acquired.ttl };
        self.saw(ShardState { shard, epoch: acquired.epoch.number, leader: Some(leader) });
        Ok(acquired)
    }

    pub(crate) async fn release(&self, shard: ShardId, engine: &Engine, epoch: Epoch) -> Result<bool, ApiError> {
        let released = self.timed(Operation::Release, self.store.release(shard, epoch)).await;
        let released = released.map_err(|error| to_api(shard, error))?;
        if released {
            let (name, epoch) = (&engine.name, epoch.number);
            tracing::info!(%shard, engine = name, epoch, "consensus: leader resigned, election open");
            self.saw_after(ShardState { shard, epoch, leader: None }, true);
        }
        Ok(released)
    }

    /// A sign of life of an engine that leads. `None` while the store is away: nothing is known, the engine goes on.
    pub(crate) async fn alive(&self, shard: ShardId, engine: &Engine, epoch: Epoch, at: Progress) -> Option<Kept> {
        let recent = {
            let mut seen = self.seen();
            let shard = seen.shards.get_mut(&shard);
            shard.and_then(|seen| {
                if seen.state.leader.as_ref().is_some_and(|leader| leader.epoch == epoch) {
                    seen.progress = at;
                }
                seen.renewed.filter(|(renewed, when)| *renewed == epoch && when.elapsed() < RENEWAL_PAUSE)?;
                let leader = seen.state.leader.as_ref()?;
                Some(Kept::Alive(leader.ttl.saturating_sub(seen.at.elapsed())))
            })
        };
        if recent.is_some() {
            return recent;
        }
        let kept = self.timed(Operation::KeepAlive, self.store.keep_alive(shard, engine, epoch)).await.ok()?;
        match &kept {
            Kept::Alive(ttl) => {
                let leader = crate::Leader { engine: engine.clone(), epoch, ttl: *ttl };
                self.saw(ShardState { shard, epoch: epoch.number, leader: Some(leader) });
                if let Some(seen) = self.seen().shards.get_mut(&shard) {
                    seen.renewed = Some((epoch, Instant::now()));
                    seen.progress = at;
                }
            }
            Kept::Gone => {
                if self.seen().told.insert((shard, epoch.number)) {
                    self.metrics.depositions.increment(1);
                    let (name, epoch) = (&engine.name, epoch.number);
                    tracing::warn!(%shard, engine = name, epoch, "consensus: leader deposed, its lease is gone");
                }
            }
        }
        Some(kept)
    }

    /// Looks at the store, whether or not anybody asks.
    pub(crate) async fn look(&self) {
        let endpoints = self.store.endpoints().await;
        self.seen().endpoints = endpoints;
        let Ok(shards) = self.timed(Operation::Read, self.store.shards()).await else { return };
        for state in shards {
            self.saw(state);
        }
    }

    /// All shards as far as is known, ascending.
    pub(crate) fn shards(&self) -> Vec<ShardView> {
        let seen = self.seen();
        let away = seen.failsafe_since_us.is_some();
        let view = |seen: &SeenShard| {
            let mut state = seen.state.clone();
            if let Some(leader) = &mut state.leader {
                leader.ttl = leader.ttl.saturating_sub(seen.at.elapsed());
            }
            // A lease known to have run out is no leadership, unless nobody could have renewed it.
            if !away {
                state.leader = state.leader.filter(|leader| !leader.ttl.is_zero());
            }
            ShardView { state, progress: seen.progress }
        };
        seen.shards.values().map(view).collect()
    }

    pub(crate) fn store(&self) -> StoreView {
        let seen = self.seen();
        StoreView {
            kind: self.store.kind(),
            endpoints: seen.endpoints.clone(),
            failsafe_since_us: seen.failsafe_since_us,
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a shard's state, and says so in the log if somebody else leads now.
    fn saw(&self, state: ShardState) {
        self.saw_after(state, false);
    }

    /// As [`Self::saw`]; a leader that `resigned` is no reason to warn, and was told of already.
    fn saw_after(&self, state: ShardState, resigned: bool) {
        let shard = state.shard;
        let mut seen = self.seen();
        let before = seen.shards.get(&shard).cloned();
        let was = before.as_ref().and_then(|before| before.state.leader.as_ref()).map(|leader| leader.epoch);
        let is = state.leader.as_ref().map(|leader| leader.epoch);
        if before.as_ref().is_some_and(|before| before.state.epoch > state.epoch) {
            // A reading that began before a newer one ended.
            return;
        }
        let same = was == is;
        let progress = before.as_ref().filter(|_| same).map(|before| before.progress).unwrap_or_default();
        let renewed = before.and_then(|before| before.renewed).filter(|(epoch, _)| Some(*epoch) == is);
        if !same {
            match &state.leader {
                Some(leader) => {
                    let (name, epoch) = (&leader.engine.name, leader.epoch.number);
                    self.component.detail(format!("leader_{shard}"), name);
                    tracing::info!(%shard, engine = name, epoch, "consensus: leader of the shard");
                }
                None => {
                    self.component.detail(format!("leader_{shard}"), "none");
                    if !resigned {
                        tracing::warn!(%shard, epoch = state.epoch, "consensus: no leader, election open");
                    }
                }
            }
        }
        seen.shards.insert(shard, SeenShard { state, at: Instant::now(), progress, renewed });
        // Only the newest epochs can still be told of.
        while seen.told.len() > 64 {
            seen.told.pop_first();
        }
    }

    async fn timed<T>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let begun = Instant::now();
        let result = call.await;
        self.metrics.record(operation, begun.elapsed(), result.as_ref().err());
        match result.as_ref().err() {
            Some(error @ (StoreError::Unavailable(_) | StoreError::Corrupt(_))) => self.store_failed(error),
            _ => self.store_answered(),
        }
        result
    }

    fn store_failed(&self, error: &StoreError) {
        let first = {
            let mut seen = self.seen();
            let first = seen.failsafe_since_us.is_none();
            seen.failsafe_since_us.get_or_insert_with(clock::now_us);
            first
        };
        if first {
            self.metrics.failsafe.set(1.0);
            self.component.degraded(format!("failsafe: {error}; leaders go on, no election is possible"));
            tracing::warn!(%error, "consensus: store away, leaders go on under failsafe, no election is possible");
        }
    }

    fn store_answered(&self) {
        let was_away = self.seen().failsafe_since_us.take().is_some();
        if was_away {
            tracing::info!("consensus: store answers again, elections are possible");
        }
        self.metrics.failsafe.set(0.0);
        self.component.ok();
    }
}

fn to_api(shard: ShardId, error: StoreError) -> ApiError {
    match error {
        StoreError::Held(leader) => ApiError::leadership_held(LeaderHint {
            shard: shard.0,
            engine: leader.engine.name,
            address: leader.engine.address,
            epoch: leader.epoch.number,
        }),
        StoreError::Unavailable(_) | StoreError::Contended => ApiError::not_ready(error.to_string()),
        StoreError::Corrupt(_) => ApiError::new(ErrorCode::DataLoss, error.to_string()),
        StoreError::Exhausted(_) => ApiError::invalid("highest_promised", error),
    }
}
