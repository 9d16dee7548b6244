//! `cargo xtask compose-test`: the system of docker-compose.yml, built of Debian's packages where no registry is reached,
//! started, traded on, watched, broken and taken down. `start` is for whatever else needs such a cluster.

mod checks;
mod cluster;
mod daemon;
mod images;
mod readme;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

pub(crate) use cluster::{Cluster, Options, Version};
pub(crate) use daemon::NoContainers;

/// Pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Engines that are traded on: one that leads, one that takes over.
const ENGINES: u32 = 2;

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// Seconds for images.
    built_s: f64,
    /// One for each compose: its version, and seconds from `up` until everything was healthy.
    healthy_s: BTreeMap<String, f64>,
    /// Commands of the README that were run.
    examples: usize,
    load: checks::Load,
    /// Rows of orders that the database and its replica agree on.
    orders_in_history: u64,
    targets_up: usize,
    incident: checks::Incident,
    duration_s: f64,
}

/// Whether there is a daemon already.
pub(crate) fn a_daemon_answers() -> bool {
    daemon::answers(None)
}

/// A cluster that is healthy.
pub(crate) fn start(root: &Path, options: Options) -> Result<Cluster> {
    let mut cluster = Cluster::prepare(root, options)?;
    cluster.build_and_up()?;
    eprintln!("images after {} s, healthy after {} s", cluster.built_s, cluster.healthy_s);
    Ok(cluster)
}

/// Runs all of it.
pub(crate) fn test(root: &Path, keep: bool, release: bool, json: bool) -> Result<()> {
    let began = Instant::now();
    let mut cluster = start(root, Options { version: Version::One, release, keep })?;
    let mut report = Report { built_s: cluster.built_s, ..Report::default() };
    report.healthy_s.insert(cluster.version()?, cluster.healthy_s);
    checks::an_order_is_found(&cluster, "by-the-first-compose")?;

    cluster.again_by(Version::Two)?;
    report.healthy_s.insert(cluster.version()?, cluster.healthy_s);
    eprintln!("healthy by compose {:?}", report.healthy_s);
    report.examples = readme::run(&cluster)?;
    eprintln!("{} examples of the README work", report.examples);
    cluster.scale("order-engine", ENGINES)?;
    report.load = checks::load(&cluster)?;
    eprintln!("{} of {} requests acknowledged, none lost", report.load.acknowledged, report.load.orders);
    report.orders_in_history = checks::history(&cluster)?;
    eprintln!("{} orders in the database and on its replica", report.orders_in_history);
    report.targets_up = checks::targets(&cluster)?;
    eprintln!("{} targets of Prometheus are up", report.targets_up);
    report.incident = checks::incident(&cluster)?;
    eprintln!("{} came to {} after {} s", report.incident.alert, report.incident.receiver, report.incident.after_s);
    checks::an_order_is_found(&cluster, "after-the-incident")?;
    if keep {
        eprintln!("it goes on running; for compose and scripts/production: source {}", cluster.shell_file().display());
    }
    drop(cluster);
    report.duration_s = seconds(began);
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    }
    eprintln!("compose-test: passed in {} s", report.duration_s);
    Ok(())
}

/// Before what containers do or show is looked at once more. Every loop that does so has an end.
#[expect(clippy::disallowed_methods, reason = "what containers do cannot be awaited, only asked for again")]
fn look_again() {
    std::thread::sleep(LOOK_AGAIN);
}

/// To tenths.
fn seconds(since: Instant) -> f64 {
    (since.elapsed().as_secs_f64() * 10.0).round() / 10.0
}
