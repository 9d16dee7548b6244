//! `POST /admin/database/reset-pools` and `POST /admin/database/optimize-connections`: what became of each pool.

use serde::Serialize;
use wire::pb::admin::v1 as pb;

use super::pools::PoolView;
use super::{AnswerView, given};

/// Pools whose connections were replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ResetView {
    /// All pools.
    pub pools: Vec<PoolResetView>,
    /// Connections closed in all.
    pub closed: u32,
    /// All instances, also those that did not answer.
    pub instances: Vec<AnswerView>,
}

/// What became of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PoolResetView {
    /// Before.
    pub before: PoolView,
    /// After.
    pub after: PoolView,
    /// Connections closed; those that would be, in a dry run.
    pub closed: u32,
    /// Connections opened in their place at once.
    pub opened: u32,
    /// Why nothing is to be done; null if something was.
    pub note: Option<String>,
    /// What went wrong; null if nothing did.
    pub error: Option<String>,
}

/// Pools that were fitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OptimizationView {
    /// Whether anything was changed anywhere, or would be, in a dry run.
    pub changed: bool,
    /// All pools.
    pub pools: Vec<PoolOptimizationView>,
    /// Sessions on the servers that sit in an open transaction; nothing is done to them.
    pub idle_in_transaction: Vec<IdleTransactionView>,
    /// All instances, also those that did not answer.
    pub instances: Vec<AnswerView>,
}

/// What became of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PoolOptimizationView {
    /// Before.
    pub before: PoolView,
    /// After; what it would be, in a dry run.
    pub after: PoolView,
    /// Whether anything was changed, or would be, in a dry run.
    pub changed: bool,
    /// Connections closed because nobody needed them.
    pub closed_idle: u32,
    /// Connections closed because they were old or broken.
    pub closed_stale: u32,
    /// Connections in use on average, thousandths.
    pub mean_in_use_milli: u32,
    /// Over how long that was measured, seconds.
    pub measured_s: u32,
    /// Connections worth keeping open, given that use; null where there is no choice.
    pub target_size: Option<u32>,
    /// The server; null where there is none.
    pub server: Option<ServerView>,
    /// Why nothing is to be done; null if something was.
    pub note: Option<String>,
    /// What went wrong; null if nothing did.
    pub error: Option<String>,
}

/// A database server, as a pool sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ServerView {
    /// Sessions it allows in all.
    pub max_connections: u32,
    /// Of these, kept for its administrators.
    pub reserved: u32,
    /// Sessions of other applications.
    pub others: u32,
    /// Instances of ours that share the rest.
    pub instances: u32,
    /// What of it is this instance's.
    pub share: u32,
}

/// A session that holds a transaction open and does nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IdleTransactionView {
    /// Its process on the server.
    pub pid: i32,
    /// What it calls itself.
    pub application: String,
    /// Its user.
    pub user: String,
    /// For how long, milliseconds.
    pub idle_ms: u64,
}

impl ResetView {
    /// Of an answer.
    #[must_use]
    pub fn new(response: pb::ResetPoolsResponse) -> Self {
        let (mut pools, mut instances) = (Vec::new(), Vec::new());
        for pb::InstanceReset { answer, pools: of_instance } in response.instances {
            let answer = AnswerView::from(answer);
            let name = answer.name();
            pools.extend(of_instance.into_iter().map(|pool| {
                let pb::PoolReset { before, after, closed, opened, note, error } = pool;
                let view = |pool: Option<pb::Pool>| PoolView::new(pool.unwrap_or_default(), name.clone());
                let (before, after) = (view(before), view(after));
                PoolResetView { before, after, closed, opened, note: given(note), error: given(error) }
            }));
            instances.push(answer);
        }
        let closed = pools.iter().map(|pool| pool.closed).sum();
        Self { pools, closed, instances }
    }
}

impl OptimizationView {
    /// Of an answer.
    #[must_use]
    pub fn new(response: pb::OptimizeConnectionsResponse) -> Self {
        let (mut pools, mut instances, mut idle) = (Vec::new(), Vec::new(), Vec::new());
        for pb::InstanceOptimization { answer, pools: of_instance } in response.instances {
            let answer = AnswerView::from(answer);
            let name = answer.name();
            for mut pool in of_instance {
                for session in pool.server.iter_mut().flat_map(|server| server.idle_in_transaction.drain(..)) {
                    let pb::IdleTransaction { pid, application, user, idle_ms } = session;
                    let known = idle.iter().any(|other: &IdleTransactionView| other.pid == pid);
                    // Instances that share a server see the same ones.
                    if !known {
                        idle.push(IdleTransactionView { pid, application, user, idle_ms });
                    }
                }
                pools.push(PoolOptimizationView::new(pool, &name));
            }
            instances.push(answer);
        }
        let changed = pools.iter().any(|pool| pool.changed);
        Self { changed, pools, idle_in_transaction: idle, instances }
    }
}

impl PoolOptimizationView {
    fn new(pool: pb::PoolOptimization, instance: &str) -> Self {
        let view = |pool: Option<pb::Pool>| PoolView::new(pool.unwrap_or_default(), instance.to_owned());
        let server = pool.server.map(|server| {
            let pb::DatabaseServer { max_connections, reserved, others, instances, share, .. } = server;
            ServerView { max_connections, reserved, others, instances, share }
        });
        Self {
            before: view(pool.before),
            after: view(pool.after),
            changed: pool.changed,
            closed_idle: pool.closed_idle,
            closed_stale: pool.closed_stale,
            mean_in_use_milli: pool.mean_in_use_milli,
            measured_s: pool.measured_s,
            target_size: server.map(|_| pool.target_size),
            server,
            note: given(pool.note),
            error: given(pool.error),
        }
    }
}
