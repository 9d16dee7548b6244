//! The market keeps to its instruments' rules and repeats itself; the check notices what is wrong.

mod against;
mod node;

use std::collections::BTreeSet;

use matching::Exchange;
use types::{InstrumentId, OrderStatus, Place, RejectReason, Seq, ShardId, Symbol, Timestamp};
use wire::convert::{self, InstrumentLookup};
use wire::pb::marketdata::v1::{Instrument, InstrumentState, InstrumentStatus};
use wire::pb::orders::v1 as pb;
use wire::pb::orders::v1::order_session_request::Command;

use super::market::{Flow, Market};
use super::quantities::{decimal, grouped};
use super::tally::{Expected, Tally};

fn instrument(symbol: &str, change: impl FnOnce(&mut Instrument)) -> InstrumentStatus {
    let mut definition = Instrument {
        symbol: symbol.to_owned(),
        price_decimals: 2,
        quantity_decimals: 3,
        tick_size: 5,
        lot_size: 7,
        min_quantity: 14,
        max_quantity: 700,
        max_notional: "0".to_owned(),
        low_limit_price: 5,
        high_limit_price: 1_000_000,
        state: InstrumentState::Continuous.into(),
        ..Default::default()
    };
    change(&mut definition);
    InstrumentStatus { instrument: Some(definition), ..Default::default() }
}

fn market(seed: u64) -> Market {
    let instruments = [
        instrument("A", |_| {}),
        instrument("B", |i| (i.low_limit_price, i.high_limit_price) = (-50, 50)),
        instrument("C", |i| i.max_notional = "2000000".to_owned()),
        instrument("HALTED", |i| i.state = InstrumentState::Halted.into()),
    ];
    Market::new(&instruments, seed, "run").expect("three are trading")
}

fn first(mut flow: Flow, count: usize) -> Vec<Command> {
    (0..count).map(|_| flow.next_request()).collect()
}

#[test]
fn the_same_seed_sends_the_same_requests() {
    assert_eq!(first(market(1).flow(0), 5_000), first(market(1).flow(0), 5_000));
    assert_ne!(first(market(1).flow(0), 100), first(market(2).flow(0), 100));
    assert_ne!(first(market(1).flow(0), 100), first(market(1).flow(1), 100));
}

#[test]
fn requests_keep_to_the_rules_of_their_instrument() {
    let mut ids = BTreeSet::new();
    let (mut submits, mut cancels, mut replaces) = (0, 0, 0);
    for command in first(market(3).flow(0), 20_000) {
        let (account, id, symbol, priced) = match command {
            Command::Submit(r) => {
                submits += 1;
                (r.account_id, r.client_order_id, r.symbol, Some((r.price, r.quantity)))
            }
            Command::Replace(r) => {
                replaces += 1;
                (r.account_id, r.client_order_id, r.symbol, Some((r.price, r.quantity)))
            }
            Command::Cancel(r) => {
                cancels += 1;
                (r.account_id, r.client_order_id, r.symbol, None)
            }
            Command::MassCancel(_) => unreachable!("the market sends none"),
        };
        assert!(id.len() <= 36, "{id}");
        assert!(ids.insert((account, id)), "an id is used once");
        let Some((price, quantity)) = priced else { continue };
        let (low, high) = if symbol == "B" { (-50, 50) } else { (5, 1_000_000) };
        assert!((low..=high).contains(&price) && price % 5 == 0, "{symbol} {price}");
        assert!((14..=700).contains(&quantity) && quantity % 7 == 0, "{symbol} {quantity}");
        assert!(symbol != "C" || i128::from(price) * i128::from(quantity) <= 2_000_000, "{price} {quantity}");
        assert_ne!(symbol, "HALTED");
    }
    assert!(submits > cancels && cancels > replaces && replaces > 0, "{submits} {cancels} {replaces}");
}

fn report(order_id: u64, status: pb::OrderStatus, cumulative_quantity: u64) -> pb::OrderReport {
    pb::OrderReport { order_id, status: status.into(), cumulative_quantity, ..Default::default() }
}

fn found(status: pb::OrderStatus, cumulative_quantity: u64) -> pb::Order {
    pb::Order {
        account_id: 5,
        client_order_id: "a".to_owned(),
        status: status.into(),
        cumulative_quantity,
        ..Default::default()
    }
}

