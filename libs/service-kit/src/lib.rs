//! What every process of the house has in common: configuration, logs, metrics, traces, health, listeners, an orderly
//! stop.
//!
//! A service is a library that implements [`Service`]; a [`node::Node`] binds the sockets, mounts the services it is
//! given, keeps health and readiness, and stops them in order. One process with all roles and one process per role
//! differ only in the list of services.
//!
//! Deliberately absent: anything about orders, journals or leadership; push of metrics.

pub mod audit;
pub mod auth;
mod caller;
mod causes;
pub mod clock;
pub mod config;
mod context;
pub mod data_dir;
pub mod flood;
pub mod health;
pub mod http;
pub mod memory;
pub mod metrics;
pub mod node;
pub mod pools;
mod process;
pub mod request_id;
pub mod secrets;
mod service;
mod shutdown;
mod side_thread;
pub mod telemetry;
pub mod tls;
pub mod trace;

/// For the implementations of [`Service`].
pub use async_trait::async_trait;
pub use caller::{Accounts, Caller, Role};
pub use causes::with_causes;
pub use context::NodeContext;
pub use data_dir::DataDir;
pub use health::{Component, Components, Condition};
pub use memory::{AllocatorStats, MemoryAccounts};
pub use pools::{PoolStatus, Pools};
pub use service::{Service, ServiceError};
pub use shutdown::Shutdown;
pub use side_thread::SideThread;
