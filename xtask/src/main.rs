//! Chores of the workspace: `cargo xtask test`, `tidy`, `alerts`, `runbook`, `demo`, `chaos`, `acts`, `compose-test`. Nothing here is
//! shipped, and nothing here depends on the crates it looks at.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool speaks there")]

mod alerts;
mod compose;
mod demo;
#[cfg(test)]
mod deploy;
mod runbook;
mod testing;
mod tidy;
mod tools;
mod under_load;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// Chores of the workspace.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Everything that has to pass: tools, formatting, tidy, clippy, binaries, all tests.
    Test {
        /// The inner loop: formatting, tidy and the tests of every crate but `integration-tests`; no clippy.
        #[arg(long)]
        quick: bool,
    },
    /// The rules of the house that no compiler checks.
    Tidy {
        /// Write present sizes of what is too long into xtask/ratchet.toml. For splitting work, not for new code.
        #[arg(long)]
        record: bool,
    },
    /// Prometheus' rules and their tests, and Grafana's dashboards, from the sources in deploy/.
    Alerts {
        /// Only say whether they are up to date.
        #[arg(long)]
        check: bool,
    },
    /// Faults against a cluster of real processes under load, then a report.
    Chaos {
        /// How long faults are inflicted.
        #[arg(long, default_value_t = 30)]
        minutes: u64,
        /// Order of the faults and content of the load.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Further arguments, see `-- --help`.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// What operators do to a node under load, then a report of what clients saw of each act.
    Acts {
        /// Requests a second.
        #[arg(long, default_value_t = 1_000)]
        rate: u32,
        /// How to print the report.
        #[arg(long, value_enum, default_value = "table")]
        output: Output,
        /// Further arguments, see `-- --help`.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// The system of docker-compose.yml, without a registry: built, started, traded on, watched, broken, taken down.
    ComposeTest {
        /// Leave it running, and say how to speak with it.
        #[arg(long)]
        keep: bool,
        /// The optimised server instead of the one that the tests use.
        #[arg(long)]
        release: bool,
        /// How to print what came of it.
        #[arg(long, value_enum, default_value = "table")]
        output: Output,
    },
    /// Which items of the runbook's contract have a test, and how it went.
    Runbook {
        /// Report of a test run in JUnit's form; the one that `cargo nextest run` left if not given.
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
        /// How to print it.
        #[arg(long, value_enum, default_value = "table")]
        output: Output,
    },
    /// Start a node in a temporary directory and show it at work (`cargo run --release -- demo`).
    Demo {
        /// Arguments for `demo`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

/// How a result is printed.
#[derive(Clone, Copy, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// One JSON document.
    Json,
}

fn main() -> ExitCode {
    let root = workspace_root();
    let done = match Arguments::parse().chore {
        Chore::Test { quick } => testing::run(&root, quick),
        Chore::Tidy { record } => tidy::run(&root, record),
        Chore::Alerts { check } => alerts::run(&root, check),
        Chore::Chaos { minutes, seed, arguments } => under_load::chaos(&root, minutes, seed, &arguments),
        Chore::Acts { rate, output, arguments } => {
            under_load::acts(&root, rate, matches!(output, Output::Json), &arguments)
        }
        Chore::ComposeTest { keep, release, output } => {
            compose::test(&root, keep, release, matches!(output, Output::Json))
        }
        Chore::Runbook { report, output } => runbook::run(&root, report.as_deref(), matches!(output, Output::Json)),
        Chore::Demo { arguments } => demo::run(&root, &arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The directory above this crate's.
fn workspace_root() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root
}
