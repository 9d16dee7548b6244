//! Where epochs and leases are kept.
//!
//! Every change is one transaction that holds only if nothing it was derived from has changed (protocol, 3.2): the
//! epoch counter goes up in the same transaction in which the leader's name is put beside it. Two coordinators that
//! act at once cannot both succeed.

pub(crate) mod embedded;
pub(crate) mod etcd;
mod text;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use journal_core::VoterConfig;
use types::{Epoch, ShardId};
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

/// What became of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It goes on for so long.
    Alive(Duration),
    /// It is gone; perhaps somebody else leads now.
    Gone,
}

/// A shard as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardState {
    /// Which shard.
    pub shard: ShardId,
    /// Epoch number given out last.
    pub epoch: u64,
    /// Who leads, if anybody.
    pub leader: Option<Leader>,
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

/// Epochs and leases.
#[async_trait]
pub trait LeaseStore: Send + Sync + fmt::Debug {
    /// "etcd" or "embedded".
    fn kind(&self) -> &'static str;

    /// Makes the engine leader under a new epoch, unless another one leads. The engine that leads already gets a new
    /// epoch as well.
    ///
    /// # Errors
    /// [`StoreError::Held`] naming the leader. After [`StoreError::Unavailable`] a lease may exist that nobody keeps
    /// alive; asking again is always right.
    async fn acquire(&self, request: Acquire) -> Result<Acquired, StoreError>;

    /// Keeps the lease of a leadership. Called for signs of life of its engine, and for nothing else: a leader that is
    /// gone must not be kept by the coordinator.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: nothing is known about the lease.
    async fn keep_alive(&self, shard: ShardId, engine: &Engine, epoch: Epoch) -> Result<Kept, StoreError>;

    /// Ends a leadership. False if it had ended before.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it ends with its lease at the latest.
    async fn release(&self, shard: ShardId, epoch: Epoch) -> Result<bool, StoreError>;

    /// All shards that ever had a leader, ascending.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn shards(&self) -> Result<Vec<ShardState>, StoreError>;

    /// Asks every endpoint for a sign of life.
    async fn endpoints(&self) -> Vec<EndpointHealth>;
}

/// The number after both the last one given out and the highest one promised.
fn next_number(last: u64, promised: u64) -> Result<u64, StoreError> {
    let highest = last.max(promised);
    highest.checked_add(1).ok_or(StoreError::Exhausted(highest))
}
