//! The door of the shard: is it open, is there room, and if so, the command or question goes into the shard's queue.
//!
//! Deliberately absent: the books, limits of accounts and any other business check (they are made in the log's order,
//! by the matching core), and waiting: what does not fit now is refused now.

use crate::metrics::Metrics;
use crate::shard::{Answer, Execute, Freshness, Query, Question, Reply, Told};
use arc_swap::{ArcSwap, ArcSwapOption};
use service_kit::memory::Pressure;
use service_kit::trace::TraceContext;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use types::{Command, InstrumentId, Seq, Symbol};
use wire::convert::InstrumentLookup;
use wire::pb::orders::v1::LeaderHint;
use wire::status::ApiError;

/// Reads waiting for the shard. A read takes a few microseconds, so that a thousand of them are a few milliseconds.
pub(crate) const QUERY_QUEUE: usize = 1_024;

/// When an overloaded shard should be asked again. It empties its queue in some tens of milliseconds.
const RETRY_OVERLOADED: Duration = Duration::from_millis(50);

/// When an order that was refused for want of memory should be sent again. What frees memory takes its time.
const RETRY_MEMORY: Duration = Duration::from_secs(1);

/// Whether the shard takes commands here.
#[derive(Clone, Debug)]
pub(crate) enum Readiness {
    /// This engine leads, its log is open and the journal answers.
    Open,
    /// Not now, and only reads that may be stale.
    Closed {
        /// Why, for people.
        why: String,
    },
    /// This engine leads, but the journal does not answer: no commands, and only reads that may be stale.
    ReadOnly {
        /// Why, for people.
        why: String,
    },
}

/// Symbols of the applied state. Replaced as a whole when an instrument is added.
pub(crate) type Symbols = HashMap<Symbol, InstrumentId>;

/// What the door knows of the shard.
#[derive(Debug)]
pub(crate) struct Published {
    /// Whether commands are taken. Written by the shard loop only.
    pub(crate) readiness: ArcSwap<Readiness>,
    /// Who leads, if that is another engine and known. Written by the leadership's task only.
    pub(crate) leader: ArcSwapOption<LeaderHint>,
    /// Known instruments. Written by the shard loop only.
    pub(crate) symbols: ArcSwap<Symbols>,
}

/// The door. One per shard, shared by all handlers.
#[derive(Debug)]
pub(crate) struct Admission {
    published: Arc<Published>,
    unanswered: Arc<AtomicU32>,
    unanswered_max: u32,
    commands: mpsc::Sender<Execute>,
    queries: mpsc::Sender<Question>,
    metrics: Arc<Metrics>,
    pressure: Pressure,
}

/// The right to one place among the unanswered commands; given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<AtomicU32>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Published {
    pub(crate) fn new(why: &str) -> Self {
        Self {
            readiness: ArcSwap::from_pointee(Readiness::Closed { why: why.to_owned() }),
            leader: ArcSwapOption::empty(),
            symbols: ArcSwap::from_pointee(Symbols::new()),
        }
    }
}

impl Published {
    /// Why nothing is taken here: because of another leader, if one is known.
    fn closed(&self, why: &str) -> ApiError {
        match &*self.leader.load() {
            Some(hint) => ApiError::not_leader(LeaderHint::clone(hint)),
            None => ApiError::not_ready(why),
        }
    }
}

impl InstrumentLookup for Published {
    fn instrument_id(&self, symbol: &Symbol) -> Option<InstrumentId> {
        self.symbols.load().get(symbol).copied()
    }
}

impl Admission {
    /// `commands` has room for `unanswered_max` messages at least, so that whoever holds a permit finds room.
    pub(crate) fn new(
        published: Arc<Published>,
        unanswered_max: u32,
        commands: mpsc::Sender<Execute>,
        queries: mpsc::Sender<Question>,
        metrics: Arc<Metrics>,
        pressure: Pressure,
    ) -> Self {
        Self { published, unanswered: Arc::default(), unanswered_max, commands, queries, metrics, pressure }
    }

