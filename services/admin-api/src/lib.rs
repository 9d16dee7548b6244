//! The operator's door: health, consensus, pools and memory of all instances, over gRPC (`AdminService`) and HTTP.
//!
//! Every question goes to all instances in parallel under one deadline. An instance that does not answer is in the
//! answer with its error, never silently missing. Orders are given to all instances, or to those that are named, in the
//! same way.
//!
//! | Path | Answer |
//! |---|---|
//! | `GET /health` | 200 or 503: [`view::health::HealthView`] |
//! | `GET /health/consensus` | 200 or 503: [`view::consensus::ConsensusView`] |
//! | `GET /admin/database/pool-status` | 200: [`view::pools::PoolsView`] |
//! | `GET /admin/memory-profile` | 200: [`view::memory::MemoryView`] |
//! | `POST /admin/database/reset-pools` | 200: [`view::database::ResetView`] |
//! | `POST /admin/database/optimize-connections` | 200: [`view::database::OptimizationView`] |
//!
//! Each GET takes `?timeout_ms=1..900`. Other parameters are answered 400 naming the field, other methods 405, other paths
//! 404, all as [`service_kit::http::Problem`].
//!
//! Deliberately absent: probes (`/livez` and `/readyz` are the node's own), metrics, and how an instance does what it is
//! told.

mod config;
mod database;
mod database_http;
mod gather;
mod grpc;
mod http;
mod metrics;
mod orders;
mod service;
mod targets;
mod verdict;
pub mod view;

pub use config::{Config, ConfigError};
pub use service::{AdminApi, BuildError, Deps, build};
