//! A history as it should be: the log of a generated market, and clients that were told what the fast exchange said.

use bytes::Bytes;
use journal_core::codec::{batch, state_hash};
use journal_core::{ChainHash, Entry, EntryKind};
use matching::Exchange;
use matching::reference::ReferenceExchange;
use matching::workload::{Profile, Workload};
use types::{
    Command, Epoch, Event, Fill, Incarnation, InstrumentId, LogId, Original, Outcome, Place, Rules, Seq, ShardId, Side,
    Timestamp, Trade,
};

use crate::checker::{Copy, Evidence, OrderRow, Rows, TradeRow};
use crate::history::{self, Answer, Call, Operation};

/// Batches of one history, requests in each.
const BATCHES: u64 = 120;
const PER_BATCH: u64 = 4;

/// Between the times at which two batches are sent: all requests of one batch are under way together.
pub(super) const STEP: u64 = 1_000;

/// Batches between two rounds of reads, between two digests.
pub(super) const READ_EVERY: u64 = 5;
const HASH_EVERY: u64 = 10;

/// Clients that read old states; others read fresh ones.
pub(super) const STALE_CLIENT: u64 = 900;

/// A log under construction, and the exchange that follows it.
pub(super) struct Log {
    pub(super) entries: Vec<Entry>,
    exchange: Exchange,
    epoch: Epoch,
    time: u64,
    operations: Vec<Operation>,
    orders: Vec<OrderRow>,
    trades: Vec<TradeRow>,
}

/// What the history of `seed` is.
pub(super) fn sound(seed: u64) -> Evidence {
    let profile = Profile {
        accounts: 5,
        instruments: 2,
        open_orders: 40,
        rules: Rules::default(),
        faults: false,
        ..Profile::small()
    };
    let mut workload = Workload::new(seed, profile);
    let mut log = Log::new();
    log.start(1);
    for number in 1..=BATCHES {
        if number == BATCHES / 2 {
            log.start(2);
        }
        let mut commands = Vec::new();
        // The generator aims at what is open, so it is told of each command before the next.
        let mut ahead = ReferenceExchange::restore(&log.exchange.snapshot());
        for index in 0..PER_BATCH {
            let command = workload.next_step().command;
            let mut events = Vec::new();
            let place = log.next_place(u32::try_from(index).expect("few"));
            ahead.apply(place, Timestamp(log.time + 1), &command, &mut events, &mut Vec::new());
            workload.observe(&events);
            commands.push(command);
        }
        log.batch(&commands, number);
        if number.is_multiple_of(READ_EVERY) {
            log.reads(number);
        }
        if number.is_multiple_of(HASH_EVERY) {
            let hash = log.exchange.state_hash();
            log.push(EntryKind::StateHash, state_hash::encode(hash));
        }
    }
    log.evidence()
}

impl Log {
    fn new() -> Self {
        Self {
            entries: Vec::new(),
            exchange: Exchange::new(ShardId(0)),
            epoch: Epoch::default(),
            time: 1_000_000,
            operations: Vec::new(),
            orders: Vec::new(),
            trades: Vec::new(),
        }
    }

    fn start(&mut self, number: u64) {
        self.epoch = Epoch { number, owner: Incarnation(u128::from(number) + 70) };
        self.push(EntryKind::EpochStart, Vec::new());
    }

    fn next_place(&self, index: u32) -> Place {
        let seq = Seq(self.entries.len() as u64 + 1);
        Place { log_id: LogId(42), epoch: self.epoch.number, seq, index }
    }

    fn push(&mut self, kind: EntryKind, payload: Vec<u8>) {
        self.time += 100;
        let prev = self.entries.last().map_or(ChainHash::ZERO, |entry| entry.chain);
        let seq = self.next_place(0).seq;
        let entry = Entry::seal(LogId(42), self.epoch, seq, kind, Timestamp(self.time), prev, Bytes::from(payload));
        self.entries.push(entry);
    }

    fn batch(&mut self, commands: &[Command], number: u64) {
        let mut payload = Vec::new();
        batch::encode(commands, &mut payload);
        let first = self.next_place(0);
        self.push(EntryKind::Batch, payload);
        for (index, command) in (0..).zip(commands) {
            let place = Place { index, ..first };
            let (mut events, mut fills) = (Vec::new(), Vec::new());
            let time = Timestamp(self.time);
            let outcome = self.exchange.apply(place, time, command, &mut events, &mut fills);
            self.rows(place, &events);
            self.operation(command, Original { place, timestamp: time }, &outcome, &fills, number);
        }
    }

    fn rows(&mut self, place: Place, events: &[Event]) {
        for event in events {
            match event {
                Event::Accepted { order_id, order } => self.orders.push(OrderRow {
                    order_id: order_id.0,
                    account: order.account.0,
                    id: order.client_order_id.to_string(),
                    seq: place.seq.0,
                    index: place.index,
                    cumulative: 0,
                }),
                Event::Trade(trade) => self.trade(trade),
                _ => {}
            }
        }
    }

