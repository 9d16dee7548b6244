//! A collector of traces that is none of ours: gRPC's own server with the messages that OpenTelemetry publishes, both from
//! wheels.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{LIMIT, LOOK_AGAIN, ports};

/// What runs there.
const RECEIVER: &str = include_str!("collector/receiver.py");

/// A running collector. Dropping it ends it.
#[derive(Debug)]
pub struct Collector {
    child: Child,
    spans: PathBuf,
    /// Where it listens.
    pub address: String,
}

/// A span as it arrived.
#[derive(Clone, Debug, Deserialize)]
pub struct Span {
    /// Its trace, in hexadecimal, as the others.
    pub trace: String,
    /// Itself.
    pub span: String,
    /// The span it is a part of; empty for none.
    pub parent: String,
    /// What it was.
    pub name: String,
    /// On which side of a call.
    pub kind: String,
    /// Who measured it.
    pub scope: String,
    /// Which process.
    pub resource: Map<String, Value>,
    /// What it tells.
    pub values: Map<String, Value>,
    /// Whether it failed.
    pub failed: bool,
    /// When it began, nanoseconds since the Unix epoch.
    pub start: u64,
    /// When it ended.
    pub end: u64,
}

impl Span {
    /// The service of the process it comes from.
    #[must_use]
    pub fn service(&self) -> &str {
        self.resource["service.name"].as_str().unwrap_or_default()
    }
}

impl Collector {
    /// An address for one that is started later.
    ///
    /// # Errors
    /// When no port is free.
    pub fn address() -> Result<String> {
        Ok(format!("127.0.0.1:{}", ports::take()?))
    }

    /// Starts one and waits until it listens.
    ///
    /// # Errors
    /// When there is no Python with the wheels, or it does not come up.
    pub async fn start(directory: &Path, address: String) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let (spans, log) = (directory.join("spans.jsonl"), directory.join("collector.log"));
        let child = Command::new("python3")
            .args(["-c", RECEIVER, &address])
            .stdin(Stdio::null())
            .stdout(File::create(&spans)?)
            .stderr(File::create(&log)?)
            .spawn()
            .context("python3 is missing: `cargo xtask test` installs what the tests need")?;
        let mut collector = Self { child, spans, address };
        let begin = Instant::now();
        while fs::read_to_string(&collector.spans)?.is_empty() {
            let said = || fs::read_to_string(&log).unwrap_or_default();
            let lives = collector.child.try_wait()?.is_none();
            ensure!(lives, "the collector ended; `cargo xtask test` installs what it needs: {}", said());
            ensure!(begin.elapsed() < LIMIT, "the collector did not come up: {}", said());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(collector)
    }

    /// What to write into a node's configuration.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What has arrived of a trace.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn trace(&self, trace: &str) -> Result<Vec<Span>> {
        let text = fs::read_to_string(&self.spans)?;
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let spans = whole.lines().skip(1).map(serde_json::from_str).collect::<Result<Vec<Span>, _>>()?;
        Ok(spans.into_iter().filter(|span| span.trace == trace).collect())
    }

    /// Waits until spans of these names, each as often as it is named, have arrived of a trace, and returns all of it.
    ///
    /// # Errors
    /// When they do not in time.
    pub async fn whole(&self, trace: &str, names: &[&str]) -> Result<Vec<Span>> {
        let begin = Instant::now();
        loop {
            let spans = self.trace(trace)?;
            let mut arrived: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
            let mut missing = names.to_vec();
            missing.retain(|name| {
                let found = arrived.iter().position(|one| one == name);
                found.map(|at| arrived.swap_remove(at)).is_none()
            });
            if missing.is_empty() {
                return Ok(spans);
            }
            ensure!(begin.elapsed() < LIMIT, "of trace {trace} there is no {missing:?}, only {spans:#?}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
