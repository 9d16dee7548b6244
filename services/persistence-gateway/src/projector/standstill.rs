//! Why projecting stands still, told by the projector to whoever asks, and how long it is to wait. Absent: the wait.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Wait after the first failure.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// Longest wait between two attempts.
const RETRY_LAST: Duration = Duration::from_secs(30);

/// Why projecting stands still, if it does. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Standstill(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Empty while it goes on.
    reason: String,
    /// Before the next attempt; none while it goes on.
    wait: Option<Duration>,
}

impl Standstill {
    /// The reason, if there is one.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (!state.reason.is_empty()).then(|| state.reason.clone())
    }

    /// It stands still because of this, for so long: longer from attempt to attempt, until one succeeds.
    pub(crate) fn set(&self, reason: &str) -> Duration {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = state.wait.map_or(RETRY_FIRST, |last| (last * 2).min(RETRY_LAST));
        *state = State { reason: reason.to_owned(), wait: Some(wait) };
        wait
    }

    /// It goes on.
    pub(crate) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_success_starts_the_waits_anew() {
        let standstill = Standstill::default();
        let waits = |times: u32| (0..times).map(|_| standstill.set("no connection").as_secs()).collect::<Vec<_>>();
        assert_eq!(waits(7), [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(standstill.reason().as_deref(), Some("no connection"));
        standstill.clear();
        assert_eq!(standstill.reason(), None);
        assert_eq!(waits(2), [1, 2]);
    }
}
