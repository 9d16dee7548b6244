//! One shard: what may be asked of it. The loop behind it owns the sequencer, the proposer and the exchange, so that
//! one place decides the order of everything and no lock stands on the way of an order.
//!
//! Deliberately absent: gRPC (its messages are built by the handlers) and the choice of who leads.

mod applier;
mod footprint;
mod lead;
mod payloads;
mod questions;
mod queue;
mod reads;
mod run;
mod sequence;
mod standby;

use crate::admission::{Permit, Published};
use crate::config::Config;
use crate::egress::{BookChange, Feeds, TradeTick};
use crate::health::ShardHealth;
use crate::journal_client::JournalClient;
use crate::leadership::{Order, Report, ShardStatus};
use crate::metrics::Metrics;
use crate::trace::Stages;
use applier::{Applier, ApplyError};
pub(crate) use footprint::Footprint;
use journal_core::proposer::{Effect, HaltReason, Proposer};
use lead::Phase;
use matching::{Level, OrderView, RestoreError};
use payloads::Payloads;
use questions::Questions;
use queue::{Batch, Queue};
use service_kit::trace::TraceContext;
use standby::Standby;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{broadcast, mpsc, oneshot};
use types::{
    AccountId, Command, Epoch, Fill, Instrument, InstrumentState, LogId, OrderTarget, Outcome, Place, Price, Seq,
    ShardId, StateHash, Symbol, Timestamp,
};
use wire::status::ApiError;
use wire::transport::Channel;

/// A command that was let in.
#[derive(Debug)]
pub(crate) struct Execute {
    pub(crate) command: Command,
    /// When it arrived at its handler.
    pub(crate) received: Instant,
    /// Where the answer goes. Dropped without one only when the loop dies.
    pub(crate) reply: oneshot::Sender<Result<Answer, ApiError>>,
    /// Its place among the unanswered commands.
    pub(crate) permit: Permit,
    /// Its part in the journal as a trace shows it, if it is recorded.
    pub(crate) trace: Option<TraceContext>,
}

/// The answer to a command: committed and applied.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) place: Place,
    pub(crate) timestamp: Timestamp,
    pub(crate) outcome: Outcome,
    pub(crate) fills: Vec<Fill>,
    pub(crate) stages: Stages,
}

/// How current an answer must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Freshness {
    /// It lacks nothing that was acknowledged before the question came.
    Confirmed,
    /// It is what this engine has applied.
    Applied,
}

/// A question on its way to the shard.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) query: Query,
    pub(crate) freshness: Freshness,
    /// The state must be this far.
    pub(crate) min_seq: Seq,
    /// When it came.
    pub(crate) received: Instant,
}

/// An answer, and whether it may lack something that was acknowledged before the question came.
#[derive(Clone, Debug)]
pub(crate) struct Told<T> {
    pub(crate) view: T,
    pub(crate) stale: bool,
}

/// Where the answer to a question goes. Dropped without one when there can be none.
pub(crate) type Reply<T> = oneshot::Sender<Told<T>>;

/// A question about the applied state.
#[derive(Debug)]
pub(crate) enum Query {
    /// One order, open or remembered.
    Order { account: AccountId, key: OrderTarget, reply: Reply<OrderFound> },
    /// The best levels of a book; `None` if there is no such instrument.
    Book { symbol: Symbol, depth: usize, reply: Reply<Option<BookView>> },
    /// A book as it is, and every change from there on; `None` if there is no such instrument.
    FollowBook { symbol: Symbol, reply: Reply<Option<BookFeed>> },
    /// All trades from now on; nothing if there is no instrument of the name in `of`.
    FollowTrades { of: Option<Symbol>, reply: Reply<Option<broadcast::Receiver<Arc<TradeTick>>>> },
    /// All instruments.
    Instruments { reply: Reply<InstrumentsView> },
    /// Digest of the whole state.
    Digest { reply: Reply<DigestView> },
}

/// An order, if the engine remembers it and it is of that account.
#[derive(Clone, Debug)]
pub(crate) struct OrderFound {
    pub(crate) order: Option<(OrderView, Symbol)>,
    pub(crate) as_of: Seq,
}

/// A book as it is.
#[derive(Clone, Debug)]
pub(crate) struct BookView {
    pub(crate) symbol: Symbol,
    /// Best first.
    pub(crate) bids: Vec<Level>,
    /// Best first.
    pub(crate) asks: Vec<Level>,
    pub(crate) as_of: Seq,
    /// Number of the last change.
    pub(crate) book_seq: u64,
}

/// A book and what follows.
#[derive(Debug)]
pub(crate) struct BookFeed {
    pub(crate) snapshot: BookView,
    pub(crate) changes: broadcast::Receiver<Arc<BookChange>>,
}

