//! The examples of the README, run as they are written; only ports are those of the cluster.

use std::fs;

use anyhow::{Context as _, Result, bail};

use super::checks;
use super::cluster::{Cluster, PORTS, output};
use crate::testing::command;

/// The part of the README whose first block of commands is run.
const HEADING: &str = "## The whole system on one machine";

/// Seconds for all of them.
const LIMIT: &str = "120";

/// Runs them in one shell, which ends at the first that fails. How many there were.
pub(super) fn run(cluster: &Cluster) -> Result<usize> {
    let text = fs::read_to_string(cluster.root().join("README.md")).context("README.md")?;
    let commands = commands(&text)?;
    let mut script = "set -euo pipefail\n".to_owned();
    for command in &commands {
        script.push_str(&with_ports(cluster, command)?);
        script.push('\n');
    }
    // Typed by hand there would be time for the history to follow; the order is the same one each time.
    checks::until("the examples of the README show what they are there for", checks::FOUND_WITHIN, || {
        let mut shell = command(cluster.root(), &["timeout", LIMIT, "bash", "-c", &script]);
        let said = output(shell.envs(cluster.environment()))?;
        for wanted in ["\"orderId\"", "\"clientOrderId\": \"first\"", "\"asOfSeq\"", "\"status\":\"ok\"", "BTC-USD"] {
            if !said.contains(wanted) {
                bail!("{wanted} is not in:\n{said}");
            }
        }
        Ok(Some(commands.len()))
    })
}

/// What stands behind the prompts of the first block below the heading. A command goes on until the next prompt.
fn commands(text: &str) -> Result<Vec<String>> {
    let (_, below) = text.split_once(HEADING).with_context(|| format!("the README has no \"{HEADING}\""))?;
    let (_, block) = below.split_once("```console\n").context("there are no examples")?;
    let (block, _) = block.split_once("```").context("the examples have no end")?;
    let commands: Vec<_> = block.split("$ ").map(str::trim).filter(|command| !command.is_empty()).collect();
    Ok(commands.into_iter().map(str::to_owned).collect())
}

fn with_ports(cluster: &Cluster, command: &str) -> Result<String> {
    let mut command = command.to_owned();
    for (variable, usual) in PORTS {
        command = command.replace(&format!("localhost:{usual}"), &format!("localhost:{}", cluster.port(variable)?));
    }
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_stand_behind_prompts() {
        let text =
            format!("## Other\n```console\n$ no\n```\n{HEADING}\nWords.\n```console\n$ a -d '{{\n  1}}' b\n$ c\n```\n");
        assert_eq!(commands(&text).expect("a block"), ["a -d '{\n  1}' b", "c"]);
    }
}
