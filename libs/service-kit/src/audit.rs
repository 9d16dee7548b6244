//! The audit log: who did what, from where, why, what it was before and after, and what came of it. One JSON line a
//! record in files below the data directory, each record chained to the one before by its hash, so that an edit, an
//! insertion or a deletion is found; a head kept beside the files finds what was cut off the end.
//!
//! An act is recorded exactly once, where it is done. Recording never waits and never fails: records go through a
//! bounded queue to a thread of their own, and what does not fit is counted and told in the log itself. A record is
//! also a line of the process's log with the target `audit`, in which its hash is missing, since the log is not proof.
//!
//! Level `standard` records what was done; `verbose` adds the parameters, what was refused, and each change of an
//! order. Deliberately absent: deleting old files (copy them elsewhere first; `verify` says what is missing), and
//! the copy in the database (see [`ship`]).

mod act;
pub(crate) mod conditions;
mod reader;
mod record;
mod segments;
pub mod ship;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Duration;
use std::{fmt, io, thread};

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{oneshot, watch};

pub use act::{Act, Outcome};
pub use reader::{Lines, Query};
pub use record::{Head, Line, Record};
pub use verify::{Finding, Verification, verify_directory};

use crate::config::{ByteSize, Live};
use crate::{Component, clock};
use writer::{Message, Pending, Writer};

/// Records that may wait for the disk. At one sync per batch this is far more than operators do, and some tenths of a
/// second of verbose records of a busy market.
const QUEUE: usize = 16_384;
/// Longest wait for the disk.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);
/// Between two attempts to put something into a full queue.
const ROOM_AGAIN: Duration = Duration::from_millis(10);

/// Directory of the files, below the data directory.
const DIRECTORY: &str = "audit";

/// What is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether acts are recorded at all. Switching it is itself recorded. Default: true.
    pub enable_audit_logging: bool,
    /// "standard": what was done. "verbose": also parameters, denials and each change of an order. Default: standard.
    pub audit_level: Level,
    /// Size from which a new file is begun. Default: "16MiB".
    pub segment_size: ByteSize,
}

/// How much is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// What was done.
    #[default]
    Standard,
    /// Also parameters, denials and each change of an order.
    Verbose,
}

/// Why a configuration is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Files would be too small or too large.
    #[error("audit.segment_size is {given}; choose 64KiB to 1GiB")]
    SegmentSize {
        /// As configured.
        given: ByteSize,
    },
}

/// Why the audit log cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the audit log {}", path.display())]
pub struct OpenError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The audit log of a process. Clones share it.
#[derive(Clone)]
pub struct Audit(Arc<Inner>);

struct Inner {
    node: String,
    directory: Option<PathBuf>,
    /// 0 off, 1 standard, 2 verbose.
    level: AtomicU8,
    lost: Arc<AtomicU64>,
    queue: Option<SyncSender<Message>>,
    head: watch::Receiver<Head>,
}

impl Default for Config {
    fn default() -> Self {
        Self { enable_audit_logging: true, audit_level: Level::Standard, segment_size: ByteSize::from_mib(16) }
    }
}

impl Config {
    /// Keys below the section that are applied without a restart.
    pub const HOT: &'static [&'static str] = &["enable_audit_logging", "audit_level"];

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`ConfigError`] naming the key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if (1 << 16..=1 << 30).contains(&self.segment_size.bytes()) {
            Ok(())
        } else {
            Err(ConfigError::SegmentSize { given: self.segment_size })
        }
    }

    const fn level(&self) -> u8 {
        match (self.enable_audit_logging, self.audit_level) {
            (false, _) => 0,
            (true, Level::Standard) => 1,
            (true, Level::Verbose) => 2,
        }
    }
}

impl Level {
    /// As in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Verbose => "verbose",
        }
    }
}

impl Audit {
    /// Records nothing: for tests and for tools.
    #[must_use]
    pub fn none() -> Self {
        let head = watch::channel(Head::GENESIS).1;
        let (node, lost) = (String::new(), Arc::default());
        Self(Arc::new(Inner { node, directory: None, level: AtomicU8::new(0), lost, queue: None, head }))
    }

