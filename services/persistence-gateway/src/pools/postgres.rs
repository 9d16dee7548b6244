//! A pool of Postgres connections that is measured, and whose size, time limits and connections can be changed while it
//! is in use.
//!
//! Deliberately absent: statements, and where the connections are used.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Metrics, Object, ObjectId, Pool, PoolError, RecyclingMethod, Runtime,
    Timeouts,
};
use journal_store::postgres::Tls;
use service_kit::flood::Flood;
use service_kit::{PoolStatus, async_trait};
use wire::pb::admin::v1::{Pool as PoolView, PoolOptimization, PoolReset};

use super::leases::{Leases, Use};
use super::{PoolGauge, server};
use crate::config::DatabaseConfig;
use crate::history::{HistoryError, postgres_error};

/// Between two looks whether a statement that is under way has ended: there is nothing to wait on but its connection.
const DRAIN_LOOK: Duration = Duration::from_millis(10);
/// How long calling off a statement may take; a server that is away has none.
const CALL_OFF_LIMIT: Duration = Duration::from_secs(5);
/// A connection that is older costs the server more memory than one that is made anew.
const OLD: Duration = Duration::from_secs(3_600);
/// How long a pool is not fitted closer: use is measured over minutes, and what it is worth falls as they pass.
const KEPT_FOR: Duration = Duration::from_secs(300);
/// Lines a second about connections that were not to be had: the counter tells the rest.
const LOGGED_PER_SECOND: u32 = 2;
/// So many more than needed are left alone: closing one connection saves nothing and may be undone at once.
const LEFT_ALONE: u32 = 1;

/// What a pool is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Questions: many connections, each checked before it is handed out.
    Questions {
        /// Sessions that this process holds on the same server beside this pool.
        beside: u32,
    },
    /// The one session of a projector, which holds a lock. Used on the projector's own runtime only.
    Projector,
}

/// Connections to a database. Clones are handles of the same pool.
#[derive(Clone, Debug)]
pub(crate) struct PostgresPool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    pool: Pool,
    tls: Tls,
    purpose: Purpose,
    applications: Vec<String>,
    gauge: Arc<PoolGauge>,
    leases: Leases,
    /// Connections made before this are closed instead of being handed out.
    renewed: Arc<Mutex<Option<Instant>>>,
    connection_timeout_us: AtomicU64,
    query_timeout_us: AtomicU64,
    /// As configured; the pool itself may be held below it.
    configured: AtomicU64,
    flood: Flood,
    /// When it was fitted last, and to how many connections.
    fitted: Mutex<Option<(Instant, u32)>>,
}

/// A connection that was handed out.
pub(crate) struct Lease {
    /// None only while it is given back.
    object: Option<Object>,
    number: u64,
    shared: Arc<Shared>,
}

impl PostgresPool {
    pub(crate) fn new(
        config: &DatabaseConfig,
        connections: u32,
        purpose: Purpose,
        gauge: Arc<PoolGauge>,
    ) -> Result<Self, HistoryError> {
        let server = config.server().map_err(HistoryError::Configuration)?;
        let recycling_method = match purpose {
            // A server that hangs is noticed while a connection is waited for, not while a statement runs.
            Purpose::Questions { .. } => RecyclingMethod::Verified,
            Purpose::Projector => RecyclingMethod::Fast,
        };
        let manager = Manager::from_config(server.options, server.tls.clone(), ManagerConfig { recycling_method });
        let renewed: Arc<Mutex<Option<Instant>>> = Arc::default();
        let oldest = Arc::clone(&renewed);
        let current = Hook::sync_fn(move |_, metrics: &Metrics| {
            let oldest = *oldest.lock().unwrap_or_else(PoisonError::into_inner);
            if oldest.is_some_and(|at| metrics.created < at) { Err(HookError::message("replaced")) } else { Ok(()) }
        });
        let pool = Pool::builder(manager)
            .max_size(size(connections))
            .runtime(Runtime::Tokio1)
            .pre_recycle(current)
            .build()
            .map_err(|error| HistoryError::Configuration(error.to_string()))?;
        let watched = pool.clone();
        gauge.watch(move || {
            let status = watched.status();
            (count(status.max_size), count(status.size), count(status.available))
        });
        let shared = Shared {
            pool,
            tls: server.tls,
            purpose,
            applications: vec![config.application_name.clone(), journal_store::postgres::APPLICATION_NAME.to_owned()],
            gauge,
            leases: Leases::new(Instant::now()),
            renewed,
            connection_timeout_us: AtomicU64::new(micros(config.connection_timeout.0)),
            query_timeout_us: AtomicU64::new(micros(config.query_timeout.0)),
            configured: AtomicU64::new(connections.into()),
            flood: Flood::new(LOGGED_PER_SECOND),
            fitted: Mutex::default(),
        };
        Ok(Self(Arc::new(shared)))
    }

