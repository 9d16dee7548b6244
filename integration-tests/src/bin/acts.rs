//! What operators do while orders come in, and what clients see of it: `cargo xtask acts --rate 1000`.
#![expect(clippy::print_stdout, reason = "a command line tool speaks on stdout")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use integration_tests::acts::{Plan, run};

/// The acts of an operator on a node under load, then the judgement. The exit code is 1 if a request failed or an order
/// was lost.
#[derive(Parser)]
struct Arguments {
    /// Requests a second.
    #[arg(long, default_value_t = 1_000)]
    rate: u32,
    /// Accounts they come from.
    #[arg(long, default_value_t = 64)]
    accounts: u64,
    /// Content of the load.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds before the first act and after each.
    #[arg(long, default_value_t = 10)]
    calm: u64,
    /// How to print the report. It is left in the directory in both forms.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    /// Where log, data and report are left; must not exist.
    #[arg(long)]
    directory: PathBuf,
}

/// How a report is printed.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Output {
    /// For people, with what is done at the moment.
    Table,
    /// One JSON document.
    Json,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<ExitCode> {
    let Arguments { rate, accounts, seed, calm, output, directory } = Arguments::parse();
    std::fs::create_dir(&directory)?;
    let plan = Plan { rate, accounts, seed, calm: Duration::from_secs(calm) };
    let tell = |line: &str| {
        if output == Output::Table {
            println!("{line}");
        }
    };
    let report = run(&directory, &plan, tell).await?;
    let json = serde_json::to_string_pretty(&report)?;
    std::fs::write(directory.join("report.json"), &json)?;
    std::fs::write(directory.join("report.txt"), report.to_string())?;
    match output {
        Output::Table => println!("{report}\nlog and data: {}", directory.display()),
        Output::Json => println!("{json}"),
    }
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
