//! Planner and verifier over the exchange itself, without the wire: requests go through the same conversions, answers
//! and book come from the exchange. Small markets written by hand; the real files when `HIVE_LOBSTER_DIR` names where
//! they are.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use matching::Exchange;
use types::{Command, InstrumentId, InstrumentStateChange, Place, Price, Qty, Seq, ShardId, Side, Symbol, Timestamp};
use wire::convert::{InstrumentLookup, report, session_command};
use wire::pb::marketdata::v1::BookLevel;
use wire::pb::orders::v1::{OrderReport, OrderSessionRequest};

use super::instrument::definition;
use super::item::{Item, Planned};
use super::messages::{Message, parse};
use super::plan::Planner;
use super::requests::Writer;
use super::side::{PerSide, SIDES};
use super::tally::Tally;
use super::verify::{Findings, Verifier};

mod answers;
mod markets;
mod node;
mod real;

const ONLY: InstrumentId = InstrumentId(0);

/// An exchange with one instrument, driven by hand.
struct Desk {
    exchange: Exchange,
    writer: Writer,
    seq: u64,
}

struct Lookup<'a>(&'a Exchange);

impl InstrumentLookup for Lookup<'_> {
    fn instrument_id(&self, symbol: &Symbol) -> Option<InstrumentId> {
        self.0.instrument_id(symbol)
    }
}

impl Desk {
    fn new(messages: &[Message]) -> Self {
        let writer = Writer { symbol: "TEST".into(), run: "t".into() };
        let mut desk = Self { exchange: Exchange::new(ShardId(0)), writer, seq: 0 };
        let definition = wire::convert::instrument("instrument", &definition("TEST", messages)).unwrap();
        desk.apply(&Command::DefineInstrument(definition));
        desk
    }

    fn apply(&mut self, command: &Command) -> OrderReport {
        self.seq += 1;
        let place = Place { epoch: 1, seq: Seq(self.seq), ..Place::default() };
        let (mut events, mut fills) = (Vec::new(), Vec::new());
        let outcome = self.exchange.apply(place, Timestamp(self.seq), command, &mut events, &mut fills);
        report(ShardId(0), place, Timestamp(self.seq), None, &outcome, &fills)
    }

    /// The answer, and the levels that a change of the book would tell.
    fn send(&mut self, planned: &Planned) -> (OrderReport, PerSide<Vec<BookLevel>>) {
        let request =
            OrderSessionRequest { client_seq: 0, command: Some(self.writer.write(planned)), ..Default::default() };
        let command = session_command(&request, &Lookup(&self.exchange)).unwrap();
        let answer = self.apply(&command);
        let mut touched: BTreeSet<i64> = answer.fills.iter().map(|fill| fill.price).collect();
        touched.extend(match command {
            Command::Submit(submit) => Some(submit.price.0),
            Command::Replace(replace) => Some(replace.price.0),
            _ => self.exchange.order(types::OrderId(answer.order_id)).map(|order| order.price.0),
        });
        let mut changes = PerSide::default();
        for side in SIDES {
            *changes.get_mut(side) = touched.iter().map(|price| self.level(side, Price(*price))).collect();
        }
        (answer, changes)
    }

    fn level(&self, side: Side, price: Price) -> BookLevel {
        let level = self.exchange.level(ONLY, side, price);
        BookLevel { price: price.0, quantity: level.quantity.0, orders: 0 }
    }
}

/// Plays files through the exchange; checks that the book told level by level, the planned one and the exchange's own
/// are the same at the end.
fn play(messages: &str, depth: Option<&str>) -> (Tally, Findings) {
    let messages = parse(messages).unwrap();
    let mut planner = Planner::new(&messages, depth).unwrap();
    let mut desk = Desk::new(&messages);
    let mut verifier = Verifier::default();
    while let Some(item) = planner.next().unwrap() {
        match item {
            Item::Command(planned) => {
                let (answer, changes) = desk.send(&planned);
                verifier.answer(&planned, &answer);
                verifier.change_book(changes.get(Side::Buy), changes.get(Side::Sell));
            }
            Item::Compare(comparison) => verifier.compare(&comparison),
            Item::State(state) => {
                desk.apply(&Command::SetInstrumentState(InstrumentStateChange { instrument: ONLY, state }));
            }
        }
    }
    assert_eq!(verifier.findings.wrong_answers, [], "the exchange does what is planned");
    for side in SIDES {
        let own: Vec<(Price, Qty)> =
            desk.exchange.depth(ONLY, side, usize::MAX).map(|level| (level.price, level.quantity)).collect();
        assert_eq!(verifier.levels(side).collect::<Vec<_>>(), own, "the book as told");
        assert_eq!(planner.mirror().levels(side).collect::<Vec<_>>(), own, "the book as planned");
    }
    let tally = planner.into_tally();
    assert_eq!(tally.messages.sum(), messages.len() as u64, "every message in exactly one category");
    (tally, verifier.findings)
}
