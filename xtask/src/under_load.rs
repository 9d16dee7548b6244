//! `cargo xtask chaos` and `cargo xtask acts`: real processes under load, and something done to them; the report says what
//! the checker found and what clients saw. The processes under test are the release build.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::testing::{check, command};
use crate::tools;

/// Faults against a cluster for as long as one likes.
pub(crate) fn chaos(root: &Path, minutes: u64, seed: u64, arguments: &[String]) -> Result<()> {
    let own = [format!("--minutes={minutes}"), format!("--seed={seed}")];
    run(root, "chaos", &format!("seed-{seed}"), &[&own, arguments].concat())
}

/// The acts of an operator on one node.
pub(crate) fn acts(root: &Path, rate: u32, json: bool, arguments: &[String]) -> Result<()> {
    let own = [format!("--rate={rate}"), format!("--output={}", if json { "json" } else { "table" })];
    run(root, "acts", &format!("rate-{rate}"), &[&own, arguments].concat())
}

/// Builds what is needed and runs the program of `integration-tests`. Its reports are left below `target/<program>`,
/// under `name` and the time.
fn run(root: &Path, program: &str, name: &str, arguments: &[String]) -> Result<()> {
    let search_path = tools::ensure(root)?;
    // Apart: built together, the server would get the features of the tests.
    check(&mut command(root, &["cargo", "build", "--locked", "--release", "--package", "hive-mind-server"]))?;
    let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let reports = root.join("target").join(program);
    std::fs::create_dir_all(&reports).context("make the directory of the reports")?;
    let words = ["cargo", "run", "--locked", "--release", "--package", "integration-tests", "--bin", program, "--"];
    let mut run = command(root, &words);
    run.arg("--directory").arg(reports.join(format!("{name}-{started}"))).args(arguments);
    run.env("PATH", &search_path).env("HIVE_SERVER_BIN", root.join("target/release/hive-mind-server"));
    check(&mut run)
}
