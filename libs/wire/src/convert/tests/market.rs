//! Instruments, market data and history requests, reports.

use types::{
    ClientOrderId, ClosedOrder, Command, Fill, InstrumentId, InstrumentState, LogId, OrderId, OrderStatus, Original,
    Outcome, Place, Price, Qty, RejectReason, Seq, ShardId, Side, Symbol, Timestamp, TradeId,
};

use super::{OneInstrument, Spoilt};
use crate::convert;
use crate::pb::{admin::v1 as admin, history::v1 as history, marketdata::v1 as pb, orders::v1 as orders};

fn definition() -> pb::Instrument {
    pb::Instrument {
        symbol: "ACME".to_owned(),
        price_decimals: 4,
        quantity_decimals: 12,
        tick_size: 100,
        lot_size: 1,
        min_quantity: 1,
        max_quantity: 1_000_000,
        max_notional: (1_u128 << 127).to_string(),
        low_limit_price: -5,
        high_limit_price: i64::MAX,
        band_basis_points: 10,
        reference_price: 3,
        state: pb::InstrumentState::Halted.into(),
    }
}

#[test]
fn instruments_go_both_ways() {
    let own = convert::instrument("", &definition()).unwrap();
    assert_eq!(own.state, InstrumentState::Halted);
    assert_eq!(convert::instrument_to_pb(&own, own.state), definition());
    let stateless = pb::Instrument { state: 0, max_notional: String::new(), ..definition() };
    let own = convert::instrument("", &stateless).unwrap();
    assert_eq!((own.state, own.max_notional), (InstrumentState::Continuous, 0));
}

#[test]
fn each_wrong_field_of_a_definition_is_named() {
    let wrong: [Spoilt<pb::Instrument>; 11] = [
        ("instrument.symbol", |i| i.symbol = "has space".to_owned()),
        ("instrument.price_decimals", |i| i.price_decimals = 13),
        ("instrument.quantity_decimals", |i| i.quantity_decimals = 256),
        ("instrument.tick_size", |i| i.tick_size = 0),
        ("instrument.lot_size", |i| i.lot_size = 0),
        ("instrument.min_quantity", |i| i.min_quantity = 0),
        ("instrument.max_quantity", |i| i.max_quantity = 0),
        ("instrument.max_notional", |i| i.max_notional = "+5".to_owned()),
        ("instrument.max_notional", |i| i.max_notional = ((1_u128 << 127) + 1).to_string()),
        ("instrument.max_notional", |i| i.max_notional = "9".repeat(60)),
        ("instrument.state", |i| i.state = 6),
    ];
    for (field, spoil) in wrong {
        let mut instrument = definition();
        spoil(&mut instrument);
        let request = admin::DefineInstrumentRequest { instrument: Some(instrument) };
        assert_eq!(convert::define_instrument(&request).unwrap_err().field.as_deref(), Some(field));
    }
    let error = convert::define_instrument(&admin::DefineInstrumentRequest { instrument: None }).unwrap_err();
    assert_eq!(error.field.as_deref(), Some("instrument"));
}

#[test]
fn a_state_change_needs_a_state() {
    let request = |state| admin::SetInstrumentStateRequest { symbol: "ACME".to_owned(), state };
    let closed = convert::set_instrument_state(&request(pb::InstrumentState::Closed.into()), &OneInstrument);
    match closed.unwrap() {
        Command::SetInstrumentState(change) => {
            assert_eq!((change.instrument, change.state), (InstrumentId(7), InstrumentState::Closed));
        }
        other => panic!("{other:?}"),
    }
    let error = convert::set_instrument_state(&request(0), &OneInstrument).unwrap_err();
    assert_eq!(error.field.as_deref(), Some("state"));
}

#[test]
fn books_have_a_usual_and_a_largest_depth() {
    let request = |depth| pb::GetBookRequest { symbol: "ACME".to_owned(), depth, ..Default::default() };
    assert_eq!(convert::book_request(&request(0)).unwrap().1, 10);
    assert_eq!(convert::book_request(&request(1000)).unwrap().1, 1000);
    assert_eq!(convert::book_request(&request(1001)).unwrap_err().field.as_deref(), Some("depth"));
}

