//! `cargo xtask chaos`: faults against a cluster of real processes for as long as one likes; the report says what the
//! checker found and how long clients saw a pause. The processes under test are the release build.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::testing::{check, command};
use crate::tools;

/// Where reports are left unless the arguments say otherwise.
const DIRECTORY: &str = "target/chaos";

/// Builds what is needed and runs it with the given arguments.
pub(crate) fn run(root: &Path, minutes: u64, seed: u64, arguments: &[String]) -> Result<()> {
    let search_path = tools::ensure(root)?;
    // Apart: built together, the server would get the features of the tests.
    check(&mut command(root, &["cargo", "build", "--locked", "--release", "--package", "hive-mind-server"]))?;
    let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let directory = root.join(DIRECTORY).join(format!("seed-{seed}-{started}"));
    std::fs::create_dir_all(root.join(DIRECTORY)).context("make the directory of the reports")?;
    let mut run = command(
        root,
        &["cargo", "run", "--locked", "--release", "--package", "integration-tests", "--bin", "chaos", "--"],
    );
    run.args(["--minutes", &minutes.to_string(), "--seed", &seed.to_string(), "--directory"]);
    run.arg(directory).args(arguments);
    run.env("PATH", &search_path).env("HIVE_SERVER_BIN", root.join("target/release/hive-mind-server"));
    check(&mut run)
}
