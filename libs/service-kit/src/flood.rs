//! Keeps a repeated message from filling the log: so many a second pass, the rest are counted and the count goes out
//! with the next one that passes. Absent: what is a repetition; use one limit per kind of message.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A limit on messages of one kind. Shared by reference.
#[derive(Debug)]
pub struct Flood {
    per_second: u32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    window: Instant,
    passed: u32,
    suppressed: u64,
}

impl Flood {
    /// Lets `per_second` messages pass in any second that begins with one.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        Self { per_second, state: Mutex::new(State { window: Instant::now(), passed: 0, suppressed: 0 }) }
    }

    /// `Some(n)` if the message may be logged, with the number kept back since the last one; `None` if it may not.
    #[must_use]
    pub fn admit(&self) -> Option<u64> {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(state.window) >= Duration::from_secs(1) {
            state.window = now;
            state.passed = 0;
        }
        if state.passed >= self.per_second {
            state.suppressed += 1;
            return None;
        }
        state.passed += 1;
        Some(std::mem::take(&mut state.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_back_is_counted() {
        let flood = Flood::new(2);
        let start = Instant::now();
        let answers: Vec<_> = (0..5).map(|_| flood.admit_at(start)).collect();
        assert_eq!(answers, [Some(0), Some(0), None, None, None]);
        assert_eq!(flood.admit_at(start + Duration::from_secs(2)), Some(3));
        assert_eq!(flood.admit_at(start + Duration::from_secs(2)), Some(0));
    }
}
