//! What operators order: elections forced, paused and resumed, engines drained, the subsystem restarted.
//!
//! An order with a `request_id` is done once: its answer is kept in the store for an hour, and whoever repeats it gets
//! that, from any coordinator. An order that was refused changed nothing and may be given again. Each is recorded in
//! the audit log. A dry run is the same up to where something would change.

mod once;

use std::sync::Arc;
use std::time::{Duration, Instant};

use journal_core::placement::Target;
use service_kit::clock;
use types::{Epoch, Incarnation, ShardId};
use wire::convert;
use wire::pb::consensus::v1 as pb;
use wire::status::{ApiError, ErrorCode};

use crate::coordinator::Coordinator;
use crate::metrics::Operation;
use crate::refusal;
use crate::status::policy_to_pb;
use crate::{Aim, Policy};

pub(crate) use once::{Audit, check_order};

/// How long the wish of an operator lasts, at most.
const FORCE_LASTS: Duration = Duration::from_secs(5);
/// How long a drain waits for its engine to give everything up.
const DRAIN_WAITS: Duration = Duration::from_secs(5);
/// Attempts to change a policy that others change too.
const ATTEMPTS: usize = 5;

/// How long an election that was forced is waited for, if the caller does not say.
pub(crate) const FORCE_WAITS: Duration = Duration::from_secs(10);

