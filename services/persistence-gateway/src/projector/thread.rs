//! The projector's thread: when it works, when it waits, and what it says while it cannot.
//!
//! Deliberately absent: what a step does; see `catch_up`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use service_kit::Condition;
use service_kit::audit::Audit;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use types::Seq;

use super::acts::Acts;
use super::catch_up::{CatchUp, Progress};
use super::snapshots::Snapshots;
use super::{HistoryHealth, ProjectError, Standstill};
use crate::config::Config;
use crate::history::{HistoryWriter, RowBatch};
use crate::journal::{Following, JournalHandle};
use crate::metrics::ProjectionMetrics;

/// Between two looks whether the projector of another process is gone.
const STANDBY: Duration = Duration::from_secs(1);
/// How long a projector that was asked to stop goes on to write what is committed.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Scheduling priority: about a tenth of a processor that others want as well. Where all processors are busy for long,
/// the lowest one (19) gives a history so little that it never catches up.
const NICE: i32 = 10;

/// What a projector needs.
#[derive(Debug)]
pub struct ProjectorOptions {
    /// Settings of the gateway.
    pub config: Config,
    /// The shard's journal.
    pub journal: JournalHandle,
    /// Where rows go.
    pub writer: HistoryWriter,
    /// Told how the history does.
    pub health: HistoryHealth,
    /// Told of changes of orders.
    pub audit: Audit,
}

/// A running projector.
#[derive(Debug)]
pub struct Projector {
    /// Why it stands still, for whoever asks.
    pub standstill: Standstill,
    memory: Arc<AtomicU64>,
    stop: CancellationToken,
    ended: oneshot::Receiver<()>,
}

impl Projector {
    /// About how much memory its exchange takes, bytes; looked at after each transaction.
    pub fn memory(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let memory = Arc::clone(&self.memory);
        move || memory.load(Ordering::Relaxed)
    }

    /// Writes what is committed, for a few seconds at most, and ends.
    pub async fn stop(self) {
        self.stop.cancel();
        // An error means that it panicked; that was logged.
        drop(self.ended.await);
    }
}

/// Starts the projector of a shard.
///
/// # Errors
/// When the system gives no thread.
pub fn spawn(options: ProjectorOptions) -> std::io::Result<Projector> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let standstill = Standstill::default();
    let stop = CancellationToken::new();
    let (end, ended) = oneshot::channel();
    let memory = Arc::new(AtomicU64::new(0));
    let (told, stopping, used) = (standstill.clone(), stop.clone(), Arc::clone(&memory));
    std::thread::Builder::new().name(format!("project-{}", options.journal.shard())).spawn(move || {
        // Only this thread, and those that the database driver starts from it.
        if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
            tracing::warn!(%error, "projector runs at normal priority");
        }
        runtime.block_on(Work::new(options, told, used).run(stopping));
        // Nobody may be waiting.
        let _ = end.send(());
    })?;
    Ok(Projector { standstill, memory, stop, ended })
}

/// Returns when a projector that was asked to stop has had its time.
async fn overdue(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(LAST_WORDS + Duration::from_secs(1)).await;
}

struct Work {
    state: CatchUp,
    snapshots: Snapshots,
    commit: watch::Receiver<Seq>,
    journal: JournalHandle,
    /// Held while this is the one that writes: what other gateways commit is noticed soon.
    following: Option<Following>,
    linger: Duration,
    health: HistoryHealth,
    standstill: Standstill,
    memory: Arc<AtomicU64>,
}

impl Work {
    fn new(options: ProjectorOptions, standstill: Standstill, memory: Arc<AtomicU64>) -> Self {
        let ProjectorOptions { config, journal, writer, health, audit } = options;
        let state = CatchUp {
            shard: journal.shard(),
            log_id: journal.log_id(),
            log: journal.log(),
            snapshots: journal.snapshots(),
            writer,
            limits: config.history.clone(),
            metrics: ProjectionMetrics::new(journal.shard()),
            traced: journal.traced(),
            acts: Acts::new(audit, journal.shard()),
            replica: None,
            cursor: None,
            projected: Seq(0),
            rows: RowBatch::default(),
            chains: Vec::new(),
            applied_bytes: 0,
        };
        Self {
            state,
            commit: journal.commit(),
            following: None,
            linger: config.history.linger.0,
            snapshots: Snapshots::new(&config.journal, journal.clone()),
            journal,
            health,
            standstill,
            memory,
        }
    }

