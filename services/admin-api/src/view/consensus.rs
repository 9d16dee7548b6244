//! `GET /health/consensus`: 200 with a leader and a store that answers; otherwise 503 with the reason.
//!
//! While the store is away, `status` is "failsafe": the leader goes on trading under its journal fence, but nobody
//! else could take over.

use serde::Serialize;
use wire::pb::consensus::v1 as pb;

use super::given;
use super::time::rfc3339;
use crate::targets::Asked;

/// The whole answer. The fields from `role` to `applied_index` are those of the first shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConsensusView {
    /// "ok"; with 503: "failsafe" (the store is away), "no_leader", or "unreachable" (the coordinator is away).
    pub status: &'static str,
    /// Why it is not ok; null if it is.
    pub reason: Option<String>,
    /// Name of the instance that answers.
    pub node_id: String,
    /// "leader" if that instance leads, "follower" if another does, "none" if nobody does or nobody knows.
    pub role: &'static str,
    /// Name of the leader; null if there is none.
    pub leader_id: Option<String>,
    /// Epoch of the leadership, the fencing token; null if there is none.
    pub term: Option<u64>,
    /// Time left on the leader's lease, milliseconds.
    pub lease_ttl_ms: Option<u64>,
    /// Highest committed seq that the leader reported.
    pub commit_index: Option<u64>,
    /// Highest applied seq that the leader reported.
    pub applied_index: Option<u64>,
    /// All shards.
    pub shards: Vec<ShardView>,
    /// Where leaderships are kept; null if the coordinator did not answer.
    pub store: Option<StoreView>,
    /// Service that was asked.
    pub service: &'static str,
    /// Coordinator that answered; null if none did.
    pub instance: Option<String>,
    /// How long the question took, microseconds.
    pub latency_us: u64,
}

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

impl ConsensusView {
    pub(crate) fn new(node: &str, asked: Asked<pb::GetConsensusStatusResponse>) -> Self {
        let latency_us = asked.answer.latency_us;
        let Some(status) = asked.value else {
            let reason = format!("the coordinator does not answer: {}", asked.answer.error);
            let store = None;
            return Self::assemble(node, ("unreachable", Some(reason)), Vec::new(), store, None, latency_us);
        };
        let (healthy, kind) = (status.store_healthy, status.store.clone());
        let shards: Vec<ShardView> = status.leaders.into_iter().map(ShardView::from).collect();
        let leaderless: Vec<String> =
            shards.iter().filter(|shard| shard.leader_id.is_none()).map(|shard| shard.shard.to_string()).collect();
        let judged = if !healthy {
            ("failsafe", Some(format!("the {kind} store does not answer: leaders go on, no new one can be chosen")))
        } else if shards.is_empty() {
            ("no_leader", Some("no shard has a leader".to_owned()))
        } else if !leaderless.is_empty() {
            ("no_leader", Some(format!("no leader for shard {}", leaderless.join(", "))))
        } else {
            ("ok", None)
        };
        let store = StoreView {
            kind,
            healthy,
            failsafe_since: rfc3339(status.failsafe_since_us),
            endpoints: status.endpoints.into_iter().map(EndpointView::from).collect(),
        };
        Self::assemble(node, judged, shards, Some(store), given(status.coordinator), latency_us)
    }

    fn assemble(
        node: &str,
        (status, reason): (&'static str, Option<String>),
        shards: Vec<ShardView>,
        store: Option<StoreView>,
        instance: Option<String>,
        latency_us: u64,
    ) -> Self {
        let first = shards.first();
        let leader_id = first.and_then(|shard| shard.leader_id.clone());
        let role = match &leader_id {
            Some(leader) if leader == node => "leader",
            Some(_) => "follower",
            None => "none",
        };
        Self {
            status,
            reason,
            node_id: node.to_owned(),
            role,
            leader_id,
            term: first.and_then(|shard| shard.term),
            lease_ttl_ms: first.and_then(|shard| shard.lease_ttl_ms),
            commit_index: first.and_then(|shard| shard.commit_index),
            applied_index: first.and_then(|shard| shard.applied_index),
            shards,
            store,
            service: "consensus",
            instance,
            latency_us,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.status == "ok"
    }
}

impl From<pb::ShardLeader> for ShardView {
    fn from(leader: pb::ShardLeader) -> Self {
        let led = leader.engine.is_some();
        let (leader_id, leader_address) =
            leader.engine.map_or((None, None), |engine| (given(engine.name), given(engine.address)));
        // What was reported by a leader that is gone is history, not status.
        let while_led = |number: u64| led.then_some(number);
        Self {
            shard: leader.shard,
            leader_id,
            leader_address,
            term: leader.epoch.and_then(|epoch| while_led(epoch.number)),
            lease_ttl_ms: while_led(leader.ttl_ms),
            commit_index: while_led(leader.commit_seq),
            applied_index: while_led(leader.applied_seq),
        }
    }
}

impl From<pb::StoreEndpoint> for EndpointView {
    fn from(endpoint: pb::StoreEndpoint) -> Self {
        let pb::StoreEndpoint { address, healthy, latency_us, error } = endpoint;
        Self { address, healthy, latency_us, error: given(error) }
    }
}
