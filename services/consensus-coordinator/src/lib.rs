//! Who may try to lead a shard: epochs and leases for engines, kept in etcd or, for a single machine, in a file.
//!
//! A lease is a hint about who is alive; it makes no acknowledgement safe (H4). That is the journal's part: a voter
//! grants an epoch once, and refuses everything older. What this service owes it is that no epoch number is ever
//! given out twice, whatever crashes: the number is durable before it is said.
//!
//! Deliberately absent: failure detectors, elections by vote, and any judgement about what is committed.

mod config;
mod coordinator;
mod grpc;
mod metrics;
mod service;
mod store;

pub use config::{Config, ConfigError, StoreKind};
pub use service::{BuildError, ConsensusCoordinator, build};
pub use store::embedded::EmbeddedStore;
pub use store::etcd::{EtcdOptions, EtcdStore};
pub use store::{Acquire, Acquired, EndpointHealth, Kept, Leader, LeaseStore, Monotonic, ShardState, StoreError};