    async fn run(mut self, stop: CancellationToken) {
        loop {
            let result = tokio::select! {
                result = self.follow(&stop) => result,
                // A database that hangs must not hold up the end of the process. Whether the transaction under way
                // succeeds is found out by the next start.
                () = overdue(&stop) => break,
            };
            match result {
                Ok(()) => break,
                Err(error) if error.passes() => {
                    let retry = self.failed(&error);
                    tokio::select! {
                        () = tokio::time::sleep(retry) => {}
                        () = stop.cancelled() => break,
                    }
                }
                Err(error) => {
                    let shard = self.state.shard;
                    tracing::error!(%shard, %error, "projecting into the history database has stopped for good");
                    self.state.metrics.errors.increment(1);
                    self.standstill.set(&error.to_string());
                    self.health.set(shard, Condition::Down, &error.to_string());
                    stop.cancelled().await;
                    break;
                }
            }
        }
        self.state.writer.close().await;
    }

    /// Says so. Returns how long to wait.
    fn failed(&mut self, error: &ProjectError) -> Duration {
        let retry = self.standstill.set(&error.to_string());
        let (shard, seconds) = (self.state.shard, retry.as_secs());
        tracing::warn!(%shard, %error, seconds, "history database not written, trying again");
        self.state.metrics.errors.increment(1);
        self.state.show_lag(*self.commit.borrow());
        self.health.set(shard, Condition::Degraded, &error.to_string());
        // Whether the last write succeeded is unknown.
        self.state.cursor = None;
        retry
    }

    fn succeeded(&mut self) {
        if let Some(reason) = self.standstill.reason() {
            tracing::info!(shard = %self.state.shard, reason, "history database written again");
            self.standstill.clear();
        }
        self.health.set(self.state.shard, Condition::Ok, "");
        self.memory.store(self.state.replica.as_ref().map_or(0, |replica| replica.memory()), Ordering::Relaxed);
    }

    /// Says whether this is the projector that writes, or one that waits for its turn.
    fn take_role(&mut self, progress: Progress) {
        let shard = self.state.shard;
        let role = if progress == Progress::Standby { "standby" } else { "writing" };
        self.health.detail(format!("projector-{shard}"), role);
        if progress == Progress::Standby {
            self.following = None;
            self.snapshots.forget();
        } else if self.following.is_none() {
            self.following = self.journal.follow();
            if self.following.is_some() {
                tracing::info!(%shard, "this gateway writes the history");
            }
        }
    }

    /// Follows the journal until it is told to stop, or something fails.
    async fn follow(&mut self, stop: &CancellationToken) -> Result<(), ProjectError> {
        let mut deadline = None;
        loop {
            if stop.is_cancelled() && deadline.is_none() {
                // What other gateways committed last counts too.
                self.journal.look().await;
            }
            let commit = *self.commit.borrow_and_update();
            let progress = self.state.step(commit).await?;
            self.succeeded();
            self.take_role(progress);
            if progress == Progress::Standby {
                if stop.is_cancelled() {
                    return Ok(());
                }
                tokio::select! {
                    () = tokio::time::sleep(STANDBY) => {}
                    () = stop.cancelled() => {}
                }
                continue;
            }
            self.snapshots.consider(&mut self.state).await?;
            if stop.is_cancelled() {
                let until = *deadline.get_or_insert_with(|| tokio::time::Instant::now() + LAST_WORDS);
                // What was committed while the step ran counts too.
                let done = progress == Progress::CaughtUp && !self.commit.has_changed().unwrap_or(false);
                if done || tokio::time::Instant::now() > until {
                    return Ok(());
                }
            } else if progress == Progress::CaughtUp {
                tokio::select! {
                    changed = self.commit.changed() => {
                        if changed.is_err() {
                            // The journal ended; so does this.
                            stop.cancelled().await;
                        }
                    }
                    () = stop.cancelled() => {}
                }
                // Let more come: one transaction for many entries, and one wake-up.
                tokio::select! {
                    () = tokio::time::sleep(self.linger) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }
}
