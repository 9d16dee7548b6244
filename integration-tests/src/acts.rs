//! What operators do while orders come in: one act after another on a real node with journal and history in PostgreSQL;
//! then what clients saw before, during and after each, and the judgement of everything they were told.
//!
//! Deliberately absent: limits on times. They depend on the machine; whoever reads the report judges them.

mod report;
mod stage;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use self::stage::Stage;

pub use self::report::{Latency, Report, Seen};

/// What counts as during an act is at least this long: what a command sets off may follow its answer.
const DURING_MIN: Duration = Duration::from_secs(1);

/// What run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Requests a second, and accounts they come from.
    pub rate: u32,
    /// See `rate`.
    pub accounts: u64,
    /// Of the content of the load.
    pub seed: u64,
    /// How long nothing is done before the first act, and after each.
    pub calm: Duration,
}

/// What is done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// `admin database reset-pools`.
    ResetPools,
    /// `admin database optimize-connections`.
    OptimizeConnections,
    /// The key that the clients show is replaced, and the former one revoked.
    RotateKey,
    /// `admin config set … --reload`.
    ReloadGood,
    /// A file that cannot be used is refused, then mended.
    ReloadBroken,
    /// `admin memory start`.
    ProfilingOn,
    /// `admin memory stop`.
    ProfilingOff,
    /// Memory-only mode is switched on.
    MemoryOnlyOn,
    /// PostgreSQL crashes.
    DatabaseAway,
    /// PostgreSQL starts again, and gets what it missed.
    DatabaseBack,
    /// Memory-only mode is switched off.
    MemoryOnlyOff,
    /// `admin backup create`.
    Backup,
}

/// An act that was performed.
#[derive(Clone, Copy, Debug)]
struct Performed {
    act: Act,
    took: Duration,
    /// Stamps of the record: begin of the calm before, of the act, of the calm after it, and end.
    stamps: [u64; 4],
}

impl Act {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::ResetPools,
        Self::OptimizeConnections,
        Self::RotateKey,
        Self::ReloadGood,
        Self::ReloadBroken,
        Self::ProfilingOn,
        Self::ProfilingOff,
        Self::MemoryOnlyOn,
        Self::DatabaseAway,
        Self::DatabaseBack,
        Self::MemoryOnlyOff,
        Self::Backup,
    ];
}

/// Plays `plan` in `directory`, where the node's log and data stay, and the record of the clients if anything is wrong.
///
/// # Errors
/// When the node does not come up, an act does not do what it should, or nothing can be judged. What the judgement finds
/// is in the report.
pub async fn run(directory: &Path, plan: &Plan, tell: impl Fn(&str)) -> Result<Report> {
    let mut stage = Stage::start(directory, plan).await?;
    let begin = Instant::now();
    let mut before = stage.recorder().stamp();
    // Here and below: the calm is what is measured.
    tokio::time::sleep(plan.calm).await;
    let mut performed = Vec::new();
    for act in Act::ALL {
        tell(&format!("{:7.1} s  {act:?}", begin.elapsed().as_secs_f64()));
        let (from, started) = (stage.recorder().stamp(), Instant::now());
        stage.perform(act).await.with_context(|| format!("{act:?}"))?;
        let took = started.elapsed();
        stage.acknowledged(&format!("{act:?}")).await?;
        tokio::time::sleep(DURING_MIN.saturating_sub(started.elapsed())).await;
        let to = stage.recorder().stamp();
        tokio::time::sleep(plan.calm).await;
        performed.push(Performed { act, took, stamps: [before, from, to, stage.recorder().stamp()] });
        before = to;
    }
    let seconds = begin.elapsed().as_secs_f64();
    tell("the load ends, the record is judged");
    let aftermath = stage.finish().await?;
    Ok(Report::new(plan, seconds, &performed, aftermath))
}
