//! The leadership of a shard, carried out: what [`journal_core::leadership`] decides is asked of a coordinator and told
//! to the shard, and what they say is given back to it. A task of its own, so that a long recovery does not silence it;
//! beside all of them the engine's one session with a coordinator.
//!
//! Deliberately absent: decisions (the core's), and safety. Whether a leader may write is decided by the journal's
//! epochs alone; the lease decides who tries.

mod coordinators;
mod session;

use crate::admission::Published;
use crate::health::ShardHealth;
use coordinators::{Answer, Questions};
use journal_core::VoterConfig;
use journal_core::leadership::{Effect, Input, Leadership as Core, State};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use types::{Epoch, ShardId};
use wire::convert::{self, Engine};
use wire::pb::consensus::v1 as pb;
use wire::status::{ApiError, ErrorCode};

pub(crate) use coordinators::Coordinators;
pub(crate) use session::{Said, Session, Standing};

/// Orders and reports in flight between this task and the shard: of each leadership at most two orders and four
/// reports, and the next one begins only after the last report that counts. The rest is slack.
pub(crate) const LEADERSHIP_QUEUE: usize = 8;

/// The tick of the core.
const TICK: Duration = Duration::from_millis(100);

/// What this task tells the shard.
#[derive(Debug)]
pub(crate) enum Order {
    /// The shard is this engine's, under this epoch.
    Lead { epoch: Epoch, config: VoterConfig },
    /// It is not any more: stop at once. Answered by [`Report::Stopped`], also if it has stopped already.
    StepDown { epoch: Epoch, why: &'static str },
    /// Take nothing new, finish what was accepted, then stop. Answered by [`Report::Stopped`] as well.
    Drain { epoch: Epoch },
}

/// What the shard tells this task.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Report {
    /// The voters are fenced and a log is chosen.
    Adopted { epoch: Epoch },
    /// The log is open.
    Opened { epoch: Epoch },
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
    /// Number of the epoch that the coordinator knows this engine by; 0 if none. Written by the leadership's task, the
    /// rest by the shard.
    pub(crate) epoch: AtomicU64,
    /// Epoch number it leads under with an open log; 0 while it does not.
    pub(crate) leading: AtomicU64,
    /// What it is for the shard, a [`pb::ShardRole`].
    pub(crate) role: AtomicI32,
    /// Last seq at which its state was compared with the digest in the log; 0 if never.
    pub(crate) state_hash_seq: AtomicU64,
    /// Whether the journal said last that its entries are volatile.
    pub(crate) volatile: AtomicBool,
}

/// What the task is made of.
pub(crate) struct LeadershipParts {
    pub(crate) shard: ShardId,
    pub(crate) engine: Engine,
    pub(crate) coordinators: Coordinators,
    /// What a coordinator says unasked.
    pub(crate) said: mpsc::Receiver<Said>,
    /// Tells the session that something has changed.
    pub(crate) changed: Arc<Notify>,
    pub(crate) published: Arc<Published>,
    pub(crate) status: Arc<ShardStatus>,
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) reports: mpsc::Receiver<Report>,
    pub(crate) closing: CancellationToken,
    pub(crate) health: ShardHealth,
}

/// The task: the core, and everything it speaks to. It does nothing before [`Leadership::run`].
pub(crate) struct Leadership {
    shard: ShardId,
    core: Core,
    questions: Questions,
    said: mpsc::Receiver<Said>,
    changed: Arc<Notify>,
    status: Arc<ShardStatus>,
    published: Arc<Published>,
    orders: mpsc::Sender<Order>,
    reports: mpsc::Receiver<Report>,
    closing: CancellationToken,
    /// Whether the core knows that the engine stops.
    stopping: bool,
    health: ShardHealth,
    /// Whether the present inability to become leader was logged.
    told: bool,
}

/// The task has nothing left to do: the leadership is given back, or the shard's task is gone.
struct Done;

impl Leadership {
    pub(crate) fn new(parts: LeadershipParts) -> Self {
        let LeadershipParts { shard, engine, coordinators, said, changed, published, status, .. } = parts;
        let LeadershipParts { orders, reports, closing, health, .. } = parts;
        Self {
            shard,
            core: Core::new(),
            questions: Questions::new(shard, engine, coordinators),
            said,
            changed,
            status,
            published,
            orders,
            reports,
            closing,
            stopping: false,
            health,
            told: false,
        }
    }

