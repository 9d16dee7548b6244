//! Signs of life to the coordinator, twice a second over one stream, which is made again when it breaks.
//!
//! Deliberately absent: a decision to stop for lack of answers. Only a coordinator that says so deposes.

use super::ShardStatus;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use types::{Epoch, ShardId};
use wire::convert::{self, Engine};
use wire::pb::consensus::v1 as pb;
use wire::pb::consensus::v1::consensus_service_client::ConsensusServiceClient;

/// Ten signs of life in a lease of 5 s.
const PERIOD: Duration = Duration::from_millis(500);

/// Heartbeats on their way. More than a few mean that the stream stands still.
const QUEUE: usize = 4;

/// Silence after which the stream is made again, perhaps to another coordinator: two missed answers and their way.
const SILENCE_MAX: Duration = Duration::from_millis(1_500);

/// What a heartbeat came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    /// The coordinator still says that this engine leads, or says nothing.
    Kept,
    /// It says that this engine does not.
    Deposed,
}

/// The stream of signs of life.
pub(super) struct Heartbeats {
    shard: ShardId,
    engine: Engine,
    client: ConsensusServiceClient<Channel>,
    status: Arc<ShardStatus>,
    period: Interval,
    number: u64,
    stream: Option<Open>,
    /// Whether the present outage was logged.
    told: bool,
}

struct Open {
    beats: mpsc::Sender<pb::HeartbeatRequest>,
    answers: Streaming<pb::HeartbeatResponse>,
    heard: Instant,
}

impl Heartbeats {
    pub(super) fn new(
        shard: ShardId,
        engine: Engine,
        client: ConsensusServiceClient<Channel>,
        status: Arc<ShardStatus>,
    ) -> Self {
        let mut period = tokio::time::interval(PERIOD);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { shard, engine, client, status, period, number: 0, stream: None, told: false }
    }

    /// Waits for the next answer, or the next moment to send. Nothing is lost when the future is dropped but a stream
    /// being opened.
    pub(super) async fn next(&mut self, epoch: Epoch) -> Beat {
        let Some(open) = &mut self.stream else {
            self.period.tick().await;
            self.reconnect(epoch).await;
            return Beat::Kept;
        };
        tokio::select! {
            answer = open.answers.message() => match answer {
                Ok(Some(answer)) => {
                    open.heard = Instant::now();
                    self.told = false;
                    if answer.deposed_shards.contains(&self.shard.0) { Beat::Deposed } else { Beat::Kept }
                }
                Ok(None) => self.lost(&Status::unavailable("the coordinator ended the stream")),
                Err(status) => self.lost(&status),
            },
            _ = self.period.tick() => {
                let silent = open.heard.elapsed() > SILENCE_MAX;
                let beat = self.beat(epoch);
                match &self.stream {
                    Some(open) if !silent && open.beats.try_send(beat).is_ok() => Beat::Kept,
                    _ => self.lost(&Status::deadline_exceeded("the coordinator does not answer heartbeats")),
                }
            }
        }
    }

    async fn reconnect(&mut self, epoch: Epoch) {
        let (beats, queue) = mpsc::channel(QUEUE);
        let first = self.beat(epoch);
        if beats.try_send(first).is_err() {
            return;
        }
        match tokio::time::timeout(SILENCE_MAX, self.client.heartbeat(ReceiverStream::new(queue))).await {
            Ok(Ok(answers)) => {
                self.stream = Some(Open { beats, answers: answers.into_inner(), heard: Instant::now() });
            }
            Ok(Err(status)) => {
                self.lost(&status);
            }
            Err(_) => {
                self.lost(&Status::deadline_exceeded("the coordinator does not take heartbeats"));
            }
        }
    }

    fn beat(&mut self, epoch: Epoch) -> pb::HeartbeatRequest {
        self.number += 1;
        pb::HeartbeatRequest {
            engine: Some(convert::engine_to_pb(&self.engine)),
            number: self.number,
            shards: vec![self.status.beat(self.shard, epoch)],
        }
    }

    fn lost(&mut self, status: &Status) -> Beat {
        if !self.told {
            tracing::warn!(shard = %self.shard, %status, "no heartbeats to the coordinator, leading on and reconnecting");
            self.told = true;
        }
        self.stream = None;
        Beat::Kept
    }
}
