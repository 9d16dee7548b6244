//! Epochs, leases and sessions in etcd.
//!
//! | key below the prefix | value | lease |
//! |---|---|---|
//! | `/e/<incarnation>` | an engine process that is heard, JSON | its session's |
//! | `/s/<shard>/epoch` | number given out last, decimal | |
//! | `/s/<shard>/holder` | to whom, and whether that was ended, JSON | |
//! | `/s/<shard>/leader` | who leads, JSON | its session's |
//! | `/s/<shard>/config` | who votes, JSON; written by whoever changes members | |
//! | `/s/<shard>/target` | who shall lead instead, JSON | a few seconds |
//! | `/resting` | there while no other shard is to be moved | a few seconds |
//! | `/policy` | what operators ordered, JSON | |
//! | `/ops/<request_id>` | answer to an operation | an hour |
//!
//! Deliberately absent: any decision about who shall lead.

mod connections;
mod reading;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use etcd_client::{Compare, CompareOp, PutOptions, Txn, TxnOp};
use journal_core::placement::Note;
use tokio::sync::Notify;
use types::{Epoch, Incarnation, ShardId};
use wire::convert::Engine;

use super::text::{LeaderText, SessionText, TargetText, corrupt, from_json, to_json};
use super::{Acquire, Acquired, Aim, EndpointHealth, Leader, LeaseStore, Policy, Reading, StoreError};
use connections::Connections;
use reading::{ShardKeys, first};

