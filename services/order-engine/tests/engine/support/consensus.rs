//! A coordinator with one shard and no store.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use types::{Epoch, Incarnation};
use wire::convert;
use wire::pb::consensus::v1 as pb;
use wire::pb::consensus::v1::consensus_service_server::ConsensusService;
use wire::pb::orders::v1::LeaderHint;
use wire::status::ApiError;

#[derive(Clone, Default)]
pub(crate) struct Coordinator(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    epoch: u64,
    /// Who leads.
    holder: Option<Incarnation>,
    /// Name and address of the holder.
    name: String,
    address: String,
    released: Vec<u64>,
    beats: Vec<pb::HeartbeatRequest>,
    resign: Option<u64>,
    silent: bool,
}

impl State {
    fn answer(&mut self, beat: &pb::HeartbeatRequest, engine: Incarnation) -> pb::HeartbeatResponse {
        self.beats.push(beat.clone());
        let leads = beat.shards[0].epoch.as_ref().is_some_and(|epoch| epoch.number > 0);
        let deposed = leads && self.holder != Some(engine);
        let resign = |epoch| pb::Resign { shard: 0, epoch, reason: "asked by a test".to_owned() };
        pb::HeartbeatResponse {
            number: beat.number,
            ttl_ms: 5000,
            deposed_shards: if deposed { vec![0] } else { vec![] },
            offered_shards: if self.holder.is_none() { vec![0] } else { vec![] },
            resigns: self.resign.take().map(resign).into_iter().collect(),
            leaders: Vec::new(),
        }
    }
}

impl Coordinator {
    /// Everything that engines said.
    pub(crate) fn beats(&self) -> Vec<pb::HeartbeatRequest> {
        self.0.lock().unwrap().beats.clone()
    }

    /// Asks the holder of this epoch to give the shard up, with its next sign of life.
    pub(crate) fn ask_to_resign(&self, epoch: u64) {
        self.0.lock().unwrap().resign = Some(epoch);
    }

    /// Knows what the other one knows.
    pub(crate) fn take_over_from(&self, other: &Self) {
        let (holder, epoch) = {
            let other = other.0.lock().unwrap();
            (other.holder, other.epoch)
        };
        let mut state = self.0.lock().unwrap();
        (state.holder, state.epoch) = (holder, epoch);
    }

    /// From now on nothing is answered, as by a process that stands still.
    pub(crate) fn fall_silent(&self) {
        self.0.lock().unwrap().silent = true;
    }

    /// Gives the shard to another engine, under a new epoch.
    pub(crate) fn give_to(&self, name: &str) -> Epoch {
        let mut state = self.0.lock().unwrap();
        state.epoch += 1;
        state.holder = Some(Incarnation(0xdead));
        name.clone_into(&mut state.name);
        state.address.clear();
        Epoch { number: state.epoch, owner: Incarnation(0xdead) }
    }

    /// A new epoch for somebody whom no engine hears of.
    pub(crate) fn next_epoch(&self) -> Epoch {
        let mut state = self.0.lock().unwrap();
        state.epoch += 1;
        Epoch { number: state.epoch, owner: Incarnation(0xbeef) }
    }

    /// Takes the shard from whoever has it.
    pub(crate) fn free(&self) {
        self.0.lock().unwrap().holder = None;
    }

    /// Epochs that were given back.
    pub(crate) fn released(&self) -> Vec<u64> {
        self.0.lock().unwrap().released.clone()
    }
}

#[tonic::async_trait]
impl ConsensusService for Coordinator {
    type HeartbeatStream = Pin<Box<dyn Stream<Item = Result<pb::HeartbeatResponse, Status>> + Send>>;

    async fn acquire_leadership(
        &self,
        request: Request<pb::AcquireLeadershipRequest>,
    ) -> Result<Response<pb::AcquireLeadershipResponse>, Status> {
        let request = request.into_inner();
        let engine = convert::engine("engine", request.engine.as_ref())?;
        let mut state = self.0.lock().unwrap();
        if state.holder.is_some_and(|holder| holder != engine.incarnation) {
            let (engine, address) = (state.name.clone(), state.address.clone());
            return Err(ApiError::leadership_held(LeaderHint { shard: 0, engine, address, epoch: state.epoch }).into());
        }
        state.epoch = state.epoch.max(request.highest_promised) + 1;
        state.holder = Some(engine.incarnation);
        (state.name, state.address) = (engine.name, engine.address);
        let epoch = Epoch { number: state.epoch, owner: engine.incarnation };
        let epoch = Some(convert::epoch_to_pb(epoch));
        Ok(Response::new(pb::AcquireLeadershipResponse { epoch, config: None, ttl_ms: 5000 }))
    }

    async fn release_leadership(
        &self,
        request: Request<pb::ReleaseLeadershipRequest>,
    ) -> Result<Response<pb::ReleaseLeadershipResponse>, Status> {
        let request = request.into_inner();
        let engine = convert::engine("engine", request.engine.as_ref())?;
        let epoch = convert::epoch("epoch", request.epoch.as_ref())?;
        let mut state = self.0.lock().unwrap();
        let released = state.holder == Some(engine.incarnation) && state.epoch == epoch.number;
        if released {
            state.holder = None;
            state.released.push(epoch.number);
        }
        Ok(Response::new(pb::ReleaseLeadershipResponse { released }))
    }

    async fn heartbeat(
        &self,
        request: Request<Streaming<pb::HeartbeatRequest>>,
    ) -> Result<Response<Self::HeartbeatStream>, Status> {
        let mut beats = request.into_inner();
        let state = Arc::clone(&self.0);
        let (answers, queue) = mpsc::channel(4);
        tokio::spawn(async move {
            while let Ok(Some(beat)) = beats.message().await {
                let engine = convert::engine("engine", beat.engine.as_ref()).unwrap();
                let answer = {
                    let mut state = state.lock().unwrap();
                    if state.silent {
                        continue;
                    }
                    state.answer(&beat, engine.incarnation)
                };
                if answers.send(Ok(answer)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(queue))))
    }

    async fn get_consensus_status(
        &self,
        _request: Request<pb::GetConsensusStatusRequest>,
    ) -> Result<Response<pb::GetConsensusStatusResponse>, Status> {
        Ok(Response::new(pb::GetConsensusStatusResponse::default()))
    }

    async fn force_election(
        &self,
        _: Request<pb::ForceElectionRequest>,
    ) -> Result<Response<pb::ForceElectionResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn set_elections(
        &self,
        _: Request<pb::SetElectionsRequest>,
    ) -> Result<Response<pb::SetElectionsResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn drain_engine(
        &self,
        _: Request<pb::DrainEngineRequest>,
    ) -> Result<Response<pb::DrainEngineResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn restart_consensus(
        &self,
        _: Request<pb::RestartConsensusRequest>,
    ) -> Result<Response<pb::RestartConsensusResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }
}