impl Coordinator {
    /// Waits for another leader than the present one.
    pub(crate) async fn force(
        self: &Arc<Self>,
        request: &pb::ForceElectionRequest,
        dry_run: bool,
        until: Instant,
    ) -> Result<pb::ForceElectionResponse, ApiError> {
        let shard = ShardId(request.shard);
        self.fresh().await?;
        let before = self.leader(shard);
        let (led, to) = self.successor(shard, &request.to_engine)?;
        if dry_run {
            let engine = self.desk().engine(to).map(|engine| convert::engine_to_pb(&engine));
            let after = Some(pb::ShardLeader { shard: shard.0, engine, ..pb::ShardLeader::default() });
            let before = before.engine.is_some().then_some(before);
            return Ok(pb::ForceElectionResponse { before, after, repeated_request: false });
        }
        let aim = Aim { shard, led, target: Target { engine: to, forced: true }, lasts: FORCE_LASTS, rest: None };
        let aimed = self.timed(Operation::Aim, self.store.aim(aim)).await;
        if !aimed.map_err(|error| refusal::store(shard, error))? {
            return Err(ApiError::not_ready(format!("the leader of shard {shard} changed meanwhile: try again")));
        }
        self.metrics.forced.increment(1);
        let mut readings = self.readings.subscribe();
        self.refresh().await;
        loop {
            let now = self.desk().reading.shards.get(&shard).and_then(crate::ShardState::leader);
            if now.is_some_and(|leader| leader.engine.incarnation == to) {
                let before = before.engine.is_some().then_some(before);
                let after = Some(self.leader(shard));
                return Ok(pb::ForceElectionResponse { before, after, repeated_request: false });
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || tokio::time::timeout(left, readings.changed()).await.is_err() {
                let why = "the other engine did not take the shard in time; see the status for who leads now";
                return Err(ApiError::new(ErrorCode::DeadlineExceeded, why));
            }
        }
    }

    /// Who leads now, and who shall.
    fn successor(&self, shard: ShardId, name: &str) -> Result<(Option<Epoch>, Incarnation), ApiError> {
        let desk = self.desk();
        let leader = desk.reading.shards.get(&shard).and_then(crate::ShardState::leader);
        if let Some(leader) = leader.as_ref().filter(|leader| leader.engine.name == name) {
            let why = format!("{name} leads shard {shard} already, under epoch {}", leader.epoch.number);
            return Err(ApiError::precondition(why));
        }
        if !name.is_empty() && desk.reading.policy.drained.contains(name) {
            return Err(ApiError::precondition(format!("{name} is drained: end that first")));
        }
        let not = leader.as_ref().map(|leader| leader.engine.incarnation);
        let led = leader.map(|leader| leader.epoch);
        match desk.placement.successor(shard, not, (!name.is_empty()).then_some(name)) {
            Some(engine) => Ok((led, engine)),
            None if name.is_empty() => {
                Err(ApiError::precondition("no other live engine could lead: nothing was changed"))
            }
            None => Err(ApiError::precondition(format!("no live engine is called {name}: nothing was changed"))),
        }
    }

    /// Pauses or resumes.
    pub(crate) async fn pause(
        self: &Arc<Self>,
        order: &pb::Order,
        paused: bool,
    ) -> Result<pb::SetElectionsResponse, ApiError> {
        let (policy, changed) = self
            .change_policy(order.dry_run, |policy| {
                if policy.paused != paused {
                    policy.paused = paused;
                    policy.reason = if paused { order.reason.clone() } else { String::new() };
                    policy.actor = if paused { order.actor.clone() } else { String::new() };
                    policy.since_us = if paused { clock::now_us() } else { 0 };
                }
            })
            .await?;
        Ok(pb::SetElectionsResponse { policy: Some(policy_to_pb(&policy)), changed })
    }

    /// Drains an engine and waits a while until it leads nothing, or ends that.
    pub(crate) async fn drain(
        self: &Arc<Self>,
        engine: &str,
        drain: bool,
        dry_run: bool,
    ) -> Result<pb::DrainEngineResponse, ApiError> {
        self.fresh().await?;
        if drain {
            let desk = self.desk();
            let live = |not: Option<&str>| {
                let sessions = desk.reading.engines.values().filter(|session| !session.note.away);
                let names = sessions.map(|session| session.engine.name.as_str());
                names.filter(|name| Some(*name) != not && !desk.reading.policy.drained.contains(*name)).count()
            };
            if live(Some(engine)) == 0 {
                return Err(ApiError::precondition("no other live engine could lead: nothing was changed"));
            }
        }
        let (policy, changed) = self
            .change_policy(dry_run, |policy| {
                _ = if drain { policy.drained.insert(engine.to_owned()) } else { policy.drained.remove(engine) };
            })
            .await?;
        let until = Instant::now() + DRAIN_WAITS;
        let mut readings = self.readings.subscribe();
        loop {
            let still_leading = self.led_by(engine);
            let left = until.saturating_duration_since(Instant::now());
            let done = !drain || dry_run || still_leading.is_empty() || policy.paused || left.is_zero();
            if done || tokio::time::timeout(left, readings.changed()).await.is_err() {
                return Ok(pb::DrainEngineResponse { policy: Some(policy_to_pb(&policy)), changed, still_leading });
            }
        }
    }

    /// Shards led by engines of this name.
    pub(crate) fn led_by(&self, engine: &str) -> Vec<u32> {
        let led = |leader: &pb::ShardLeader| leader.engine.as_ref().is_some_and(|leader| leader.name == engine);
        self.leaders().iter().filter(|leader| led(leader)).map(|leader| leader.shard).collect()
    }

    /// Restarts this coordinator's part of the subsystem.
    pub(crate) async fn restart_now(self: &Arc<Self>, dry_run: bool) -> Result<pb::RestartConsensusResponse, ApiError> {
        let pid = std::process::id();
        if dry_run {
            self.fresh().await?;
            return Ok(pb::RestartConsensusResponse { pid, took_ms: 0, leaders: self.leaders() });
        }
        let took = self.restart().await.map_err(|error| {
            ApiError::not_ready(format!("connections are new, but {error}; leaders go on meanwhile"))
        })?;
        let took_ms = crate::heartbeats::millis(took);
        Ok(pb::RestartConsensusResponse { pid, took_ms, leaders: self.leaders() })
    }

    /// The policy as changed, and whether that is a change.
    async fn change_policy(
        self: &Arc<Self>,
        dry_run: bool,
        change: impl Fn(&mut Policy),
    ) -> Result<(Policy, bool), ApiError> {
        for _ in 0..ATTEMPTS {
            self.fresh().await?;
            let before = self.policy();
            let mut after = before.clone();
            change(&mut after);
            if before == after {
                return Ok((after, false));
            }
            if dry_run {
                return Ok((after, true));
            }
            let set = self.timed(Operation::Policy, self.store.set_policy(&before, &after)).await;
            if set.map_err(|error| ApiError::not_ready(error.to_string()))? {
                self.refresh().await;
                return Ok((after, true));
            }
        }
        Err(ApiError::not_ready("the policy is being changed by others too: try again"))
    }

    /// Reads the store. Orders are not carried out on what may be old.
    async fn fresh(self: &Arc<Self>) -> Result<(), ApiError> {
        self.refresh().await;
        if self.desk().placement.stored().is_none() {
            return Err(ApiError::not_ready("the store does not answer (failsafe): nothing was changed"));
        }
        Ok(())
    }
}
