//! What a coordinator says of leaders, engines, policy and store.

use std::collections::BTreeMap;
use std::time::Duration;

use types::{Incarnation, ShardId};
use wire::convert;
use wire::convert::Engine;
use wire::pb::consensus::v1 as pb;

use crate::coordinator::{Coordinator, Desk};
use crate::heartbeats::millis;
use crate::{EndpointHealth, Policy, ShardState};

impl Coordinator {
    /// Leaders of all shards, ascending.
    pub(crate) fn leaders(&self) -> Vec<pb::ShardLeader> {
        let desk = self.desk();
        self.shards.iter().map(|shard| leader(&desk, ShardId(*shard))).collect()
    }

    /// The leader of one shard.
    pub(crate) fn leader(&self, shard: ShardId) -> pb::ShardLeader {
        leader(&self.desk(), shard)
    }

    pub(crate) fn policy(&self) -> Policy {
        self.desk().reading.policy.clone()
    }

    pub(crate) fn status(&self) -> pb::GetConsensusStatusResponse {
        let leaders = self.leaders();
        let now = self.now();
        let desk = self.desk();
        pb::GetConsensusStatusResponse {
            coordinator: self.name.clone(),
            store: self.store.kind().to_owned(),
            leaders,
            endpoints: desk.endpoints.iter().map(endpoint).collect(),
            store_healthy: desk.failsafe_since_us.is_none(),
            failsafe_since_us: desk.failsafe_since_us.unwrap_or(0),
            engines: engines(&desk, now),
            policy: Some(policy_to_pb(&desk.reading.policy)),
        }
    }
}

impl Desk {
    /// An engine that the store or this coordinator knows.
    pub(crate) fn engine(&self, incarnation: Incarnation) -> Option<Engine> {
        let stored = self.reading.engines.get(&incarnation).map(|session| &session.engine);
        stored.or_else(|| self.engines.get(&incarnation).map(|known| &known.engine)).cloned()
    }
}

fn leader(desk: &Desk, shard: ShardId) -> pb::ShardLeader {
    let led = desk.reading.shards.get(&shard).and_then(ShardState::leader);
    let Some(leader) = led else { return pb::ShardLeader { shard: shard.0, ..pb::ShardLeader::default() } };
    let known = desk.engines.get(&leader.engine.incarnation);
    let beat = known.and_then(|known| known.beats.iter().find(|beat| beat.shard == shard.0));
    pb::ShardLeader {
        shard: shard.0,
        engine: Some(convert::engine_to_pb(&leader.engine)),
        epoch: Some(convert::epoch_to_pb(leader.epoch)),
        ttl_ms: millis(leader.ttl.saturating_sub(desk.read_at.elapsed())),
        commit_seq: beat.map_or(0, |beat| beat.commit_seq),
        applied_seq: beat.map_or(0, |beat| beat.applied_seq),
    }
}

fn engines(desk: &Desk, now: Duration) -> Vec<pb::EngineStatus> {
    let mut all: BTreeMap<Incarnation, &Engine> =
        desk.reading.engines.iter().map(|(id, session)| (*id, &session.engine)).collect();
    all.extend(desk.engines.iter().map(|(id, known)| (*id, &known.engine)));
    let status = |(id, engine): (Incarnation, &Engine)| {
        let heard = desk.placement.streams().get(&id);
        let mut shards = desk.engines.get(&id).map(|known| known.beats.clone()).unwrap_or_default();
        shards.sort_by_key(|beat| beat.shard);
        pb::EngineStatus {
            engine: Some(convert::engine_to_pb(engine)),
            connected: heard.is_some_and(|stream| stream.open),
            silent_ms: heard.map_or(0, |stream| millis(now.saturating_sub(stream.heard))),
            draining: desk.reading.policy.drained.contains(&engine.name),
            shards,
        }
    };
    let mut engines: Vec<pb::EngineStatus> = all.into_iter().map(status).collect();
    engines.sort_by(|one, other| {
        let name = |status: &pb::EngineStatus| status.engine.as_ref().map(|engine| engine.name.clone());
        name(one).cmp(&name(other))
    });
    engines
}

pub(crate) fn policy_to_pb(policy: &Policy) -> pb::ElectionPolicy {
    pb::ElectionPolicy {
        paused: policy.paused,
        reason: policy.reason.clone(),
        actor: policy.actor.clone(),
        since_us: policy.since_us,
        drained_engines: policy.drained.iter().cloned().collect(),
    }
}

fn endpoint(endpoint: &EndpointHealth) -> pb::StoreEndpoint {
    let (latency, error) = match &endpoint.answer {
        Ok(latency) => (*latency, String::new()),
        Err(error) => (Duration::ZERO, error.clone()),
    };
    pb::StoreEndpoint {
        address: endpoint.address.clone(),
        healthy: error.is_empty(),
        latency_us: u64::try_from(latency.as_micros()).unwrap_or(u64::MAX),
        error,
    }
}
