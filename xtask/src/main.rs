//! Chores of the workspace: `cargo xtask test`, `tidy`, `demo`, `chaos`. Nothing here is shipped, and nothing here depends on
//! the crates it looks at.
#![expect(clippy::print_stdout, reason = "a command line tool speaks on stdout")]

mod chaos;
mod demo;
mod testing;
mod tidy;
mod tools;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    /// Start a node in a temporary directory and show it at work (`cargo run --release -- demo`).
    Demo {
        /// Arguments for `demo`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    let root = workspace_root();
    let done = match Arguments::parse().chore {
        Chore::Test { quick } => testing::run(&root, quick),
        Chore::Tidy { record } => tidy::run(&root, record),
        Chore::Chaos { minutes, seed, arguments } => chaos::run(&root, minutes, seed, &arguments),
        Chore::Demo { arguments } => demo::run(&root, &arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("xtask: failed: {error:#}");
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
