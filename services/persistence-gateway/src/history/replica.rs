//! A read replica of the history's database: whether it is used, how far it is behind, and what happens when it does
//! not answer.
//!
//! Deliberately absent: which questions may be asked there; whoever asks says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use service_kit::flood::Flood;

use super::{HistoryError, HistoryReader};

/// A replica that did not answer is not asked for so long: each question would wait for it in vain.
const REST: Duration = Duration::from_secs(5);
/// Lines a second about a replica that does not answer.
const LOGGED_PER_SECOND: u32 = 1;

/// The replica. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Replica(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    reader: HistoryReader,
    on: AtomicBool,
    resting: Mutex<Option<Instant>>,
    flood: Flood,
}

impl Replica {
    pub(crate) fn new(reader: HistoryReader, on: bool) -> Self {
        let (on, flood) = (AtomicBool::new(on), Flood::new(LOGGED_PER_SECOND));
        Self(Arc::new(Inner { reader, on, resting: Mutex::default(), flood }))
    }

    /// Uses it from now on, or does so no more.
    pub(crate) fn switch(&self, on: bool) {
        self.0.on.store(on, Ordering::Relaxed);
    }

    /// Whether questions go there.
    pub(crate) fn is_on(&self) -> bool {
        self.0.on.load(Ordering::Relaxed)
    }

    /// Its connections.
    pub(crate) fn reader(&self) -> &HistoryReader {
        &self.0.reader
    }

    /// Asks it, if it is used and likely to answer. `None` if somebody else has to be asked.
    pub(super) async fn ask<T, F>(&self, ask: impl Fn(HistoryReader) -> F) -> Option<Result<T, HistoryError>>
    where
        F: Future<Output = Result<T, HistoryError>>,
    {
        let resting = *self.0.resting.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_on() || resting.is_some_and(|since| since.elapsed() < REST) {
            return None;
        }
        match ask(self.0.reader.clone()).await {
            Err(error @ (HistoryError::Unavailable(_) | HistoryError::Refused(_))) => {
                *self.0.resting.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                if let Some(suppressed) = self.0.flood.admit() {
                    tracing::warn!(%error, suppressed, "read replica of the database does not answer, the primary does");
                }
                None
            }
            answer => Some(answer),
        }
    }
}