#[test]
fn history_requests_are_checked() {
    let (filter, page) = convert::list_orders(&history::ListOrdersRequest::default()).unwrap();
    assert_eq!((filter.account, filter.symbol, filter.status, page.size), (None, None, None, 100));
    let wrong: [Spoilt<history::ListOrdersRequest>; 7] = [
        ("account_id", |r| r.client_order_id = "a".to_owned()),
        ("client_order_id", |r| r.client_order_id = "a b".to_owned()),
        ("symbol", |r| r.symbol = "\n".to_owned()),
        ("status", |r| r.status = 9),
        ("to_us", |r| (r.from_us, r.to_us) = (5, 5)),
        ("page_size", |r| r.page_size = 1001),
        ("page_token", |r| r.page_token = "x".repeat(1000)),
    ];
    for (field, spoil) in wrong {
        let mut request = history::ListOrdersRequest::default();
        spoil(&mut request);
        assert_eq!(convert::list_orders(&request).unwrap_err().field.as_deref(), Some(field));
    }
    let executions = |kind| convert::list_executions(&history::ListExecutionsRequest { kind, ..Default::default() });
    assert_eq!(executions(0).unwrap().0.kind, None);
    assert_eq!(executions(2).unwrap().0.kind, Some(history::ExecutionKind::Trade));
    assert_eq!(executions(7).unwrap_err().field.as_deref(), Some("kind"));
    let trades = convert::list_trades(&history::ListTradesRequest { order_id: 4, ..Default::default() }).unwrap();
    assert_eq!(trades.0.order_id, Some(OrderId(4)));
}

fn place_at(seq: u64) -> Place {
    Place { log_id: LogId(0xab), epoch: 2, seq: Seq(seq), index: 3 }
}

#[test]
fn a_report_says_everything_once() {
    let outcome = Outcome {
        status: OrderStatus::PartiallyFilled,
        reason: None,
        order_id: OrderId(9),
        cumulative: Qty(4),
        leaves: Qty(6),
        canceled_orders: 0,
        original: None,
    };
    let fills = [Fill { trade_id: TradeId(1), price: Price(-2), quantity: Qty(4), maker: OrderId(8) }];
    let client = ClientOrderId::new("a-1").unwrap();
    let report = convert::report(ShardId(1), place_at(5), Timestamp(77), Some(client), &outcome, &fills);
    assert_eq!(report.status(), orders::OrderStatus::PartiallyFilled);
    assert_eq!(report.reject_reason(), orders::RejectReason::Unspecified);
    assert_eq!(convert::place("place", report.place.as_ref().unwrap()), Ok(place_at(5)));
    assert_eq!((report.order_id, report.cumulative_quantity, report.leaves_quantity), (9, 4, 6));
    assert_eq!((report.shard, report.client_order_id.as_str(), report.transact_time_us), (1, "a-1", 77));
    assert_eq!(report.fills, [orders::Fill { trade_id: 1, price: -2, quantity: 4, maker_order_id: 8 }]);
    assert!(!report.duplicate);

    let refused = Outcome {
        status: OrderStatus::Rejected,
        reason: Some(RejectReason::OrderClosed),
        original: Some(Original { place: place_at(2), timestamp: Timestamp(33) }),
        ..outcome
    };
    let report = convert::report(ShardId(1), place_at(5), Timestamp(77), Some(client), &refused, &[]);
    assert_eq!(report.reject_reason(), orders::RejectReason::OrderClosed);
    assert_eq!(convert::place("place", report.place.as_ref().unwrap()), Ok(place_at(2)), "the first execution's");
    assert_eq!(report.transact_time_us, 33, "the first execution's");
    assert!(report.duplicate);
}

#[test]
fn a_place_needs_its_32_digits() {
    for log_id in ["", "ab", "+0000000000000000000000000000000", "0000000000000000000000000000000g"] {
        let given = orders::Place { log_id: log_id.to_owned(), epoch: 1, seq: 1, index: 0 };
        assert_eq!(convert::place("place", &given).unwrap_err().field.as_deref(), Some("place.log_id"));
    }
}

#[test]
fn a_closed_order_has_nothing_open() {
    let closed = ClosedOrder {
        status: OrderStatus::Canceled,
        instrument: InstrumentId(7),
        side: Side::Buy,
        price: Price(5),
        quantity: Qty(10),
        cumulative: Qty(4),
    };
    let client = ClientOrderId::new("a-1").unwrap();
    let symbol = Symbol::new("ACME").unwrap();
    let order = convert::closed_order(OrderId(9), types::AccountId(5), &client, &closed, &symbol);
    assert_eq!(order.status(), orders::OrderStatus::Canceled);
    assert_eq!((order.quantity, order.cumulative_quantity, order.leaves_quantity), (10, 4, 0));
}
