//! `cargo xtask test`: the one definition of "it passes". Continuous integration calls nothing else. Never skips: a
//! tool that is missing and cannot be installed is a failure that says how to get it. Only where a machine cannot make
//! containers at all it says so at its end and passes without them.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::{compose, tidy, tools};

/// Runs every step in order and stops at the first that fails.
pub(crate) fn run(root: &Path, quick: bool) -> Result<()> {
    let started = Instant::now();
    let search_path = step("tools", || tools::ensure(root))?;
    step("formatting", || check(&mut command(root, &["cargo", "fmt", "--all", "--check"])))
        .context("run `cargo fmt --all`")?;
    step("tidy", || tidy::run(root, false))?;
    step("proto lint", || check(command(root, &["buf", "lint", "proto"]).env("PATH", &search_path)))?;
    if !quick {
        step("clippy", || {
            check(&mut command(
                root,
                &["cargo", "clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"],
            ))
        })?;
    }
    if !quick {
        // The integration tests start these.
        step("binaries", || check(&mut command(root, &["cargo", "build", "--locked", "--workspace", "--bins"])))?;
    }
    step("tests", || check(tests(root, quick).env("PATH", &search_path)))?;
    let without = if quick { None } else { step("compose", || containers(root))? };
    println!(
        "xtask test{}: everything passed in {} s",
        if quick { " --quick" } else { "" },
        started.elapsed().as_secs()
    );
    if quick {
        println!("not run: clippy, integration-tests and compose-test; `cargo xtask test` runs them too");
    }
    if let Some(why) = without {
        println!("not run: compose-test, because no container can be made on this machine: {why}");
    }
    Ok(())
}

/// The cluster of containers. Why it was not tried, if the machine lets nobody make containers: the one thing that no
/// package brings.
fn containers(root: &Path) -> Result<Option<String>> {
    match compose::test(root, false, false, false) {
        Err(error) if error.downcast_ref::<compose::NoContainers>().is_some() => Ok(Some(format!("{error:#}"))),
        result => result.map(|()| None),
    }
}

/// The test runner: nextest where it is installed, else cargo's own.
fn tests(root: &Path, quick: bool) -> Command {
    let nextest = Command::new("cargo")
        .args(["nextest", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let mut tests = if nextest {
        command(root, &["cargo", "nextest", "run", "--locked", "--workspace"])
    } else {
        command(root, &["cargo", "test", "--locked", "--no-fail-fast", "--workspace", "--lib", "--bins", "--tests"])
    };
    if quick {
        tests.args(["--exclude", "integration-tests"]);
    }
    tests
}

/// Runs one step between a headline and its duration.
fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("== {name}");
    let started = Instant::now();
    let done = work().with_context(|| format!("step \"{name}\""))?;
    println!("== {name}: ok, {:.1} s", started.elapsed().as_secs_f64());
    Ok(done)
}

/// A command in the root of the workspace, without standard input.
pub(crate) fn command(root: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(root).stdin(Stdio::null());
    command
}

/// Runs it, output going where ours goes.
pub(crate) fn check(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if !status.success() {
        bail!("{} ended with {status}", words(command));
    }
    Ok(())
}

/// The command as one would type it.
fn words(command: &Command) -> String {
    let mut words = command.get_program().to_string_lossy().into_owned();
    for word in command.get_args() {
        words.push(' ');
        words.push_str(&word.to_string_lossy());
    }
    words
}