#[test]
fn what_was_acknowledged_is_expected() {
    let submit = Command::Submit(pb::SubmitOrderRequest {
        account_id: 5,
        client_order_id: "a".to_owned(),
        ..Default::default()
    });
    let cancel = Command::Cancel(pb::CancelOrderRequest { account_id: 5, ..Default::default() });
    let mut tally = Tally::new().expect("a histogram");
    tally.answered(&submit, &report(9, pb::OrderStatus::PartiallyFilled, 3));
    tally.answered(&submit, &report(0, pb::OrderStatus::Rejected, 0));
    let open = Expected { account_id: 5, client_order_id: "a".to_owned(), cumulative_quantity: 3, closed: None };
    assert_eq!(tally.expected[&9], open);
    assert_eq!((tally.acknowledged, tally.rejected, tally.expected.len()), (1, 1, 1));

    assert_eq!(open.contradiction(&found(pb::OrderStatus::PartiallyFilled, 3)), None);
    assert_eq!(open.contradiction(&found(pb::OrderStatus::Filled, 10)), None);
    assert!(open.contradiction(&found(pb::OrderStatus::New, 2)).is_some(), "a fill is missing");
    let other = pb::Order { account_id: 6, ..found(pb::OrderStatus::Filled, 10) };
    assert!(open.contradiction(&other).is_some(), "another account's");

    tally.answered(&cancel, &report(9, pb::OrderStatus::Canceled, 4));
    let closed = &tally.expected[&9];
    assert_eq!(closed.contradiction(&found(pb::OrderStatus::Canceled, 4)), None);
    assert!(closed.contradiction(&found(pb::OrderStatus::Canceled, 5)).is_some(), "filled after its end");
    assert!(closed.contradiction(&found(pb::OrderStatus::PartiallyFilled, 4)).is_some(), "open after its end");
}

#[test]
fn numbers_as_people_read_them() {
    assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    assert_eq!(decimal(-12_345, 2), "-123.45");
    assert_eq!(decimal(5, 3), "0.005");
    assert_eq!(decimal(7, 0), "7");
}

/// Numbers instruments in the order of their definition, as the exchange does.
struct Defined(Vec<Symbol>);

impl InstrumentLookup for Defined {
    fn instrument_id(&self, symbol: &Symbol) -> Option<InstrumentId> {
        let at = self.0.iter().position(|known| known == symbol)?;
        u32::try_from(at).ok().map(InstrumentId)
    }
}

#[test]
fn an_exchange_finds_the_market_lively() {
    let statuses = [instrument("A", |_| {}), instrument("B", |i| i.tick_size = 1)];
    let mut exchange = Exchange::new(ShardId(0));
    let (mut events, mut fills) = (Vec::new(), Vec::new());
    let mut seq = 0;
    let mut apply = |command: &types::Command| {
        seq += 1;
        events.clear();
        fills.clear();
        let place = Place { seq: Seq(seq), ..Place::default() };
        let outcome = exchange.apply(place, Timestamp(seq), command, &mut events, &mut fills);
        (outcome, fills.len())
    };
    let definitions: Vec<_> = statuses.iter().filter_map(|status| status.instrument.as_ref()).collect();
    for definition in &definitions {
        let definition = convert::instrument("", definition).expect("valid");
        assert_eq!(apply(&types::Command::DefineInstrument(definition)).0.status, OrderStatus::Done);
    }
    let lookup = Defined(definitions.iter().map(|definition| definition.symbol.parse().expect("valid")).collect());
    let mut flow = Market::new(&statuses, 1, "run").expect("two are trading").flow(0);
    let (mut trades, mut late) = (0, 0);
    for client_seq in 0..50_000 {
        let request = pb::OrderSessionRequest { client_seq, command: Some(flow.next_request()), ..Default::default() };
        let command = convert::session_command(&request, &lookup).expect("the market sends valid requests");
        let (outcome, traded) = apply(&command);
        trades += traded;
        match outcome.reason {
            None => {}
            Some(RejectReason::OrderClosed | RejectReason::QuantityBelowFilled) => late += 1,
            Some(reason) => panic!("{reason:?}: {command:?}"),
        }
    }
    assert!(trades > 10_000, "{trades} trades");
    assert!(late < 500, "{late} cancels and replaces came too late");
}
