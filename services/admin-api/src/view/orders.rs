//! `POST /admin/consensus/…`: what came of an order to the coordinators.

use serde::Serialize;
use wire::pb::consensus::v1 as pb;

use super::consensus::PolicyView;

/// Who leads a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeaderView {
    /// Shard.
    pub shard: u32,
    /// Name of the engine; null if nobody leads.
    pub leader_id: Option<String>,
    /// Epoch of the leadership; null if nobody leads, or in a dry run.
    pub term: Option<u64>,
}

/// A leadership was moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ElectionView {
    /// Whether this is only what would be done.
    pub dry_run: bool,
    /// Who led; null if nobody did.
    pub before: Option<LeaderView>,
    /// Who leads.
    pub after: Option<LeaderView>,
    /// Whether it was done before under the same request id.
    pub repeated_request: bool,
}

/// The policy was changed, or was so already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyChangeView {
    /// Whether this is only what would be done.
    pub dry_run: bool,
    /// Whether it was changed.
    pub changed: bool,
    /// The policy.
    pub policy: PolicyView,
    /// Shards that a drained engine still leads.
    pub still_leading: Vec<u32>,
}

/// A coordinator was restarted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RestartView {
    /// Whether this is only what would be done.
    pub dry_run: bool,
    /// Process, which stays the same.
    pub pid: u32,
    /// How long it took, milliseconds.
    pub took_ms: u64,
}

impl From<pb::ShardLeader> for LeaderView {
    fn from(leader: pb::ShardLeader) -> Self {
        let term = leader.epoch.map(|epoch| epoch.number);
        Self { shard: leader.shard, leader_id: leader.engine.map(|engine| engine.name), term }
    }
}
