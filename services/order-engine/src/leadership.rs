//! Getting, keeping and giving back the leadership of the shard: a conversation with the coordinator, in a task of its
//! own, so that a long recovery does not silence the heartbeats.
//!
//! Deliberately absent: safety. Whether a leader may write is decided by the journal's epochs alone; the lease decides
//! who tries. A coordinator that is gone stops nobody from leading on.

mod heartbeat;

use crate::admission::{Published, Readiness};
use journal_core::VoterConfig;
use service_kit::Component;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Request;
use tonic::transport::Channel;
use types::{Epoch, Incarnation, ShardId};
use wire::convert::{self, Engine};
use wire::pb::consensus::v1 as pb;
use wire::pb::consensus::v1::consensus_service_client::ConsensusServiceClient;
use wire::status::{ApiError, ErrorCode};

use heartbeat::{Beat, Heartbeats};

/// Orders and reports in flight between this task and the shard: each waits for the other's answer, so that more than
/// one of a kind is never on its way; the rest is slack.
pub(crate) const LEADERSHIP_QUEUE: usize = 8;

/// How long the coordinator may take for an answer: it makes one transaction in its store.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// Pause between two tries to become leader. A tenth of the lease, so that a free shard is taken soon.
const ACQUIRE_PAUSE: Duration = Duration::from_millis(500);

/// Pause after a leadership was lost: whoever took it shall have time to open.
const DEPOSED_PAUSE: Duration = Duration::from_secs(1);

/// What this task tells the shard.
#[derive(Debug)]
pub(crate) enum Order {
    /// The shard is this engine's, under this epoch.
    Lead { epoch: Epoch, config: VoterConfig },
    /// It is not any more: stop at once. Answered by [`Report::Stopped`], also if it has stopped already.
    StepDown { epoch: Epoch, why: String },
    /// Take nothing new, finish what was accepted, then stop. Answered by [`Report::Stopped`] as well.
    Drain { epoch: Epoch },
}

/// What the shard tells this task.
#[derive(Debug)]
pub(crate) enum Report {
    /// The shard leads no longer under `epoch`. `promised` is the highest epoch number a voter is known to have
    /// promised. May come twice: once by itself, once as an answer.
    Stopped { epoch: Epoch, promised: u64 },
}

/// What the shard writes for whoever wants to know, without asking it.
#[derive(Debug, Default)]
pub(crate) struct ShardStatus {
    pub(crate) commit: AtomicU64,
    pub(crate) applied: AtomicU64,
    pub(crate) journal_reachable: AtomicBool,
    /// Epoch number it leads under with an open log; 0 while it does not.
    pub(crate) leading: AtomicU64,
}

/// The conversation.
pub(crate) struct Leadership {
    shard: ShardId,
    engine: Engine,
    client: ConsensusServiceClient<Channel>,
    published: Arc<Published>,
    status: Arc<ShardStatus>,
    orders: mpsc::Sender<Order>,
    reports: mpsc::Receiver<Report>,
    closing: CancellationToken,
    component: Component,
    highest_promised: u64,
}

/// Why a leadership ended.
enum End {
    /// The coordinator gave it to somebody else, or took it.
    Deposed,
    /// The shard stopped by itself: a voter promised a newer epoch, or the journal is in doubt.
    Stopped { promised: u64 },
    /// The engine stops.
    Closing,
    /// The shard's task is gone.
    Gone,
}

struct Grant {
    epoch: Epoch,
    config: VoterConfig,
}

impl Leadership {
    #[expect(clippy::too_many_arguments, reason = "the seams of one task, named once")]
    pub(crate) fn new(
        shard: ShardId,
        name: String,
        address: String,
        incarnation: Incarnation,
        consensus: Channel,
        published: Arc<Published>,
        status: Arc<ShardStatus>,
        orders: mpsc::Sender<Order>,
        reports: mpsc::Receiver<Report>,
        closing: CancellationToken,
        component: Component,
    ) -> Self {
        let engine = Engine { name, incarnation, address };
        let client = ConsensusServiceClient::new(consensus);
        Self { shard, engine, client, published, status, orders, reports, closing, component, highest_promised: 0 }
    }

    /// Tries, leads, tries again, until the engine stops; then the leadership is given back.
    pub(crate) async fn run(mut self) {
        while let Some(grant) = self.acquire().await {
            tracing::info!(shard = %self.shard, epoch = grant.epoch.number, "leadership acquired");
            let lead = Order::Lead { epoch: grant.epoch, config: grant.config };
            if self.orders.send(lead).await.is_err() {
                return;
            }
            let end = self.lead(grant.epoch).await;
            let stop = match end {
                End::Gone => return,
                End::Stopped { promised } => {
                    self.highest_promised = self.highest_promised.max(promised);
                    None
                }
                End::Deposed => {
                    let why = "another engine was given the shard".to_owned();
                    Some(Order::StepDown { epoch: grant.epoch, why })
                }
                End::Closing => Some(Order::Drain { epoch: grant.epoch }),
            };
            if let Some(stop) = stop
                && !self.stop(stop, grant.epoch).await
            {
                return;
            }
            self.release(grant.epoch).await;
            if self.closing.is_cancelled() {
                return;
            }
            tokio::select! {
                () = self.closing.cancelled() => return,
                () = tokio::time::sleep(DEPOSED_PAUSE) => {}
            }
        }
    }

