//! Epochs and leases in etcd.
//!
//! | key below the prefix | value |
//! |---|---|
//! | `/s/<shard>/epoch` | number given out last, decimal |
//! | `/s/<shard>/leader` | who leads, JSON, bound to its lease |
//! | `/s/<shard>/config` | who votes, JSON; written by whoever changes members |
//!
//! Every operation has a time limit of its own: without one, a frozen etcd makes calls wait for ever.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use etcd_client::{
    Client, Compare, CompareOp, ConnectOptions, Error, GetOptions, KeyValue, PutOptions, Txn, TxnOp, TxnOpResponse,
};
use types::{Epoch, ShardId};
use wire::convert::Engine;

use super::text::{LeaderText, corrupt, voter_config};
use super::{Acquire, Acquired, EndpointHealth, Kept, Leader, LeaseStore, ShardState, StoreError};

/// Attempts of one acquisition when others change the same keys meanwhile.
const ATTEMPTS: usize = 3;
/// Silence after which a connection is asked for a sign of life, and how long that may take.
const KEEPALIVE: Duration = Duration::from_secs(1);

/// How etcd is reached.
#[derive(Clone, Debug)]
pub struct EtcdOptions {
    /// Addresses of members, `http://host:port`.
    pub endpoints: Vec<String>,
    /// What all keys begin with, like "/hivemind".
    pub prefix: String,
    /// Time of a lease; rounded up to whole seconds.
    pub ttl: Duration,
    /// Limit of one operation.
    pub request_timeout: Duration,
    /// Limit for making a connection.
    pub connect_timeout: Duration,
}

/// An etcd cluster.
pub struct EtcdStore {
    options: EtcdOptions,
    client: Client,
    /// One client for each endpoint, to ask how it is.
    members: Vec<(String, Client)>,
}

/// A shard's keys as they were read.
struct Read {
    epoch: u64,
    epoch_revision: i64,
    leader: Option<LeaderText>,
    leader_revision: i64,
    config: journal_core::VoterConfig,
    config_revision: i64,
}

impl std::fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdStore").field("options", &self.options).finish_non_exhaustive()
    }
}

impl EtcdStore {
    /// Prepares connections; none is made before it is needed, so that an etcd that is away is no error here.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if an endpoint is not an address.
    pub async fn connect(options: EtcdOptions) -> Result<Self, StoreError> {
        let connect = ConnectOptions::new()
            .with_connect_timeout(options.connect_timeout)
            .with_timeout(options.request_timeout)
            .with_keep_alive(KEEPALIVE, KEEPALIVE)
            .with_keep_alive_while_idle(true)
            .with_require_leader(true);
        let client = Client::connect(&options.endpoints, Some(connect.clone())).await.map_err(unavailable)?;
        let mut members = Vec::new();
        for endpoint in &options.endpoints {
            let member = Client::connect([endpoint], Some(connect.clone())).await.map_err(unavailable)?;
            members.push((endpoint.clone(), member));
        }
        Ok(Self { options, client, members })
    }

    fn key(&self, shard: ShardId, name: &str) -> String {
        format!("{}/s/{shard}/{name}", self.options.prefix)
    }

    async fn limited<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, StoreError> {
        match tokio::time::timeout(self.options.request_timeout, call).await {
            Ok(result) => result.map_err(unavailable),
            Err(_) => Err(StoreError::Unavailable(format!("no answer within {:?}", self.options.request_timeout))),
        }
    }

    async fn txn(&self, txn: Txn) -> Result<(bool, Vec<TxnOpResponse>), StoreError> {
        let mut client = self.client.kv_client();
        let answer = self.limited(client.txn(txn)).await?;
        Ok((answer.succeeded(), answer.op_responses()))
    }

