//! Docker's daemon: one that answers is used, else one is started, with its data below target/ and a socket of its own.
//!
//! Absent: anything that is done with it.

use std::env;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::look_again;
use crate::tools;

/// A daemon opens its stores of images and networks before it answers.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// It stops the containers that still run before it ends.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// A question to a daemon that hangs is given up after so many seconds.
const QUESTION_LIMIT: &str = "20";

/// One that was started here. Ends when it is dropped, unless it was started to be kept.
pub(crate) struct Daemon {
    process: Child,
    /// Socket and state while it runs. Short, since the path of a socket has 107 characters at most.
    directory: PathBuf,
    keep: bool,
}

/// No container can be made on this machine, such as inside of one that may not make others.
#[derive(Debug)]
pub(crate) struct NoContainers(pub(super) String);

impl std::fmt::Display for NoContainers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoContainers {}

/// The daemon that was started, if that was needed, and what `DOCKER_HOST` has to be for it.
pub(super) fn ensure(root: &Path, keep: bool) -> Result<(Option<Daemon>, Option<String>)> {
    if answers(None) {
        return Ok((None, env::var("DOCKER_HOST").ok()));
    }
    if !tools::is_root() {
        bail!("no Docker daemon answers and only root may start one: start it, or name one in DOCKER_HOST");
    }
    eprintln!("no Docker daemon answers; starting one with its data in target/compose/docker");
    let data = tools::target_directory(root).join("compose");
    fs::create_dir_all(&data).with_context(|| data.display().to_string())?;
    let directory = env::temp_dir().join(format!("hive-mind-docker-{}", std::process::id()));
    fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    let host = format!("unix://{}", directory.join("docker.sock").display());
    let log_file = data.join("dockerd.log");
    let log = File::create(&log_file).with_context(|| log_file.display().to_string())?;
    let mut dockerd = Command::new("dockerd");
    dockerd.arg("--host").arg(&host).arg("--data-root").arg(data.join("docker"));
    dockerd.arg("--exec-root").arg(directory.join("exec")).arg("--pidfile").arg(directory.join("pid"));
    dockerd.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    if keep {
        // What ends this program from the keyboard does not end it.
        dockerd.process_group(0);
    }
    let process = dockerd.spawn().context("cannot start dockerd")?;
    let mut daemon = Daemon { process, directory, keep };
    let end = Instant::now() + ANSWERS_WITHIN;
    while !answers(Some(&host)) {
        let ended = daemon.process.try_wait()?;
        if ended.is_some() || Instant::now() > end {
            daemon.keep = false;
            let text = fs::read_to_string(&log_file).unwrap_or_default();
            let last: Vec<_> = text.lines().rev().take(10).collect();
            let last = last.into_iter().rev().collect::<Vec<_>>().join("\n");
            let text = format!("the end of {}:\n{last}", log_file.display());
            match ended {
                Some(status) => bail!(NoContainers(format!("dockerd ended with {status}; {text}"))),
                None => bail!("dockerd does not answer; {text}"),
            }
        }
        look_again();
    }
    Ok((Some(daemon), Some(host)))
}

/// Whether a daemon answers, at this address or where docker looks for one by itself.
pub(super) fn answers(host: Option<&str>) -> bool {
    let mut docker = Command::new("timeout");
    docker.args([QUESTION_LIMIT, "docker", "version", "--format", "{{.Server.Version}}"]);
    if let Some(host) = host {
        docker.env("DOCKER_HOST", host);
    }
    docker.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    docker.status().is_ok_and(|status| status.success())
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let end = Instant::now() + ENDS_WITHIN;
        while matches!(self.process.try_wait(), Ok(None)) {
            if Instant::now() > end {
                let _ = self.process.kill();
                let _ = self.process.wait();
                break;
            }
            look_again();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}
