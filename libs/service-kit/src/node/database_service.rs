//! `NodeDatabaseService`: orders to the connection pools of this instance, each carried out once. Absent: other
//! instances, and what a pool does.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Mutex;
use tonic::{Request, Response, Status};
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::node_database_service_server::NodeDatabaseService;
use wire::pb::consensus::v1::Order;
use wire::status::ApiError;

use crate::audit::{Act, Outcome};
use crate::{Caller, NodeContext};

/// How long an order may take if it does not say, milliseconds.
const USUAL_MS: u32 = 10_000;
/// Answers kept for orders that are given again: far more than an operator gives in the time he may repeat one.
const ANSWERS: usize = 64;

/// Carries orders out, one after another: two resets at one time would each wait for what the other opens.
#[derive(Clone, Debug)]
pub struct NodeDatabase(NodeContext);

/// The last orders by their ids, and what was answered.
pub(crate) type Answers = Arc<Mutex<VecDeque<(String, Answer)>>>;

/// An answer.
#[derive(Clone)]
pub(crate) enum Answer {
    Reset(pb::ResetNodePoolsResponse),
    Optimized(pb::OptimizeNodeConnectionsResponse),
}

impl NodeDatabase {
    /// Longest time an order may ask for, milliseconds.
    pub const LIMIT_MAX_MS: u32 = 60_000;

    /// How long an order may take that asks for this, milliseconds; 0 is the usual time.
    ///
    /// # Errors
    /// When it asks for too long.
    pub fn limit(timeout_ms: u32) -> Result<Duration, ApiError> {
        let limit_ms = match timeout_ms {
            0 => USUAL_MS,
            given if given <= Self::LIMIT_MAX_MS => given,
            _ => return Err(ApiError::invalid("timeout_ms", format!("must be 0 to {}", Self::LIMIT_MAX_MS))),
        };
        Ok(Duration::from_millis(limit_ms.into()))
    }

    /// For the pools of this instance.
    #[must_use]
    pub fn new(context: NodeContext) -> Self {
        Self(context)
    }

    /// Writes down what was done, unless it was only asked for.
    fn record(&self, action: &'static str, caller: Caller, order: &Order, pools: &[Changed]) {
        if order.dry_run {
            return;
        }
        let of = |which: fn(&Changed) -> &Option<pb::Pool>| -> Value {
            let shown = |pool: &Changed| {
                let pb::Pool { name, max_size, size, idle, .. } = which(pool).clone().unwrap_or_default();
                json!({"pool": name, "max": max_size, "open": size, "idle": idle})
            };
            pools.iter().map(shown).collect()
        };
        let failed: Vec<String> = pools.iter().map(|(.., error)| error.clone()).filter(|e| !e.is_empty()).collect();
        let result = if failed.is_empty() { Outcome::Ok } else { Outcome::Failed(failed.join("; ")) };
        let (target, before, after) = (self.0.name.clone(), of(|(before, ..)| before), of(|(_, after, _)| after));
        self.0.audit.record(Act { target, before, after, result, ..Act::ordered(action, caller, order) });
    }

    /// The answer to the same order, or that of `work`.
    async fn once(&self, order: &Order, work: impl Future<Output = Answer>) -> Answer {
        let mut answers = self.0.pools.answers.lock().await;
        let named = !order.request_id.is_empty() && !order.dry_run;
        if named && let Some((_, answer)) = answers.iter().find(|(id, _)| *id == order.request_id) {
            return answer.clone();
        }
        let answer = work.await;
        if named {
            if answers.len() == ANSWERS {
                answers.pop_front();
            }
            answers.push_back((order.request_id.clone(), answer.clone()));
        }
        answer
    }
}

/// A pool before and after, and what went wrong.
type Changed = (Option<pb::Pool>, Option<pb::Pool>, String);

fn other_order() -> Status {
    ApiError::invalid("order.request_id", "was given to another kind of order before: choose another one").into()
}

#[tonic::async_trait]
impl NodeDatabaseService for NodeDatabase {
    async fn reset_node_pools(
        &self,
        request: Request<pb::ResetNodePoolsRequest>,
    ) -> Result<Response<pb::ResetNodePoolsResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let request = request.into_inner();
        let (order, limit) = (request.order.unwrap_or_default(), Self::limit(request.timeout_ms)?);
        let work = async {
            let pools = self.0.pools.reset(limit, order.dry_run).await;
            let changed = pools.iter().map(|pool| (pool.before.clone(), pool.after.clone(), pool.error.clone()));
            let changed: Vec<Changed> = changed.collect();
            self.record("database.reset_pools", caller, &order, &changed);
            let (node, roles) = (self.0.name.clone(), self.0.roles.clone());
            Answer::Reset(pb::ResetNodePoolsResponse { pools, node, roles })
        };
        match self.once(&order, work).await {
            Answer::Reset(answer) => Ok(Response::new(answer)),
            Answer::Optimized(_) => Err(other_order()),
        }
    }

    async fn optimize_node_connections(
        &self,
        request: Request<pb::OptimizeNodeConnectionsRequest>,
    ) -> Result<Response<pb::OptimizeNodeConnectionsResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let request = request.into_inner();
        let (order, limit) = (request.order.unwrap_or_default(), Self::limit(request.timeout_ms)?);
        let work = async {
            let pools = self.0.pools.optimize(request.instances.max(1), limit, order.dry_run).await;
            let changed = pools.iter().map(|pool| (pool.before.clone(), pool.after.clone(), pool.error.clone()));
            let changed: Vec<Changed> = changed.collect();
            self.record("database.optimize_connections", caller, &order, &changed);
            let (node, roles) = (self.0.name.clone(), self.0.roles.clone());
            Answer::Optimized(pb::OptimizeNodeConnectionsResponse { pools, node, roles })
        };
        match self.once(&order, work).await {
            Answer::Optimized(answer) => Ok(Response::new(answer)),
            Answer::Reset(_) => Err(other_order()),
        }
    }
}
