//! What is measured about each pool of database connections, and how it is shown.
//!
//! Deliberately absent: how connections are made; deadpool and sqlx do that. Pools report here how each wait for a
//! connection went.

pub(crate) mod journal;
mod leases;
pub(crate) mod postgres;
mod server;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use service_kit::PoolStatus;
use wire::pb::admin::v1::Pool;

use crate::metrics::QueryMetrics;

/// Longest wait that is told apart, microseconds: ten minutes, far above any configured timeout.
const WAIT_MAX_US: u64 = 600_000_000;

/// A statement that takes longer is worth a line in the log.
const SLOW: Duration = Duration::from_secs(1);

/// How many connections a pool may have, how many are open, and how many of them are idle.
type Sizes = Box<dyn Fn() -> (u32, u32, u32) + Send + Sync>;

/// Measures one pool.
pub struct PoolGauge {
    name: String,
    database: &'static str,
    max_size: u32,
    waiters: AtomicU32,
    timeouts: AtomicU64,
    queries: QueryMetrics,
    waits: Mutex<Histogram<u64>>,
    last_error: Mutex<String>,
    sizes: Mutex<Option<Sizes>>,
}

impl PoolGauge {
    /// A gauge for a pool that has not opened a connection yet.
    #[must_use]
    pub fn new(name: impl Into<String>, database: &'static str, max_size: u32) -> Self {
        let waits = Histogram::new_with_bounds(1, WAIT_MAX_US, 2).expect("bounds and precision are valid constants");
        let name = name.into();
        Self {
            queries: QueryMetrics::new(&name),
            name,
            database,
            max_size,
            waiters: AtomicU32::new(0),
            timeouts: AtomicU64::new(0),
            waits: Mutex::new(waits),
            last_error: Mutex::default(),
            sizes: Mutex::default(),
        }
    }

    /// From now on `sizes` tells (allowed, open, idle) connections.
    pub(crate) fn watch(&self, sizes: impl Fn() -> (u32, u32, u32) + Send + Sync + 'static) {
        *self.sizes.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(sizes));
    }

    /// Waits for a connection for at most `limit`. None when that was not enough.
    pub(crate) async fn acquire<T>(&self, limit: Duration, wait: impl Future<Output = T>) -> Option<T> {
        let started = Instant::now();
        let waiting = Waiting::new(&self.waiters);
        let got = tokio::time::timeout(limit, wait).await.ok();
        drop(waiting);
        if got.is_none() {
            self.timeouts.fetch_add(1, Ordering::Relaxed);
        }
        let us = u64::try_from(started.elapsed().as_micros()).unwrap_or(WAIT_MAX_US);
        self.waits.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(us.clamp(1, WAIT_MAX_US));
        got
    }

    /// A statement was given up: it took longer than it may.
    pub(crate) fn query_timed_out(&self) {
        self.queries.timeouts.increment(1);
    }

    /// A statement was answered, after so long. A slow one is logged: its text, which holds no values.
    pub(crate) fn answered(&self, sql: &str, took: Duration) {
        if took > SLOW {
            self.queries.slow.increment(1);
            let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(database = self.database, ms, sql, "slow sql query");
        }
    }

    /// Remembers the last thing that went wrong.
    pub(crate) fn failed(&self, error: &str) {
        error.clone_into(&mut self.last_error.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Counts one waiter for as long as it lives, also when the waiting future is dropped.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn new(waiters: &'a AtomicU32) -> Self {
        waiters.fetch_add(1, Ordering::Relaxed);
        Self(waiters)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl PoolStatus for PoolGauge {
    fn status(&self) -> Pool {
        let sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        let (max_size, size, idle) = sizes.as_ref().map_or((self.max_size, 0, 0), |sizes| sizes());
        drop(sizes);
        Pool {
            service: "persistence".to_owned(),
            name: self.name.clone(),
            database: self.database.to_owned(),
            max_size,
            size,
            idle,
            in_use: size.saturating_sub(idle),
            waiters: self.waiters.load(Ordering::Relaxed),
            timeouts_total: self.timeouts.load(Ordering::Relaxed),
            acquire_p99_us: self.waits.lock().unwrap_or_else(PoisonError::into_inner).value_at_quantile(0.99),
            last_error: self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

impl std::fmt::Debug for PoolGauge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PoolGauge({})", self.name)
    }
}
