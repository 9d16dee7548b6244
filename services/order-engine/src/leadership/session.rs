//! The engine's session with the coordinators: one stream for all shards, always open, leading or not. Signs of life go
//! out twice a second and whenever something has changed; what the coordinator says comes back and is handed to the
//! shards' leaderships.
//!
//! Deliberately absent: a decision to stop for lack of answers. Only a coordinator that says so deposes.

#[cfg(test)]
mod tests;

use super::ShardStatus;
use super::coordinators::Coordinators;
use crate::admission::Published;
use crate::health::ShardHealth;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use types::{Epoch, ShardId};
use wire::convert::{self, Engine};
use wire::pb::consensus::v1 as pb;
use wire::pb::consensus::v1::consensus_service_client::ConsensusServiceClient;
use wire::pb::orders::v1::LeaderHint;
use wire::transport::Channel;

/// Signs of life on their way. More than a few mean that the stream stands still.
const QUEUE: usize = 16;

/// Silence after which another coordinator is tried: two missed answers and their way.
const SILENCE_MAX: Duration = Duration::from_millis(1_500);

/// How often it is looked whether a shard has changed, and how many looks later a sign of life is due in any case.
const LOOK: Duration = Duration::from_millis(100);
const LOOKS_PER_BEAT: u32 = 5;

/// Pause when no coordinator answers.
const PAUSE: Duration = Duration::from_millis(200);

/// What a coordinator says about a shard unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// It is not this engine's any more.
    Deposed,
    /// It is free, and meant for this engine.
    Offered,
    /// Give it up in order.
    Resign { epoch: u64 },
}

/// What the session has to do with one shard.
pub(crate) struct Standing {
    pub(crate) shard: ShardId,
    pub(crate) status: Arc<ShardStatus>,
    pub(crate) published: Arc<Published>,
    pub(crate) health: ShardHealth,
    pub(crate) said: mpsc::Sender<Said>,
}

/// The session. It does nothing before [`Session::run`].
pub(crate) struct Session {
    engine: Engine,
    coordinators: Coordinators,
    /// By shard.
    shards: Vec<Standing>,
    /// Something has changed that the coordinator should hear at once.
    changed: Arc<Notify>,
    /// Attempts to open a stream that failed since one was heard.
    failures: usize,
}

/// One stream.
struct Stream {
    beats: mpsc::Sender<pb::HeartbeatRequest>,
    answers: Streaming<pb::HeartbeatResponse>,
    told: Told,
    heard: Instant,
}

/// What a coordinator was told over one stream.
struct Told {
    /// Number of the last sign of life.
    number: u64,
    /// What it said.
    last: Vec<pb::ShardBeat>,
    /// For each shard the number of the first sign of life under its present epoch.
    since: Vec<u64>,
}

impl Session {
    pub(crate) fn new(engine: Engine, coordinators: Coordinators, shards: Vec<Standing>, changed: Arc<Notify>) -> Self {
        Self { engine, coordinators, shards, changed, failures: 0 }
    }

