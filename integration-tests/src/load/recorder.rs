//! The record of a load: operations, and when anything was acknowledged.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, ensure};
use sim::history::Operation;

use crate::LOOK_AGAIN;

/// See the module.
#[derive(Debug)]
pub struct Recorder {
    begin: Instant,
    operations: Mutex<Vec<Operation>>,
    measured: Mutex<Vec<Measured>>,
    last_acknowledged: Mutex<BTreeMap<u32, u64>>,
    skipped: AtomicU64,
}

/// How long a client waited for one request, over all its attempts. One that was sent once more is measured once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Stamp of the record: when it was due, which is never later than when it was sent.
    pub due: u64,
    /// From then until it was answered, nanoseconds; `None` if it never was.
    pub took_ns: Option<u64>,
}

impl Recorder {
    pub(super) fn new() -> Self {
        Self {
            begin: Instant::now(),
            operations: Mutex::new(Vec::new()),
            measured: Mutex::new(Vec::new()),
            last_acknowledged: Mutex::new(BTreeMap::new()),
            skipped: AtomicU64::new(0),
        }
    }

    /// Now, nanoseconds since the beginning; never 0.
    #[must_use]
    pub fn stamp(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    /// The wall clock, microseconds.
    pub(super) fn wall_us() -> u64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) fn record(&self, operation: Operation) {
        if operation.answer().is_some() {
            let mut last = self.last_acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
            let last = last.entry(operation.shard).or_default();
            *last = operation.invoked.max(*last);
        }
        // Nothing is left half-done under the lock.
        self.operations.lock().unwrap_or_else(PoisonError::into_inner).push(operation);
    }

    /// A request that was due then has come to its end.
    pub(super) fn measure(&self, due: Instant, answered: bool) {
        let took = u64::try_from(due.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let due = u64::try_from(due.saturating_duration_since(self.begin).as_nanos()).unwrap_or(u64::MAX);
        let measured = Measured { due, took_ns: answered.then_some(took) };
        self.measured.lock().unwrap_or_else(PoisonError::into_inner).push(measured);
    }

    /// Waits until each shard has acknowledged something that was sent after now.
    ///
    /// # Errors
    /// When one has not within `limit`; says after what.
    pub async fn acknowledges(&self, shards: u32, limit: Duration, after: &str) -> Result<()> {
        let (now, begin) = (self.stamp(), Instant::now());
        while self.last_acknowledged(shards) < now {
            ensure!(begin.elapsed() < limit, "nothing was acknowledged for {limit:?} after {after}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    pub(super) fn skipped(&self, requests: u64) {
        self.skipped.fetch_add(requests, Ordering::Relaxed);
    }

    /// When the youngest acknowledged request was sent, on the shard where that is longest ago.
    #[must_use]
    pub fn last_acknowledged(&self, shards: u32) -> u64 {
        let last = self.last_acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        (0..shards).map(|shard| last.get(&shard).copied().unwrap_or(0)).min().unwrap_or(0)
    }

    /// Requests that were due and not sent, because too many were under way.
    #[must_use]
    pub fn skipped_requests(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// Everything recorded so far, taken out.
    #[must_use]
    pub fn take(&self) -> Vec<Operation> {
        std::mem::take(&mut *self.operations.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Every request that came to its end so far, taken out.
    #[must_use]
    pub fn take_measured(&self) -> Vec<Measured> {
        std::mem::take(&mut *self.measured.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The smallest of ascending values that at least so many of a hundred do not exceed; 0 if there are none.
pub(crate) fn percentile(ascending: &[u64], hundredths: usize) -> u64 {
    ascending.get((ascending.len() * hundredths).div_ceil(100).saturating_sub(1)).copied().unwrap_or(0)
}

/// For each window (begin, end) the longest time without an acknowledgement that came to its end within it, over all
/// shards: from the last one before to the first one after.
#[must_use]
pub fn pauses(operations: &[Operation], windows: &[(u64, u64)]) -> Vec<Duration> {
    let mut by_shard: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for operation in operations.iter().filter(|operation| operation.answer().is_some()) {
        by_shard.entry(operation.shard).or_default().push(operation.returned);
    }
    by_shard.values_mut().for_each(|stamps| stamps.sort_unstable());
    let longest = |stamps: &Vec<u64>, (begin, end): (u64, u64)| {
        let first = stamps.partition_point(|stamp| *stamp <= begin).saturating_sub(1);
        let around = stamps[first..].windows(2).take_while(|pair| pair[1] <= end);
        around.map(|pair| pair[1] - pair[0]).max().unwrap_or(0)
    };
    let pause = |window: &(u64, u64)| by_shard.values().map(|stamps| longest(stamps, *window)).max().unwrap_or(0);
    windows.iter().map(|window| Duration::from_nanos(pause(window))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim::history::{Answer, Call, Outcome};

    fn acknowledged(shard: u32, returned: u64) -> Operation {
        let answer = Answer {
            log_id: String::new(),
            epoch: 1,
            seq: 1,
            index: 0,
            status: "New".to_owned(),
            reason: String::new(),
            order_id: 1,
            cumulative: 0,
            leaves: 1,
            canceled_orders: 0,
            fills: Vec::new(),
            time_us: 1,
        };
        let outcome = Outcome::Acknowledged(answer);
        let call = Call::Request { account: 1, id: "a".to_owned(), payload: 1, outcome };
        Operation { client: 1, shard, invoked: 1, returned, attempts: 1, call }
    }

    #[test]
    fn a_pause_reaches_from_the_last_acknowledgement_before_to_the_first_after() {
        let at = |stamps: &[u64]| -> Vec<Operation> { stamps.iter().map(|stamp| acknowledged(0, *stamp)).collect() };
        let operations = at(&[10, 20, 30, 530, 540, 1_500]);
        let windows = [(35, 600), (10, 25), (531, 539), (600, 1_500)];
        let found: Vec<u128> = pauses(&operations, &windows).iter().map(Duration::as_nanos).collect();
        assert_eq!(found, [500, 10, 0, 960], "what ends in a later window belongs to that one");
    }

    #[test]
    fn each_shard_is_looked_at_alone() {
        let mut operations: Vec<Operation> = (1..100).map(|stamp| acknowledged(0, stamp * 10)).collect();
        operations.extend([acknowledged(1, 15), acknowledged(1, 700)]);
        assert_eq!(pauses(&operations, &[(20, 800)])[0].as_nanos(), 685);
    }
}
