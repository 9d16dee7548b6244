//! Faults against a cluster for as long as one likes: `cargo xtask chaos --minutes N --seed S`.
#![expect(clippy::print_stdout, reason = "a command line tool speaks on stdout")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use integration_tests::chaos::{Fault, Plan, Report, run};
use integration_tests::cluster::Shape;

/// Faults against a cluster under load, then the judgement.
#[derive(Parser)]
struct Arguments {
    /// How long faults are inflicted, at least. Each round of them has a cluster of its own.
    #[arg(long, default_value_t = 4)]
    minutes: u64,
    /// How many rounds are played, at least. In ten rounds 200 leaders are killed.
    #[arg(long, default_value_t = 1)]
    rounds: u64,
    /// Order of the faults and content of the load in the first round; one more in each further one.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Requests a second.
    #[arg(long, default_value_t = 1_000)]
    rate: u32,
    /// Accounts they come from.
    #[arg(long, default_value_t = 64)]
    accounts: u64,
    /// Engines.
    #[arg(long, default_value_t = 3)]
    engines: usize,
    /// Coordinators.
    #[arg(long, default_value_t = 2)]
    coordinators: usize,
    /// Gateways.
    #[arg(long, default_value_t = 2)]
    gateways: usize,
    /// Shards.
    #[arg(long, default_value_t = 1)]
    shards: u32,
    /// Entries between two snapshots of a shard.
    #[arg(long, default_value_t = 40_000)]
    snapshot_every: u64,
    /// Only these faults, each --times a round; by default all of them as often as a long run asks for.
    #[arg(long, value_delimiter = ',')]
    faults: Vec<String>,
    /// See --faults.
    #[arg(long, default_value_t = 1, requires = "faults")]
    times: usize,
    /// Where logs, report and, if anything is wrong, the record of the clients are left; must not exist.
    #[arg(long)]
    directory: PathBuf,
}

fn deck(names: &[String], times: usize) -> Result<Vec<Fault>> {
    let mut all = Fault::long_deck();
    if names.is_empty() {
        return Ok(all);
    }
    all.sort_unstable();
    all.dedup();
    let known = |name: &String| all.iter().copied().find(|fault| format!("{fault:?}") == *name);
    let found =
        names.iter().map(|name| known(name).ok_or_else(|| anyhow::anyhow!("no fault {name}; there are {all:?}")));
    let found: Vec<Fault> = found.collect::<Result<_>>()?;
    Ok(found.repeat(times))
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let Arguments { engines, coordinators, gateways, shards, snapshot_every, .. } = arguments;
    let mut plan = Plan {
        shape: Shape { engines, coordinators, gateways, shards, snapshot_every },
        rate: arguments.rate,
        accounts: arguments.accounts,
        seed: arguments.seed,
        deck: deck(&arguments.faults, arguments.times)?,
    };
    std::fs::create_dir(&arguments.directory)?;
    let (begin, time) = (Instant::now(), Duration::from_secs(60 * arguments.minutes));
    let (mut played, mut unfinished) = (0, 0);
    let mut all: Option<Report> = None;
    while played < arguments.rounds || begin.elapsed() < time {
        played += 1;
        println!("round {played}, seed {}", plan.seed);
        let directory = arguments.directory.join(format!("round-{played}"));
        std::fs::create_dir(&directory)?;
        match run(&directory, &plan, |line| println!("{line}")).await {
            Ok(report) => {
                println!("{report}");
                let sum = all.take();
                all = Some(match sum {
                    Some(sum) => sum.and(report),
                    None => report,
                });
            }
            // The others are worth having all the same.
            Err(error) => {
                unfinished += 1;
                println!("round {played}, seed {}, has no end: {error:#}", plan.seed);
            }
        }
        plan.seed += 1;
    }
    let report = all.context("no round came to its end")?;
    std::fs::write(arguments.directory.join("report.json"), serde_json::to_string_pretty(&report)?)?;
    std::fs::write(arguments.directory.join("report.txt"), report.to_string())?;
    println!("{report}\n{unfinished} of {played} rounds without an end\nlogs: {}", arguments.directory.display());
    Ok(if report.is_clean() && unfinished == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
