//! Harness for tests with real processes: starts and kills nodes, etcd and command-line clients, and keeps a record
//! of what clients were told.
//!
//! Deliberately absent: anything that looks inside a process. What a test cannot see through gRPC, HTTP, files or
//! exit codes, an operator cannot see either.

pub mod acts;
pub mod browser;
pub mod chaos;
pub mod cluster;
pub mod collector;
pub mod etcd;
pub mod http;
pub mod judge;
pub mod load;
pub mod node;
pub mod pods;
pub mod ports;
pub mod proxy;
pub mod raw;
pub mod record;
pub mod requests;
pub mod scribe;
pub mod tally;
pub mod tool;

use std::time::{Duration, Instant};

/// Pause between two looks at what another process does or shows: it cannot be awaited, only asked for again. Every
/// loop that does so has an end.
pub const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How long anything may take to be so: much longer than it ever takes, on a busy machine too.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Looks again and again until it is so.
///
/// # Errors
/// When a look fails, or it is not so in time.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let begin = Instant::now();
    while !is_so().await? {
        anyhow::ensure!(begin.elapsed() < LIMIT, "after {LIMIT:?} it is not so that {what}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}
