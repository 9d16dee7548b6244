//! The coordinators: which one is asked, and questions about one shard, one at a time.
//!
//! Deliberately absent: when to ask, and what follows from an answer.

use futures::future::BoxFuture;
use journal_core::VoterConfig;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tonic::{Request, Response, Status};
use types::{Epoch, ShardId};
use wire::convert::{self, Engine};
use wire::pb::consensus::v1 as pb;
use wire::pb::consensus::v1::consensus_service_client::ConsensusServiceClient;
use wire::status::{ApiError, ErrorCode};
use wire::transport::Channel;

/// How long the only coordinator may take for an answer: it makes a few transactions in its store.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// The same if another one can be asked instead: twice its store's usual worst, and within the time that a failover to
/// another coordinator may take.
const CALL_TIMEOUT_OF_MANY: Duration = Duration::from_millis(1_500);

/// All coordinators; any of them will do. Clones share which one is used.
#[derive(Clone, Debug)]
pub(crate) struct Coordinators(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// At least one.
    clients: Vec<ConsensusServiceClient<Channel>>,
    /// The one that is used until it fails.
    current: AtomicUsize,
}

/// What a coordinator answered.
#[derive(Debug)]
pub(super) enum Answer {
    /// The shard is this engine's.
    Given { epoch: Epoch, config: VoterConfig },
    /// It is somebody else's, or nobody can tell.
    NotGiven(ApiError),
    /// A leadership was given back, or its lease will end by itself.
    Released,
}

/// The questions about one shard.
pub(super) struct Questions {
    shard: ShardId,
    engine: Engine,
    coordinators: Coordinators,
    /// The question that waits for its answer.
    question: Option<BoxFuture<'static, Answer>>,
}

impl Coordinators {
    /// `None` without any.
    pub(crate) fn new(channels: Vec<Channel>) -> Option<Self> {
        let clients: Vec<_> = channels.into_iter().map(ConsensusServiceClient::new).collect();
        (!clients.is_empty()).then(|| Self(Arc::new(Inner { clients, current: AtomicUsize::new(0) })))
    }

    pub(super) fn count(&self) -> usize {
        self.0.clients.len()
    }

    /// The one to use now, and its number.
    pub(super) fn current(&self) -> (usize, ConsensusServiceClient<Channel>) {
        // Relaxed: any of them would do.
        let at = self.0.current.load(Ordering::Relaxed) % self.count();
        (at, self.0.clients[at].clone())
    }

    /// This one does not answer: use the next, unless somebody has said so already.
    pub(super) fn failed(&self, at: usize) {
        let next = (at + 1) % self.count();
        let _ = self.0.current.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Asks one after the other until one can tell.
    async fn ask<T, F>(&self, call: impl Fn(ConsensusServiceClient<Channel>, Duration) -> F) -> Result<T, ApiError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let limit = if self.count() == 1 { CALL_TIMEOUT } else { CALL_TIMEOUT_OF_MANY };
        let mut asked = 0;
        loop {
            let (at, client) = self.current();
            let error = match tokio::time::timeout(limit, call(client, limit)).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => ApiError::from_status(&status),
                Err(_) => ApiError::new(ErrorCode::DeadlineExceeded, "the coordinator does not answer"),
            };
            asked += 1;
            if asked >= self.count() || !may_differ_elsewhere(error.code) {
                return Err(error);
            }
            self.failed(at);
        }
    }
}

/// Whether another coordinator may know better: this one is not there, or its store is not.
const fn may_differ_elsewhere(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::Unreachable
            | ErrorCode::DeadlineExceeded
            | ErrorCode::NotReady
            | ErrorCode::ShuttingDown
            | ErrorCode::UnknownOutcome
            | ErrorCode::Canceled
    )
}

impl Questions {
    pub(super) fn new(shard: ShardId, engine: Engine, coordinators: Coordinators) -> Self {
        Self { shard, engine, coordinators, question: None }
    }

    /// Asks for the shard; an earlier question is forgotten.
    pub(super) fn acquire(&mut self, highest_promised: u64) {
        let message =
            pb::AcquireLeadershipRequest { shard: self.shard.0, engine: Some(self.pb_engine()), highest_promised };
        let (coordinators, engine) = (self.coordinators.clone(), self.engine.clone());
        self.question = Some(Box::pin(async move {
            let call = |mut client: ConsensusServiceClient<Channel>, limit| {
                let request = within(message.clone(), limit);
                async move { client.acquire_leadership(request).await }
            };
            match coordinators.ask(call).await.and_then(|answer| grant(&engine, &answer)) {
                Ok((epoch, config)) => Answer::Given { epoch, config },
                Err(error) => Answer::NotGiven(error),
            }
        }));
    }

    /// Gives the shard back, so that the next one need not wait for the lease to end; an earlier question is forgotten.
    pub(super) fn release(&mut self, epoch: Epoch) {
        let shard = self.shard;
        let message = pb::ReleaseLeadershipRequest {
            shard: shard.0,
            engine: Some(self.pb_engine()),
            epoch: Some(convert::epoch_to_pb(epoch)),
        };
        let coordinators = self.coordinators.clone();
        self.question = Some(Box::pin(async move {
            let call = |mut client: ConsensusServiceClient<Channel>, limit| {
                let request = within(message.clone(), limit);
                async move { client.release_leadership(request).await }
            };
            match coordinators.ask(call).await {
                Ok(_) => tracing::info!(%shard, epoch = epoch.number, "leadership released"),
                Err(error) => tracing::warn!(%shard, %error, "leadership not released, its lease will end"),
            }
            Answer::Released
        }));
    }

    /// The answer to the last question; never, if there is none. Nothing is lost when the future is dropped.
    pub(super) async fn answer(&mut self) -> Answer {
        let Some(question) = &mut self.question else { return std::future::pending().await };
        let answer = question.await;
        self.question = None;
        answer
    }

    fn pb_engine(&self) -> pb::Engine {
        convert::engine_to_pb(&self.engine)
    }
}

fn within<T>(message: T, limit: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(limit);
    request
}

fn grant(engine: &Engine, answer: &pb::AcquireLeadershipResponse) -> Result<(Epoch, VoterConfig), ApiError> {
    let epoch = convert::epoch("epoch", answer.epoch.as_ref())?;
    if epoch.owner != engine.incarnation || epoch.number == 0 {
        return Err(ApiError::internal(format_args!("the coordinator issued epoch {epoch:?} for another engine")));
    }
    Ok((epoch, convert::voter_config("config", answer.config.as_ref())?))
}
