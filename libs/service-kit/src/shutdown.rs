//! An orderly stop in two phases: first no new work is taken and accepted work is finished, then everything ends.
//! Absent: the order in which services are stopped; see [`crate::node`].

use std::io;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Signals this close together are one request to stop: a supervisor may send them to the process and to its group.
const SAME_REQUEST: Duration = Duration::from_secs(1);

/// Tells a service when to stop. Clones share their state.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    drain: CancellationToken,
    stop: CancellationToken,
}

impl Shutdown {
    /// One that nobody has triggered.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns when no new work is to be taken. What was accepted is to be finished, and then `run` is to return.
    pub async fn draining(&self) {
        self.drain.cancelled().await;
    }

    /// Whether no new work is to be taken.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Returns when the time to finish is over: whatever still runs is abandoned.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Whether the time to finish is over.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Starts the first phase. Twice is the same as once.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// Starts the second phase, and the first if it was skipped.
    pub fn stop(&self) {
        self.drain.cancel();
        self.stop.cancel();
    }

    /// From now on SIGTERM and SIGINT start the first phase, and another one, a second or more later, the second.
    ///
    /// # Errors
    /// When the process cannot register for the signals. Needs a tokio runtime.
    pub fn on_signals(&self) -> io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = self.clone();
        tokio::spawn(async move {
            let mut draining_since: Option<Instant> = None;
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                match draining_since {
                    None => {
                        tracing::info!(signal = name, "signal received, draining");
                        draining_since = Some(Instant::now());
                        shutdown.drain();
                    }
                    Some(since) if since.elapsed() < SAME_REQUEST => {}
                    Some(_) => {
                        tracing::warn!(signal = name, "second signal, stopping at once");
                        shutdown.stop();
                        return;
                    }
                }
            }
        });
        Ok(())
    }
}