    /// Asks until the shard is ours, or the engine stops (`None`).
    async fn acquire(&mut self) -> Option<Grant> {
        let mut told = false;
        loop {
            let closing = self.closing.clone();
            let asked = tokio::select! {
                biased;
                () = closing.cancelled() => return None,
                asked = self.ask() => asked,
            };
            match asked {
                Ok(grant) => return Some(grant),
                Err(error) => {
                    if !told && error.code != ErrorCode::LeadershipHeld {
                        tracing::warn!(shard = %self.shard, %error, "cannot become leader yet, trying again");
                        told = true;
                    }
                    self.publish(&error);
                }
            }
            tokio::select! {
                biased;
                () = closing.cancelled() => return None,
                () = tokio::time::sleep(ACQUIRE_PAUSE) => {}
            }
        }
    }

    async fn ask(&mut self) -> Result<Grant, ApiError> {
        let mut request = Request::new(pb::AcquireLeadershipRequest {
            shard: self.shard.0,
            engine: Some(convert::engine_to_pb(&self.engine)),
            highest_promised: self.highest_promised,
        });
        request.set_timeout(CALL_TIMEOUT);
        let answer = tokio::time::timeout(CALL_TIMEOUT, self.client.acquire_leadership(request)).await;
        let late = || ApiError::new(ErrorCode::DeadlineExceeded, "the coordinator does not answer");
        let answer = answer.map_err(|_| late())??.into_inner();
        let epoch = convert::epoch("epoch", answer.epoch.as_ref())?;
        if epoch.owner != self.engine.incarnation || epoch.number == 0 {
            return Err(ApiError::internal(format_args!("the coordinator issued epoch {epoch:?} for another engine")));
        }
        Ok(Grant { epoch, config: convert::voter_config("config", answer.config.as_ref())? })
    }

    /// Heartbeats until the leadership ends.
    async fn lead(&mut self, epoch: Epoch) -> End {
        let mut heartbeats =
            Heartbeats::new(self.shard, self.engine.clone(), self.client.clone(), Arc::clone(&self.status));
        loop {
            tokio::select! {
                biased;
                report = self.reports.recv() => match report {
                    Some(Report::Stopped { epoch: stopped, promised }) if stopped == epoch => {
                        return End::Stopped { promised };
                    }
                    // The second report of an earlier leadership.
                    Some(Report::Stopped { .. }) => {}
                    None => return End::Gone,
                },
                () = self.closing.cancelled() => return End::Closing,
                beat = heartbeats.next(epoch) => match beat {
                    Beat::Kept => {}
                    Beat::Deposed => return End::Deposed,
                },
            }
        }
    }

    /// Tells the shard to stop and keeps the lease until it has. False if its task is gone.
    async fn stop(&mut self, order: Order, epoch: Epoch) -> bool {
        if self.orders.send(order).await.is_err() {
            return false;
        }
        let mut heartbeats =
            Heartbeats::new(self.shard, self.engine.clone(), self.client.clone(), Arc::clone(&self.status));
        loop {
            tokio::select! {
                biased;
                report = self.reports.recv() => match report {
                    Some(Report::Stopped { epoch: stopped, promised }) if stopped == epoch => {
                        self.highest_promised = self.highest_promised.max(promised);
                        return true;
                    }
                    Some(Report::Stopped { .. }) => {}
                    None => return false,
                },
                _ = heartbeats.next(epoch) => {}
            }
        }
    }

    /// Gives the leadership back, so that the next one need not wait for the lease to end.
    async fn release(&mut self, epoch: Epoch) {
        let mut request = Request::new(pb::ReleaseLeadershipRequest {
            shard: self.shard.0,
            engine: Some(convert::engine_to_pb(&self.engine)),
            epoch: Some(convert::epoch_to_pb(epoch)),
        });
        request.set_timeout(CALL_TIMEOUT);
        match tokio::time::timeout(CALL_TIMEOUT, self.client.release_leadership(request)).await {
            Ok(Ok(_)) => tracing::info!(shard = %self.shard, epoch = epoch.number, "leadership released"),
            Ok(Err(status)) => {
                tracing::warn!(shard = %self.shard, %status, "leadership not released, its lease will end");
            }
            Err(_) => tracing::warn!(shard = %self.shard, "leadership not released in time, its lease will end"),
        }
    }

    fn publish(&self, error: &ApiError) {
        let (why, leader) = match &error.leader {
            Some(holder) => (format!("shard {} is led by {}", self.shard, holder.engine), Some((**holder).clone())),
            None => (format!("no leadership yet: {error}"), None),
        };
        self.component.down(&why);
        self.published.readiness.store(Arc::new(Readiness::Closed { why, leader }));
    }
}

impl ShardStatus {
    /// The shard's part of a heartbeat.
    fn beat(&self, shard: ShardId, epoch: Epoch) -> pb::ShardBeat {
        // Relaxed: numbers for people and for the choice of a successor; each stands for itself.
        pb::ShardBeat {
            shard: shard.0,
            epoch: Some(convert::epoch_to_pb(epoch)),
            commit_seq: self.commit.load(Ordering::Relaxed),
            applied_seq: self.applied.load(Ordering::Relaxed),
            journal_reachable: self.journal_reachable.load(Ordering::Relaxed),
        }
    }
}
