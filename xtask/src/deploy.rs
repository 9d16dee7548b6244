//! Tests of what the system is installed and operated with: the scripts for production, the image, the manifests for
//! Kubernetes. They are no Rust; their tests are here, so that `cargo xtask runbook` finds them under the rows they show.
//!
//! Absent: a cluster. What only one can show is marked so in `runbook/rows.toml`.

mod compose;
mod image;
mod kubernetes;
mod manifests;
mod scripts;

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::workspace_root;

/// Runs a program in the root with some standard input; its output, if it ended well.
///
/// # Panics
///
/// If it cannot be started or fails: `cargo xtask test` installs all of them.
fn output(words: &[&str], input: &str) -> String {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(workspace_root());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let started = command.spawn();
    let mut process = started.unwrap_or_else(|error| panic!("{}: {error}; `cargo xtask test` installs it", words[0]));
    // Written aside, since a program may answer before it has read everything.
    let (mut pipe, input) = (process.stdin.take().expect("a pipe"), input.to_owned());
    let writing = std::thread::spawn(move || pipe.write_all(input.as_bytes()));
    let done = process.wait_with_output().expect("its output");
    let _unread = writing.join();
    let (said, complaint) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{} ended with {}:\n{said}{complaint}", words.join(" "), done.status);
    said.into_owned()
}
