//! What stands in etcd, read: the keys of one shard with their revisions, or everything at one revision.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use etcd_client::{GetOptions, KeyValue, Txn, TxnOp, TxnOpResponse};
use futures::future::join_all;
use journal_core::VoterConfig;
use types::ShardId;

use super::super::text::{LeaderText, SessionText, TargetText, corrupt, from_json, voter_config};
use super::super::{Reading, ShardState, StoreError};
use super::connections::Connections;

/// A shard's keys as they were read, each with its revision; 0 for one that is not there.
pub(super) struct ShardKeys {
    pub(super) epoch: u64,
    pub(super) epoch_revision: i64,
    pub(super) leader: Option<LeaderText>,
    pub(super) leader_revision: i64,
    pub(super) holder: Option<LeaderText>,
    pub(super) holder_revision: i64,
    pub(super) config: VoterConfig,
    pub(super) config_revision: i64,
}

impl ShardKeys {
    /// Names of the keys, in the order in which they are read.
    pub(super) const NAMES: [&'static str; 4] = ["epoch", "leader", "holder", "config"];

    pub(super) fn new(answers: &[TxnOpResponse]) -> Result<Self, StoreError> {
        let found: Vec<Option<&KeyValue>> = answers.iter().map(first).collect();
        let [epoch, leader, holder, config] = found[..] else {
            return Err(corrupt("answer", "four keys were asked for"));
        };
        let revision = |found: Option<&KeyValue>| found.map_or(0, KeyValue::mod_revision);
        let leader_text = |what, found: Option<&KeyValue>| found.map(|kv| from_json(what, kv.value())).transpose();
        Ok(Self {
            epoch: epoch.map_or(Ok(0), |kv| number(kv.value()))?,
            epoch_revision: revision(epoch),
            leader: leader_text("leader", leader)?,
            leader_revision: revision(leader),
            holder: leader_text("holder", holder)?,
            holder_revision: revision(holder),
            config: config.map_or_else(|| Ok(VoterConfig::default()), |kv| voter_config(kv.value()))?,
            config_revision: revision(config),
        })
    }
}

/// The one key that was asked for.
pub(super) fn first(answer: &TxnOpResponse) -> Option<&KeyValue> {
    match answer {
        TxnOpResponse::Get(get) => get.kvs().first(),
        _ => None,
    }
}

/// Everything, at one revision; the time left on leases is asked for afterwards.
pub(super) async fn all(connections: &Connections, prefix: &str) -> Result<Reading, StoreError> {
    let (engines, shards) = (format!("{prefix}/e/"), format!("{prefix}/s/"));
    let below = |key: &str| TxnOp::get(key, Some(GetOptions::new().with_prefix()));
    let one = |name: &str| TxnOp::get(format!("{prefix}/{name}"), None);
    let txn = Txn::new().and_then([below(&engines), below(&shards), one("policy"), one("resting")]);
    let answer = connections.txn(txn).await?;
    let found = |at: usize| match answer.answers.get(at) {
        Some(TxnOpResponse::Get(get)) => get.kvs(),
        _ => &[],
    };
    let mut reading = Reading { revision: answer.revision, ..Reading::default() };
    for kv in found(0) {
        let session = from_json::<SessionText>("session", kv.value())?.session()?;
        reading.engines.insert(session.engine.incarnation, session);
    }
    let mut leaders = BTreeMap::new();
    for kv in found(1) {
        read_shard(&mut reading, &mut leaders, &shards, kv)?;
    }
    reading.policy = found(2).first().map_or_else(|| Ok(Default::default()), |kv| from_json("policy", kv.value()))?;
    reading.resting = !found(3).is_empty();
    let left = leases(connections, leaders.values().map(|leader| leader.lease).collect()).await;
    for (shard, leader) in leaders {
        let state = reading.shards.entry(shard).or_default();
        state.lease = left.get(&leader.lease).copied();
        state.holder = Some(leader.holder()?);
    }
    Ok(reading)
}

fn read_shard(
    reading: &mut Reading,
    leaders: &mut BTreeMap<ShardId, LeaderText>,
    shards: &str,
    kv: &KeyValue,
) -> Result<(), StoreError> {
    let rest = std::str::from_utf8(kv.key()).ok().and_then(|key| key.strip_prefix(shards));
    let Some((shard, name)) = rest.and_then(|rest| rest.split_once('/')) else { return Ok(()) };
    let Ok(shard) = shard.parse::<u32>().map(ShardId) else { return Ok(()) };
    let state: &mut ShardState = reading.shards.entry(shard).or_default();
    match name {
        "epoch" => state.number = number(kv.value())?,
        "holder" => state.holder = Some(from_json::<LeaderText>("holder", kv.value())?.holder()?),
        "target" => state.target = Some(from_json::<TargetText>("target", kv.value())?.target()?),
        "leader" => _ = leaders.insert(shard, from_json("leader", kv.value())?),
        _ => {}
    }
    Ok(())
}

async fn leases(connections: &Connections, leases: BTreeSet<i64>) -> BTreeMap<i64, Duration> {
    let asked = leases.into_iter().map(|lease| async move { (lease, connections.time_left(lease).await) });
    join_all(asked).await.into_iter().collect()
}

fn number(value: &[u8]) -> Result<u64, StoreError> {
    let text = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    text.ok_or_else(|| corrupt("epoch", "it is not a decimal number"))
}
