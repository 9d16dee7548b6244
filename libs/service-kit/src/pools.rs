//! Register of the database connection pools of a process. Absent: the pools; their owners implement [`PoolStatus`].

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use wire::pb::admin::v1::Pool;

/// A connection pool that can tell how it is.
pub trait PoolStatus: Send + Sync {
    /// Its condition now. Must not block: it is asked while the database may be away.
    fn status(&self) -> Pool;
}

/// All pools of a process. Clones share their state.
#[derive(Clone, Default)]
pub struct Pools(Arc<Mutex<Vec<Arc<dyn PoolStatus>>>>);

impl Pools {
    /// Adds a pool, for as long as the process lives.
    pub fn register(&self, pool: Arc<dyn PoolStatus>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(pool);
    }

    /// Conditions of all pools, in order of their names.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Pool> {
        let pools = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut all: Vec<Pool> = pools.iter().map(|pool| pool.status()).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}

impl fmt::Debug for Pools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pools({})", self.0.lock().unwrap_or_else(PoisonError::into_inner).len())
    }
}
