//! Faults in a random order, from a seed, against a cluster under load; then the judgement: what clients were told
//! against the log, the pause of each fault, and what the processes complained about.
//!
//! Deliberately absent: any second try. One seed is one order of faults; the moments depend on the machine.

mod expected;
mod fault;
mod report;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::cluster::{Cluster, Shape, symbols};
use crate::judge::judge;
use crate::load::{Load, Options, Recorder, pauses};

pub use self::fault::{Fault, force_election};
pub use self::report::{Pauses, Report};

/// After the last thing was mended a fresh request must be acknowledged within this time.
const RECOVERY_LIMIT: Duration = Duration::from_secs(30);

/// Between two looks at what was acknowledged.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Time the cluster is left alone after each fault, milliseconds.
const CALM_MS: std::ops::Range<u64> = 1_000..2_000;

/// What run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What cluster.
    pub shape: Shape,
    /// Requests a second, and accounts they come from.
    pub rate: u32,
    /// See `rate`.
    pub accounts: u64,
    /// Of everything that is random.
    pub seed: u64,
    /// Faults of one round.
    pub deck: Vec<Fault>,
    /// Rounds follow one another until this time has passed; at least one is played.
    pub time: Duration,
}

/// One fault that was inflicted.
#[derive(Clone, Copy, Debug)]
pub struct Inflicted {
    /// Which.
    pub fault: Fault,
    /// Stamps of the record: when it began, and when the next one could begin.
    pub window: (u64, u64),
}

/// Plays `plan` in `directory`, where all logs and, if anything is wrong, the record of the clients stay.
///
/// # Errors
/// When the cluster does not come up, does not recover, or cannot be judged. What the judgement finds is in the report.
pub async fn run(directory: &Path, plan: &Plan, tell: impl Fn(&str)) -> Result<Report> {
    let mut cluster = Cluster::start(directory, plan.shape).await?;
    let symbols = symbols(plan.shape.shards);
    let options = Options { rate: plan.rate, accounts: plan.accounts, seed: plan.seed, symbols };
    let load = Load::start(&cluster.engines, &options).await?;
    let begin = Instant::now();
    acknowledged(load.recorder(), plan.shape.shards, "the start").await?;
    let mut random = ChaCha8Rng::seed_from_u64(plan.seed);
    let mut inflicted = Vec::new();
    while inflicted.is_empty() || begin.elapsed() < plan.time {
        let mut deck = plan.deck.clone();
        deck.shuffle(&mut random);
        for fault in deck {
            let from = load.recorder().stamp();
            tell(&format!("{:7.1} s  {fault:?}", begin.elapsed().as_secs_f64()));
            fault.inflict(&mut cluster, &mut random).await.with_context(|| format!("{fault:?}"))?;
            acknowledged(load.recorder(), plan.shape.shards, &format!("{fault:?}")).await?;
            tokio::time::sleep(Duration::from_millis(random.random_range(CALM_MS))).await;
            inflicted.push(Inflicted { fault, window: (from, load.recorder().stamp()) });
            if begin.elapsed() >= plan.time && inflicted.len() >= plan.deck.len() {
                break;
            }
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    tell("the load ends");
    let recorder = load.stop().await?;
    let operations = recorder.take();
    let windows: Vec<(u64, u64)> = inflicted.iter().map(|one| one.window).collect();
    let pauses = pauses(&operations, &windows);
    tell(&format!("{} operations are judged", operations.len()));
    let verdicts = judge(&cluster, operations.clone(), || recorder.stamp()).await?;
    let complaints = expected::unexpected(cluster.complaints(), &plan.deck);
    let stopped = cluster.stop().await;
    let report = Report::new(
        plan,
        seconds,
        &inflicted,
        &pauses,
        &operations,
        recorder.skipped_requests(),
        &verdicts,
        complaints,
    );
    if !report.is_clean() {
        let lines: Vec<String> = operations.iter().filter_map(|operation| operation.to_line().ok()).collect();
        std::fs::write(directory.join("history.jsonl"), lines.join("\n"))?;
    }
    stopped?;
    Ok(report)
}

/// Waits until each shard has acknowledged something that was sent after now.
///
/// # Errors
/// When one has not in time.
pub async fn acknowledged(recorder: &Recorder, shards: u32, after: &str) -> Result<()> {
    let (now, begin) = (recorder.stamp(), Instant::now());
    while recorder.last_acknowledged(shards) < now {
        ensure!(begin.elapsed() < RECOVERY_LIMIT, "nothing was acknowledged for {RECOVERY_LIMIT:?} after {after}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}
