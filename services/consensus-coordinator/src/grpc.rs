//! `hivemind.consensus.v1.ConsensusService`.

use std::sync::Arc;
use std::time::Duration;

use service_kit::Shutdown;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use types::ShardId;
use wire::convert;
use wire::pb::consensus::v1 as pb;
use wire::pb::consensus::v1::consensus_service_server::ConsensusService;
use wire::status::ApiError;

use crate::coordinator::{Coordinator, Progress, ShardView};
use crate::{Acquire, Kept};

/// Answers to heartbeats that may wait for a slow reader; one is sent for each heartbeat, twice a second.
const ANSWERS: usize = 4;
/// Shards one heartbeat may speak for.
const MAX_SHARDS: usize = 1024;

/// The service; clones share their coordinator.
#[derive(Clone, Debug)]
pub(crate) struct Consensus {
    pub(crate) name: String,
    pub(crate) coordinator: Arc<Coordinator>,
    /// Shards that have leaders.
    pub(crate) shards: Arc<[u32]>,
    pub(crate) shutdown: tokio::sync::watch::Receiver<Option<Shutdown>>,
}

#[tonic::async_trait]
impl ConsensusService for Consensus {
    type HeartbeatStream = ReceiverStream<Result<pb::HeartbeatResponse, Status>>;

    async fn acquire_leadership(
        &self,
        request: Request<pb::AcquireLeadershipRequest>,
    ) -> Result<Response<pb::AcquireLeadershipResponse>, Status> {
        let request = request.into_inner();
        let engine = convert::engine("engine", request.engine.as_ref())?;
        if !self.shards.contains(&request.shard) {
            let known = format_args!("must be one of consensus_coordinator.shards, {:?}", self.shards).to_string();
            return Err(ApiError::invalid("shard", known).into());
        }
        let (shard, highest_promised) = (ShardId(request.shard), request.highest_promised);
        let acquired = self.coordinator.acquire(Acquire { shard, engine, highest_promised }).await?;
        Ok(Response::new(pb::AcquireLeadershipResponse {
            epoch: Some(convert::epoch_to_pb(acquired.epoch)),
            config: Some(convert::voter_config_to_pb(&acquired.config)),
            ttl_ms: millis(acquired.ttl),
        }))
    }

    async fn release_leadership(
        &self,
        request: Request<pb::ReleaseLeadershipRequest>,
    ) -> Result<Response<pb::ReleaseLeadershipResponse>, Status> {
        let request = request.into_inner();
        let engine = convert::engine("engine", request.engine.as_ref())?;
        let epoch = convert::epoch("epoch", request.epoch.as_ref())?;
        if epoch.owner != engine.incarnation {
            return Err(ApiError::invalid("epoch.owner", "must be the engine's incarnation").into());
        }
        let released = self.coordinator.release(ShardId(request.shard), &engine, epoch).await?;
        Ok(Response::new(pb::ReleaseLeadershipResponse { released }))
    }

