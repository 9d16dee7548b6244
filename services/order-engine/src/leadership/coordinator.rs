//! Questions to the coordinator: one at a time, and what it answered.
//!
//! Deliberately absent: when to ask, and what follows from an answer.

use futures::future::BoxFuture;
use journal_core::VoterConfig;
use std::future::Future;
use std::time::Duration;
use tonic::{Request, Response, Status};
use types::{Epoch, ShardId};
use wire::convert::{self, Engine};
use wire::pb::consensus::v1 as pb;
use wire::pb::consensus::v1::consensus_service_client::ConsensusServiceClient;
use wire::status::{ApiError, ErrorCode};
use wire::transport::Channel;

/// How long the coordinator may take for an answer: it makes one transaction in its store.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// What the coordinator answered.
#[derive(Debug)]
pub(super) enum Answer {
    /// The shard is this engine's.
    Given { epoch: Epoch, config: VoterConfig },
    /// It is somebody else's, or nobody can tell.
    NotGiven(ApiError),
    /// A leadership was given back, or its lease will end by itself.
    Released,
}

/// The way to the coordinator.
pub(super) struct Coordinator {
    shard: ShardId,
    engine: Engine,
    client: ConsensusServiceClient<Channel>,
    /// The question that waits for its answer.
    question: Option<BoxFuture<'static, Answer>>,
}

impl Coordinator {
    pub(super) fn new(shard: ShardId, engine: Engine, consensus: Channel) -> Self {
        Self { shard, engine, client: ConsensusServiceClient::new(consensus), question: None }
    }

    /// Asks for the shard; an earlier question is forgotten.
    pub(super) fn acquire(&mut self, highest_promised: u64) {
        let engine = Some(convert::engine_to_pb(&self.engine));
        let request = within(pb::AcquireLeadershipRequest { shard: self.shard.0, engine, highest_promised });
        let (mut client, engine) = (self.client.clone(), self.engine.clone());
        self.question = Some(Box::pin(async move {
            match answered(client.acquire_leadership(request)).await.and_then(|answer| grant(&engine, &answer)) {
                Ok((epoch, config)) => Answer::Given { epoch, config },
                Err(error) => Answer::NotGiven(error),
            }
        }));
    }

    /// Gives the shard back, so that the next one need not wait for the lease to end; an earlier question is forgotten.
    pub(super) fn release(&mut self, epoch: Epoch) {
        let shard = self.shard;
        let engine = Some(convert::engine_to_pb(&self.engine));
        let request = pb::ReleaseLeadershipRequest { shard: shard.0, engine, epoch: Some(convert::epoch_to_pb(epoch)) };
        let mut client = self.client.clone();
        self.question = Some(Box::pin(async move {
            match answered(client.release_leadership(within(request))).await {
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
}

fn within<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_TIMEOUT);
    request
}

async fn answered<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, ApiError> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(ApiError::new(ErrorCode::DeadlineExceeded, "the coordinator does not answer")),
    }
}

fn grant(engine: &Engine, answer: &pb::AcquireLeadershipResponse) -> Result<(Epoch, VoterConfig), ApiError> {
    let epoch = convert::epoch("epoch", answer.epoch.as_ref())?;
    if epoch.owner != engine.incarnation || epoch.number == 0 {
        return Err(ApiError::internal(format_args!("the coordinator issued epoch {epoch:?} for another engine")));
    }
    Ok((epoch, convert::voter_config("config", answer.config.as_ref())?))
}