    /// A connection, within the time there is for it.
    pub(crate) async fn get(&self) -> Result<Lease, HistoryError> {
        let Shared { pool, gauge, leases, .. } = &*self.0;
        let wait = self.connection_timeout();
        let timed_out = || HistoryError::Unavailable(format!("no database connection within {wait:?}"));
        // One limit over everything that may take time in there, and one that counts.
        match gauge.acquire(wait, pool.timeout_get(&Timeouts::new())).await {
            Some(Ok(object)) => {
                let number = leases.begin(Object::metrics(&object).created, Instant::now());
                Ok(Lease { object: Some(object), number, shared: Arc::clone(&self.0) })
            }
            Some(Err(PoolError::Backend(error))) => Err(postgres_error(&error)),
            Some(Err(PoolError::Timeout(_))) | None => {
                self.tell_exhausted(wait);
                Err(timed_out())
            }
            Some(Err(error)) => Err(HistoryError::Unavailable(error.to_string())),
        }
    }

    /// Whoever waited got nothing: all connections are in use, or the server gives none.
    fn tell_exhausted(&self, waited: Duration) {
        if let Some(suppressed) = self.0.flood.admit() {
            let PoolView { name, max_size, size, in_use, waiters, .. } = self.0.gauge.status();
            let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(
                pool = name,
                waited_ms,
                max = max_size,
                open = size,
                in_use,
                waiters,
                suppressed,
                "no database connection in time: the pool is exhausted, or the server is away"
            );
        }
    }

    /// Longest wait for a connection.
    pub(crate) fn connection_timeout(&self) -> Duration {
        Duration::from_micros(self.0.connection_timeout_us.load(Ordering::Relaxed))
    }

    /// Longest run of a statement.
    pub(crate) fn query_timeout(&self) -> Duration {
        Duration::from_micros(self.0.query_timeout_us.load(Ordering::Relaxed))
    }

    /// What measures it.
    pub(crate) fn gauge(&self) -> &PoolGauge {
        &self.0.gauge
    }

    /// Takes other limits, for whoever comes from now on. Connections above a smaller size are closed as they come back.
    pub(crate) fn apply(&self, config: &DatabaseConfig, connections: u32) {
        self.0.connection_timeout_us.store(micros(config.connection_timeout.0), Ordering::Relaxed);
        self.0.query_timeout_us.store(micros(config.query_timeout.0), Ordering::Relaxed);
        let before = self.0.configured.swap(connections.into(), Ordering::Relaxed);
        if before != u64::from(connections) {
            self.0.pool.resize(size(connections));
        }
    }

    /// No connection any more.
    pub(crate) fn close(&self) {
        self.0.pool.close();
    }

    /// Closes what was made before `at` and lies idle.
    fn close_idle(&self, at: Instant) -> u32 {
        count(self.0.pool.retain(|_, metrics| metrics.created >= at).removed.len())
    }

    /// Opens one and asks something: the server takes us.
    async fn try_one(&self) -> Result<u32, HistoryError> {
        let lease = self.get().await?;
        lease.simple_query("SELECT 1").await.map_err(|error| postgres_error(&error))?;
        Ok(1)
    }

    /// Closes idle connections above `target`, and old or broken ones. Returns how many of each.
    fn close_surplus(&self, target: u32) -> (u32, u32) {
        let (mut surplus, mut idle, mut stale) = (surplus(count(self.0.pool.status().size), target), 0, 0);
        self.0.pool.retain(|client, metrics| {
            if client.is_closed() || metrics.age() >= OLD {
                stale += 1;
                surplus = surplus.saturating_sub(1);
                return false;
            }
            let keep = surplus == 0;
            if !keep {
                surplus -= 1;
                idle += 1;
            }
            keep
        });
        (idle, stale)
    }

    /// Connections to keep: as many as their use is worth, and for a while not fewer than were kept the last time.
    fn target(&self, usage: &Use, dry_run: bool) -> u32 {
        let mut fitted = self.0.fitted.lock().unwrap_or_else(PoisonError::into_inner);
        let last = fitted.filter(|(at, _)| at.elapsed() < KEPT_FOR);
        let target = usage.worth_keeping().max(last.map_or(0, |(_, target)| target));
        if !dry_run && last.is_none_or(|(_, last)| last < target) {
            *fitted = Some((Instant::now(), target));
        }
        target
    }

