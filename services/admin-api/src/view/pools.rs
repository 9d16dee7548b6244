//! `GET /admin/database/pool-status`: every connection pool of every instance.

use serde::Serialize;
use wire::pb::admin::v1 as pb;

use super::{AnswerView, given};

/// The whole answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PoolsView {
    /// All pools.
    pub pools: Vec<PoolView>,
    /// All pools together.
    pub total: TotalView,
    /// All instances, also those that did not answer.
    pub instances: Vec<AnswerView>,
}

/// A pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PoolView {
    /// Service it belongs to.
    pub service: String,
    /// Instance it is in.
    pub instance: String,
    /// Its name.
    pub name: String,
    /// "sqlite" or "postgres".
    pub database: String,
    /// Most connections it may open.
    pub max: u32,
    /// Connections open now.
    pub size: u32,
    /// Open and not in use.
    pub idle: u32,
    /// In use.
    pub in_use: u32,
    /// Callers waiting for a connection.
    pub waiters: u32,
    /// Callers that gave up waiting, since the start.
    pub timeouts_total: u64,
    /// 99th percentile of the wait for a connection since the start, microseconds.
    pub acquire_p99_us: u64,
    /// Last error; null if there was none.
    pub last_error: Option<String>,
}

/// Sums over the pools of the instances that answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TotalView {
    /// Most connections that may be open.
    pub max: u32,
    /// Connections open now.
    pub size: u32,
    /// Open and not in use.
    pub idle: u32,
    /// In use.
    pub in_use: u32,
    /// Callers waiting.
    pub waiters: u32,
}

impl PoolsView {
    /// Of an answer.
    #[must_use]
    pub fn new(response: pb::GetPoolStatusResponse) -> Self {
        let mut pools = Vec::new();
        let mut total = TotalView::default();
        let mut instances = Vec::new();
        for instance in response.instances {
            let answer = AnswerView::from(instance.answer);
            for pool in instance.pools {
                total.max = total.max.saturating_add(pool.max_size);
                total.size = total.size.saturating_add(pool.size);
                total.idle = total.idle.saturating_add(pool.idle);
                total.in_use = total.in_use.saturating_add(pool.in_use);
                total.waiters = total.waiters.saturating_add(pool.waiters);
                pools.push(PoolView::new(pool, answer.name()));
            }
            instances.push(answer);
        }
        Self { pools, total, instances }
    }
}

impl PoolView {
    pub(super) fn new(pool: pb::Pool, instance: String) -> Self {
        Self {
            service: pool.service,
            instance,
            name: pool.name,
            database: pool.database,
            max: pool.max_size,
            size: pool.size,
            idle: pool.idle,
            in_use: pool.in_use,
            waiters: pool.waiters,
            timeouts_total: pool.timeouts_total,
            acquire_p99_us: pool.acquire_p99_us,
            last_error: given(pool.last_error),
        }
    }
}
