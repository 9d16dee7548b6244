//! Faults in a random order, from a seed, against a cluster under load; then the judgement: what clients were told
//! against the log, the pause of each fault, and what the processes complained about.
//!
//! Deliberately absent: any second try. One seed is one order of faults; the moments depend on the machine.

mod expected;
mod fault;
mod report;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use sim::checker::Verdict;
use sim::history::Operation;

use crate::cluster::{Cluster, LogLine, Member, Shape, symbols};
use crate::judge::{judge, keep_record};
use crate::load::{Load, Options, Recorder, pauses};
use crate::scribe::Scribe;

pub use self::fault::{Fault, force_election};
pub use self::report::{Pauses, Report};

/// After the last thing was mended a fresh request must be acknowledged within this time.
const RECOVERY_LIMIT: Duration = Duration::from_secs(30);

/// Time the cluster is left alone after each fault, milliseconds.
const CALM_MS: std::ops::Range<u64> = 500..1_000;

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
    /// Faults, in an order that the seed chooses.
    pub deck: Vec<Fault>,
}

/// One fault that was inflicted.
#[derive(Clone, Copy, Debug)]
pub struct Inflicted {
    /// Which.
    pub fault: Fault,
    /// Stamps of the record: when it began, and when the next one could begin.
    pub window: (u64, u64),
}

/// A cluster under load.
pub struct Scene {
    directory: PathBuf,
    /// The cluster.
    pub cluster: Cluster,
    load: Load,
    scribes: Vec<Scribe>,
}

/// What is left when the load has ended and everything was judged.
#[derive(Debug)]
pub struct Aftermath {
    /// Everything the clients recorded.
    pub operations: Vec<Operation>,
    /// What the checker found, by shard.
    pub verdicts: Vec<Verdict>,
    /// Log lines that no fault explains.
    pub complaints: Vec<LogLine>,
    /// Requests that were due and not sent.
    pub not_sent: u64,
}

impl Scene {
    /// Starts a cluster and a load, and waits until each shard has answered.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start(directory: &Path, plan: &Plan) -> Result<Self> {
        let cluster = Cluster::start(directory, plan.shape).await?;
        let symbols = symbols(plan.shape.shards);
        let options = Options { rate: plan.rate, accounts: plan.accounts, seed: plan.seed, symbols };
        let gateways = || cluster.gateways.iter().map(Member::channel).collect();
        let scribes = (0..plan.shape.shards).map(|shard| Scribe::follow(shard, gateways())).collect();
        let load = Load::start(cluster.engines.iter().map(Member::endpoint).collect(), &options).await?;
        let scene = Self { directory: directory.to_owned(), cluster, load, scribes };
        scene.acknowledged("the start").await?;
        Ok(scene)
    }

    /// The record of the clients.
    #[must_use]
    pub const fn recorder(&self) -> &Arc<Recorder> {
        self.load.recorder()
    }

    /// Waits until each shard has acknowledged something that was sent after now.
    ///
    /// # Errors
    /// When one has not in time.
    pub async fn acknowledged(&self, after: &str) -> Result<()> {
        self.recorder().acknowledges(self.cluster.shape.shards, RECOVERY_LIMIT, after).await
    }

    /// Ends the load, judges, ends the cluster. `deck`: what was inflicted. If anything is wrong, the record of the
    /// clients is left in the directory.
    ///
    /// # Errors
    /// When it cannot be judged, or a process does not end in order.
    pub async fn finish(self, deck: &[Fault]) -> Result<Aftermath> {
        let recorder = self.load.stop().await?;
        let operations = recorder.take();
        let verdicts = judge(&self.cluster.system(), &self.scribes, operations.clone(), || recorder.stamp()).await?;
        let complaints = expected::unexpected(self.cluster.complaints(), deck);
        keep_record(&self.directory, &operations, &verdicts)?;
        self.cluster.stop().await?;
        Ok(Aftermath { operations, verdicts, complaints, not_sent: recorder.skipped_requests() })
    }
}

impl Aftermath {
    /// Fails if the checker found anything, or a process said what nobody expected.
    ///
    /// # Errors
    /// With everything that was found.
    pub fn must_be_clean(&self) -> Result<()> {
        let violations: Vec<String> =
            self.verdicts.iter().flat_map(|verdict| &verdict.violations).map(ToString::to_string).collect();
        ensure!(violations.is_empty(), "{}", violations.join("\n"));
        let lines: Vec<&str> = self.complaints.iter().map(|line| line.line.as_str()).collect();
        ensure!(lines.is_empty(), "unexpected log lines:\n{}", lines.join("\n"));
        Ok(())
    }
}

/// Plays `plan` in `directory`, where all logs and, if anything is wrong, the record of the clients stay.
///
/// # Errors
/// When the cluster does not come up, does not recover, or cannot be judged. What the judgement finds is in the report.
pub async fn run(directory: &Path, plan: &Plan, tell: impl Fn(&str)) -> Result<Report> {
    let mut scene = Scene::start(directory, plan).await?;
    let begin = Instant::now();
    let mut random = ChaCha8Rng::seed_from_u64(plan.seed);
    let mut inflicted = Vec::new();
    let mut deck = plan.deck.clone();
    deck.shuffle(&mut random);
    for fault in deck {
        let from = scene.recorder().stamp();
        tell(&format!("{:7.1} s  {fault:?}", begin.elapsed().as_secs_f64()));
        fault.inflict(&mut scene.cluster, &mut random).await.with_context(|| format!("{fault:?}"))?;
        scene.acknowledged(&format!("{fault:?}")).await?;
        scene.cluster.rested().await.with_context(|| format!("after {fault:?}"))?;
        // Waits for nothing: the next fault shall meet the cluster at rest, at a moment that the seed chooses.
        tokio::time::sleep(Duration::from_millis(random.random_range(CALM_MS))).await;
        inflicted.push(Inflicted { fault, window: (from, scene.recorder().stamp()) });
    }
    let seconds = begin.elapsed().as_secs_f64();
    tell("the load ends, the record is judged");
    let aftermath = scene.finish(&plan.deck).await?;
    let windows: Vec<(u64, u64)> = inflicted.iter().map(|one| one.window).collect();
    let pauses = pauses(&aftermath.operations, &windows);
    Ok(Report::new(plan, seconds, &inflicted, &pauses, aftermath))
}
