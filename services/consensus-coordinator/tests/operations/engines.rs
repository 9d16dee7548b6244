//! Engines that ask for what they are offered and give up what they are asked for, and a gateway that hears leaders or
//! does not. Absent: a journal.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use types::Incarnation;
use wire::convert::{Engine as Named, engine_to_pb};
use wire::pb::consensus::v1 as pb;
use wire::pb::journal::v1 as journal;
use wire::pb::journal::v1::journal_service_server::{JournalService, JournalServiceServer};
use wire::transport::{Address, Channel, ClientOptions, connect, in_process};

use super::Client;

/// Between two signs of life.
const BEAT: Duration = Duration::from_millis(200);

/// A running engine; it ends without a word when it is dropped.
pub(crate) struct Engine {
    task: JoinHandle<()>,
    streams: Arc<AtomicU64>,
}

struct Working {
    client: Client,
    engine: pb::Engine,
    shards: u32,
    led: BTreeMap<u32, journal::Epoch>,
    stubborn: bool,
    streams: Arc<AtomicU64>,
}

impl Engine {
    pub(crate) fn start(client: Client, number: u128, shards: u32) -> Self {
        Self::spawn(client, number, shards, false)
    }

    /// One that never gives anything up.
    pub(crate) fn start_stubborn(client: Client, number: u128, shards: u32) -> Self {
        Self::spawn(client, number, shards, true)
    }

    fn spawn(client: Client, number: u128, shards: u32, stubborn: bool) -> Self {
        let (name, address) = (format!("engine-{number}"), format!("http://e{number}:8080"));
        let engine = engine_to_pb(&Named { name, incarnation: Incarnation(number), address });
        let streams = Arc::new(AtomicU64::new(0));
        let led = BTreeMap::new();
        let mut working = Working { client, engine, shards, led, stubborn, streams: Arc::clone(&streams) };
        let task = tokio::spawn(async move {
            loop {
                working.stream().await;
                // As an engine does: a stream that was refused is not asked for without a pause.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Self { task, streams }
    }

    /// How many streams it has opened.
    pub(crate) fn streams(&self) -> u64 {
        self.streams.load(Ordering::SeqCst)
    }

    pub(crate) fn kill(self) {
        self.task.abort();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Working {
    async fn stream(&mut self) {
        let (send, queue) = mpsc::channel(4);
        let Ok(answers) = self.client.heartbeat(ReceiverStream::new(queue)).await else { return };
        self.streams.fetch_add(1, Ordering::SeqCst);
        let mut answers: Streaming<pb::HeartbeatResponse> = answers.into_inner();
        let mut ticks = tokio::time::interval(BEAT);
        let mut number = 0;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                answer = answers.message() => match answer {
                    Ok(Some(answer)) => if !self.told(answer).await { continue },
                    Ok(None) | Err(_) => return,
                },
            }
            number += 1;
            if send.send(self.beat(number)).await.is_err() {
                return;
            }
        }
    }

    fn beat(&self, number: u64) -> pb::HeartbeatRequest {
        let shard = |shard| pb::ShardBeat {
            shard,
            epoch: self.led.get(&shard).cloned(),
            journal_reachable: true,
            role: if self.led.contains_key(&shard) { pb::ShardRole::Leader } else { pb::ShardRole::Standby }.into(),
            ..Default::default()
        };
        let shards = (0..self.shards).map(shard).collect();
        pb::HeartbeatRequest { engine: Some(self.engine.clone()), number, shards }
    }

    /// Does as it is told. True if something changed.
    async fn told(&mut self, answer: pb::HeartbeatResponse) -> bool {
        let before = self.led.clone();
        for shard in answer.deposed_shards {
            self.led.remove(&shard);
        }
        for resign in answer.resigns.into_iter().filter(|_| !self.stubborn) {
            if let Some(epoch) = self.led.remove(&resign.shard) {
                let (shard, engine) = (resign.shard, Some(self.engine.clone()));
                let request = pb::ReleaseLeadershipRequest { shard, engine, epoch: Some(epoch) };
                let _ = self.client.release_leadership(request).await;
            }
        }
        for shard in answer.offered_shards {
            let engine = Some(self.engine.clone());
            let request = pb::AcquireLeadershipRequest { shard, engine, highest_promised: 0 };
            if let Ok(given) = self.client.acquire_leadership(request).await {
                self.led.insert(shard, given.into_inner().epoch.unwrap());
            }
        }
        self.led != before
    }
}

/// A gateway of which only one question is asked.
pub(crate) struct Gateway(Arc<AtomicBool>);

impl Gateway {
    pub(crate) fn serve(hears: Arc<AtomicBool>) -> Channel {
        let (dial, listener) = in_process();
        let mut routes = Routes::builder();
        routes.add_service(JournalServiceServer::new(Self(hears)));
        tokio::spawn(listener.serve(routes.routes(), std::future::pending()));
        connect(&Address::InProcess(dial), &ClientOptions::default())
    }
}

#[tonic::async_trait]
impl JournalService for Gateway {
    type AppendStream = tokio_stream::Empty<Result<journal::AppendResponse, Status>>;
    type ReadStream = tokio_stream::Empty<Result<journal::ReadResponse, Status>>;
    type ReadSnapshotStream = tokio_stream::Empty<Result<journal::ReadSnapshotResponse, Status>>;

    async fn fence(&self, _: Request<journal::FenceRequest>) -> Result<Response<journal::FenceResponse>, Status> {
        Err(Status::unimplemented("not asked by coordinators"))
    }

    async fn append(
        &self,
        _: Request<Streaming<journal::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        Err(Status::unimplemented("not asked by coordinators"))
    }

    async fn read(&self, _: Request<journal::ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        Err(Status::unimplemented("not asked by coordinators"))
    }

    async fn read_snapshot(
        &self,
        _: Request<journal::ReadSnapshotRequest>,
    ) -> Result<Response<Self::ReadSnapshotStream>, Status> {
        Err(Status::unimplemented("not asked by coordinators"))
    }

    /// Speaks of epoch 1 only.
    async fn leader_seen(
        &self,
        _: Request<journal::LeaderSeenRequest>,
    ) -> Result<Response<journal::LeaderSeenResponse>, Status> {
        let stream_open = self.0.load(Ordering::SeqCst);
        let epoch = Some(journal::Epoch { number: 1, owner: vec![0; 16].into() });
        Ok(Response::new(journal::LeaderSeenResponse { epoch, stream_open, silent_ms: 0, commit_seq: 0 }))
    }
}
