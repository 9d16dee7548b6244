//! Faults against a cluster for as long as one likes: `cargo xtask chaos --minutes N --seed S`.
#![expect(clippy::print_stdout, reason = "a command line tool speaks on stdout")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use integration_tests::chaos::{Fault, Plan, run};
use integration_tests::cluster::Shape;

/// Faults against a cluster under load, then the judgement.
#[derive(Parser)]
struct Arguments {
    /// How long faults are inflicted, at least.
    #[arg(long, default_value_t = 4)]
    minutes: u64,
    /// How many whole rounds of faults are inflicted, at least. Five have 200 leaders killed.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Order of the faults and content of the load.
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
    /// Only these faults, each once a round; by default all of them as often as a long run asks for.
    #[arg(long, value_delimiter = ',')]
    faults: Vec<String>,
    /// Where logs, report and, if anything is wrong, the record of the clients are left; must not exist.
    #[arg(long)]
    directory: PathBuf,
}

fn deck(names: &[String]) -> Result<Vec<Fault>> {
    let mut all = Fault::long_deck();
    if names.is_empty() {
        return Ok(all);
    }
    all.sort_unstable();
    all.dedup();
    let known = |name: &String| all.iter().copied().find(|fault| format!("{fault:?}") == *name);
    let found =
        names.iter().map(|name| known(name).ok_or_else(|| anyhow::anyhow!("no fault {name}; there are {all:?}")));
    found.collect()
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let Arguments { minutes, seed, rate, accounts, engines, coordinators, gateways, shards, .. } = arguments;
    let plan = Plan {
        shape: Shape { engines, coordinators, gateways, shards },
        rate,
        accounts,
        seed,
        deck: deck(&arguments.faults)?,
        time: Duration::from_secs(60 * minutes),
        rounds: arguments.rounds,
    };
    std::fs::create_dir(&arguments.directory)?;
    let report = run(&arguments.directory, &plan, |line| println!("{line}")).await?;
    std::fs::write(arguments.directory.join("report.json"), serde_json::to_string_pretty(&report)?)?;
    std::fs::write(arguments.directory.join("report.txt"), report.to_string())?;
    println!("{report}\nlogs and report: {}", arguments.directory.display());
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
