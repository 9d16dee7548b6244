//! Where epochs, leases, and what else coordinators share are kept.
//!
//! Every change is one transaction that holds only if nothing it was derived from has changed (protocol, 3.2): the
//! epoch counter goes up in the same transaction in which the leader's name is put beside it. Two coordinators that
//! act at once cannot both succeed.

pub(crate) mod embedded;
pub(crate) mod etcd;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use journal_core::VoterConfig;
use journal_core::placement::{self, Note, Target};
use serde::{Deserialize, Serialize};
use types::{Epoch, Incarnation, ShardId};
use wire::convert::Engine;

/// A clock that only goes forward: time since some moment in the past.
pub type Monotonic = Arc<dyn Fn() -> Duration + Send + Sync>;

/// A wish to lead.
#[derive(Clone, Debug)]
pub struct Acquire {
    /// Which shard.
    pub shard: ShardId,
    /// Who.
    pub engine: Engine,
    /// Highest epoch number the engine has seen promised: after the store lost its memory, this is how far the counter
    /// has to jump (H3).
    pub highest_promised: u64,
}

/// A leadership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acquired {
    /// The fencing token; never given out before.
    pub epoch: Epoch,
    /// Who votes, as of the transaction that made the epoch (I15).
    pub config: VoterConfig,
    /// How long it holds without a sign of life.
    pub ttl: Duration,
}

/// Somebody who leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Who.
    pub engine: Engine,
    /// Under which epoch.
    pub epoch: Epoch,
    /// Time left on the lease.
    pub ttl: Duration,
}

/// Everything a store holds, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Of two readings of one store, the one with the higher revision is newer.
    pub revision: u64,
    /// Engine processes with a session.
    pub engines: BTreeMap<Incarnation, Session>,
    /// Shards that ever had a leader, a target or a list of voters.
    pub shards: BTreeMap<ShardId, ShardState>,
    /// What operators ordered.
    pub policy: Policy,
    /// Whether a shard was moved a moment ago to spread leaderships.
    pub resting: bool,
}

/// An engine process that was heard within a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Who.
    pub engine: Engine,
    /// What its coordinator tells the others.
    pub note: Note,
}

/// A shard as the store has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardState {
    /// Epoch number given out last.
    pub number: u64,
    /// To whom.
    pub holder: Option<Holder>,
    /// Time left on the holder's lease, if it has one.
    pub lease: Option<Duration>,
    /// Who shall lead instead.
    pub target: Option<Target>,
}

/// Who was given a shard last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Who.
    pub engine: Engine,
    /// Under which epoch.
    pub epoch: Epoch,
    /// Whether it gave it back or had it taken away.
    pub ended: bool,
}

/// What operators ordered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// Whether elections and placement rest.
    pub paused: bool,
    /// Why.
    pub reason: String,
    /// Who ordered it.
    pub actor: String,
    /// Since when, microseconds since the Unix epoch; 0 if not paused.
    pub since_us: u64,
    /// Names of engines that get no leadership.
    pub drained: BTreeSet<String>,
}

/// A wish that another engine leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aim {
    /// Which shard.
    pub shard: ShardId,
    /// Who must lead for it to be granted; `None`: nobody.
    pub led: Option<Epoch>,
    /// Who shall lead instead.
    pub target: Target,
    /// How long the wish lasts.
    pub lasts: Duration,
    /// How long afterwards nothing else is moved; then it is also granted only if nothing rests or moves now.
    pub rest: Option<Duration>,
}

/// How one endpoint of a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointHealth {
    /// Its address: a URL, or a file.
    pub address: String,
    /// How long its answer took, or why there was none.
    pub answer: Result<Duration, String>,
}

/// Why a store did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Somebody else leads.
    #[error("{} leads under epoch {}", .0.engine.name, .0.epoch.number)]
    Held(Box<Leader>),
    /// It does not answer, or answers that it cannot. Whether a change was made is unknown.
    #[error("the store does not answer: {0}")]
    Unavailable(String),
    /// Others changed the same keys again and again meanwhile. Nothing was changed.
    #[error("the store was changed by others meanwhile, try again")]
    Contended,
    /// What it holds cannot be read.
    #[error("the store holds what cannot be read: {0}")]
    Corrupt(String),
    /// All epoch numbers are used up.
    #[error("no epoch number is left above {0}")]
    Exhausted(u64),
}

