//! The only place where the state changes: committed entries are applied, one command after the other, and whoever
//! waits for one gets its answer.
//!
//! Deliberately absent: anything uncommitted. What is applied here is final, so that nothing is ever taken back.

use super::footprint::Footprint;
use super::queue::Waiter;
use crate::admission::{Published, Symbols};
use crate::egress::Feeds;
use crate::metrics::Metrics;
use crate::shard::Answer;
use crate::trace::Stages;
use journal_core::codec::{self, CodecError, batch::BatchView};
use journal_core::{Entry, EntryKind, Tail};
use matching::Exchange;
use std::sync::Arc;
use std::time::Instant;
use types::{Command, Event, Fill, LogId, Place, ShardId, StateHash, Timestamp};

/// Why a committed entry cannot be applied. The engine stops: going on would be guessing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    /// The state differs from what the log says it was.
    #[error(
        "state differs from the log at entry {seq}: it has digest {found}, the log says {logged}; \
         start again from a snapshot, and keep this log and the snapshots for analysis if that does not help"
    )]
    Diverged { seq: u64, found: StateHash, logged: StateHash },
    /// The entry does not hold what its kind says, though its hash is right.
    #[error("committed entry {seq} cannot be read: {source}; run the version of the program that wrote it")]
    Unreadable {
        seq: u64,
        #[source]
        source: CodecError,
    },
    /// A kind whose meaning this version does not know.
    #[error("committed entry {seq} is of kind {kind:?}, which this version does not apply; run a newer one")]
    Unsupported { seq: u64, kind: EntryKind },
    /// An entry out of order: a defect.
    #[error("entry {found} was committed after entry {applied}")]
    Gap { applied: u64, found: u64 },
}

/// The exchange, where it stands in the log, and who is told about it.
pub(super) struct Applier {
    pub(super) exchange: Exchange,
    pub(super) feeds: Feeds,
    applied: Tail,
    log_id: LogId,
    /// Log time of the last entry.
    timestamp: Timestamp,
    published: Arc<Published>,
    footprint: Arc<Footprint>,
    metrics: Arc<Metrics>,
    /// Cleared and filled for each command; kept for their memory.
    events: Vec<Event>,
    fills: Vec<Fill>,
}

impl Applier {
    pub(super) fn new(
        shard: ShardId,
        feeds: Feeds,
        published: Arc<Published>,
        footprint: Arc<Footprint>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            exchange: Exchange::new(shard).scattered(rand::random()),
            feeds,
            applied: Tail::default(),
            log_id: LogId::default(),
            timestamp: Timestamp::default(),
            published,
            footprint,
            metrics,
            events: Vec::new(),
            fills: Vec::new(),
        }
    }

    /// Goes on from another state.
    pub(super) fn replace(&mut self, exchange: Exchange, applied: Tail) {
        self.timestamp = exchange.now();
        self.exchange = exchange.scattered(rand::random());
        self.applied = applied;
        self.log_id = LogId::default();
        self.footprint.replaced(&self.exchange);
        self.publish_symbols();
    }

    /// Last applied entry.
    pub(super) const fn applied(&self) -> &Tail {
        &self.applied
    }

    /// History of the last applied entry; `LogId(0)` before the first one.
    pub(super) const fn log_id(&self) -> LogId {
        self.log_id
    }

    /// Log time of the last applied entry.
    pub(super) const fn timestamp(&self) -> Timestamp {
        self.timestamp
    }

    /// Applies an entry that was read from the journal.
    pub(super) fn replay(&mut self, entry: &Entry) -> Result<(), ApplyError> {
        let commands: Vec<Command> = match entry.kind {
            EntryKind::Batch => {
                let unreadable = |source| ApplyError::Unreadable { seq: entry.seq.0, source };
                BatchView::parse(&entry.payload).map_err(unreadable)?.iter().collect()
            }
            _ => Vec::new(),
        };
        self.apply(entry, &commands, None)
    }

    /// Applies an entry; `commands` are what its payload encodes. Beside them, if this engine proposed it: when it did, and
    /// who waits for each.
    pub(super) fn apply(
        &mut self,
        entry: &Entry,
        commands: &[Command],
        proposed: Option<(Instant, Vec<Waiter>)>,
    ) -> Result<(), ApplyError> {
        if entry.seq != self.applied.seq.next() {
            return Err(ApplyError::Gap { applied: self.applied.seq.0, found: entry.seq.0 });
        }
        match entry.kind {
            EntryKind::Batch => self.apply_batch(entry, commands, proposed),
            EntryKind::StateHash => self.compare(entry)?,
            EntryKind::EpochStart | EntryKind::SnapshotMark | EntryKind::BackupMark => {}
            EntryKind::LogicVersion => {
                return Err(ApplyError::Unsupported { seq: entry.seq.0, kind: entry.kind });
            }
        }
        self.applied = entry.tail();
        self.log_id = entry.log_id;
        self.timestamp = entry.timestamp;
        self.footprint.measure(&self.exchange);
        Ok(())
    }

    fn apply_batch(&mut self, entry: &Entry, commands: &[Command], proposed: Option<(Instant, Vec<Waiter>)>) {
        let committed = Instant::now();
        let (proposed, waiters) = proposed.unwrap_or((committed, Vec::new()));
        let trace = waiters.iter().find_map(|waiter| waiter.trace).map(|context| context.trace);
        let mut waiters = waiters.into_iter();
        for (index, command) in (0..).zip(commands) {
            let place = Place { log_id: entry.log_id, epoch: entry.epoch.number, seq: entry.seq, index };
            self.events.clear();
            self.fills.clear();
            let outcome = self.exchange.apply(place, entry.timestamp, command, &mut self.events, &mut self.fills);
            if command.request().is_none() {
                self.operated();
            }
            if let Some(waiter) = waiters.next() {
                self.count();
                let (timestamp, fills) = (entry.timestamp, self.fills.clone());
                let stages = Stages { proposed, committed, applied: Instant::now() };
                waiter.answer(Ok(Answer { place, timestamp, outcome, fills, stages }));
            }
            self.feeds.publish(&self.exchange, place, entry.timestamp, &self.events);
        }
        self.metrics.apply_seconds.record(committed.elapsed(), trace);
    }

    fn compare(&self, entry: &Entry) -> Result<(), ApplyError> {
        let seq = entry.seq.0;
        let logged =
            codec::state_hash::decode(&entry.payload).map_err(|source| ApplyError::Unreadable { seq, source })?;
        let found = self.exchange.state_hash();
        if found == logged { Ok(()) } else { Err(ApplyError::Diverged { seq, found, logged }) }
    }

    /// After an operator's command: new symbols must be known before its answer is.
    fn operated(&self) {
        if self.events.iter().any(|event| matches!(event, Event::InstrumentDefined { .. })) {
            self.publish_symbols();
        }
    }

    fn publish_symbols(&self) {
        let symbols: Symbols =
            self.exchange.instruments().map(|(id, definition, _, _)| (definition.symbol, id)).collect();
        self.published.symbols.store(Arc::new(symbols));
    }

    fn count(&self) {
        self.metrics.commands.increment(1);
        for event in &self.events {
            match event {
                Event::Accepted { .. } => self.metrics.orders.increment(1),
                Event::Trade(_) => self.metrics.trades.increment(1),
                _ => {}
            }
        }
    }
}
