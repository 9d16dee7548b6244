//! `cargo xtask demo`: another name for `cargo run --release -- demo`.

use std::path::Path;

use anyhow::Result;

use crate::testing::command;

/// Builds the server and runs its demonstration with the given arguments.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let mut cargo = command(root, &["cargo", "run", "--release", "--", "demo"]);
    cargo.args(arguments);
    crate::testing::check(&mut cargo)
}
