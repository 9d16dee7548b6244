//! The parts of the consensus view: shards with their leaders and standbys, coordinators, policy, store.

use std::collections::BTreeMap;

use serde::Serialize;
use wire::pb::consensus::v1 as pb;

use super::given;
use super::rfc3339;
use crate::targets::Asked;

/// Leadership of one shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShardView {
    /// Number of the shard.
    pub shard: u32,
    /// Name of the leader; null if there is none.
    pub leader_id: Option<String>,
    /// Its gRPC address.
    pub leader_address: Option<String>,
    /// Its epoch.
    pub term: Option<u64>,
    /// Time left on its lease, milliseconds.
    pub lease_ttl_ms: Option<u64>,
    /// Highest committed seq it reported.
    pub commit_index: Option<u64>,
    /// Highest applied seq it reported.
    pub applied_index: Option<u64>,
    /// The other engines, by name.
    pub standbys: Vec<StandbyView>,
}

/// An engine that does not lead the shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StandbyView {
    /// Its name.
    pub engine: String,
    /// "loading", "standby", "opening", "leader", "draining", "diverged", or "unknown".
    pub role: String,
    /// Highest applied seq it reported.
    pub applied_index: u64,
    /// How many entries it is behind the leader's commit; null without a leader.
    pub lag: Option<u64>,
    /// Last seq at which its state was compared with the digest in the log; null if never.
    pub state_hash_seq: Option<u64>,
    /// "ok", "diverged", or "unchecked".
    pub state_hash: &'static str,
    /// Whether it follows the shard's journal.
    pub journal_reachable: bool,
    /// Since its last sign of life, milliseconds.
    pub silent_ms: u64,
}

/// One coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CoordinatorView {
    /// Name under which this instance knows it.
    pub target: String,
    /// Name it gives itself; null if it did not answer.
    pub instance: Option<String>,
    /// Whether its store answers it; null if it did not answer.
    pub store_healthy: Option<bool>,
    /// Since when its store does not answer; null if it does.
    pub failsafe_since: Option<String>,
    /// Why there is no answer; null if there is one.
    pub error: Option<String>,
    /// How long the question took, microseconds.
    pub latency_us: u64,
}

/// What operators ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyView {
    /// Whether automatic elections rest.
    pub paused: bool,
    /// Since when; null if they do not rest.
    pub paused_since: Option<String>,
    /// Why; null if not said.
    pub reason: Option<String>,
    /// Who ordered it; null if not said.
    pub actor: Option<String>,
    /// Names of engines that get no leadership.
    pub drained_engines: Vec<String>,
}

/// The store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoreView {
    /// "etcd" or "embedded".
    pub kind: String,
    /// Whether it answers.
    pub healthy: bool,
    /// Since when it does not; null if it does.
    pub failsafe_since: Option<String>,
    /// Its endpoints.
    pub endpoints: Vec<EndpointView>,
}

/// One endpoint of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EndpointView {
    /// Its address.
    pub address: String,
    /// Whether it answered.
    pub healthy: bool,
    /// How long it took, microseconds.
    pub latency_us: u64,
    /// Why it did not answer; null if it did.
    pub error: Option<String>,
}

/// Of an engine that several coordinators speak of, what the one says that heard it last.
pub(super) fn newest(engines: Vec<pb::EngineStatus>) -> Vec<pb::EngineStatus> {
    let mut known: BTreeMap<(String, Vec<u8>), pb::EngineStatus> = BTreeMap::new();
    let rank = |status: &pb::EngineStatus| (!status.connected, status.silent_ms);
    for status in engines {
        let Some(engine) = &status.engine else { continue };
        let key = (engine.name.clone(), engine.incarnation.to_vec());
        if known.get(&key).is_none_or(|other| rank(&status) < rank(other)) {
            known.insert(key, status);
        }
    }
    known.into_values().collect()
}