    async fn read(&self, shard: ShardId) -> Result<Read, StoreError> {
        let get = |name: &str| TxnOp::get(self.key(shard, name), None);
        let (_, answers) = self.txn(Txn::new().and_then([get("epoch"), get("leader"), get("config")])).await?;
        let found: Vec<Option<&KeyValue>> = answers
            .iter()
            .map(|answer| match answer {
                TxnOpResponse::Get(get) => get.kvs().first(),
                _ => None,
            })
            .collect();
        let [epoch, leader, config] = found[..] else {
            return Err(corrupt("answer", "three keys were asked for"));
        };
        let revision = |found: Option<&KeyValue>| found.map_or(0, KeyValue::mod_revision);
        Ok(Read {
            epoch: epoch.map_or(Ok(0), |kv| number(kv.value()))?,
            epoch_revision: revision(epoch),
            leader: leader.map(|kv| LeaderText::from_json(kv.value())).transpose()?,
            leader_revision: revision(leader),
            config: config.map_or_else(|| Ok(journal_core::VoterConfig::default()), |kv| voter_config(kv.value()))?,
            config_revision: revision(config),
        })
    }

    async fn ttl_of(&self, lease: i64) -> Result<Duration, StoreError> {
        let mut client = self.client.lease_client();
        let answer = self.limited(client.time_to_live(lease, None)).await?;
        Ok(Duration::from_secs(u64::try_from(answer.ttl()).unwrap_or(0)))
    }

    async fn leader(&self, text: &LeaderText) -> Result<Leader, StoreError> {
        // How long is for people only; a store that does not say is no reason to know nothing.
        let ttl = self.ttl_of(text.lease).await.unwrap_or_default();
        Ok(Leader { engine: text.engine()?, epoch: text.epoch()?, ttl })
    }

    /// One attempt, one transaction. `None` if what it was derived from had changed.
    async fn attempt(&self, request: &Acquire) -> Result<Option<Acquired>, StoreError> {
        let Acquire { shard, engine, highest_promised } = request;
        let read = self.read(*shard).await?;
        if let Some(text) = &read.leader
            && text.engine()?.incarnation != engine.incarnation
        {
            return Err(StoreError::Held(Box::new(self.leader(text).await?)));
        }
        let number = super::next_number(read.epoch, *highest_promised)?;
        let seconds = i64::try_from(self.options.ttl.as_millis().div_ceil(1000)).unwrap_or(i64::MAX);
        let mut leases = self.client.lease_client();
        let lease = self.limited(leases.grant(seconds, None)).await?;
        let text = LeaderText::new(engine, number, lease.id());
        let (epoch_key, leader_key) = (self.key(*shard, "epoch"), self.key(*shard, "leader"));
        // Absent keys have the revision 0. The leader's key is compared as well as made: nobody else may lead (3.2).
        let unchanged = |key: &str, revision| Compare::mod_revision(key, CompareOp::Equal, revision);
        let txn = Txn::new()
            .when([
                unchanged(&leader_key, read.leader_revision),
                unchanged(&epoch_key, read.epoch_revision),
                unchanged(&self.key(*shard, "config"), read.config_revision),
            ])
            .and_then([
                TxnOp::put(epoch_key.as_str(), number.to_string(), None),
                TxnOp::put(leader_key.as_str(), text.to_json(), Some(PutOptions::new().with_lease(lease.id()))),
            ]);
        let result = self.txn(txn).await;
        if !matches!(result, Ok((true, _))) {
            // Nobody would keep it alive. If the answer was lost, this frees the shard, and the number is skipped.
            self.revoke(lease.id()).await;
        }
        if !result?.0 {
            return Ok(None);
        }
        if let Some(before) = &read.leader {
            self.revoke(before.lease).await;
        }
        let epoch = Epoch { number, owner: engine.incarnation };
        let ttl = Duration::from_secs(u64::try_from(lease.ttl()).unwrap_or(0));
        Ok(Some(Acquired { epoch, config: read.config, ttl }))
    }

    /// Ends a lease that is of no use; if that fails it ends by itself.
    async fn revoke(&self, lease: i64) {
        let mut client = self.client.lease_client();
        if let Err(error) = self.limited(client.revoke(lease)).await {
            tracing::debug!(lease, %error, "consensus: a lease was left to run out");
        }
    }
}