    /// Opens the audit log of a data directory and starts its thread. A torn last line, which a crash leaves, is cut
    /// off. Damage is recorded and makes `component` degraded, but never keeps a process from starting.
    ///
    /// # Errors
    /// When the directory cannot be made or a file cannot be opened.
    pub fn open(data_dir: &Path, node: &str, config: &Config, component: Component) -> Result<Self, OpenError> {
        let directory = data_dir.join(DIRECTORY);
        let failed = |source| OpenError { path: directory.clone(), source };
        let lost = Arc::new(AtomicU64::new(0));
        let (queue, messages) = sync_channel(QUEUE);
        let (heads, head) = watch::channel(Head::GENESIS);
        metrics::describe_counter!("audit_records_total", "Records written to the audit log.");
        metrics::describe_counter!("audit_lost_total", "Acts that could not be recorded: the queue was full.");
        let opened = segments::Segments::open(&directory, config.segment_size.bytes()).map_err(failed)?;
        let damage = opened.damage.clone();
        let writer = Writer::new(opened, node.to_owned(), Arc::clone(&lost), heads, component);
        let spawned = thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run(&messages));
        spawned.map_err(|source| OpenError { path: directory.clone(), source })?;
        let level = AtomicU8::new(config.level());
        let node = node.to_owned();
        let audit = Self(Arc::new(Inner { node, directory: Some(directory), level, lost, queue: Some(queue), head }));
        if let Some(damage) = damage {
            tracing::error!(damage, "the audit log was changed or lost records while the process was down");
            audit.put(Act { after: json!({ "damage": damage }), ..Act::system("audit.damaged") });
        }
        let state = json!({"enabled": config.enable_audit_logging, "level": config.audit_level.as_str()});
        audit.put(Act { after: state, ..Act::system("audit.opened") });
        Ok(audit)
    }

    /// Applies another configuration at once. The switch itself is always recorded.
    pub fn apply(&self, config: &Config) {
        let before = self.0.level.swap(config.level(), Ordering::SeqCst);
        if before != config.level() {
            let words = |level| ["off", "standard", "verbose"][usize::from(level).min(2)];
            let (before, after) = (json!(words(before)), json!(words(config.level())));
            self.put(Act { before, after, ..Act::system("audit.configured") });
        }
    }

    /// Applies every change of the configuration, for ever.
    pub async fn follow(self, mut config: Live<Config>) {
        loop {
            self.apply(&*config.changed().await);
        }
    }

    /// Records an act, if the level asks for it.
    pub fn record(&self, act: Act) {
        let level = self.0.level.load(Ordering::SeqCst);
        let wanted = match act.result {
            Outcome::Refused(_) => 2,
            Outcome::Ok | Outcome::Failed(_) => 1,
        };
        if level >= wanted {
            self.put(act);
        }
    }

    /// Records a detail that only the verbose level keeps. The act is not even made at other levels. It is not a line
    /// of the process's log: there may be thousands a second.
    pub fn record_verbose(&self, act: impl FnOnce() -> Act) {
        if self.is_verbose() {
            self.queue(act());
        }
    }

    /// Whether details are recorded.
    #[must_use]
    pub fn is_verbose(&self) -> bool {
        self.0.level.load(Ordering::Relaxed) == 2
    }

    /// Records something that is no line of the process's log, since it says nothing to whoever reads that.
    pub fn record_quietly(&self, act: Act) {
        if self.0.level.load(Ordering::Relaxed) > 0 {
            self.queue(act);
        }
    }

    fn put(&self, act: Act) {
        let Act { action, target, caller, actor, reason, request_id, result, .. } = &act;
        let subject = &caller.subject;
        tracing::info!(
            target: "audit",
            action, subject, actor, reason, order = request_id, on = target, result = result.word(), "act"
        );
        self.queue(act);
    }

    fn queue(&self, act: Act) {
        let Some(queue) = &self.0.queue else { return };
        let verbose = self.is_verbose();
        let pending = Pending { at_us: clock::now_us(), act: Box::new(act), verbose };
        match queue.try_send(Message::Record(pending)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.0.lost.fetch_add(1, Ordering::Relaxed);
                metrics::counter!("audit_lost_total").increment(1);
            }
        }
    }

    /// Returns when everything that was recorded before is on disk, or after a few seconds: a process must be able to
    /// end while its disk refuses.
    pub async fn flush(&self) {
        let Some(queue) = &self.0.queue else { return };
        let (done, wait) = oneshot::channel();
        let written = async {
            let mut message = Message::Flush(done);
            while let Err(TrySendError::Full(refused)) = queue.try_send(message) {
                message = refused;
                // The queue of a thread cannot be awaited, only tried again; the time limit ends it.
                tokio::time::sleep(ROOM_AGAIN).await;
            }
            wait.await.ok();
        };
        if tokio::time::timeout(FLUSH_LIMIT, written).await.is_err() {
            tracing::error!("audit records are not on disk yet: it cannot be written");
        }
    }

    /// Last record on disk, and told of every further one.
    #[must_use]
    pub fn head(&self) -> watch::Receiver<Head> {
        self.0.head.clone()
    }

    /// Name of the instance.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.0.node
    }

    /// Where the files are; `None` if nothing is recorded.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        self.0.directory.as_deref()
    }

    /// The newest records that match, newest first.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub async fn search(&self, query: Query) -> io::Result<Vec<Record>> {
        let Some(directory) = self.0.directory.clone() else { return Ok(Vec::new()) };
        blocking(move || reader::search(&directory, &query)).await
    }

    /// Checks every record on disk up to the last one written, which also stands in memory. `noted` is a head that was
    /// written down elsewhere.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub async fn verify(&self, noted: Option<Head>) -> io::Result<Verification> {
        let Some(directory) = self.0.directory.clone() else { return Ok(Verification::default()) };
        self.flush().await;
        let head = self.0.head.borrow().clone();
        blocking(move || verify::verify(&directory, Some(head), noted)).await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Audit({:?})", self.0.directory)
    }
}
