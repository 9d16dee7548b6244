//! The journal voter: an acceptor on a thread of its own per shard, and the gRPC service in front of it.
//!
//! Deliberately absent: the protocol's rules (`journal_core::acceptor`) and how bytes become durable
//! (`journal_store`).

mod arrivals;
mod client;
mod leader;
mod read;
mod service;
mod traced;
mod watch;
mod writer;

pub use client::JournalHandle;
pub(crate) use client::ShardSessions;
pub use service::JournalVoter;
pub(crate) use traced::Traced;
pub use watch::{Following, Watch};
pub use writer::{JournalFailure, Spawned, spawn};
