//! The exchange of one shard and the one way its state changes. What the commands do is in `entry` (submit),
//! `amend` (cancel, replace, mass cancel) and `operator`; trading is in `trading`.

use crate::book::Books;
use crate::digest::{self, Header, KeptRequest, Sums};
use crate::table::{Made, Table};
use types::{
    Command, Event, Fill, Instrument, InstrumentId, InstrumentState, OrderId, OrderStatus, Original, Outcome, Place,
    Price, Qty, RejectReason, Rules, ShardId, StateHash, Symbol, Timestamp, TradeId,
};

/// Bits of an order or trade id below the shard.
const COUNTER_BITS: u32 = 48;
/// Counters end here.
pub(crate) const COUNTER_END: u64 = 1 << COUNTER_BITS;
/// Shards end here: the number has 16 bits of an order id.
pub(crate) const SHARD_END: u32 = 1 << 16;
/// Most instruments of a shard: enough for every listing of a large exchange; what one costs is paid even when it
/// is never traded.
pub(crate) const MAX_INSTRUMENTS: usize = 1 << 16;
/// Most open orders of a shard: handles have 32 bits, and the idempotency table needs room beside them.
pub(crate) const MAX_OPEN_ORDERS: u32 = 1 << 30;
/// Entries of the idempotency table looked at per command. One is added at most, so several suffice to catch up
/// after the limits were lowered; more would be felt. While most of the oldest entries belong to open orders (and
/// are moved, not dropped), the table may exceed its limit by a third of the number of open orders.
const RETIRED_PER_COMMAND: u32 = 4;

/// An instrument and what changes about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Market {
    pub(crate) definition: Instrument,
    pub(crate) state: InstrumentState,
    pub(crate) last: Option<Price>,
}

/// The exchange of one shard: instruments, books, limits and the idempotency table.
///
/// It is a state machine: what [`apply`](Self::apply) does depends on nothing but the state and its arguments.
#[derive(Debug)]
pub struct Exchange {
    pub(crate) shard: ShardId,
    pub(crate) now: Timestamp,
    pub(crate) rules: Rules,
    pub(crate) next_order: u64,
    pub(crate) next_trade: u64,
    pub(crate) next_priority: u64,
    pub(crate) markets: Vec<Market>,
    /// Ascending by symbol.
    pub(crate) symbols: Vec<(Symbol, InstrumentId)>,
    pub(crate) books: Books,
    pub(crate) table: Table,
    pub(crate) sums: Sums,
}

/// What a command came to.
pub(crate) struct Applied {
    pub(crate) outcome: Outcome,
    pub(crate) made: Made,
}

/// Where the trades and events of a command go.
pub(crate) struct Output<'a> {
    pub(crate) events: &'a mut Vec<Event>,
    pub(crate) fills: &'a mut Vec<Fill>,
}

impl Exchange {
    /// The empty exchange of a shard: default rules, no instruments.
    ///
    /// # Panics
    /// If the shard's number does not fit the 16 bits it has in an order id.
    #[must_use]
    pub fn new(shard: ShardId) -> Self {
        Self::beginning_at(shard, 1)
    }

    /// The same exchange, in which nobody who does not know `key` can choose client order ids that are slow to find. A
    /// process draws a key for itself: it changes no state, no outcome and no hash, and is in no snapshot. Takes time by
    /// the number of kept outcomes.
    #[must_use]
    pub fn scattered(mut self, key: u128) -> Self {
        self.table.scatter(key);
        self
    }

    /// The empty exchange of a shard whose orders are numbered from `next_order`.
    pub(crate) fn beginning_at(shard: ShardId, next_order: u64) -> Self {
        assert!(shard.0 < SHARD_END, "shard numbers are below {SHARD_END}");
        Self {
            shard,
            now: Timestamp(0),
            rules: Rules::default(),
            next_order,
            next_trade: 1,
            next_priority: 1,
            markets: Vec::new(),
            symbols: Vec::new(),
            books: Books::new(),
            table: Table::new(numbered(shard, next_order)),
            sums: Sums::new(),
        }
    }

    /// Applies one command: the only way the state changes.
    ///
    /// `place` and `timestamp` are those of the command in the log. What happened is appended to `events` (which
    /// the caller clears), the trades of the outcome's own order to `fills`: for a retry the original ones.
    /// Never fails: what cannot be done is refused by the outcome.
    pub fn apply(
        &mut self,
        place: Place,
        timestamp: Timestamp,
        command: &Command,
        events: &mut Vec<Event>,
        fills: &mut Vec<Fill>,
    ) -> Outcome {
        self.now = self.now.max(timestamp);
        self.table.anticipate_retirement();
        self.anticipate(command);
        let first_fill = fills.len();
        let mut output = Output { events, fills };
        let outcome = match command.request() {
            None => self.operate(command, &mut output),
            Some((account, client_order_id)) => {
                let key = digest::request_key(account, &client_order_id);
                let payload_hash = digest::payload_hash(command);
                match self.table.find(key, account, &client_order_id) {
                    Some(entry) => self.repeat(entry, payload_hash, &mut output),
                    None => {
                        let Applied { outcome, made } = self.execute(key, command, &mut output);
                        let timestamp = self.now;
                        let request = KeptRequest { account, client_order_id, payload_hash, timestamp, place, outcome };
                        let kept = &output.fills[first_fill..];
                        let entry = self.table.record(key, &request, kept, made, &mut self.sums);
                        if let Made::Open(order) = made {
                            self.books.set_entry(order, entry);
                        }
                        outcome
                    }
                }
            }
        };
        self.retire();
        outcome
    }

