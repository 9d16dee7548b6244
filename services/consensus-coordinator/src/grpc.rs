//! `hivemind.consensus.v1.ConsensusService`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use journal_core::placement::Report;
use service_kit::{Caller, Shutdown};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use types::{Incarnation, ShardId};
use wire::convert;
use wire::pb::consensus::v1 as pb;
use wire::pb::consensus::v1::consensus_service_server::ConsensusService;
use wire::status::ApiError;

use crate::Acquire;
use crate::coordinator::Coordinator;
use crate::heartbeats::{Push, Sign, role};
use crate::operations::{Audit, FORCE_WAITS, check_order};

/// Answers to heartbeats, and what is said unasked, that may wait for a slow reader. More is said again later.
const ANSWERS: usize = 8;
/// Shards one heartbeat may speak for.
const MAX_SHARDS: usize = 1024;
/// Longest name of an engine, characters.
const NAME_MAX: usize = 64;
/// Left of a caller's time for the answer's way back.
const WAY_BACK: Duration = Duration::from_millis(200);

/// The service; clones share their coordinator.
#[derive(Clone, Debug)]
pub(crate) struct Consensus {
    pub(crate) coordinator: Arc<Coordinator>,
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
        let shard = self.shard(request.shard)?;
        let highest_promised = request.highest_promised;
        let acquired = self.coordinator.acquire(Acquire { shard, engine, highest_promised }).await?;
        Ok(Response::new(pb::AcquireLeadershipResponse {
            epoch: Some(convert::epoch_to_pb(acquired.epoch)),
            config: Some(convert::voter_config_to_pb(&acquired.config)),
            ttl_ms: crate::heartbeats::millis(acquired.ttl),
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
        let (answers, stream) = mpsc::channel(ANSWERS);
        let this = self.clone();
        tokio::spawn(async move { this.listen(request.into_inner(), answers).await });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn get_consensus_status(
        &self,
        _: Request<pb::GetConsensusStatusRequest>,
    ) -> Result<Response<pb::GetConsensusStatusResponse>, Status> {
        Ok(Response::new(self.coordinator.status()))
    }

    async fn force_election(
        &self,
        request: Request<pb::ForceElectionRequest>,
    ) -> Result<Response<pb::ForceElectionResponse>, Status> {
        let until = Instant::now() + time_given(&request).map_or(FORCE_WAITS, |given| given.min(FORCE_WAITS));
        let caller = Caller::of(request.extensions());
        let mut request = request.into_inner();
        let order = check_order(request.order.take())?;
        self.shard(request.shard)?;
        check_name("to_engine", &request.to_engine)?;
        let to = if request.to_engine.is_empty() { "any" } else { &request.to_engine };
        let subject = format!("shard {} to {to}", request.shard);
        let (operation, action) = ("force-election", "consensus.force_election");
        let audit = Audit { operation, subject, order: &order, action, caller };
        let work = self.coordinator.force(&request, order.dry_run, until);
        let (mut answer, repeated) = self.coordinator.once(&audit, work).await?;
        answer.repeated_request = repeated;
        Ok(Response::new(answer))
    }

    async fn set_elections(
        &self,
        request: Request<pb::SetElectionsRequest>,
    ) -> Result<Response<pb::SetElectionsResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let mut request = request.into_inner();
        let order = check_order(request.order.take())?;
        let (operation, action) =
            if request.paused { ("pause", "consensus.pause") } else { ("resume", "consensus.resume") };
        let audit = Audit { operation, subject: "elections".to_owned(), order: &order, action, caller };
        let work = self.coordinator.pause(&order, request.paused);
        Ok(Response::new(self.coordinator.once(&audit, work).await?.0))
    }

    async fn drain_engine(
        &self,
        request: Request<pb::DrainEngineRequest>,
    ) -> Result<Response<pb::DrainEngineResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let mut request = request.into_inner();
        let order = check_order(request.order.take())?;
        if request.engine.is_empty() {
            return Err(ApiError::invalid("engine", "must be the name of an engine").into());
        }
        check_name("engine", &request.engine)?;
        let (operation, action) =
            if request.drain { ("drain", "consensus.drain") } else { ("undrain", "consensus.undrain") };
        let audit = Audit { operation, subject: request.engine.clone(), order: &order, action, caller };
        let work = self.coordinator.drain(&request.engine, request.drain, order.dry_run);
        Ok(Response::new(self.coordinator.once(&audit, work).await?.0))
    }

    async fn restart_consensus(
        &self,
        request: Request<pb::RestartConsensusRequest>,
    ) -> Result<Response<pb::RestartConsensusResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let order = check_order(request.into_inner().order)?;
        let subject = self.coordinator.name.clone();
        let (operation, action) = ("restart", "consensus.restart");
        let audit = Audit { operation, subject, order: &order, action, caller };
        let work = self.coordinator.restart_now(order.dry_run);
        Ok(Response::new(self.coordinator.once(&audit, work).await?.0))
    }
}

