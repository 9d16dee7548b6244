//! Signs of life to the coordinator over one stream, which is made again when it breaks.
//!
//! Deliberately absent: when a sign is due, and a decision to stop for lack of answers. Only a coordinator that says
//! so deposes.

use super::ShardStatus;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use types::{Epoch, ShardId};
use wire::convert::{self, Engine};
use wire::pb::consensus::v1 as pb;
use wire::pb::consensus::v1::consensus_service_client::ConsensusServiceClient;
use wire::transport::Channel;

/// Heartbeats on their way. More than a few mean that the stream stands still.
const QUEUE: usize = 4;

/// Silence after which the stream is made again, perhaps to another coordinator: two missed answers and their way.
const SILENCE_MAX: Duration = Duration::from_millis(1_500);

/// The stream of signs of life.
pub(super) struct Heartbeats {
    shard: ShardId,
    engine: Engine,
    client: ConsensusServiceClient<Channel>,
    status: Arc<ShardStatus>,
    number: u64,
    stream: Stream,
    /// Whether the present outage was logged.
    told: bool,
}

/// How far the stream is.
enum Stream {
    /// There is none: the next sign of life opens one.
    Closed,
    /// The coordinator was asked for it, with the first sign of life.
    Opening(BoxFuture<'static, Result<Open, Status>>),
    /// It is there.
    Open(Box<Open>),
}

struct Open {
    beats: mpsc::Sender<pb::HeartbeatRequest>,
    answers: Streaming<pb::HeartbeatResponse>,
    heard: Instant,
}

impl Heartbeats {
    pub(super) fn new(shard: ShardId, engine: Engine, consensus: Channel, status: Arc<ShardStatus>) -> Self {
        let client = ConsensusServiceClient::new(consensus);
        Self { shard, engine, client, status, number: 0, stream: Stream::Closed, told: false }
    }

    /// Sends one sign of life, over a new stream if there is none that works.
    pub(super) fn send(&mut self, epoch: Epoch) {
        let beat = self.beat(epoch);
        match &self.stream {
            Stream::Closed => self.open(beat),
            // One is on its way with the request for the stream.
            Stream::Opening(_) => {}
            Stream::Open(open) => {
                let silent = open.heard.elapsed() > SILENCE_MAX;
                if silent || open.beats.try_send(beat).is_err() {
                    self.lost(&Status::deadline_exceeded("the coordinator does not answer heartbeats"));
                }
            }
        }
    }

    /// Returns when the coordinator says that this engine does not lead. Nothing is lost when the future is dropped.
    pub(super) async fn deposed(&mut self) {
        loop {
            match &mut self.stream {
                Stream::Closed => std::future::pending().await,
                Stream::Opening(opening) => match opening.await {
                    Ok(open) => self.stream = Stream::Open(Box::new(open)),
                    Err(status) => self.lost(&status),
                },
                Stream::Open(open) => match open.answers.message().await {
                    Ok(Some(answer)) => {
                        open.heard = Instant::now();
                        self.told = false;
                        if answer.deposed_shards.contains(&self.shard.0) {
                            return;
                        }
                    }
                    Ok(None) => self.lost(&Status::unavailable("the coordinator ended the stream")),
                    Err(status) => self.lost(&status),
                },
            }
        }
    }

    /// There is nothing more to say of this leadership.
    pub(super) fn close(&mut self) {
        self.stream = Stream::Closed;
    }

    fn open(&mut self, first: pb::HeartbeatRequest) {
        let (beats, queue) = mpsc::channel(QUEUE);
        let mut client = self.client.clone();
        self.stream = Stream::Opening(Box::pin(async move {
            // There is room in a new queue, and its other end is in this future.
            let _ = beats.try_send(first);
            match tokio::time::timeout(SILENCE_MAX, client.heartbeat(ReceiverStream::new(queue))).await {
                Ok(answers) => Ok(Open { beats, answers: answers?.into_inner(), heard: Instant::now() }),
                Err(_) => Err(Status::deadline_exceeded("the coordinator does not take heartbeats")),
            }
        }));
    }

    fn beat(&mut self, epoch: Epoch) -> pb::HeartbeatRequest {
        self.number += 1;
        pb::HeartbeatRequest {
            engine: Some(convert::engine_to_pb(&self.engine)),
            number: self.number,
            shards: vec![self.status.beat(self.shard, epoch)],
        }
    }

    fn lost(&mut self, status: &Status) {
        if !self.told {
            tracing::warn!(shard = %self.shard, %status, "no heartbeats to the coordinator, leading on and reconnecting");
            self.told = true;
        }
        self.stream = Stream::Closed;
    }
}