impl ShardView {
    pub(super) fn new(leader: pb::ShardLeader, engines: &[pb::EngineStatus]) -> Self {
        let (shard, led) = (leader.shard, leader.engine.is_some());
        let id = leader.engine.as_ref().map(|engine| engine.incarnation.clone());
        let beat = |status: &pb::EngineStatus| status.shards.iter().find(|beat| beat.shard == shard).cloned();
        let is_leader =
            |status: &pb::EngineStatus| status.engine.as_ref().map(|engine| &engine.incarnation) == id.as_ref();
        // The coordinator that reads is not always the one that hears the leader.
        let heard = engines.iter().find(|status| led && is_leader(status)).and_then(beat);
        let commit = heard.as_ref().map_or(0, |beat| beat.commit_seq).max(leader.commit_seq);
        let applied = heard.as_ref().map_or(0, |beat| beat.applied_seq).max(leader.applied_seq);
        let standby = |status: &pb::EngineStatus| {
            let beat = beat(status)?;
            Some(StandbyView::new(status, &beat, led.then_some(commit)))
        };
        let standbys = engines.iter().filter(|status| !led || !is_leader(status)).filter_map(standby).collect();
        let (leader_id, leader_address) =
            leader.engine.map_or((None, None), |engine| (given(engine.name), given(engine.address)));
        // What was reported by a leader that is gone is history, not status.
        let while_led = |number: u64| led.then_some(number);
        Self {
            shard,
            leader_id,
            leader_address,
            term: leader.epoch.and_then(|epoch| while_led(epoch.number)),
            lease_ttl_ms: while_led(leader.ttl_ms),
            commit_index: while_led(commit),
            applied_index: while_led(applied),
            standbys,
        }
    }
}

impl StandbyView {
    fn new(status: &pb::EngineStatus, beat: &pb::ShardBeat, commit: Option<u64>) -> Self {
        let role = match beat.role() {
            pb::ShardRole::Unspecified => "unknown".to_owned(),
            role => role.as_str_name().trim_start_matches("SHARD_ROLE_").to_lowercase(),
        };
        let state_hash = match (beat.role(), beat.state_hash_seq) {
            (pb::ShardRole::Diverged, _) => "diverged",
            (_, 0) => "unchecked",
            _ => "ok",
        };
        Self {
            engine: status.engine.as_ref().map(|engine| engine.name.clone()).unwrap_or_default(),
            role,
            applied_index: beat.applied_seq,
            lag: commit.map(|commit| commit.saturating_sub(beat.applied_seq)),
            state_hash_seq: (beat.state_hash_seq > 0).then_some(beat.state_hash_seq),
            state_hash,
            journal_reachable: beat.journal_reachable,
            silent_ms: status.silent_ms,
        }
    }
}

impl CoordinatorView {
    pub(super) fn new(asked: &Asked<pb::GetConsensusStatusResponse>) -> Self {
        let status = asked.value.as_ref();
        Self {
            target: asked.answer.target.clone(),
            instance: status.and_then(|status| given(status.coordinator.clone())),
            store_healthy: status.map(|status| status.store_healthy),
            failsafe_since: status.and_then(|status| rfc3339(status.failsafe_since_us)),
            error: given(asked.answer.error.clone()),
            latency_us: asked.answer.latency_us,
        }
    }
}

impl From<pb::ElectionPolicy> for PolicyView {
    fn from(policy: pb::ElectionPolicy) -> Self {
        let pb::ElectionPolicy { paused, reason, actor, since_us, drained_engines } = policy;
        let paused_since = rfc3339(since_us);
        Self { paused, paused_since, reason: given(reason), actor: given(actor), drained_engines }
    }
}

impl From<pb::StoreEndpoint> for EndpointView {
    fn from(endpoint: pb::StoreEndpoint) -> Self {
        let pb::StoreEndpoint { address, healthy, latency_us, error } = endpoint;
        Self { address, healthy, latency_us, error: given(error) }
    }
}