    fn trade(&mut self, trade: &Trade) {
        for (id, cumulative) in [(trade.maker, trade.maker_cumulative), (trade.taker, trade.taker_cumulative)] {
            for row in self.orders.iter_mut().filter(|row| row.order_id == id.0) {
                row.cumulative = cumulative.0;
            }
        }
        self.trades.push(TradeRow {
            trade_id: trade.trade_id.0,
            price: trade.price.0,
            quantity: trade.quantity.0,
            maker: trade.maker.0,
            taker: trade.taker.0,
        });
    }

    fn operation(&mut self, command: &Command, there: Original, outcome: &Outcome, fills: &[Fill], number: u64) {
        let Some((account, id)) = command.request() else { return };
        let client = self.operations.len() as u64 % 50;
        let index = u64::from(there.place.index);
        let Original { place, timestamp } = outcome.original.unwrap_or(there);
        let answer = Answer {
            log_id: place.log_id.to_string(),
            epoch: place.epoch,
            seq: place.seq.0,
            index: place.index,
            status: format!("{:?}", outcome.status),
            reason: outcome.reason.map(|reason| format!("{reason:?}")).unwrap_or_default(),
            order_id: outcome.order_id.0,
            cumulative: outcome.cumulative.0,
            leaves: outcome.leaves.0,
            canceled_orders: outcome.canceled_orders,
            fills: fills.iter().map(|fill| (fill.trade_id.0, fill.price.0, fill.quantity.0, fill.maker.0)).collect(),
            time_us: timestamp.0,
        };
        // Some were executed, but nobody said so in time; some never came to the log.
        let first = outcome.original.is_none();
        let outcome = match number % 40 {
            7 if first && index == 1 => history::Outcome::Unknown { gave_up_us: timestamp.0 },
            _ => history::Outcome::Acknowledged(answer),
        };
        let payload = matching::payload_hash(command);
        let call = Call::Request { account: account.0, id: id.to_string(), payload, outcome };
        let invoked = number * STEP + index;
        self.operations.push(Operation { client, shard: 0, invoked, returned: invoked + 100, attempts: 1, call });
        if number % 40 == 9 && index == 0 {
            for (name, outcome) in [
                ("lost", history::Outcome::Unknown { gave_up_us: timestamp.0 }),
                ("full", history::Outcome::Refused { error: "the queue is full".to_owned() }),
            ] {
                let call = Call::Request { account: 1, id: format!("{name}-{number}"), payload: 1, outcome };
                let returned = invoked + 200;
                self.operations.push(Operation { client, shard: 0, invoked, returned, attempts: 3, call });
            }
        }
    }

    fn reads(&mut self, number: u64) {
        let invoked = number * STEP + 400;
        let as_of_seq = self.entries.len() as u64;
        let levels = |side| -> Vec<(i64, u64, u32)> {
            let all = self.exchange.depth(InstrumentId(0), side, 5);
            all.map(|level| (level.price.0, level.quantity.0, level.orders)).collect()
        };
        let (bids, asks) = (levels(Side::Buy), levels(Side::Sell));
        let hash = self.exchange.state_hash().to_string();
        for stale in [false, true] {
            let client = if stale { STALE_CLIENT } else { STALE_CLIENT + 1 };
            // An old state may be read late.
            let invoked = if stale { invoked + 2 * STEP } else { invoked };
            let book = Call::Book {
                symbol: "TEST-0".to_owned(),
                depth: 5,
                stale,
                min_seq: as_of_seq,
                as_of_seq,
                bids: bids.clone(),
                asks: asks.clone(),
            };
            let digest = Call::Digest { engine: "e".to_owned(), stale, as_of_seq, hash: hash.clone() };
            for (after, call) in [(0, book), (20, digest)] {
                let invoked = invoked + after;
                self.operations.push(Operation {
                    client,
                    shard: 0,
                    invoked,
                    returned: invoked + 10,
                    attempts: 1,
                    call,
                });
            }
        }
    }

    fn evidence(self) -> Evidence {
        let copy = |gateway: &str| Copy { gateway: gateway.to_owned(), entries: self.entries.clone() };
        Evidence {
            shard: ShardId(0),
            copies: vec![copy("g1"), copy("g2")],
            rows: Some(Rows { projected_seq: self.entries.len() as u64, orders: self.orders, trades: self.trades }),
            operations: self.operations,
            in_doubt_window_us: 1_000,
        }
    }
}

/// The same log with other content: every hash is made anew.
pub(super) fn reseal(entries: &mut [Entry]) {
    let mut prev = ChainHash::ZERO;
    for entry in entries {
        let Entry { log_id, epoch, seq, kind, timestamp, .. } = *entry;
        *entry = Entry::seal(log_id, epoch, seq, kind, timestamp, prev, entry.payload.clone());
        prev = entry.chain;
    }
}

/// Puts an entry behind the last one.
pub(super) fn append(entries: &mut Vec<Entry>, epoch: Epoch, kind: EntryKind, commands: &[Command], later_us: u64) {
    let last = entries.last().expect("a log");
    let mut payload = Vec::new();
    if kind == EntryKind::Batch {
        batch::encode(commands, &mut payload);
    }
    let time = Timestamp(last.timestamp.0 + later_us);
    let entry = Entry::seal(last.log_id, epoch, last.seq.next(), kind, time, last.chain, payload.into());
    entries.push(entry);
}
