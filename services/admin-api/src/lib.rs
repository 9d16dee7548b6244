//! The operator's door: what all instances say of themselves, and what operators order, over gRPC and HTTP; and the
//! console, a page that shows the one and offers the other.
//!
//! Every question goes to all instances in parallel under one deadline. An instance that does not answer is in the
//! answer with its error, never silently missing. Orders are given to all instances, or to those that are named, in the
//! same way. GET changes nothing; whatever acts is a POST with a JSON body. What changes
//! something is done, and recorded, by the instances.
//!
//! | Path | Answer |
//! |---|---|
//! | `GET /health` | 200 or 503: [`view::health::HealthView`] |
//! | `GET /health/consensus` | 200 or 503: [`view::consensus::ConsensusView`] |
//! | `GET /admin/database/pool-status` | 200: [`view::pools::PoolsView`] |
//! | `GET /admin/memory-profile` | 200: [`view::memory::MemoryView`] |
//! | `POST /admin/database/reset-pools` | 200: [`view::database::ResetView`] |
//! | `POST /admin/database/optimize-connections` | 200: [`view::database::OptimizationView`] |
//! | `GET /admin/activity` | 200: [`view::activity::ActivityView`] |
//! | `GET /admin/instruments` | 200: [`view::market::InstrumentsView`] |
//! | `GET /admin/book?symbol=…&depth=…` | 200: [`view::market::BookView`] |
//! | `POST /admin/trading/halt`, `resume`, `kill-switch` | 200: [`view::trading::TradingView`] |
//! | `POST /admin/consensus/force-election`, `restart`, `pause`, `resume`, `drain`, `undrain` | 200: [`view::orders`] |
//! | `GET /admin/audit` | 200: [`view::audit::RecordsView`]; takes a filter, see `audit_http` |
//! | `GET /admin/audit/verify` | 200: [`view::audit::VerificationsView`] |
//! | `GET /admin/notifications` | 200: [`view::notifications::NotificationsView`] |
//! | `POST /admin/notifications` | 200: [`view::notifications::SentView`] |
//! | `GET /admin/incident` | 200: [`view::incident::IncidentView`], or Markdown |
//! | `GET /` | the console |
//! | `GET /admin/config` | 200: [`view::configuration::ConfigView`] |
//! | `POST /admin/config/reload` | 200, 422 or 503: [`view::configuration::OutcomesView`] |
//! | `POST /admin/log-level` | 200 or 503: [`view::configuration::LevelsView`] |
//!
//! What asks all instances takes `?timeout_ms=1..900`. Other parameters are answered 400 naming the field, other methods
//! 405, other paths 404, all as [`service_kit::http::Problem`].
//!
//! Deliberately absent: probes (`/livez` and `/readyz` are the node's own), and the acts themselves: engines and
//! coordinators carry out what is ordered here.

mod activity;
mod audit;
mod audit_http;
mod client;
mod config;
mod configuration;
mod database;
mod database_http;
mod gather;
mod grpc;
mod http;
mod incident;
mod keys;
mod memory;
mod metrics;
pub mod notifications;
mod orders;
mod service;
mod targets;
mod trading;
mod verdict;
pub mod view;
mod ways;

pub use activity::{quantile_us, since};
pub use config::{Config, ConfigError};
pub use service::{AdminApi, BuildError, Deps, build};
