//! `GET /health/consensus`: 200 with leaders and a store that answers; otherwise 503 with the reason.
//!
//! Every coordinator is asked. What all of them read in the store is taken from one whose store answers; what each
//! hears of its own engines is put together. One that does not answer is listed with its error.
//!
//! While the store is away, `status` is "failsafe": the leader goes on trading under its journal fence, but nobody
//! else could take over.

mod parts;

use serde::Serialize;
use wire::pb::consensus::v1 as pb;

use super::given;
use super::rfc3339;
use crate::targets::Asked;
use parts::newest;
pub use parts::{CoordinatorView, EndpointView, PolicyView, ShardView, StandbyView, StoreView};

/// The whole answer. The fields from `role` to `applied_index` are those of the first shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConsensusView {
    /// "ok"; with 503: "failsafe" (the store is away), "no_leader", or "unreachable" (no coordinator
    /// answers).
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
    /// Where leaderships are kept; null if no coordinator answered.
    pub store: Option<StoreView>,
    /// What operators ordered; null if no coordinator answered.
    pub policy: Option<PolicyView>,
    /// Every coordinator.
    pub coordinators: Vec<CoordinatorView>,
    /// Service that was asked.
    pub service: &'static str,
    /// Coordinator whose reading is shown; null if none answered.
    pub instance: Option<String>,
    /// How long the question took, microseconds.
    pub latency_us: u64,
}

impl ConsensusView {
    pub(crate) fn new(node: &str, asked: Vec<Asked<pb::GetConsensusStatusResponse>>) -> Self {
        let coordinators: Vec<CoordinatorView> = asked.iter().map(CoordinatorView::new).collect();
        let answers: Vec<(u64, pb::GetConsensusStatusResponse)> =
            asked.into_iter().filter_map(|asked| Some((asked.answer.latency_us, asked.value?))).collect();
        let engines: Vec<pb::EngineStatus> =
            answers.iter().flat_map(|(_, status)| status.engines.iter().cloned()).collect();
        // Of several, the first whose store answers.
        let chosen = answers.into_iter().min_by_key(|(_, status)| !status.store_healthy);
        let Some((latency_us, status)) = chosen else {
            let errors: Vec<&str> = coordinators.iter().filter_map(|one| one.error.as_deref()).collect();
            let reason = Some(format!("no coordinator answers: {}", errors.join("; ")));
            let latency_us = coordinators.iter().map(|one| one.latency_us).max().unwrap_or(0);
            let shown = Shown { node, judged: ("unreachable", reason), instance: None, latency_us };
            return Self::assemble(shown, Vec::new(), None, None, coordinators);
        };
        let engines = newest(engines);
        let shards: Vec<ShardView> =
            status.leaders.iter().map(|leader| ShardView::new(leader.clone(), &engines)).collect();
        let judged = judge(&status, &shards);
        let store = StoreView {
            kind: status.store,
            healthy: status.store_healthy,
            failsafe_since: rfc3339(status.failsafe_since_us),
            endpoints: status.endpoints.into_iter().map(EndpointView::from).collect(),
        };
        let policy = PolicyView::from(status.policy.unwrap_or_default());
        let shown = Shown { node, judged, instance: given(status.coordinator), latency_us };
        Self::assemble(shown, shards, Some(store), Some(policy), coordinators)
    }

    fn assemble(
        shown: Shown<'_>,
        shards: Vec<ShardView>,
        store: Option<StoreView>,
        policy: Option<PolicyView>,
        coordinators: Vec<CoordinatorView>,
    ) -> Self {
        let Shown { node, judged: (status, reason), instance, latency_us } = shown;
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
            policy,
            coordinators,
            service: "consensus",
            instance,
            latency_us,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.status == "ok"
    }
}

/// Who shows what of whom.
struct Shown<'a> {
    node: &'a str,
    judged: (&'static str, Option<String>),
    instance: Option<String>,
    latency_us: u64,
}

fn judge(status: &pb::GetConsensusStatusResponse, shards: &[ShardView]) -> (&'static str, Option<String>) {
    let leaderless: Vec<String> =
        shards.iter().filter(|shard| shard.leader_id.is_none()).map(|shard| shard.shard.to_string()).collect();
    if !status.store_healthy {
        let kind = &status.store;
        ("failsafe", Some(format!("the {kind} store does not answer: leaders go on, no new one can be chosen")))
    } else if shards.is_empty() {
        ("no_leader", Some("no shard has a leader".to_owned()))
    } else if !leaderless.is_empty() {
        ("no_leader", Some(format!("no leader for shard {}", leaderless.join(", "))))
    } else {
        ("ok", None)
    }
}
