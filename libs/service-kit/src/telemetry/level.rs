//! What is logged, changed while the process runs: by the configuration, or by an order that stands until it is taken
//! back, its time is over, or the configured level changes. Absent: reading levels; see [`super`].

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::{TelemetryError, filter};
use crate::clock;

/// Longest time for which a level can be ordered: who needs one for longer configures it.
pub const ORDERED_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);

/// The level of a process. Clones share it.
#[derive(Clone)]
pub struct LogLevel(Arc<Inner>);

/// What is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelState {
    /// The level in force.
    pub level: String,
    /// Whether it was ordered.
    pub ordered: bool,
    /// When an ordered level ends, microseconds since the Unix epoch; 0 if it does not.
    pub until_us: u64,
}

struct Inner {
    apply: Box<dyn Fn(EnvFilter) + Send + Sync>,
    state: Mutex<State>,
}

struct State {
    configured: String,
    ordered: Option<(String, u64)>,
    /// Counts the changes, so that the end of an order that was replaced does nothing.
    changes: u64,
}

impl LogLevel {
    pub(super) fn new(configured: &str, apply: impl Fn(EnvFilter) + Send + Sync + 'static) -> Self {
        let state = State { configured: configured.to_owned(), ordered: None, changes: 0 };
        Self(Arc::new(Inner { apply: Box::new(apply), state: Mutex::new(state) }))
    }

    /// What is logged now.
    #[must_use]
    pub fn state(&self) -> LevelState {
        self.lock().state()
    }

    /// Takes over a configured level; an order before it has no effect any more.
    ///
    /// # Errors
    /// [`TelemetryError::Level`], and then nothing is changed.
    pub fn configure(&self, level: &str) -> Result<(), TelemetryError> {
        let mut state = self.lock();
        if state.configured == level {
            return Ok(());
        }
        (self.0.apply)(filter(level)?);
        level.clone_into(&mut state.configured);
        state.ordered = None;
        state.changes += 1;
        tracing::info!(level, "log level changed");
        Ok(())
    }

    /// Logs at another level, for a time or, if that is zero, until further notice. An empty level ends an order. Needs
    /// a tokio runtime if there is a time.
    ///
    /// # Errors
    /// [`TelemetryError::Level`], and then nothing is changed.
    pub fn order(&self, level: &str, time: Duration) -> Result<LevelState, TelemetryError> {
        self.set(&mut self.lock(), level, time)
    }

    fn set(&self, state: &mut State, level: &str, time: Duration) -> Result<LevelState, TelemetryError> {
        if level.is_empty() {
            state.ordered = None;
            // It was read when it was configured.
            (self.0.apply)(filter(&state.configured)?);
        } else {
            (self.0.apply)(filter(level)?);
            let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
            let until_us = if time.is_zero() { 0 } else { clock::now_us().saturating_add(micros(time)) };
            state.ordered = Some((level.to_owned(), until_us));
        }
        state.changes += 1;
        let now = state.state();
        tracing::info!(level = now.level, ordered = now.ordered, "log level changed");
        if now.until_us > 0 {
            let (own, change) = (self.clone(), state.changes);
            tokio::spawn(async move {
                tokio::time::sleep(time).await;
                own.end(change);
            });
        }
        Ok(now)
    }

    /// The level that such an order would bring.
    ///
    /// # Errors
    /// [`TelemetryError::Level`].
    pub fn would_be(&self, level: &str) -> Result<String, TelemetryError> {
        if level.is_empty() {
            return Ok(self.lock().configured.clone());
        }
        filter(level).map(|_| level.to_owned())
    }

    /// Ends the order that was the given change, if it still stands.
    fn end(&self, change: u64) {
        let mut state = self.lock();
        if state.changes == change
            && let Err(error) = self.set(&mut state, "", Duration::ZERO)
        {
            tracing::error!(%error, "the configured log level cannot be restored");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn state(&self) -> LevelState {
        let (level, until_us) = self.ordered.clone().unwrap_or_else(|| (self.configured.clone(), 0));
        LevelState { level, ordered: self.ordered.is_some(), until_us }
    }
}

impl fmt::Debug for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogLevel").field(&self.state()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level() -> (LogLevel, Arc<Mutex<Vec<String>>>) {
        let applied = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&applied);
        let level = LogLevel::new("info", move |filter| seen.lock().expect("unpoisoned").push(filter.to_string()));
        (level, applied)
    }

    #[test]
    fn an_order_stands_until_the_configured_level_changes() {
        let (level, applied) = level();
        level.order("debug", Duration::ZERO).expect("a level");
        level.configure("info").expect("the same as before");
        assert_eq!(level.state(), LevelState { level: "debug".to_owned(), ordered: true, until_us: 0 });
        level.configure("warn").expect("a level");
        assert_eq!(level.state(), LevelState { level: "warn".to_owned(), ordered: false, until_us: 0 });
        level.order("loud", Duration::ZERO).expect_err("no level");
        level.order("trace", Duration::ZERO).expect("a level");
        level.order("", Duration::ZERO).expect("the end of the order");
        assert_eq!(*applied.lock().expect("unpoisoned"), ["debug", "warn", "trace", "warn"]);
    }

    #[tokio::test]
    async fn an_order_ends_with_its_time_unless_it_was_replaced() {
        let (level, applied) = level();
        level.order("trace", Duration::from_millis(1)).expect("a level");
        let replaced = level.lock().changes;
        level.order("debug", Duration::from_secs(3_600)).expect("a level");
        level.end(replaced);
        assert_eq!(level.state().level, "debug", "the end of the first order is not that of the second");
        level.order("error", Duration::from_millis(1)).expect("a level");
        let ended = tokio::time::timeout(Duration::from_secs(60), async {
            while level.state().ordered {
                tokio::task::yield_now().await;
            }
        });
        ended.await.expect("the order ends");
        assert_eq!(*applied.lock().expect("unpoisoned"), ["trace", "debug", "error", "info"]);
    }
}
