//! `verify`: hands a stopped node to the gateway's verification and prints what it found.
//!
//! Deliberately absent: the comparison itself.
#![expect(clippy::print_stdout, reason = "prints the table that was asked for")]

use std::path::PathBuf;

use anyhow::Result;
use persistence_gateway::verify::{VerifyOptions, VerifyReport, verify};
use service_kit::DataDir;

use crate::cli::{EXIT_DIFFERENCE, EXIT_OK, Output};
use crate::config::ServerConfig;

/// Verifies the node of `config`, or the one in `data_dir`. Returns the exit code.
pub(crate) fn run(config: ServerConfig, data_dir: Option<PathBuf>, output: Output) -> Result<u8> {
    let data_dir = data_dir.unwrap_or(config.node.data_dir);
    // A running node would go on writing below the comparison. Where there is no directory, nothing runs, and locking
    // would make one of a mistyped name.
    let lock = data_dir.is_dir().then(|| DataDir::lock(&data_dir)).transpose()?;
    let report = verify(VerifyOptions { config: config.persistence_gateway, data_dir })?;
    drop(lock);
    crate::output::report(&report, output, print_table)?;
    Ok(if report.ok { EXIT_OK } else { EXIT_DIFFERENCE })
}

fn print_table(report: &VerifyReport) {
    for shard in &report.shards {
        println!("shard {}, log {}", shard.shard, shard.log_id);
        println!("  journal      entries {} to {}, all hashes right", shard.journal_base + 1, shard.journal_end);
        println!("  replayed     {} entries, from {}", shard.entries_replayed, shard.replayed_from + 1);
        println!("  history      up to entry {}", shard.projected);
        println!(
            "  agree        {} orders, {} executions, {} trades, {} instruments",
            shard.orders, shard.executions, shard.trades, shard.instruments
        );
        println!("  state hash   {}", shard.state_hash);
        println!("  differences  {}", shard.differences);
        for difference in &shard.first_differences {
            println!("    {difference}");
        }
    }
    println!("{}", if report.ok { "history and journal agree" } else { "history and journal DIFFER" });
}
