//! The order engine: takes orders over gRPC, puts them in one order, makes them durable through the journal, matches
//! them, and answers. Acknowledged means committed and applied.
//!
//! The way of an order through the rooms: [`grpc`] decodes, `admission` lets in or refuses, the loop of `shard` puts
//! it into a batch, `journal_client` carries the batch to the voters, the loop applies what is committed, and `egress`
//! and the handlers tell. `leadership` talks to the coordinator beside it.
//!
//! Deliberately absent: storage (the journal's voters are other services), the choice of a leader (the coordinator's),
//! and history.

mod admission;
mod config;
mod egress;
mod grpc;
mod health;
mod journal_client;
mod leadership;
mod metrics;
mod service;
mod shard;
mod trace;

pub use config::{BATCH_COMMANDS_MAX, Config, ConfigError, InstrumentConfig, RulesConfig};
pub use service::{BuildError, Deps, OrderEngine};

pub use service::build;
