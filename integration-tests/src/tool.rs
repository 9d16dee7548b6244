//! Command-line programs as an operator calls them: their exit code, output and errors.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use service_kit::auth::local;

/// What a program said.
#[derive(Debug)]
pub struct Said {
    /// Exit code; -1 if it was killed.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Runs `program` with `arguments` in `directory`, without standard input. If a node of these tests runs there, the
/// program has its key.
///
/// # Errors
/// When it cannot be started; the error says how to get it.
pub fn run(program: &Path, arguments: &[&str], directory: &Path) -> Result<Said> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory).stdin(Stdio::null());
    if let Ok(key) = local::read(&directory.join("data")) {
        command.env("HIVE_API_KEY", key.reveal());
    }
    let output = command.output().with_context(|| {
        format!("{} cannot be started: `cargo xtask test` installs what the tests need", program.display())
    })?;
    Ok(Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
