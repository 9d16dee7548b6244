//! A coordinator: what it hears of engines and reads in the store goes into the rules of placement, and what they say
//! is done.
//!
//! Deliberately absent: the rules, which are in `journal_core::placement`; gRPC; and any timer that renews a lease by
//! itself.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use journal_core::placement::{Effect, Input, Placement, Timing};
use service_kit::audit::{Act, Audit};
use service_kit::{Component, clock};
use tokio::sync::{mpsc, watch};
use types::{Epoch, Incarnation, ShardId};
use wire::convert::Engine;
use wire::pb::consensus::v1 as pb;
use wire::status::ApiError;

use crate::heartbeats::{KnownEngine, Push};
use crate::metrics::{CoordinatorMetrics, Operation};
use crate::refusal;
use crate::voters::Voters;
use crate::{Acquire, Acquired, EndpointHealth, Holder, LeaseStore, Reading, ShardState, StoreError};

/// The coordinator of one process.
#[derive(Debug)]
pub(crate) struct Coordinator {
    pub(crate) name: String,
    pub(crate) store: Arc<dyn LeaseStore>,
    /// Shards that have leaders.
    pub(crate) shards: Arc<[u32]>,
    pub(crate) voters: Voters,
    pub(crate) metrics: CoordinatorMetrics,
    pub(crate) timing: Timing,
    /// Orders of operators and changes of leaders are recorded in it.
    pub(crate) audit: Audit,
    component: Component,
    /// Limit of an acquisition: an engine waits three seconds for it.
    acquire_limit: Duration,
    begun: Instant,
    desk: Mutex<Desk>,
    /// One reading at a time.
    reading: tokio::sync::Mutex<()>,
    /// Counts readings, for whoever waits for one.
    pub(crate) readings: watch::Sender<u64>,
    /// Counts restarts; streams end with them.
    pub(crate) restarts: watch::Sender<u64>,
    streams: AtomicU64,
}

/// What is known, and who is there.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) placement: Placement,
    pub(crate) reading: Reading,
    /// When it was read.
    pub(crate) read_at: Instant,
    pub(crate) engines: BTreeMap<Incarnation, KnownEngine>,
    pub(crate) endpoints: Vec<EndpointHealth>,
    /// Since when the store does not answer, wall clock.
    pub(crate) failsafe_since_us: Option<u64>,
    /// What is being done, so that it is not done twice at once.
    pub(crate) busy: BTreeSet<(&'static str, ShardId, Incarnation)>,
}

impl Coordinator {
    pub(crate) fn new(
        name: String,
        store: Arc<dyn LeaseStore>,
        (shards, voters, timing): (Arc<[u32]>, Voters, Timing),
        (component, audit): (Component, Audit),
        acquire_limit: Duration,
    ) -> Self {
        component.detail("store", store.kind());
        let desk = Desk {
            placement: Placement::new(timing),
            reading: Reading::default(),
            read_at: Instant::now(),
            engines: BTreeMap::new(),
            endpoints: Vec::new(),
            failsafe_since_us: None,
            busy: BTreeSet::new(),
        };
        Self {
            name,
            store,
            shards,
            voters,
            metrics: CoordinatorMetrics::new(),
            timing,
            audit,
            component,
            acquire_limit,
            begun: Instant::now(),
            desk: Mutex::new(desk),
            reading: tokio::sync::Mutex::default(),
            readings: watch::Sender::new(0),
            restarts: watch::Sender::new(0),
            streams: AtomicU64::new(1),
        }
    }