/// An instrument as it is.
#[derive(Clone, Debug)]
pub(crate) struct InstrumentView {
    pub(crate) definition: Instrument,
    pub(crate) state: InstrumentState,
    pub(crate) last_price: Option<Price>,
}

/// All instruments.
#[derive(Clone, Debug)]
pub(crate) struct InstrumentsView {
    /// By number.
    pub(crate) instruments: Vec<InstrumentView>,
    pub(crate) as_of: Seq,
}

/// Digest of the state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DigestView {
    pub(crate) log_id: LogId,
    pub(crate) as_of: Seq,
    pub(crate) state_hash: StateHash,
    pub(crate) instruments: u32,
    pub(crate) open_orders: u64,
}

/// What a shard is made of.
pub(crate) struct ShardParts {
    pub(crate) shard: ShardId,
    pub(crate) config: Config,
    /// Voters, and the ways to each.
    pub(crate) channels: Vec<Vec<Channel>>,
    pub(crate) commands: mpsc::Receiver<Execute>,
    pub(crate) queries: mpsc::Receiver<Question>,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) reports: mpsc::Sender<Report>,
    pub(crate) published: Arc<Published>,
    pub(crate) status: Arc<ShardStatus>,
    pub(crate) footprint: Arc<Footprint>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) health: ShardHealth,
}

/// The shard. It does nothing before [`Shard::run`].
pub(crate) struct Shard {
    shard: ShardId,
    config: Config,
    phase: Phase,
    /// The epoch of the last order to lead.
    granted: Epoch,
    proposer: Proposer,
    journal: JournalClient,
    applier: Applier,
    commands: mpsc::Receiver<Execute>,
    queries: mpsc::Receiver<Question>,
    questions: Questions,
    orders: mpsc::Receiver<Order>,
    reports: mpsc::Sender<Report>,
    published: Arc<Published>,
    status: Arc<ShardStatus>,
    metrics: Arc<Metrics>,
    health: ShardHealth,
    /// Commands just received; empty between two steps.
    arrived: Vec<Execute>,
    /// Commands in no batch yet. Bounded by the permits they hold.
    queue: Queue,
    /// Batches on their way. At most `appends_in_flight_max`.
    in_flight: VecDeque<Batch>,
    /// Where batches are encoded.
    payloads: Payloads,
    /// Effects being carried out; empty between two steps.
    effects: Vec<Effect>,
    /// When the last order to lead came.
    ordered: Instant,
    /// How far this engine is with following the log, while it does not lead.
    standby: Standby,
    /// Where the state's digest was written last.
    last_state_hash: Seq,
    /// Set when the shard has to stop.
    failed: Option<ShardError>,
}

/// Why a shard stopped for good.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShardError {
    /// A committed entry could not be applied.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// A committed entry is not at hand: a defect.
    #[error("committed entry {seq} is not held by the leader")]
    Missing { seq: Seq },
    /// The protocol found evidence of a fault beyond what it tolerates.
    #[error("the journal is in doubt: {0}")]
    Journal(HaltReason),
    /// A snapshot cannot be used though its checksum is right.
    #[error("snapshot at entry {seq} cannot be restored: {source}; run the version of the program that wrote it")]
    Snapshot {
        seq: Seq,
        #[source]
        source: RestoreError,
    },
    /// A snapshot of another shard.
    #[error("the journal's snapshot is of shard {shard}; check which journal this engine is connected to")]
    ForeignSnapshot { shard: ShardId },
}

impl Shard {
    pub(crate) fn new(parts: ShardParts) -> Self {
        let ShardParts { shard, config, channels, commands, queries, orders, reports, .. } = parts;
        let ShardParts { published, status, footprint, metrics, health, .. } = parts;
        let journal = JournalClient::new(shard, channels, &status);
        let feeds = Feeds::new(config.book_feed_capacity as usize, config.trade_feed_capacity as usize);
        Self {
            shard,
            phase: Phase::Standby,
            granted: Epoch::default(),
            proposer: Proposer::new(shard, &journal.voters()),
            journal,
            applier: Applier::new(shard, feeds, Arc::clone(&published), footprint, Arc::clone(&metrics)),
            commands,
            queries,
            questions: Questions::default(),
            orders,
            reports,
            published,
            status,
            metrics,
            health,
            arrived: Vec::new(),
            queue: Queue::default(),
            in_flight: VecDeque::new(),
            payloads: Payloads::default(),
            effects: Vec::new(),
            ordered: Instant::now(),
            standby: Standby::default(),
            last_state_hash: Seq::default(),
            failed: None,
            config,
        }
    }
}
