//! Command-line programs as an operator calls them: their exit code, output and errors.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use service_kit::auth::local;

use crate::node::server_binary;

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

impl Said {
    /// Itself, if it ended with this exit code.
    ///
    /// # Errors
    /// When it did not; the error has what was said.
    pub fn with(self, code: i32) -> Result<Self> {
        ensure!(self.code == code, "exit code {}, not {code}: {}{}", self.code, self.out, self.err);
        Ok(self)
    }

    /// The one document on its standard output, if it ended with this exit code.
    ///
    /// # Errors
    /// When it did not, or said something else; the error has what was said.
    pub fn json(&self, code: i32) -> Result<Value> {
        ensure!(self.code == code, "exit code {}, not {code}: {}{}", self.code, self.out, self.err);
        serde_json::from_str(&self.out).with_context(|| format!("not one document: {}{}", self.out, self.err))
    }
}

/// Runs our own binary.
///
/// # Errors
/// When it was not built.
pub fn hive(arguments: &[&str], directory: &Path) -> Result<Said> {
    run(&server_binary()?, arguments, directory)
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
    let output = tokio::task::block_in_place(|| command.output()).with_context(|| {
        format!("{} cannot be started: `cargo xtask test` installs what the tests need", program.display())
    })?;
    Ok(Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