/// Epochs, leases, and what else coordinators share.
#[async_trait]
pub trait LeaseStore: Send + Sync + fmt::Debug {
    /// "etcd" or "embedded".
    fn kind(&self) -> &'static str;

    /// Keeps the session of an engine and with it all its leaderships, or opens one. Called for signs of life of the
    /// engine, and for nothing else: one that is gone must not be kept by the coordinator. Writes the note if there is
    /// one. Returns the time of the lease.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: nothing is known about the session.
    async fn keep(&self, engine: &Engine, note: Option<&Note>) -> Result<Duration, StoreError>;

    /// Writes into the session of an engine, if there still is one, that it is not heard any more.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn leave(&self, engine: Incarnation) -> Result<(), StoreError>;

    /// Makes the engine leader under a new epoch, unless another one leads. The engine that leads already gets a new
    /// epoch as well. Its session is opened if need be. A target is forgotten.
    ///
    /// # Errors
    /// [`StoreError::Held`] naming the leader. After [`StoreError::Unavailable`] it may lead without knowing it; asking
    /// again is always right.
    async fn acquire(&self, request: Acquire) -> Result<Acquired, StoreError>;

    /// Gives a shard back to its last holder under the same epoch, if its lease has merely run out and nobody else was
    /// given it. False if not.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn restore(&self, shard: ShardId, engine: &Engine, epoch: Epoch) -> Result<bool, StoreError>;

    /// Ends a leadership for good. False if it had ended before.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it ends with its lease at the latest.
    async fn end(&self, shard: ShardId, epoch: Epoch) -> Result<bool, StoreError>;

    /// Writes down who shall lead instead. False if somebody else leads than was thought.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn aim(&self, aim: Aim) -> Result<bool, StoreError>;

    /// Changes the policy. Nothing is changed if it is not as it was thought to be: then false.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn set_policy(&self, before: &Policy, after: &Policy) -> Result<bool, StoreError>;

    /// The note under the id of an operation, or `note` put there for so long, in which case the answer is `None`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn begin(&self, id: &str, note: &str, lasts: Duration) -> Result<Option<String>, StoreError>;

    /// Replaces the note under the id of an operation, or removes it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn finish(&self, id: &str, note: Option<&str>, lasts: Duration) -> Result<(), StoreError>;

    /// Everything.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn read(&self) -> Result<Reading, StoreError>;

    /// Returns when something may have changed. A hint: it may come late, never, or for nothing.
    async fn changed(&self);

    /// Asks every endpoint for a sign of life.
    async fn endpoints(&self) -> Vec<EndpointHealth>;

    /// Makes all connections and watches anew.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it goes on with the old ones.
    async fn renew(&self) -> Result<(), StoreError>;
}

/// The number after both the last one given out and the highest one promised.
fn next_number(last: u64, promised: u64) -> Result<u64, StoreError> {
    let highest = last.max(promised);
    highest.checked_add(1).ok_or(StoreError::Exhausted(highest))
}

impl ShardState {
    /// Who leads.
    #[must_use]
    pub fn leader(&self) -> Option<Leader> {
        let holder = self.holder.as_ref().filter(|holder| !holder.ended)?;
        Some(Leader { engine: holder.engine.clone(), epoch: holder.epoch, ttl: self.lease? })
    }
}

impl Reading {
    /// The same for the rules of placement, with every shard there is.
    pub(crate) fn for_placement(&self, shards: &[u32]) -> placement::Stored {
        let session = |(engine, session): (&Incarnation, &Session)| {
            let session = placement::Session { name: session.engine.name.clone(), note: session.note.clone() };
            (*engine, session)
        };
        let shard = |shard: &u32| {
            let Some(state) = self.shards.get(&ShardId(*shard)) else {
                return (ShardId(*shard), placement::Shard::default());
            };
            let holder = state.holder.as_ref().map(|holder| placement::Holder {
                name: holder.engine.name.clone(),
                epoch: holder.epoch,
                ended: holder.ended,
            });
            let shown = placement::Shard { number: state.number, holder, lease: state.lease, target: state.target };
            (ShardId(*shard), shown)
        };
        placement::Stored {
            engines: self.engines.iter().map(session).collect(),
            shards: shards.iter().map(shard).collect(),
            policy: placement::Policy { paused: self.policy.paused, drained: self.policy.drained.clone() },
            resting: self.resting,
        }
    }
}