    pub(crate) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time that the rules go by.
    pub(crate) fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// A number for a new stream of signs of life.
    pub(crate) fn next_stream(&self) -> u64 {
        self.streams.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) async fn acquire(self: &Arc<Self>, request: Acquire) -> Result<Acquired, ApiError> {
        let (shard, engine) = (request.shard, request.engine.clone());
        let allowed = self.desk().placement.may_acquire(shard, engine.incarnation, &engine.name);
        if let Err(denial) = allowed {
            self.metrics.denied.increment(1);
            return Err(refusal::denied(shard, denial, &self.desk().reading));
        }
        let limited = async {
            let acquired = tokio::time::timeout(self.acquire_limit, self.store.acquire(request)).await;
            acquired.unwrap_or_else(|_| Err(StoreError::Unavailable("no answer in time".to_owned())))
        };
        let acquired = self.timed(Operation::Acquire, limited).await.map_err(|error| refusal::store(shard, error))?;
        self.metrics.elections.increment(1);
        let (name, epoch) = (&engine.name, acquired.epoch.number);
        tracing::info!(%shard, engine = name, epoch, "consensus: election won, new leader");
        self.note_leader("leadership.acquired", shard, name, epoch);
        let lease = Some(acquired.ttl);
        let holder = Some(Holder { engine, epoch: acquired.epoch, ended: false });
        self.patch(shard, ShardState { number: epoch, holder, lease, target: None });
        self.refresh_soon();
        Ok(acquired)
    }

    pub(crate) async fn release(
        self: &Arc<Self>,
        shard: ShardId,
        engine: &Engine,
        epoch: Epoch,
    ) -> Result<bool, ApiError> {
        let released = self.timed(Operation::End, self.store.end(shard, epoch)).await;
        let released = released.map_err(|error| refusal::store(shard, error))?;
        if released {
            let (name, epoch) = (&engine.name, epoch.number);
            tracing::info!(%shard, engine = name, epoch, "consensus: leader resigned, election open");
            self.note_leader("leadership.released", shard, name, epoch);
        }
        self.ended(shard, epoch);
        Ok(released)
    }

    /// The history of leaderships: no operator's act, but what explains one.
    fn note_leader(&self, action: &'static str, shard: ShardId, engine: &str, epoch: u64) {
        let after = serde_json::json!({ "engine": engine, "epoch": epoch });
        self.audit.record(Act { target: format!("shard {shard}"), after, ..Act::system(action) });
    }

    /// A leadership is over: the next one need not wait for the next reading.
    pub(crate) fn ended(self: &Arc<Self>, shard: ShardId, epoch: Epoch) {
        let state = self.desk().reading.shards.get(&shard).cloned();
        if let Some(mut state) = state
            && let Some(holder) = state.holder.as_mut().filter(|holder| holder.epoch == epoch)
        {
            holder.ended = true;
            state.lease = None;
            self.patch(shard, state);
        }
        self.refresh_soon();
    }

    /// What was just done is known before it is read.
    fn patch(self: &Arc<Self>, shard: ShardId, state: ShardState) {
        let mut reading = self.desk().reading.clone();
        reading.shards.insert(shard, state);
        self.has_read(reading);
    }

    /// Reads the store, without being waited for.
    pub(crate) fn refresh_soon(self: &Arc<Self>) {
        let this = Arc::clone(self);
        tokio::spawn(async move { this.refresh().await });
    }

    /// Reads the store.
    pub(crate) async fn refresh(self: &Arc<Self>) {
        let _one = self.reading.lock().await;
        match self.timed(Operation::Read, self.store.read()).await {
            Ok(reading) => self.has_read(reading),
            Err(_) => self.feed(Input::StoreAway),
        }
        self.readings.send_modify(|count| *count += 1);
    }

    /// Asks the endpoints how they are.
    pub(crate) async fn look(&self) {
        let endpoints = self.store.endpoints().await;
        self.desk().endpoints = endpoints;
    }

    fn has_read(self: &Arc<Self>, reading: Reading) {
        let stored = {
            let mut desk = self.desk();
            if reading.revision < desk.reading.revision {
                return;
            }
            for shard in self.shards.iter() {
                self.compare(ShardId(*shard), &desk.reading, &reading);
            }
            self.compare_policy(&desk.reading, &reading);
            let leaderless = self.shards.iter().filter(|shard| leader(&reading, ShardId(**shard)).is_none()).count();
            self.metrics.read(&reading, leaderless);
            desk.reading = reading;
            desk.read_at = Instant::now();
            desk.reading.for_placement(&self.shards)
        };
        self.feed(Input::Stored(Box::new(stored)));
    }

