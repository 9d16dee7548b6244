//! Who has a connection now, since when, and how much of the time connections were in use: what decides how many are
//! worth keeping. Absent: the connections.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Use is measured over the running window and the one before it, ten minutes at most: long enough to have seen what
/// is usual, short enough to forget yesterday's load.
const WINDOW: Duration = Duration::from_secs(300);

/// Time that is not measured yet counts as idle: the first moments of a process say little about what it needs.
const MEASURED_LEAST: Duration = Duration::from_secs(60);

/// Connections that were handed out.
#[derive(Debug)]
pub(super) struct Leases(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    next: u64,
    /// Made when, and handed out when.
    out: BTreeMap<u64, (Instant, Instant)>,
    begun: Instant,
    busy: Duration,
    /// The window before: its length, and the time of all connections in use in it.
    before: (Duration, Duration),
}

/// How much connections were in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Use {
    /// Over how long it was measured.
    pub(super) measured: Duration,
    /// Of all connections together.
    pub(super) busy: Duration,
}

impl Leases {
    pub(super) fn new(now: Instant) -> Self {
        let before = (Duration::ZERO, Duration::ZERO);
        Self(Mutex::new(Inner { next: 0, out: BTreeMap::new(), begun: now, busy: Duration::ZERO, before }))
    }

    /// A connection made at `made` is handed out.
    pub(super) fn begin(&self, made: Instant, now: Instant) -> u64 {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.turn(now);
        inner.next += 1;
        let number = inner.next;
        inner.out.insert(number, (made, now));
        number
    }

    /// It came back.
    pub(super) fn end(&self, number: u64, now: Instant) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.turn(now);
        if let Some((_, since)) = inner.out.remove(&number) {
            let since = since.max(inner.begun);
            inner.busy += now.saturating_duration_since(since);
        }
    }

    /// How many are out that were made before `at`.
    pub(super) fn made_before(&self, at: Instant) -> usize {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.out.values().filter(|(made, _)| *made < at).count()
    }

    /// What was measured.
    pub(super) fn usage(&self, now: Instant) -> Use {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.turn(now);
        let held = inner.held(now);
        let (length, busy) = inner.before;
        Use { measured: length + now.saturating_duration_since(inner.begun), busy: busy + inner.busy + held }
    }
}

impl Inner {
    /// Time of this window that connections have been out which still are.
    fn held(&self, now: Instant) -> Duration {
        self.out.values().map(|(_, since)| now.saturating_duration_since((*since).max(self.begun))).sum()
    }

    /// Begins another window when this one is over.
    fn turn(&mut self, now: Instant) {
        let length = now.saturating_duration_since(self.begun);
        if length >= WINDOW {
            // After a long silence the window is longer than usual; only its last part counts, with its share.
            let busy = self.busy + self.held(now);
            let kept = if length > WINDOW { busy.mul_f64(WINDOW.as_secs_f64() / length.as_secs_f64()) } else { busy };
            self.before = (WINDOW, kept);
            (self.begun, self.busy) = (now, Duration::ZERO);
        }
    }
}

impl Use {
    /// Connections in use on average, thousandths.
    pub(super) fn mean_milli(&self) -> u32 {
        let measured = self.measured.max(MEASURED_LEAST).as_micros();
        u32::try_from(self.busy.as_micros().saturating_mul(1_000) / measured).unwrap_or(u32::MAX)
    }

    /// Connections worth keeping open: three times what was in use on average, and one.
    pub(super) fn worth_keeping(&self) -> u32 {
        self.mean_milli().saturating_mul(3).div_ceil(1_000).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn use_is_the_time_connections_are_out() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let leases = Leases::new(start);
        let first = leases.begin(start, at(0));
        let second = leases.begin(at(5), at(5));
        leases.end(first, at(10));
        assert_eq!(leases.usage(at(10)), Use { measured: Duration::from_secs(10), busy: Duration::from_secs(15) });
        assert_eq!(leases.usage(at(10)).mean_milli(), 250, "of a minute, most of which is not over");
        assert_eq!(leases.usage(at(100)).mean_milli(), 1_050);
        assert_eq!(leases.usage(at(100)).worth_keeping(), 5);
        assert_eq!((leases.made_before(at(5)), leases.made_before(at(6))), (0, 1));
        leases.end(second, at(10));
        assert_eq!(leases.made_before(at(6)), 0);
    }

    #[test]
    fn what_was_in_use_long_ago_is_forgotten() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let leases = Leases::new(start);
        let lease = leases.begin(start, at(0));
        leases.end(lease, at(200));
        assert_eq!(leases.usage(at(400)).busy, Duration::from_secs(150), "a window of 400 s counts as one of 300");
        let silent = leases.usage(at(800));
        assert_eq!((silent.busy, silent.worth_keeping()), (Duration::ZERO, 1));
    }
}
