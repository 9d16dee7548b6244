//! Command-line programs as an operator calls them: their exit code, output and errors.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

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

/// Runs `program` with `arguments` in `directory`, without standard input.
///
/// # Errors
/// When it cannot be started; the error says how to get it.
pub fn run(program: &Path, arguments: &[&str], directory: &Path) -> Result<Said> {
    let output =
        Command::new(program).args(arguments).current_dir(directory).stdin(Stdio::null()).output().with_context(
            || format!("{} cannot be started: `cargo xtask test` installs what the tests need", program.display()),
        )?;
    Ok(Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
