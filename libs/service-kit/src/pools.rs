//! Register of the database connection pools of a process, and what operators order of them. Absent: the pools; their
//! owners implement [`PoolStatus`].

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use wire::pb::admin::v1::{Pool, PoolOptimization, PoolReset};

use crate::node::database_service::Answers;

/// A connection pool that can tell how it is, and take orders.
#[async_trait]
pub trait PoolStatus: Send + Sync {
    /// Its condition now. Must not block: it is asked while the database may be away.
    fn status(&self) -> Pool;

    /// Replaces its connections. What is under way on one has `limit` to end. A dry run says what it would do.
    async fn reset(&self, _limit: Duration, _dry_run: bool) -> PoolReset {
        let now = self.status();
        let note = format!("{} has no server sessions that could be replaced", now.database);
        PoolReset { before: Some(now.clone()), after: Some(now), note, ..PoolReset::default() }
    }

    /// Fits itself to its use, where so many instances share the server. A dry run says what it would do.
    async fn optimize(&self, _instances: u32, _limit: Duration, _dry_run: bool) -> PoolOptimization {
        let now = self.status();
        let note = format!("{} has no server sessions that could be saved", now.database);
        PoolOptimization { before: Some(now.clone()), after: Some(now), note, ..PoolOptimization::default() }
    }
}

/// All pools of a process. Clones share their state.
#[derive(Clone, Default)]
pub struct Pools {
    all: Arc<Mutex<Vec<Arc<dyn PoolStatus>>>>,
    /// Orders that were carried out, whichever door they came by.
    pub(crate) answers: Answers,
}

impl Pools {
    /// Adds a pool, for as long as the process lives.
    pub fn register(&self, pool: Arc<dyn PoolStatus>) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).push(pool);
    }

    /// Conditions of all pools, in order of their names.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Pool> {
        let mut all: Vec<Pool> = self.all().iter().map(|pool| pool.status()).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Replaces the connections of all pools, side by side.
    pub async fn reset(&self, limit: Duration, dry_run: bool) -> Vec<PoolReset> {
        let pools = self.all();
        let mut done = join_all(pools.iter().map(|pool| pool.reset(limit, dry_run))).await;
        done.sort_by(|a, b| name(&a.before).cmp(name(&b.before)));
        done
    }

    /// Fits all pools, side by side.
    pub async fn optimize(&self, instances: u32, limit: Duration, dry_run: bool) -> Vec<PoolOptimization> {
        let pools = self.all();
        let mut done = join_all(pools.iter().map(|pool| pool.optimize(instances, limit, dry_run))).await;
        done.sort_by(|a, b| name(&a.before).cmp(name(&b.before)));
        done
    }

    fn all(&self) -> Vec<Arc<dyn PoolStatus>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn name(pool: &Option<Pool>) -> &str {
    pool.as_ref().map_or("", |pool| &pool.name)
}

impl fmt::Debug for Pools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pools({})", self.all.lock().unwrap_or_else(PoisonError::into_inner).len())
    }
}