    /// Tries, leads, tries again, until the engine stops; then the leadership is given back.
    pub(crate) async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut effects = Vec::new();
        while let Some(input) = self.next_input(&mut tick).await {
            self.core.step(input, &mut effects);
            self.show();
            for effect in effects.drain(..) {
                if let Err(Done) = self.carry_out(effect).await {
                    return;
                }
            }
        }
    }

    /// Tells the coordinator, and people, where it stands.
    fn show(&self) {
        let state = self.core.state();
        self.health.detail("leadership", state.name());
        // It keeps the shard until the coordinator has taken it back.
        if !matches!(state, State::Releasing { .. }) {
            let epoch = self.core.epoch().map_or(0, |epoch| epoch.number);
            if self.status.epoch.swap(epoch, Ordering::Relaxed) != epoch {
                self.changed.notify_one();
            }
        }
    }

    /// Waits for whatever comes next; `None` if the shard's task is gone.
    async fn next_input(&mut self, tick: &mut Interval) -> Option<Input> {
        tokio::select! {
            biased;
            report = self.reports.recv() => report.map(Input::from),
            () = self.closing.cancelled(), if !self.stopping => {
                self.stopping = true;
                Some(Input::Stop)
            }
            answer = self.questions.answer() => Some(self.heard(answer)),
            Some(said) = self.said.recv() => Some(said.into()),
            _ = tick.tick() => Some(Input::Tick),
        }
    }

    async fn carry_out(&mut self, effect: Effect) -> Result<(), Done> {
        match effect {
            Effect::Acquire { highest_promised } => self.questions.acquire(highest_promised),
            Effect::Lead { epoch, config } => self.order(Order::Lead { epoch, config }).await?,
            Effect::StepDown { epoch, reason } => self.order(Order::StepDown { epoch, why: reason }).await?,
            Effect::Drain { epoch } => self.order(Order::Drain { epoch }).await?,
            Effect::Release { epoch } => self.questions.release(epoch),
            Effect::Stopped => return Err(Done),
        }
        Ok(())
    }

    /// There is room: see [`LEADERSHIP_QUEUE`].
    async fn order(&mut self, order: Order) -> Result<(), Done> {
        self.orders.send(order).await.map_err(|_| Done)
    }

    /// What an answer of the coordinator means to the core, and to people.
    fn heard(&mut self, answer: Answer) -> Input {
        match answer {
            Answer::Given { epoch, config } => {
                tracing::info!(shard = %self.shard, epoch = epoch.number, "leadership acquired");
                self.told = false;
                self.published.leader.store(None);
                Input::Acquired { epoch, config }
            }
            Answer::NotGiven(error) => {
                let held = matches!(error.code, ErrorCode::LeadershipHeld | ErrorCode::LeadershipDenied);
                if !self.told && !held {
                    tracing::warn!(shard = %self.shard, %error, "cannot become leader yet, trying again");
                    self.told = true;
                }
                self.publish(&error);
                if held { Input::Denied } else { Input::AcquireFailed }
            }
            Answer::Released => Input::Released,
        }
    }

    fn publish(&self, error: &ApiError) {
        match &error.leader {
            Some(holder) => {
                self.published.leader.store(Some(Arc::new((**holder).clone())));
                self.health.following();
            }
            // Whoever led when the coordinator was heard last goes on.
            None if self.published.leader.load().is_some() => {}
            None => self.health.settling(&format!("no leadership yet: {error}")),
        }
    }
}

impl From<Said> for Input {
    fn from(said: Said) -> Self {
        match said {
            Said::Deposed => Self::LeaseLost,
            Said::Offered => Self::Offered,
            Said::Resign { epoch } => Self::Resign { epoch },
        }
    }
}

impl From<Report> for Input {
    fn from(report: Report) -> Self {
        match report {
            Report::Adopted { epoch } => Self::Adopted { epoch },
            Report::Opened { epoch } => Self::Opened { epoch },
            Report::Stopped { epoch, promised } => Self::Ended { epoch, promised },
        }
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
            role: self.role.load(Ordering::Relaxed),
            state_hash_seq: self.state_hash_seq.load(Ordering::Relaxed),
        }
    }
}
