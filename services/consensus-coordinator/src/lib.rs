//! Who may try to lead a shard: epochs, leases and sessions for engines, kept in etcd or, for a single machine, in a
//! file; and what operators order about elections.
//!
//! A lease is a hint about who is alive; it makes no acknowledgement safe (H4). That is the journal's part: a voter
//! grants an epoch once, and refuses everything older. What this service owes it is that no epoch number is ever
//! given out twice, whatever crashes: the number is durable before it is said.
//!
//! Deliberately absent: elections by vote, any judgement about what is committed, and the rules by which shards are
//! placed and leaders suspected, which are `journal_core::placement`.

mod config;
mod coordinator;
mod effects;
mod grpc;
mod heartbeats;
mod metrics;
mod operations;
mod refusal;
mod service;
mod status;
mod store;
mod voters;

pub use config::{Config, ConfigError, StoreKind};
pub use service::{BuildError, ConsensusCoordinator, Deps, build};
pub use store::embedded::EmbeddedStore;
pub use store::etcd::{EtcdOptions, EtcdStore};
pub use store::{
    Acquire, Acquired, Aim, EndpointHealth, Holder, Leader, LeaseStore, Monotonic, Policy, Reading, Session,
    ShardState, StoreError,
};
