//! Harness for tests with real processes: starts and kills nodes, etcd and command-line clients, and keeps a record
//! of what clients were told.
//!
//! Deliberately absent: anything that looks inside a process. What a test cannot see through gRPC, HTTP, files or
//! exit codes, an operator cannot see either.

pub mod acts;
pub mod chaos;
pub mod cluster;
pub mod collector;
pub mod etcd;
pub mod http;
pub mod judge;
pub mod load;
pub mod node;
pub mod ports;
pub mod proxy;
pub mod raw;
pub mod record;
pub mod requests;
pub mod scribe;
pub mod tally;
pub mod tool;

/// Pause between two looks at what another process does or shows: it cannot be awaited, only asked for again. Every
/// loop that does so has an end.
pub const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(50);
