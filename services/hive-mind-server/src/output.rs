//! What goes to standard output and standard error: results for people or as one JSON document, errors with their
//! causes. The only file of the binary that prints outside of the loads' own tables.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is where the binary prints")]

use std::io::Write;

use anyhow::Result;
use clap::CommandFactory;
use serde::Serialize;
use serde_json::json;
use service_kit::config::Loaded;
use service_kit::node::Listen;
use tonic::Status;

use crate::cli::{Cli, Output};
use crate::config::ServerConfig;

/// An error and everything that led to it, on one line of standard error.
pub(crate) fn error(error: &anyhow::Error) {
    eprintln!("error: {}", chain(error));
}

/// The error and its causes. Many of them end with their own cause already: it is not said twice. Of a call that
/// failed, it is what the other side said, not how the client keeps it.
pub(crate) fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = match cause.downcast_ref::<Status>() {
            Some(status) => format!("{:?}: {}", status.code(), status.message()),
            None => cause.to_string(),
        };
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// What is no result, on a line of standard error.
pub(crate) fn aside(text: &str) {
    eprintln!("{text}");
}

/// A question, on standard error: standard output is for results.
pub(crate) fn prompt(text: &str) {
    eprint!("{text}");
}

/// A line for people.
pub(crate) fn line(text: &str) {
    write(text);
    write("\n");
}

/// Whoever closed the other end, as `head` does, has read enough.
fn write(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Rows under a header, each column as wide as its widest cell; nothing if there are no rows.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) {
    if rows.is_empty() {
        return;
    }
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.max().unwrap_or(0).max(header[column].chars().count())
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let print = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        line(padded.join("  ").trim_end());
    };
    print(&mut header.iter().copied());
    rows.iter().for_each(|row| print(&mut row.iter().map(String::as_str)));
}

/// Begins or ends drawing on a screen of its own: what was on the terminal comes back afterwards.
pub(crate) fn screen(begin: bool) {
    write(if begin { "\x1b[?1049h\x1b[?25l" } else { "\x1b[?25h\x1b[?1049l" });
    // Whoever cannot be drawn for is not there.
    let _ = std::io::stdout().flush();
}

/// Draws from the top left corner on a cleared screen.
pub(crate) fn home() {
    write("\x1b[H\x1b[2J");
}

/// Text that has its line ends, as it is.
pub(crate) fn text(text: &str) {
    print!("{text}");
}

/// A result as one JSON document.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    line(&serde_json::to_string(value)?);
    Ok(())
}

/// A result, as asked for.
pub(crate) fn report<R: Serialize>(report: &R, output: Output, table: impl FnOnce(&R)) -> Result<()> {
    match output {
        Output::Json => json(report),
        Output::Table => {
            table(report);
            Ok(())
        }
    }
}

/// Every key with its value and origin.
pub(crate) fn configuration(loaded: &Loaded<ServerConfig>, output: Output) -> Result<()> {
    let entries = loaded.entries();
    if output == Output::Json {
        let rows: Vec<_> =
            entries.iter().map(|e| json!({"key": e.key, "value": e.value, "origin": e.origin.to_string()})).collect();
        return json(&rows);
    }
    let width = entries.iter().map(|e| e.key.len()).max().unwrap_or(0);
    for entry in entries {
        println!("{:width$} = {}  # {}", entry.key, entry.value, entry.origin);
    }
    Ok(())
}

/// What a shell needs to complete our commands.
pub(crate) fn completion(shell: clap_complete::Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "hive-mind-server", &mut script);
    write(&String::from_utf8_lossy(&script));
}

/// What this program is.
pub(crate) fn version(output: Output) -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    match output {
        Output::Json => json(&json!({"name": "hive-mind-server", "version": version})),
        Output::Table => {
            println!("hive-mind-server {version}");
            Ok(())
        }
    }
}

/// How to reach the node that was just shown, or one like it.
pub(crate) fn ways_in(addresses: Listen, running: bool) {
    if running {
        println!("\nThe node is still running; Ctrl-C ends it and removes its directory. From another terminal:");
    } else {
        println!(
            "\nThe node has ended. Start one on the usual ports with `hive-mind-server demo --keep` or `run`, then:"
        );
    }
    let addresses = if running { addresses } else { Listen::default() };
    let Listen { grpc, admin, metrics } = addresses;
    println!("  grpcurl -plaintext {grpc} list");
    println!(
        "  grpcurl -plaintext -d '{{\"symbol\":\"BTC-USD\"}}' {grpc} hivemind.marketdata.v1.MarketDataService/GetBook"
    );
    println!("  curl -s http://{admin}/health");
    println!("  curl -s http://{metrics}/metrics | grep trading_operation_duration");
    println!("  hive-mind-server bench --target http://{grpc} --rate 500 --duration 10");
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn a_cause_is_said_once() {
        let said = anyhow!("disk full").context("cannot open: disk full; free some").context("cannot start");
        assert_eq!(chain(&said), "cannot start: cannot open: disk full; free some");
    }

    #[test]
    fn a_failed_call_is_told_in_the_words_of_the_other_side() {
        let status = Status::from_error(Box::new(std::io::Error::other("refused")));
        let error = anyhow::Error::new(status).context("cannot list the instruments");
        assert_eq!(chain(&error), "cannot list the instruments: Unknown: refused");
    }
}
