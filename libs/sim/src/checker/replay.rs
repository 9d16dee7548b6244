//! The log, applied once more by the slow exchange: what every request should have been answered, what every digest
//! and book should have been, which orders and trades there are. Rules 5 and 6.

use std::collections::{BTreeMap, HashMap};

use journal_core::codec::batch::BatchView;
use journal_core::codec::state_hash;
use journal_core::{Entry, EntryKind};
use matching::reference::ReferenceExchange;
use types::{ClientOrderId, Command, Event, Fill, InstrumentId, Outcome, Place, ShardId, Symbol, Timestamp, Trade};

use super::reads::Reads;
use super::{Rule, Verdict};

/// A request at its place in the log.
#[derive(Clone, Debug)]
pub(super) struct Executed {
    pub(super) account: u64,
    pub(super) id: ClientOrderId,
    pub(super) payload: u64,
    pub(super) timestamp: Timestamp,
    pub(super) epoch: u64,
    pub(super) outcome: Outcome,
    pub(super) fills: Vec<Fill>,
}

/// What the replay found.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    /// Last position.
    pub(super) end: u64,
    pub(super) log_id: String,
    /// Requests by place, first executions and repetitions.
    pub(super) requests: BTreeMap<(u64, u32), Executed>,
    /// Places of a request, in order.
    pub(super) places: HashMap<(u64, ClientOrderId), Vec<(u64, u32)>>,
    /// All trades, in order.
    pub(super) trades: Vec<Trade>,
    /// Every order that got a number, by it: where, and how much of it is filled at the end.
    pub(super) orders: BTreeMap<u64, Order>,
    /// Numbers of instruments.
    pub(super) symbols: HashMap<Symbol, InstrumentId>,
}

/// An order at the end of the log.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) account: u64,
    pub(super) id: ClientOrderId,
    pub(super) place: (u64, u32),
    pub(super) cumulative: u64,
}

/// Applies the whole log. `reads` are compared as their positions are reached.
pub(super) fn replay(shard: ShardId, entries: &[Entry], reads: &mut Reads<'_>, verdict: &mut Verdict) -> Replayed {
    let mut exchange = ReferenceExchange::new(shard);
    let mut replayed = Replayed { log_id: super::log_id(entries).to_string(), ..Replayed::default() };
    reads.reached(0, &exchange, &replayed, verdict);
    for entry in entries {
        match entry.kind {
            EntryKind::Batch => replayed.batch(&mut exchange, entry, verdict),
            EntryKind::StateHash => compare(&exchange, entry, verdict),
            _ => {}
        }
        replayed.end = entry.seq.0;
        verdict.entries += 1;
        reads.reached(entry.seq.0, &exchange, &replayed, verdict);
    }
    replayed
}

/// Rule 6, for what the leaders wrote into the log.
fn compare(exchange: &ReferenceExchange, entry: &Entry, verdict: &mut Verdict) {
    verdict.state_hashes += 1;
    let subject = format!("the digest at seq {}", entry.seq);
    let expected = exchange.state_hash();
    match state_hash::decode(&entry.payload) {
        Ok(found) if found == expected => {}
        Ok(found) => verdict.violation(Rule::StateHash, subject, expected.to_string(), found.to_string()),
        Err(error) => verdict.violation(Rule::StateHash, subject, expected.to_string(), error.to_string()),
    }
}

impl Replayed {
    fn batch(&mut self, exchange: &mut ReferenceExchange, entry: &Entry, verdict: &mut Verdict) {
        let batch = match BatchView::parse(&entry.payload) {
            Ok(batch) => batch,
            Err(error) => {
                verdict.violation(Rule::Copies, format!("seq {}", entry.seq), "a batch", error.to_string());
                return;
            }
        };
        for (index, command) in (0..).zip(batch.iter()) {
            verdict.commands += 1;
            let place = Place { log_id: entry.log_id, epoch: entry.epoch.number, seq: entry.seq, index };
            let (mut events, mut fills) = (Vec::new(), Vec::new());
            let outcome = exchange.apply(place, entry.timestamp, &command, &mut events, &mut fills);
            self.observe((entry.seq.0, index), &events);
            self.note(place, entry.timestamp, &command, outcome, fills);
        }
    }

    fn note(&mut self, place: Place, timestamp: Timestamp, command: &Command, outcome: Outcome, fills: Vec<Fill>) {
        let Some((account, id)) = command.request() else { return };
        let at = (place.seq.0, place.index);
        let payload = matching::payload_hash(command);
        let executed = Executed { account: account.0, id, payload, timestamp, epoch: place.epoch, outcome, fills };
        self.requests.insert(at, executed);
        self.places.entry((account.0, id)).or_default().push(at);
    }

    fn observe(&mut self, place: (u64, u32), events: &[Event]) {
        for event in events {
            match event {
                Event::Accepted { order_id, order } => {
                    let (account, id) = (order.account.0, order.client_order_id);
                    self.orders.insert(order_id.0, Order { account, id, place, cumulative: 0 });
                }
                Event::Trade(trade) => {
                    for (order, cumulative) in
                        [(trade.maker, trade.maker_cumulative), (trade.taker, trade.taker_cumulative)]
                    {
                        if let Some(order) = self.orders.get_mut(&order.0) {
                            order.cumulative = cumulative.0;
                        }
                    }
                    self.trades.push(*trade);
                }
                Event::InstrumentDefined { instrument, definition } => {
                    self.symbols.insert(definition.symbol, *instrument);
                }
                _ => {}
            }
        }
    }
}