    /// What the shard publishes, for the lookup of symbols.
    pub(crate) fn published(&self) -> &Published {
        &self.published
    }

    /// Hands a command to the shard; `trace` is what the journal goes on from, if it is recorded. The receiver gives its
    /// answer; one that is closed without an answer means that the outcome is unknown.
    pub(crate) fn execute(
        &self,
        command: Command,
        received: Instant,
        trace: Option<TraceContext>,
    ) -> Result<oneshot::Receiver<Result<Answer, ApiError>>, ApiError> {
        match &**self.published.readiness.load() {
            Readiness::Open => {}
            Readiness::Closed { why } => return Err(self.published.closed(why)),
            Readiness::ReadOnly { why } => return Err(ApiError::not_ready(why)),
        }
        // New orders need memory; everything else about orders gives some back, or needs next to none.
        if self.pressure.is_shedding() && matches!(command, Command::Submit(_)) {
            self.metrics.overloaded.increment(1);
            return Err(ApiError::overloaded("the memory of this engine", RETRY_MEMORY));
        }
        let permit = self.permit()?;
        let (reply, answer) = oneshot::channel();
        match self.commands.try_send(Execute { command, received, reply, permit, trace }) {
            Ok(()) => Ok(answer),
            Err(mpsc::error::TrySendError::Full(_)) => Err(self.overloaded()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(ApiError::shutting_down()),
        }
    }

    /// Hands a question to the shard; the state must be as far as `min_seq`. The receiver gives the answer; one that is
    /// closed without an answer means what [`Admission::unanswered`] says.
    pub(crate) fn ask<T>(
        &self,
        freshness: Freshness,
        min_seq: Seq,
        question: impl FnOnce(Reply<T>) -> Query,
    ) -> Result<oneshot::Receiver<Told<T>>, ApiError> {
        if let Freshness::Confirmed = freshness {
            match &**self.published.readiness.load() {
                Readiness::Open => {}
                Readiness::Closed { why } => return Err(self.published.closed(why)),
                Readiness::ReadOnly { why } => return Err(ApiError::not_ready(why)),
            }
        }
        let (reply, answer) = oneshot::channel();
        let question = Question { query: question(reply), freshness, min_seq, received: Instant::now() };
        match self.queries.try_send(question) {
            Ok(()) => Ok(answer),
            Err(mpsc::error::TrySendError::Full(_)) => Err(self.overloaded()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(ApiError::shutting_down()),
        }
    }

    /// Who leads the shard, if that is another engine and known.
    pub(crate) fn leader_elsewhere(&self) -> Option<Arc<LeaderHint>> {
        let closed = matches!(**self.published.readiness.load(), Readiness::Closed { .. });
        if closed { self.published.leader.load_full() } else { None }
    }

    /// Why a question that was let in has no answer.
    pub(crate) fn unanswered(&self, freshness: Freshness) -> ApiError {
        match freshness {
            Freshness::Confirmed => {
                self.published.closed("this engine could not confirm that it leads, or has not applied as much")
            }
            Freshness::Applied => ApiError::not_ready("this engine has not applied as much yet"),
        }
    }

    /// Whether commands are taken now.
    pub(crate) fn is_open(&self) -> bool {
        matches!(**self.published.readiness.load(), Readiness::Open)
    }

    fn permit(&self) -> Result<Permit, ApiError> {
        // Relaxed: a counter that guards no other memory.
        if self.unanswered.fetch_add(1, Ordering::Relaxed) >= self.unanswered_max {
            self.unanswered.fetch_sub(1, Ordering::Relaxed);
            return Err(self.overloaded());
        }
        Ok(Permit(Arc::clone(&self.unanswered)))
    }

    fn overloaded(&self) -> ApiError {
        self.metrics.overloaded.increment(1);
        ApiError::overloaded("the queue of the shard", RETRY_OVERLOADED)
    }
}