    /// Says in the log what changed.
    fn compare(&self, shard: ShardId, before: &Reading, after: &Reading) {
        let (was, is) = (leader(before, shard), leader(after, shard));
        if was.as_ref().map(|leader| leader.1) == is.as_ref().map(|leader| leader.1) {
            return;
        }
        match is {
            Some((engine, epoch)) => {
                self.component.detail(format!("leader_{shard}"), &engine.name);
                tracing::info!(%shard, engine = engine.name, epoch = epoch.number, "consensus: leader of the shard");
            }
            None => {
                self.component.detail(format!("leader_{shard}"), "none");
                let state = after.shards.get(&shard);
                let ended = state.and_then(|state| state.holder.as_ref()).is_some_and(|holder| holder.ended);
                // Who resigned or was deposed was told of already.
                if !ended {
                    let epoch = was.map_or(0, |(_, epoch)| epoch.number);
                    tracing::warn!(%shard, epoch, "consensus: the lease of the leader ran out, election open");
                }
            }
        }
    }

    fn compare_policy(&self, before: &Reading, after: &Reading) {
        if before.policy.paused != after.policy.paused {
            let paused = after.policy.paused;
            tracing::info!(paused, reason = after.policy.reason, "consensus: elections paused or resumed");
        }
        if before.policy.drained != after.policy.drained {
            tracing::info!(drained = ?after.policy.drained, "consensus: other engines are drained");
        }
    }

    /// Puts an input into the rules and does what they say.
    pub(crate) fn feed(self: &Arc<Self>, input: Input) {
        let effects = self.step(input);
        self.carry_out(effects);
    }

    pub(crate) fn step(&self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.desk().placement.step(self.now(), input, &mut effects);
        effects
    }

    /// Makes everything anew but the process: connections, watches, streams, memory.
    pub(crate) async fn restart(self: &Arc<Self>) -> Result<Duration, StoreError> {
        let begun = Instant::now();
        {
            let mut desk = self.desk();
            desk.placement = Placement::new(self.timing);
            desk.engines.clear();
            desk.busy.clear();
        }
        self.restarts.send_modify(|count| *count += 1);
        self.store.renew().await?;
        let reading = self.timed(Operation::Read, self.store.read()).await?;
        self.has_read(reading);
        Ok(begun.elapsed())
    }

    pub(crate) async fn timed<T>(
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
            let mut desk = self.desk();
            let first = desk.failsafe_since_us.is_none();
            desk.failsafe_since_us.get_or_insert_with(clock::now_us);
            first
        };
        if first {
            self.metrics.failsafe.set(1.0);
            self.component.degraded(format!("failsafe: {error}; leaders go on, no election is possible"));
            tracing::warn!(%error, "consensus: store away, leaders go on under failsafe, no election is possible");
        }
    }

    fn store_answered(&self) {
        let was_away = self.desk().failsafe_since_us.take().is_some();
        if was_away {
            tracing::info!("consensus: store answers again, elections are possible");
        }
        self.metrics.failsafe.set(0.0);
        self.component.ok();
    }

    /// Sends to an engine whose stream is here. What does not fit is said again.
    pub(crate) fn push(&self, engine: Incarnation, response: pb::HeartbeatResponse) {
        let push: Option<mpsc::Sender<Push>> = self.desk().engines.get(&engine).map(|known| known.push.clone());
        if let Some(push) = push {
            let _ = push.try_send(response);
        }
    }
}

fn leader(reading: &Reading, shard: ShardId) -> Option<(Engine, Epoch)> {
    let leader = reading.shards.get(&shard)?.leader()?;
    Some((leader.engine, leader.epoch))
}