    fn execute(&mut self, key: u64, command: &Command, output: &mut Output<'_>) -> Applied {
        let result = match command {
            Command::Submit(submit) => match self.submit(key, submit, output) {
                Ok(applied) => return applied,
                Err(reason) => Err(Refusal::plain(reason)),
            },
            Command::Cancel(cancel) => self.cancel(cancel, output),
            Command::Replace(replace) => self.replace(replace, output),
            Command::MassCancel(mass_cancel) => self.mass_cancel(mass_cancel, output),
            Command::DefineInstrument(_)
            | Command::SetInstrumentState(_)
            | Command::SetAccountLimit(_)
            | Command::SetRules(_) => Ok(self.operate(command, output)),
        };
        let outcome = result.unwrap_or_else(|refusal| {
            output.events.push(Event::Rejected { reason: refusal.reason });
            refusal.outcome()
        });
        Applied { outcome, made: Made::Nothing }
    }

    /// Answers a request whose id was used before.
    fn repeat(&self, entry: u32, payload_hash: u64, output: &mut Output<'_>) -> Outcome {
        let kept = self.table.get(entry);
        if kept.payload_hash != payload_hash {
            let reason = RejectReason::DuplicateClientOrderId;
            output.events.push(Event::Rejected { reason });
            return Refusal::plain(reason).outcome();
        }
        let KeptRequest { outcome, place, timestamp, .. } = kept.request();
        output.events.push(Event::Duplicate { original: place });
        output.fills.extend(self.table.fills(entry));
        Outcome { original: Some(Original { place, timestamp }), ..outcome }
    }

    /// Drops the oldest outcomes that are too old or too many.
    fn retire(&mut self) {
        for _ in 0..RETIRED_PER_COMMAND {
            let Some(oldest) = self.table.oldest() else { return };
            let expired = self.now.0 - oldest.0 > self.rules.idempotency_window_us;
            if !expired && self.table.droppable() <= self.rules.idempotency_capacity {
                return;
            }
            self.table.retire_oldest(&mut self.sums);
        }
    }

    /// Digest of the complete state, kept up to date as it changes: cheap. See `digest` for what goes into it.
    #[must_use]
    pub fn state_hash(&self) -> StateHash {
        digest::state(&self.header(), &self.sums)
    }

    pub(crate) fn header(&self) -> Header {
        Header {
            shard: self.shard,
            now: self.now,
            rules: self.rules,
            next_order: self.next_order,
            next_trade: self.next_trade,
            next_priority: self.next_priority,
            counts: [
                self.markets.len() as u64,
                self.books.accounts.limits().len() as u64,
                u64::from(self.books.len()),
                u64::from(self.table.len()),
            ],
        }
    }

    pub(crate) fn market(&self, instrument: InstrumentId) -> Result<&Market, RejectReason> {
        self.markets.get(instrument.0 as usize).ok_or(RejectReason::UnknownInstrument)
    }

    /// Sets state and last price of an instrument.
    pub(crate) fn set_market(&mut self, instrument: InstrumentId, state: InstrumentState, last: Option<Price>) {
        let market = &mut self.markets[instrument.0 as usize];
        if (market.state, market.last) == (state, last) {
            return;
        }
        let before = digest::market(instrument, market.state, market.last);
        (market.state, market.last) = (state, last);
        let after = digest::market(instrument, state, last);
        self.sums.instruments = self.sums.instruments.wrapping_sub(before).wrapping_add(after);
    }

    /// The number for the next order.
    pub(crate) const fn order_id(&mut self) -> OrderId {
        let counter = self.next_order;
        self.next_order += 1;
        numbered(self.shard, counter)
    }

    /// The number for the next trade.
    pub(crate) const fn trade_id(&mut self) -> TradeId {
        let counter = self.next_trade;
        self.next_trade += 1;
        TradeId((self.shard.0 as u64) << COUNTER_BITS | counter)
    }

    /// The number for the next order that joins a queue.
    pub(crate) const fn priority(&mut self) -> u64 {
        let priority = self.next_priority;
        self.next_priority += 1;
        priority
    }

    /// Whether there are trade numbers for a command that trades with every open order.
    pub(crate) fn check_trade_numbers(&self) -> Result<(), RejectReason> {
        if self.next_trade + u64::from(self.books.len()) > COUNTER_END {
            return Err(RejectReason::CapacityExhausted);
        }
        Ok(())
    }
}

/// The order id of a shard that has this counter.
const fn numbered(shard: ShardId, counter: u64) -> OrderId {
    OrderId((shard.0 as u64) << COUNTER_BITS | counter)
}

/// A refused request, and the order it was about as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: RejectReason,
    pub(crate) order_id: OrderId,
    pub(crate) cumulative: Qty,
    pub(crate) leaves: Qty,
}

impl Refusal {
    /// About no order that could be named.
    pub(crate) const fn plain(reason: RejectReason) -> Self {
        Self { reason, order_id: OrderId(0), cumulative: Qty::ZERO, leaves: Qty::ZERO }
    }

    const fn outcome(self) -> Outcome {
        Outcome {
            status: OrderStatus::Rejected,
            reason: Some(self.reason),
            order_id: self.order_id,
            cumulative: self.cumulative,
            leaves: self.leaves,
            canceled_orders: 0,
            original: None,
        }
    }
}

impl From<RejectReason> for Refusal {
    fn from(reason: RejectReason) -> Self {
        Self::plain(reason)
    }
}