    /// Keeps a stream open, with one coordinator after the other, until the task is dropped.
    pub(crate) async fn run(mut self) {
        loop {
            let (at, client) = self.coordinators.current();
            let why = match self.open(client).await {
                Ok(stream) => self.live(stream).await,
                Err(status) => status,
            };
            self.coordinators.failed(at);
            self.failures += 1;
            let rounds = self.failures / self.coordinators.count();
            if self.failures == self.coordinators.count() {
                tracing::warn!(status = %why, "no coordinator takes signs of life, going on and reconnecting");
            } else {
                tracing::info!(status = %why, "a coordinator takes no signs of life, trying the next one");
            }
            if rounds > 0 {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn open(&self, mut client: ConsensusServiceClient<Channel>) -> Result<Stream, Status> {
        let (beats, queue) = mpsc::channel(QUEUE);
        let first = self.beats();
        // There is room in a new queue, and its other end is in this function.
        let _ = beats.try_send(self.message(1, first.clone()));
        match tokio::time::timeout(SILENCE_MAX, client.heartbeat(ReceiverStream::new(queue))).await {
            Ok(answers) => Ok(Stream {
                beats,
                answers: answers?.into_inner(),
                told: Told { number: 1, since: vec![1; first.len()], last: first },
                heard: Instant::now(),
            }),
            Err(_) => Err(Status::deadline_exceeded("the coordinator does not take signs of life")),
        }
    }

    /// Speaks and listens until the stream is of no use any more; returns why.
    async fn live(&mut self, mut stream: Stream) -> Status {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut until_beat = LOOKS_PER_BEAT;
        let changed = Arc::clone(&self.changed);
        loop {
            tokio::select! {
                biased;
                answer = stream.answers.message() => match answer {
                    Ok(Some(answer)) => {
                        stream.heard = Instant::now();
                        self.failures = 0;
                        self.heard(&stream.told, &answer);
                        continue;
                    }
                    Ok(None) => return Status::unavailable("the coordinator ended the stream"),
                    Err(status) => return status,
                },
                () = changed.notified() => until_beat = 0,
                _ = look.tick() => until_beat = until_beat.saturating_sub(1),
            }
            if stream.heard.elapsed() > SILENCE_MAX {
                return Status::deadline_exceeded("the coordinator does not answer signs of life");
            }
            let beats = self.beats();
            if until_beat == 0 || news(&stream.told.last, &beats) {
                until_beat = LOOKS_PER_BEAT;
                stream.told.note(beats.clone());
                if stream.beats.try_send(self.message(stream.told.number, beats)).is_err() {
                    return Status::deadline_exceeded("the coordinator does not read signs of life");
                }
            }
        }
    }

    fn beats(&self) -> Vec<pb::ShardBeat> {
        let owner = self.engine.incarnation;
        let beat = |standing: &Standing| {
            // Relaxed: whoever changes it has the session told afterwards.
            let epoch = Epoch { number: standing.status.epoch.load(Ordering::Relaxed), owner };
            standing.status.beat(standing.shard, if epoch.number == 0 { Epoch::default() } else { epoch })
        };
        self.shards.iter().map(beat).collect()
    }

    fn message(&self, number: u64, shards: Vec<pb::ShardBeat>) -> pb::HeartbeatRequest {
        pb::HeartbeatRequest { engine: Some(convert::engine_to_pb(&self.engine)), number, shards }
    }

    /// Hands on what a coordinator said.
    fn heard(&self, told: &Told, answer: &pb::HeartbeatResponse) {
        for leader in &answer.leaders {
            if let Some(standing) = self.standing(leader.shard) {
                standing.learn(&self.engine, leader);
            }
        }
        for shard in &answer.deposed_shards {
            let Some(standing) = self.standing(*shard) else { continue };
            if told.may_depose(*shard, answer, &standing.status) && !self.named(*shard, answer) {
                standing.tell(Said::Deposed);
            }
        }
        for resign in &answer.resigns {
            if let Some(standing) = self.standing(resign.shard) {
                tracing::info!(shard = resign.shard, epoch = resign.epoch, why = resign.reason, "asked to resign");
                standing.tell(Said::Resign { epoch: resign.epoch });
            }
        }
        for shard in &answer.offered_shards {
            if let Some(standing) = self.standing(*shard) {
                standing.tell(Said::Offered);
            }
        }
    }

    /// Whether the same answer names this engine, under its present epoch, as the leader.
    fn named(&self, shard: u32, answer: &pb::HeartbeatResponse) -> bool {
        let own = self.standing(shard).map_or(0, |standing| standing.status.epoch.load(Ordering::Relaxed));
        answer.leaders.iter().any(|leader| {
            leader.shard == shard
                && leader.epoch.as_ref().is_some_and(|epoch| epoch.number == own)
                && self.is_self(leader)
        })
    }

    fn is_self(&self, leader: &pb::ShardLeader) -> bool {
        convert::engine("engine", leader.engine.as_ref())
            .is_ok_and(|engine| engine.incarnation == self.engine.incarnation)
    }

    fn standing(&self, shard: u32) -> Option<&Standing> {
        self.shards.get(shard as usize)
    }
}

/// Whether something has changed that should not wait for its time.
fn news(before: &[pb::ShardBeat], now: &[pb::ShardBeat]) -> bool {
    let differ = |(before, now): (&pb::ShardBeat, &pb::ShardBeat)| {
        before.epoch != now.epoch || before.role != now.role || before.journal_reachable != now.journal_reachable
    };
    before.iter().zip(now).any(differ)
}

impl Told {
    /// The next sign of life says this.
    fn note(&mut self, beats: Vec<pb::ShardBeat>) {
        self.number += 1;
        for ((since, before), now) in self.since.iter_mut().zip(&self.last).zip(&beats) {
            if before.epoch != now.epoch {
                *since = self.number;
            }
        }
        self.last = beats;
    }

    /// Whether the answer can be about the present epoch: it has been told, and the answer is not to an earlier sign of
    /// life.
    fn may_depose(&self, shard: u32, answer: &pb::HeartbeatResponse, status: &ShardStatus) -> bool {
        let at = shard as usize;
        let told = self.last.get(at).and_then(|beat| beat.epoch.as_ref()).map_or(0, |epoch| epoch.number);
        let current = told != 0 && told == status.epoch.load(Ordering::Relaxed);
        current && (answer.number == 0 || self.since.get(at).is_some_and(|since| answer.number >= *since))
    }
}

impl Standing {
    fn tell(&self, said: Said) {
        // A full queue: the coordinator says again what still holds.
        let _ = self.said.try_send(said);
    }

    /// Who leads, for the door; unless this engine does, which it knows better.
    fn learn(&self, own: &Engine, leader: &pb::ShardLeader) {
        if self.status.epoch.load(Ordering::Relaxed) != 0 {
            return;
        }
        let epoch = leader.epoch.as_ref().map_or(0, |epoch| epoch.number);
        let known = self.published.leader.load().as_ref().map_or(0, |hint| hint.epoch);
        match convert::engine("engine", leader.engine.as_ref()) {
            // Another coordinator knew better before.
            Ok(_) if epoch < known => {}
            Ok(engine) if engine.incarnation != own.incarnation => {
                if epoch > known {
                    let hint = LeaderHint { shard: self.shard.0, engine: engine.name, address: engine.address, epoch };
                    self.published.leader.store(Some(Arc::new(hint)));
                }
                self.health.following();
            }
            _ => {
                self.published.leader.store(None);
                self.health.settling("the shard has no leader");
            }
        }
    }
}