impl Consensus {
    /// A stream of signs of life, until it ends or this coordinator does.
    async fn listen(
        &self,
        mut beats: Streaming<pb::HeartbeatRequest>,
        answers: mpsc::Sender<Result<pb::HeartbeatResponse, Status>>,
    ) {
        let number = self.coordinator.next_stream();
        let (push, mut pushes) = mpsc::channel(ANSWERS);
        let mut restarts = self.coordinator.restarts.subscribe();
        let mut known: Option<Incarnation> = None;
        loop {
            let answer = tokio::select! {
                beat = beats.message() => match beat {
                    Ok(Some(beat)) => self.beat(number, &push, beat, &mut known).await,
                    Ok(None) | Err(_) => break,
                },
                Some(pushed) = pushes.recv() => Ok(pushed),
                () = answers.closed() => break,
                // Who is cut off by this coordinator did not go away.
                () = self.stopping() => return,
                _ = restarts.changed() => return,
            };
            let failed = answer.is_err();
            if answers.send(answer.map_err(Status::from)).await.is_err() || failed {
                break;
            }
        }
        if let Some(engine) = known {
            self.coordinator.gone(engine, number);
        }
    }

    async fn beat(
        &self,
        stream: u64,
        push: &mpsc::Sender<Push>,
        beat: pb::HeartbeatRequest,
        known: &mut Option<Incarnation>,
    ) -> Result<pb::HeartbeatResponse, ApiError> {
        let engine = convert::engine("engine", beat.engine.as_ref())?;
        if known.is_some_and(|known| known != engine.incarnation) {
            return Err(ApiError::invalid("engine.incarnation", "must stay the same on one stream"));
        }
        if beat.shards.len() > MAX_SHARDS {
            return Err(ApiError::invalid("shards", format_args!("has more than {MAX_SHARDS} shards")));
        }
        let mut reports = BTreeMap::new();
        for (index, shard) in beat.shards.iter().enumerate() {
            let name = format!("shards[{index}].epoch");
            let epoch = convert::epoch(&name, shard.epoch.as_ref())?;
            if epoch.number > 0 && epoch.owner != engine.incarnation {
                return Err(ApiError::invalid(name + ".owner", "must be the engine's incarnation"));
            }
            let report = Report { epoch, role: role(shard.role()), reachable: shard.journal_reachable };
            reports.insert(ShardId(shard.shard), report);
        }
        *known = Some(engine.incarnation);
        let (push, number, beats) = (push.clone(), beat.number, beat.shards);
        Ok(self.coordinator.alive(Sign { stream, push, engine, number, reports, beats }).await)
    }

    fn shard(&self, shard: u32) -> Result<ShardId, ApiError> {
        let shards = &self.coordinator.shards;
        if shards.contains(&shard) {
            return Ok(ShardId(shard));
        }
        let last = shards.iter().max().copied().unwrap_or(0);
        Err(ApiError::invalid("shard", format_args!("must be one of the {} shards, at most {last}", shards.len())))
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

fn check_name(field: &str, name: &str) -> Result<(), ApiError> {
    if name.chars().count() > NAME_MAX || name.chars().any(char::is_control) {
        return Err(ApiError::invalid(field, format_args!("must have at most {NAME_MAX} printable characters")));
    }
    Ok(())
}

/// How long the caller waits, less the way back: the header `grpc-timeout`, a number of at most eight digits and a
/// unit.
fn time_given<T>(request: &Request<T>) -> Option<Duration> {
    let text = request.metadata().get("grpc-timeout")?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u32 = number.parse().ok()?;
    let unit = match unit {
        "H" => Duration::from_secs(3_600),
        "M" => Duration::from_secs(60),
        "S" => Duration::from_secs(1),
        "m" => Duration::from_millis(1),
        "u" => Duration::from_micros(1),
        "n" => Duration::from_nanos(1),
        _ => return None,
    };
    Some(unit.saturating_mul(number).saturating_sub(WAY_BACK))
}