/// Attempts of one operation when others change the same keys meanwhile.
const ATTEMPTS: usize = 3;

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
    connections: ArcSwap<Connections>,
    changed: Arc<Notify>,
    /// Leases of engines that are heard here.
    sessions: Mutex<BTreeMap<Incarnation, i64>>,
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
        let changed = Arc::new(Notify::new());
        let connections = ArcSwap::from_pointee(Connections::new(&options, Arc::clone(&changed)).await?);
        Ok(Self { options, connections, changed, sessions: Mutex::default() })
    }

    fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.options.prefix)
    }

    fn shard_key(&self, shard: ShardId, name: &str) -> String {
        format!("{}/s/{shard}/{name}", self.options.prefix)
    }

    fn engine_key(&self, engine: Incarnation) -> String {
        format!("{}/e/{engine}", self.options.prefix)
    }

    fn connections(&self) -> Arc<Connections> {
        self.connections.load_full()
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<Incarnation, i64>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn get(&self, key: &str) -> Result<Option<(Vec<u8>, i64)>, StoreError> {
        let answer = self.connections().txn(Txn::new().and_then([TxnOp::get(key, None)])).await?;
        let found = answer.answers.first().and_then(first);
        Ok(found.map(|kv| (kv.value().to_vec(), kv.mod_revision())))
    }

    async fn shard(&self, shard: ShardId) -> Result<ShardKeys, StoreError> {
        let get = |name: &&str| TxnOp::get(self.shard_key(shard, name), None);
        let names = ShardKeys::NAMES.iter().map(get).collect::<Vec<_>>();
        ShardKeys::new(&self.connections().txn(Txn::new().and_then(names)).await?.answers)
    }

    /// The lease of an engine's session, which is opened if there is none. It may have ended meanwhile.
    async fn session(&self, engine: &Engine, note: Option<&Note>) -> Result<i64, StoreError> {
        let known = self.sessions().get(&engine.incarnation).copied();
        if let Some(lease) = known {
            return Ok(lease);
        }
        let connections = self.connections();
        let key = self.engine_key(engine.incarnation);
        for _ in 0..ATTEMPTS {
            if let Some((value, _)) = self.get(&key).await? {
                let lease = from_json::<SessionText>("session", &value)?.lease;
                self.sessions().insert(engine.incarnation, lease);
                return Ok(lease);
            }
            let lease = connections.grant(self.options.ttl).await?;
            let text = to_json(&SessionText::new(engine, note.unwrap_or(&Note::default()), lease));
            let txn = Txn::new().when([unchanged(&key, 0)]).and_then([TxnOp::put(
                key.as_str(),
                text,
                Some(PutOptions::new().with_lease(lease)),
            )]);
            let put = connections.txn(txn).await;
            if !matches!(&put, Ok(answer) if answer.succeeded) {
                connections.revoke(lease).await;
            }
            if put?.succeeded {
                self.sessions().insert(engine.incarnation, lease);
                return Ok(lease);
            }
        }
        Err(StoreError::Contended)
    }

    /// The lease was not there: the next one who needs it opens a new one.
    fn forget(&self, engine: Incarnation) {
        self.sessions().remove(&engine);
    }

    /// One attempt, one transaction. `None` if what it was derived from had changed.
    async fn attempt(&self, request: &Acquire) -> Result<Option<Acquired>, StoreError> {
        let Acquire { shard, engine, highest_promised } = request;
        let read = self.shard(*shard).await?;
        if let Some(text) = &read.leader
            && text.engine()?.incarnation != engine.incarnation
        {
            let ttl = self.connections().time_left(text.lease).await;
            return Err(StoreError::Held(Box::new(Leader { engine: text.engine()?, epoch: text.epoch()?, ttl })));
        }
        let number = super::next_number(read.epoch, *highest_promised)?;
        let lease = self.session(engine, None).await?;
        let text = LeaderText::new(engine, number, lease);
        let (epoch_key, leader_key) = (self.shard_key(*shard, "epoch"), self.shard_key(*shard, "leader"));
        let holder_key = self.shard_key(*shard, "holder");
        // Absent keys have the revision 0. The leader's key is compared as well as made: nobody else may lead (3.2).
        let txn = Txn::new()
            .when([
                unchanged(&leader_key, read.leader_revision),
                unchanged(&epoch_key, read.epoch_revision),
                unchanged(&holder_key, read.holder_revision),
                unchanged(&self.shard_key(*shard, "config"), read.config_revision),
            ])
            .and_then([
                TxnOp::put(epoch_key.as_str(), number.to_string(), None),
                TxnOp::put(holder_key.as_str(), to_json(&text), None),
                TxnOp::put(leader_key.as_str(), to_json(&text), Some(PutOptions::new().with_lease(lease))),
                TxnOp::delete(self.shard_key(*shard, "target"), None),
            ]);
        if !self.bound(engine.incarnation, txn).await? {
            return Ok(None);
        }
        let epoch = Epoch { number, owner: engine.incarnation };
        Ok(Some(Acquired { epoch, config: read.config, ttl: self.options.ttl }))
    }

    /// A transaction that binds a key to the lease of an engine's session. False if it did not hold, or the lease was
    /// gone.
    async fn bound(&self, engine: Incarnation, txn: Txn) -> Result<bool, StoreError> {
        match self.connections().txn(txn).await {
            Ok(answer) => Ok(answer.succeeded),
            Err(error) if is_lease_gone(&error) => {
                self.forget(engine);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn try_end(&self, shard: ShardId, epoch: Epoch) -> Result<Option<bool>, StoreError> {
        let read = self.shard(shard).await?;
        let Some(holder) =
            read.holder.or_else(|| read.leader.clone()).filter(|holder| holder.is(epoch) && !holder.ended)
        else {
            return Ok(Some(false));
        };
        let led = read.leader.is_some_and(|leader| leader.is(epoch));
        let (holder_key, leader_key) = (self.shard_key(shard, "holder"), self.shard_key(shard, "leader"));
        let txn = Txn::new()
            .when([unchanged(&holder_key, read.holder_revision), unchanged(&leader_key, read.leader_revision)])
            .and_then([
                TxnOp::put(holder_key.as_str(), to_json(&LeaderText { ended: true, ..holder }), None),
                TxnOp::delete(leader_key.as_str(), None),
            ]);
        Ok(self.connections().txn(txn).await?.succeeded.then_some(led))
    }

    async fn try_restore(&self, shard: ShardId, engine: &Engine, epoch: Epoch) -> Result<Option<bool>, StoreError> {
        let read = self.shard(shard).await?;
        let held = read.holder.is_some_and(|holder| holder.is(epoch) && !holder.ended);
        if !held || read.leader.is_some() || read.epoch != epoch.number {
            return Ok(Some(false));
        }
        let lease = self.session(engine, None).await?;
        let (holder_key, leader_key) = (self.shard_key(shard, "holder"), self.shard_key(shard, "leader"));
        let text = to_json(&LeaderText::new(engine, epoch.number, lease));
        let txn = Txn::new()
            .when([
                unchanged(&leader_key, 0),
                unchanged(&holder_key, read.holder_revision),
                unchanged(&self.shard_key(shard, "epoch"), read.epoch_revision),
            ])
            .and_then([TxnOp::put(leader_key.as_str(), text, Some(PutOptions::new().with_lease(lease)))]);
        Ok(self.bound(engine.incarnation, txn).await?.then_some(true))
    }

    async fn try_aim(&self, aim: Aim) -> Result<bool, StoreError> {
        let read = self.shard(aim.shard).await?;
        let led = read.leader.as_ref().map(LeaderText::epoch).transpose()?;
        if led != aim.led {
            return Ok(false);
        }
        let connections = self.connections();
        let (target_key, resting) = (self.shard_key(aim.shard, "target"), self.key("resting"));
        let lease = connections.grant(aim.lasts).await?;
        let bound = |lease| Some(PutOptions::new().with_lease(lease));
        let mut when = vec![unchanged(&self.shard_key(aim.shard, "leader"), read.leader_revision)];
        let mut then = vec![TxnOp::put(target_key.as_str(), to_json(&TargetText::new(aim.target)), bound(lease))];
        if let Some(rest) = aim.rest {
            when.extend([unchanged(&target_key, 0), unchanged(&resting, 0)]);
            then.push(TxnOp::put(resting.as_str(), "", bound(connections.grant(rest).await?)));
        }
        Ok(connections.txn(Txn::new().when(when).and_then(then)).await?.succeeded)
    }
}

#[async_trait]
impl LeaseStore for EtcdStore {
    fn kind(&self) -> &'static str {
        "etcd"
    }

    async fn keep(&self, engine: &Engine, note: Option<&Note>) -> Result<Duration, StoreError> {
        for _ in 0..ATTEMPTS {
            let lease = self.session(engine, note).await?;
            if !self.connections().keep_alive(lease).await? {
                self.forget(engine.incarnation);
                continue;
            }
            let Some(note) = note else { return Ok(self.options.ttl) };
            let text = to_json(&SessionText::new(engine, note, lease));
            let bound = Some(PutOptions::new().with_lease(lease));
            let txn = Txn::new().and_then([TxnOp::put(self.engine_key(engine.incarnation), text, bound)]);
            if self.bound(engine.incarnation, txn).await? {
                return Ok(self.options.ttl);
            }
        }
        Err(StoreError::Contended)
    }

    async fn leave(&self, engine: Incarnation) -> Result<(), StoreError> {
        self.forget(engine);
        let key = self.engine_key(engine);
        let Some((value, revision)) = self.get(&key).await? else { return Ok(()) };
        let text: SessionText = from_json("session", &value)?;
        let bound = Some(PutOptions::new().with_lease(text.lease));
        let away = to_json(&SessionText { away: true, ..text });
        // If it changed meanwhile, somebody heard it.
        let txn = Txn::new().when([unchanged(&key, revision)]).and_then([TxnOp::put(key.as_str(), away, bound)]);
        self.bound(engine, txn).await.map(|_| ())
    }

    async fn acquire(&self, request: Acquire) -> Result<Acquired, StoreError> {
        for _ in 0..ATTEMPTS {
            if let Some(acquired) = self.attempt(&request).await? {
                return Ok(acquired);
            }
        }
        Err(StoreError::Contended)
    }

    async fn restore(&self, shard: ShardId, engine: &Engine, epoch: Epoch) -> Result<bool, StoreError> {
        for _ in 0..ATTEMPTS {
            if let Some(restored) = self.try_restore(shard, engine, epoch).await? {
                return Ok(restored);
            }
        }
        Err(StoreError::Contended)
    }

    async fn end(&self, shard: ShardId, epoch: Epoch) -> Result<bool, StoreError> {
        for _ in 0..ATTEMPTS {
            if let Some(ended) = self.try_end(shard, epoch).await? {
                return Ok(ended);
            }
        }
        Err(StoreError::Contended)
    }

    async fn aim(&self, aim: Aim) -> Result<bool, StoreError> {
        self.try_aim(aim).await
    }

    async fn set_policy(&self, before: &Policy, after: &Policy) -> Result<bool, StoreError> {
        let key = self.key("policy");
        let (now, revision) = match self.get(&key).await? {
            Some((value, revision)) => (from_json("policy", &value)?, revision),
            None => (Policy::default(), 0),
        };
        if now != *before {
            return Ok(false);
        }
        let put = TxnOp::put(key.as_str(), to_json(after), None);
        Ok(self.connections().txn(Txn::new().when([unchanged(&key, revision)]).and_then([put])).await?.succeeded)
    }

    async fn begin(&self, id: &str, note: &str, lasts: Duration) -> Result<Option<String>, StoreError> {
        let (key, connections) = (self.key(&format!("ops/{id}")), self.connections());
        let lease = connections.grant(lasts).await?;
        let put = TxnOp::put(key.as_str(), note, Some(PutOptions::new().with_lease(lease)));
        let txn = Txn::new().when([unchanged(&key, 0)]).and_then([put]).or_else([TxnOp::get(key.as_str(), None)]);
        let answer = connections.txn(txn).await?;
        if answer.succeeded {
            return Ok(None);
        }
        connections.revoke(lease).await;
        let known = answer.answers.first().and_then(first).ok_or_else(|| corrupt("operation", "it is not there"))?;
        String::from_utf8(known.value().to_vec()).map(Some).map_err(|error| corrupt("operation", &error.to_string()))
    }

    async fn finish(&self, id: &str, note: Option<&str>, lasts: Duration) -> Result<(), StoreError> {
        let (key, connections) = (self.key(&format!("ops/{id}")), self.connections());
        let change = match note {
            Some(note) => {
                let bound = PutOptions::new().with_lease(connections.grant(lasts).await?);
                TxnOp::put(key.as_str(), note, Some(bound))
            }
            None => TxnOp::delete(key.as_str(), None),
        };
        connections.txn(Txn::new().and_then([change])).await.map(|_| ())
    }

    async fn read(&self) -> Result<Reading, StoreError> {
        reading::all(&self.connections(), &self.options.prefix).await
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }

    async fn endpoints(&self) -> Vec<EndpointHealth> {
        let connections = self.connections();
        let probes = connections.members.all.iter().map(|(address, client)| {
            let connections = &connections;
            async move {
                let asked = Instant::now();
                let answer = connections.probe(client).await;
                let answer = answer.map(|()| asked.elapsed()).map_err(|error| error.to_string());
                EndpointHealth { address: address.clone(), answer }
            }
        });
        futures::future::join_all(probes).await
    }

    async fn renew(&self) -> Result<(), StoreError> {
        let connections = Connections::new(&self.options, Arc::clone(&self.changed)).await?;
        self.connections.store(Arc::new(connections));
        self.sessions().clear();
        Ok(())
    }
}

fn unchanged(key: &str, revision: i64) -> Compare {
    Compare::mod_revision(key, CompareOp::Equal, revision)
}

/// How etcd says that the lease a key shall be bound to has ended.
fn is_lease_gone(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable(why) if why.contains("requested lease not found"))
}