    async fn heartbeat(
        &self,
        request: Request<Streaming<pb::HeartbeatRequest>>,
    ) -> Result<Response<Self::HeartbeatStream>, Status> {
        let mut beats = request.into_inner();
        let (answers, stream) = mpsc::channel(ANSWERS);
        let this = self.clone();
        tokio::spawn(async move {
            loop {
                let beat = tokio::select! {
                    beat = beats.message() => beat,
                    () = answers.closed() => return,
                    () = this.stopping() => return,
                };
                let answer = match beat {
                    Ok(Some(beat)) => this.beat(beat).await,
                    Ok(None) | Err(_) => return,
                };
                let failed = answer.is_err();
                if answers.send(answer.map_err(Status::from)).await.is_err() || failed {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn get_consensus_status(
        &self,
        _: Request<pb::GetConsensusStatusRequest>,
    ) -> Result<Response<pb::GetConsensusStatusResponse>, Status> {
        let store = self.coordinator.store();
        let endpoint = |endpoint: crate::EndpointHealth| {
            let (latency, error) = match endpoint.answer {
                Ok(latency) => (latency, String::new()),
                Err(error) => (Duration::ZERO, error),
            };
            pb::StoreEndpoint {
                address: endpoint.address,
                healthy: error.is_empty(),
                latency_us: u64::try_from(latency.as_micros()).unwrap_or(u64::MAX),
                error,
            }
        };
        Ok(Response::new(pb::GetConsensusStatusResponse {
            coordinator: self.name.clone(),
            store: store.kind.to_owned(),
            leaders: self.coordinator.shards().into_iter().map(leader).collect(),
            endpoints: store.endpoints.into_iter().map(endpoint).collect(),
            store_healthy: store.failsafe_since_us.is_none(),
            failsafe_since_us: store.failsafe_since_us.unwrap_or(0),
            ..Default::default()
        }))
    }

    async fn force_election(
        &self,
        _: Request<pb::ForceElectionRequest>,
    ) -> Result<Response<pb::ForceElectionResponse>, Status> {
        Err(ApiError::new(wire::status::ErrorCode::Unsupported, "ForceElection is not offered yet").into())
    }

    async fn set_elections(
        &self,
        _: Request<pb::SetElectionsRequest>,
    ) -> Result<Response<pb::SetElectionsResponse>, Status> {
        Err(ApiError::new(wire::status::ErrorCode::Unsupported, "SetElections is not offered yet").into())
    }

    async fn drain_engine(
        &self,
        _: Request<pb::DrainEngineRequest>,
    ) -> Result<Response<pb::DrainEngineResponse>, Status> {
        Err(ApiError::new(wire::status::ErrorCode::Unsupported, "DrainEngine is not offered yet").into())
    }

    async fn restart_consensus(
        &self,
        _: Request<pb::RestartConsensusRequest>,
    ) -> Result<Response<pb::RestartConsensusResponse>, Status> {
        Err(ApiError::new(wire::status::ErrorCode::Unsupported, "RestartConsensus is not offered yet").into())
    }
}

impl Consensus {
    async fn beat(&self, beat: pb::HeartbeatRequest) -> Result<pb::HeartbeatResponse, ApiError> {
        let engine = convert::engine("engine", beat.engine.as_ref())?;
        if beat.shards.len() > MAX_SHARDS {
            return Err(ApiError::invalid("shards", format_args!("has more than {MAX_SHARDS} shards")));
        }
        let mut deposed_shards = Vec::new();
        let mut shortest: Option<Duration> = None;
        for (index, shard) in beat.shards.iter().enumerate() {
            let name = format!("shards[{index}].epoch");
            let epoch = convert::epoch(&name, shard.epoch.as_ref())?;
            if epoch.number == 0 {
                continue;
            }
            if epoch.owner != engine.incarnation {
                return Err(ApiError::invalid(name + ".owner", "must be the engine's incarnation"));
            }
            let progress = Progress { commit: shard.commit_seq, applied: shard.applied_seq };
            match self.coordinator.alive(ShardId(shard.shard), &engine, epoch, progress).await {
                Some(Kept::Gone) => deposed_shards.push(shard.shard),
                Some(Kept::Alive(ttl)) => shortest = Some(shortest.map_or(ttl, |other| other.min(ttl))),
                // The store is away: what is left of the lease is unknown, and nobody else can be elected either.
                None => {}
            }
        }
        let leaders = self.coordinator.shards().into_iter().map(leader).collect();
        let ttl_ms = shortest.map_or(0, millis);
        Ok(pb::HeartbeatResponse { number: beat.number, ttl_ms, deposed_shards, leaders, ..Default::default() })
    }

    /// Returns when the process is about to end.
    async fn stopping(&self) {
        let mut shutdown = self.shutdown.clone();
        let known = shutdown.wait_for(Option::is_some).await.ok().and_then(|shutdown| shutdown.clone());
        match known {
            Some(shutdown) => shutdown.stopped().await,
            None => std::future::pending().await,
        }
    }
}

fn leader(view: ShardView) -> pb::ShardLeader {
    let ShardView { state, progress } = view;
    let shard = state.shard.0;
    match state.leader {
        Some(leader) => pb::ShardLeader {
            shard,
            engine: Some(convert::engine_to_pb(&leader.engine)),
            epoch: Some(convert::epoch_to_pb(leader.epoch)),
            ttl_ms: millis(leader.ttl),
            commit_seq: progress.commit,
            applied_seq: progress.applied,
        },
        None => pb::ShardLeader { shard, ..pb::ShardLeader::default() },
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
