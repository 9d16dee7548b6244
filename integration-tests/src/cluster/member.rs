//! One process of a cluster, at its own addresses and in its own directory through all its lives.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use service_kit::auth::local;
use wire::transport::Channel;

use crate::node::{Endpoint, Node};
use crate::ports;

/// See the module.
#[derive(Debug)]
pub struct Member {
    /// Its configured name.
    pub name: String,
    roles: &'static str,
    directory: PathBuf,
    configuration: String,
    listen: [String; 3],
    node: Option<Node>,
    /// How often it was started.
    pub lives: u64,
}

/// A line of a log that somebody should look at.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LogLine {
    /// Whose log.
    pub process: String,
    /// `WARN`, `ERROR`, or empty for a line that is no log line.
    pub level: String,
    /// Its message.
    pub message: String,
    /// All of it.
    pub line: String,
}

impl Member {
    /// A process that does not run yet, with addresses of its own.
    ///
    /// # Errors
    /// When there are no ports.
    pub fn new(directory: &Path, name: &str, roles: &'static str, configuration: String) -> Result<Self> {
        let address = || ports::take().map(|port| format!("127.0.0.1:{port}"));
        let listen = [address()?, address()?, address()?];
        let directory = directory.join(name);
        Ok(Self { name: name.to_owned(), roles, directory, configuration, listen, node: None, lives: 0 })
    }

    /// What it is started with from now on.
    pub fn configure(&mut self, configuration: String) {
        self.configuration = configuration;
    }

    /// Address of its gRPC services, whether it runs or not.
    #[must_use]
    pub fn grpc(&self) -> &str {
        &self.listen[0]
    }

    /// A channel to it, which connects again after each of its deaths.
    #[must_use]
    pub fn channel(&self) -> Channel {
        let key = local::read(&self.directory.join("data")).ok();
        crate::node::channel_with(self.grpc(), key.as_ref())
    }

    /// As its clients reach it.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        Endpoint { name: self.name.clone(), address: self.grpc().to_owned(), channel: self.channel() }
    }

    /// The running process.
    #[must_use]
    pub const fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    /// Its directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Starts it if it does not run, and waits until its ports are bound.
    ///
    /// # Errors
    /// When it ends or does not bind in time.
    pub async fn start(&mut self) -> Result<()> {
        if self.node.is_none() {
            let [grpc, admin, metrics] = &self.listen;
            let node = Node::launch_at(&self.directory, self.roles, &self.configuration, [grpc, admin, metrics]).await;
            self.node = Some(node.with_context(|| format!("start {}", self.name))?);
            self.lives += 1;
        }
        Ok(())
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// When it cannot be reaped.
    pub fn kill(&mut self) -> Result<()> {
        self.node.take().map_or(Ok(()), Node::kill)
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// When it does not end in time, or with another exit code than 0.
    pub async fn terminate(&mut self) -> Result<()> {
        if let Some(node) = self.node.take() {
            let status = node.terminate().await?;
            ensure!(status.success(), "{} ended with {status} after SIGTERM", self.name);
        }
        Ok(())
    }

    /// SIGSTOP.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// When it does not run.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        self.node.as_ref().with_context(|| format!("{} does not run", self.name))?.signal(signal)
    }

    /// Its log, of all its lives.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("node.log")).unwrap_or_default()
    }

    /// What it said at WARN or above, and every line that is no log line.
    #[must_use]
    pub fn complaints(&self) -> Vec<LogLine> {
        let complaint = |line: &str| {
            let parsed: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            let level = text(&parsed["level"]);
            let quiet = matches!(level.as_str(), "INFO" | "DEBUG" | "TRACE");
            let message = if parsed["message"].is_string() {
                text(&parsed["message"])
            } else {
                text(&parsed["fields"]["message"])
            };
            (!quiet).then(|| LogLine { process: self.name.clone(), level, message, line: line.to_owned() })
        };
        self.log().lines().filter_map(complaint).collect()
    }
}
