//! One request at a time, each until its outcome is known.
//!
//! Deliberately absent: who leads; the cluster knows, and is told what hints and failures say.

use std::time::Duration;

use crate::transport::Channel;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Request, Response, Status};

use super::cluster::Cluster;
use crate::pb::orders::v1 as pb;
use crate::pb::orders::v1::order_service_client::OrderServiceClient;
use crate::status::{ApiError, ErrorCode, Retry};

/// How long a request is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// For all attempts together.
    pub deadline: Duration,
    /// For one attempt.
    pub attempt: Duration,
    /// Wait before the second attempt; doubled for each further one. A server that says how long to wait is obeyed.
    pub backoff_min: Duration,
    /// Longest wait of our own choosing.
    pub backoff_max: Duration,
}

impl Default for RetryPolicy {
    /// Ten seconds, two for each attempt: an engine that takes over does so within them.
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(10),
            attempt: Duration::from_secs(2),
            backoff_min: Duration::from_millis(10),
            backoff_max: Duration::from_secs(1),
        }
    }
}

/// Sends trading requests and finds out what became of them.
///
/// Every method gives the answer, or an error. An error of [`Retry::InDoubt`] means that the request may have been
/// executed: the deadline passed, or a later attempt was refused for good, which says nothing of the earlier one. Any
/// other error means that it was not, by any of the attempts.
#[derive(Clone, Debug)]
pub struct OrderClient {
    cluster: Cluster,
    policy: RetryPolicy,
}

/// Why a request has no answer.
struct Unanswered {
    /// What the last attempt came to.
    last: ApiError,
    /// Whether an earlier one may have been executed.
    in_doubt: bool,
}

/// Times a request follows a hint at once; then it waits, since leaders are changing faster than they are heard of.
const REDIRECTS: u32 = 3;

impl OrderClient {
    /// A client over `channel`, which it keeps to.
    #[must_use]
    pub fn new(channel: Channel, policy: RetryPolicy) -> Self {
        Self::of(Cluster::fixed(channel), policy)
    }

    /// A client of a cluster.
    #[must_use]
    pub const fn of(cluster: Cluster, policy: RetryPolicy) -> Self {
        Self { cluster, policy }
    }

    /// Enters a new order.
    pub async fn submit(&self, request: &pb::SubmitOrderRequest) -> Result<pb::OrderReport, ApiError> {
        let attempt = async |mut client: OrderServiceClient<Channel>, request| client.submit_order(request).await;
        answered(self.until_known(&request.symbol, request, attempt).await.map_err(Unanswered::of_a_change)?.report)
    }

    /// Takes one order off the book.
    pub async fn cancel(&self, request: &pb::CancelOrderRequest) -> Result<pb::OrderReport, ApiError> {
        let attempt = async |mut client: OrderServiceClient<Channel>, request| client.cancel_order(request).await;
        answered(self.until_known(&request.symbol, request, attempt).await.map_err(Unanswered::of_a_change)?.report)
    }

    /// Changes an order.
    pub async fn replace(&self, request: &pb::ReplaceOrderRequest) -> Result<pb::OrderReport, ApiError> {
        let attempt = async |mut client: OrderServiceClient<Channel>, request| client.replace_order(request).await;
        answered(self.until_known(&request.symbol, request, attempt).await.map_err(Unanswered::of_a_change)?.report)
    }

    /// Takes many orders off the book.
    pub async fn mass_cancel(&self, request: &pb::MassCancelRequest) -> Result<pb::OrderReport, ApiError> {
        let attempt = async |mut client: OrderServiceClient<Channel>, request| client.mass_cancel(request).await;
        answered(self.until_known(&request.symbol, request, attempt).await.map_err(Unanswered::of_a_change)?.report)
    }

    /// Reads one order; `None` if the engine does not know it (any more).
    pub async fn get(&self, request: &pb::GetOrderRequest) -> Result<Option<pb::GetOrderResponse>, ApiError> {
        let attempt = async |mut client: OrderServiceClient<Channel>, request| client.get_order(request).await;
        match self.until_known("", request, attempt).await {
            Ok(order) => Ok(Some(order)),
            Err(unanswered) if unanswered.last.code == ErrorCode::NotFound => Ok(None),
            // Whether an earlier attempt was executed matters to nobody: it changed nothing.
            Err(unanswered) => Err(unanswered.last),
        }
    }

    /// Sends the same request until there is an answer, a final error, or no time left.
    async fn until_known<Q, A>(
        &self,
        symbol: &str,
        request: &Q,
        attempt: impl AsyncFn(OrderServiceClient<Channel>, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, Unanswered>
    where
        Q: Clone,
    {
        let deadline = Instant::now() + self.policy.deadline;
        let mut backoff = self.policy.backoff_min;
        let mut in_doubt = false;
        let mut redirects = 0;
        loop {
            let way = self.cluster.way(symbol).await;
            let until = deadline.min(Instant::now() + self.policy.attempt);
            let mut message = Request::new(request.clone());
            message.set_timeout(until.saturating_duration_since(Instant::now()));
            let error = match timeout_at(until, attempt(OrderServiceClient::new(way.channel.clone()), message)).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => ApiError::from_status(&status),
                Err(_) => ApiError::new(ErrorCode::DeadlineExceeded, "no answer in time"),
            };
            match error.code.retry() {
                Retry::Never => return Err(Unanswered { last: error, in_doubt }),
                Retry::Later => {}
                Retry::InDoubt => in_doubt = true,
            }
            if let Some(hint) = &error.leader
                && self.cluster.learn(hint)
                && redirects < REDIRECTS
            {
                redirects += 1;
                continue;
            }
            if error.code != ErrorCode::Overloaded {
                self.cluster.failed(&way);
            }
            let wait = error.retry_after.unwrap_or_default().max(backoff);
            if Instant::now() + wait >= deadline {
                return Err(Unanswered { last: error, in_doubt });
            }
            sleep(wait).await;
            backoff = (backoff * 2).min(self.policy.backoff_max);
        }
    }
}

impl Unanswered {
    /// What whoever wanted to change something is told.
    fn of_a_change(self) -> ApiError {
        // What an earlier attempt left open, a later refusal does not settle.
        let settled = !self.in_doubt || self.last.code.retry() == Retry::InDoubt;
        if settled { self.last } else { ApiError::unknown_outcome(self.last) }
    }
}

fn answered(report: Option<pb::OrderReport>) -> Result<pb::OrderReport, ApiError> {
    report.ok_or_else(|| ApiError::unknown_outcome("the answer came without a report"))
}