#[async_trait]
impl LeaseStore for EtcdStore {
    fn kind(&self) -> &'static str {
        "etcd"
    }

    async fn acquire(&self, request: Acquire) -> Result<Acquired, StoreError> {
        for _ in 0..ATTEMPTS {
            if let Some(acquired) = self.attempt(&request).await? {
                return Ok(acquired);
            }
        }
        Err(StoreError::Contended)
    }

    async fn keep_alive(&self, shard: ShardId, _: &Engine, epoch: Epoch) -> Result<Kept, StoreError> {
        let read = self.read(shard).await?;
        let Some(text) = read.leader.filter(|leader| leader.is(epoch)) else { return Ok(Kept::Gone) };
        let mut client = self.client.lease_client();
        let call = async {
            match client.keep_alive(text.lease).await {
                Ok(_) => Ok(true),
                // The one way in which the client says that the lease is no more.
                Err(Error::LeaseKeepAliveError(_)) => Ok(false),
                Err(error) => Err(error),
            }
        };
        let alive = self.limited(call).await?;
        Ok(if alive { Kept::Alive(self.ttl_of(text.lease).await.unwrap_or(self.options.ttl)) } else { Kept::Gone })
    }

    async fn release(&self, shard: ShardId, epoch: Epoch) -> Result<bool, StoreError> {
        let read = self.read(shard).await?;
        let Some(text) = read.leader.filter(|leader| leader.is(epoch)) else { return Ok(false) };
        let key = self.key(shard, "leader");
        let txn = Txn::new()
            .when([Compare::mod_revision(key.as_str(), CompareOp::Equal, read.leader_revision)])
            .and_then([TxnOp::delete(key.as_str(), None)]);
        let (released, _) = self.txn(txn).await?;
        if released {
            self.revoke(text.lease).await;
        }
        Ok(released)
    }

    async fn shards(&self) -> Result<Vec<ShardState>, StoreError> {
        let prefix = format!("{}/s/", self.options.prefix);
        let mut client = self.client.kv_client();
        let all = self.limited(client.get(prefix.as_str(), Some(GetOptions::new().with_prefix()))).await?;
        let mut shards: BTreeMap<u32, ShardState> = BTreeMap::new();
        for kv in all.kvs() {
            let rest = std::str::from_utf8(kv.key()).ok().and_then(|key| key.strip_prefix(&prefix));
            let Some((shard, name)) = rest.and_then(|rest| rest.split_once('/')) else { continue };
            let Ok(shard) = shard.parse::<u32>() else { continue };
            let empty = ShardState { shard: ShardId(shard), epoch: 0, leader: None };
            let state = shards.entry(shard).or_insert(empty);
            match name {
                "epoch" => state.epoch = number(kv.value())?,
                "leader" => state.leader = Some(self.leader(&LeaderText::from_json(kv.value())?).await?),
                _ => {}
            }
        }
        Ok(shards.into_values().collect())
    }

    async fn endpoints(&self) -> Vec<EndpointHealth> {
        let probes = self.members.iter().map(|(address, client)| async move {
            let mut client = client.maintenance_client();
            let asked = Instant::now();
            let answer = self.limited(client.status()).await;
            let answer = answer.map(|_| asked.elapsed()).map_err(|error| error.to_string());
            EndpointHealth { address: address.clone(), answer }
        });
        futures::future::join_all(probes).await
    }
}

fn number(value: &[u8]) -> Result<u64, StoreError> {
    let text = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    text.ok_or_else(|| corrupt("epoch", "it is not a decimal number"))
}

fn unavailable(error: Error) -> StoreError {
    match error {
        Error::GRpcStatus(status) => StoreError::Unavailable(format!("{:?}: {}", status.code(), status.message())),
        error => StoreError::Unavailable(error.to_string()),
    }
}