    async fn fit(&self, done: &mut PoolOptimization, instances: u32, dry_run: bool) -> Result<(), HistoryError> {
        let Purpose::Questions { beside } = self.0.purpose else { return Ok(()) };
        let server = {
            let lease = self.get().await?;
            server::look(&lease, &self.0.applications, instances).await.map_err(|error| postgres_error(&error))?
        };
        let usage = self.0.leases.usage(Instant::now());
        let configured = u32::try_from(self.0.configured.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        let ceiling = configured.min(server.share.saturating_sub(beside)).max(1);
        let target = self.target(&usage, dry_run).min(ceiling);
        let before = self.0.gauge.status();
        done.mean_in_use_milli = usage.mean_milli();
        done.measured_s = u32::try_from(usage.measured.as_secs()).unwrap_or(u32::MAX);
        done.target_size = target;
        done.server = Some(server);
        if dry_run {
            done.closed_idle = surplus(before.size, target).min(before.idle);
            let size = before.size.saturating_sub(done.closed_idle);
            done.after =
                Some(PoolView { max_size: ceiling, size, idle: before.idle - done.closed_idle, ..before.clone() });
        } else {
            if before.max_size != ceiling {
                self.0.pool.resize(size(ceiling));
            }
            (done.closed_idle, done.closed_stale) = self.close_surplus(target);
            done.after = Some(self.0.gauge.status());
        }
        done.changed = before.max_size != ceiling || done.closed_idle + done.closed_stale > 0;
        done.before = Some(before);
        Ok(())
    }
}

/// Connections that are too many.
fn surplus(size: u32, target: u32) -> u32 {
    let surplus = size.saturating_sub(target);
    if surplus > LEFT_ALONE { surplus } else { 0 }
}

#[async_trait]
impl PoolStatus for PostgresPool {
    fn status(&self) -> PoolView {
        self.0.gauge.status()
    }

    async fn reset(&self, limit: Duration, dry_run: bool) -> PoolReset {
        let before = self.status();
        if dry_run {
            return PoolReset {
                closed: before.size,
                before: Some(before.clone()),
                after: Some(before),
                ..PoolReset::default()
            };
        }
        let (at, Shared { leases, renewed, .. }) = (Instant::now(), &*self.0);
        *renewed.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
        let busy = leases.made_before(at);
        let mut closed = self.close_idle(at);
        while leases.made_before(at) > 0 && at.elapsed() < limit {
            tokio::time::sleep(DRAIN_LOOK).await;
            self.close_idle(at);
        }
        self.close_idle(at);
        let left = leases.made_before(at);
        closed += count(busy.saturating_sub(left));
        let opened = match self.0.purpose {
            Purpose::Questions { .. } => {
                let rest = limit.saturating_sub(at.elapsed()).max(DRAIN_LOOK);
                let late = || HistoryError::Unavailable(format!("no new connection answered within {rest:?}"));
                tokio::time::timeout(rest, self.try_one()).await.unwrap_or_else(|_| Err(late()))
            }
            // Opened by the projector, on its runtime, with the next batch.
            Purpose::Projector => Ok(0),
        };
        let mut errors = Vec::new();
        if left > 0 {
            errors
                .push(format!("{left} connections still run a statement after {limit:?}; each is closed when it ends"));
        }
        let opened = opened.unwrap_or_else(|failed| {
            errors.push(failed.to_string());
            0
        });
        let error = errors.join("; ");
        PoolReset { before: Some(before), after: Some(self.status()), closed, opened, note: String::new(), error }
    }

    async fn optimize(&self, instances: u32, limit: Duration, dry_run: bool) -> PoolOptimization {
        let now = self.status();
        let mut done = PoolOptimization { before: Some(now.clone()), after: Some(now), ..PoolOptimization::default() };
        if self.0.purpose == Purpose::Projector {
            "one session by design: it writes the history, and holds the lock that says so".clone_into(&mut done.note);
            return done;
        }
        match tokio::time::timeout(limit, self.fit(&mut done, instances, dry_run)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => done.error = error.to_string(),
            Err(_) => done.error = format!("the database took longer than {limit:?}"),
        }
        done
    }
}

impl Lease {
    /// Which connection of its pool this is.
    pub(crate) fn id(&self) -> Option<ObjectId> {
        self.object.as_ref().map(Object::id)
    }

    /// Closes it: nobody may get what an answer may still come on. What the server still does for it is called off: the
    /// server itself notices a closed connection only when it has an answer, and holds its locks until then.
    pub(crate) fn give_up(mut self) {
        if let Some(object) = self.object.take() {
            let (statement, tls) = (object.cancel_token(), self.shared.tls.clone());
            tokio::spawn(tokio::time::timeout(CALL_OFF_LIMIT, async move { statement.cancel_query(tls).await }));
            drop(Object::take(object));
        }
    }
}

impl Deref for Lease {
    type Target = Object;

    fn deref(&self) -> &Object {
        self.object.as_ref().expect("taken only by what consumes the lease")
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Object {
        self.object.as_mut().expect("taken only by what consumes the lease")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Back in the pool before it counts as back: whoever waits for that finds it there.
        drop(self.object.take());
        self.shared.leases.end(self.number, Instant::now());
    }
}

fn size(connections: u32) -> usize {
    usize::try_from(connections).unwrap_or(usize::MAX)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
