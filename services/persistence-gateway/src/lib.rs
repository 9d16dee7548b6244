//! The keeper of what was decided: a journal voter per shard, the projector that turns the committed journal into the
//! history of orders, executions and trades, and the queries over it.
//!
//! An acknowledgement depends on the journal alone. The history may be slow, away or behind: it says so, and catches
//! up, each entry exactly once.
//!
//! Deliberately absent: who leads, what matching means, and every other service; engines and people come in through
//! gRPC.

pub mod backup;
mod blocking;
pub mod config;
pub mod history;
pub mod journal;
mod live;
mod metrics;
pub mod pools;
pub mod projector;
mod service;
pub mod verify;

pub use config::Config;
pub use service::{BuildError, PersistenceGateway, build};
pub use verify::{VerifyError, VerifyOptions, VerifyReport, verify};

/// Exit code of a process whose journal is damaged: nothing was cut or changed; restore the file from a copy or
/// rebuild the replica.
pub const EXIT_JOURNAL_DAMAGED: u8 = 10;

/// Exit code of a process whose journal cannot be opened or written any more: check the disk, then restart.
pub const EXIT_JOURNAL_FAILED: u8 = 11;
