//! Trading requests, one wrong field at a time.

use types::{
    AccountId, Cancel, ClientOrderId, Command, InstrumentId, MassCancel, OrderId, OrderTarget, OrderType, Price, Qty,
    Replace, SelfTradePrevention, Side, Submit, TimeInForce,
};

use super::{OneInstrument, Spoilt};
use crate::convert::{self, UNKNOWN_INSTRUMENT};
use crate::pb::orders::v1 as pb;
use crate::status::{ApiError, ErrorCode};

fn id(text: &str) -> ClientOrderId {
    ClientOrderId::new(text).unwrap()
}

fn good() -> pb::SubmitOrderRequest {
    pb::SubmitOrderRequest {
        account_id: 5,
        client_order_id: "a-1".to_owned(),
        symbol: "ACME".to_owned(),
        side: pb::Side::Sell.into(),
        order_type: pb::OrderType::Limit.into(),
        time_in_force: 0,
        post_only: true,
        price: -3,
        quantity: 10,
        self_trade_prevention: 0,
    }
}

fn field_of<T: std::fmt::Debug>(result: Result<T, ApiError>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidArgument);
    error.field.unwrap()
}

#[test]
fn a_good_order_with_its_defaults() {
    let expected = Submit {
        account: AccountId(5),
        client_order_id: id("a-1"),
        instrument: InstrumentId(7),
        side: Side::Sell,
        order_type: OrderType::Limit,
        time_in_force: TimeInForce::GoodTillCancel,
        post_only: true,
        price: Price(-3),
        quantity: Qty(10),
        self_trade_prevention: SelfTradePrevention::CancelNewest,
    };
    assert_eq!(convert::submit(&good(), &OneInstrument), Ok(Command::Submit(expected)));

    let market = pb::SubmitOrderRequest { order_type: pb::OrderType::Market.into(), ..good() };
    let expected = Submit { order_type: OrderType::Market, time_in_force: TimeInForce::ImmediateOrCancel, ..expected };
    assert_eq!(convert::submit(&market, &OneInstrument), Ok(Command::Submit(expected)));
}

#[test]
fn an_unknown_symbol_goes_to_the_exchange_to_be_refused() {
    let request = pb::SubmitOrderRequest { symbol: "NOPE".to_owned(), ..good() };
    match convert::submit(&request, &OneInstrument).unwrap() {
        Command::Submit(submit) => assert_eq!(submit.instrument, UNKNOWN_INSTRUMENT),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_wrong_field_of_an_order_is_named() {
    let wrong: [Spoilt<pb::SubmitOrderRequest>; 16] = [
        ("account_id", |r| r.account_id = 0),
        ("client_order_id", |r| r.client_order_id.clear()),
        ("client_order_id", |r| r.client_order_id = "x".repeat(37)),
        ("client_order_id", |r| r.client_order_id = "a b".to_owned()),
        ("client_order_id", |r| r.client_order_id = "ä".to_owned()),
        ("symbol", |r| r.symbol.clear()),
        ("symbol", |r| r.symbol = "X".repeat(17)),
        ("symbol", |r| r.symbol = "A\u{7f}".to_owned()),
        ("side", |r| r.side = 0),
        ("side", |r| r.side = 3),
        ("side", |r| r.side = -1),
        ("order_type", |r| r.order_type = 0),
        ("order_type", |r| r.order_type = 99),
        ("time_in_force", |r| r.time_in_force = 4),
        ("quantity", |r| r.quantity = 0),
        ("self_trade_prevention", |r| r.self_trade_prevention = i32::MAX),
    ];
    for (field, spoil) in wrong {
        let mut request = good();
        spoil(&mut request);
        assert_eq!(field_of(convert::submit(&request, &OneInstrument)), field, "{request:?}");
    }
}

#[test]
fn cancels_and_replaces() {
    use pb::cancel_order_request::Target as CancelTarget;
    use pb::replace_order_request::Target as ReplaceTarget;
    let cancel = |target| pb::CancelOrderRequest {
        account_id: 5,
        client_order_id: "c-1".to_owned(),
        symbol: "ACME".to_owned(),
        target,
    };
    let expected = Cancel {
        account: AccountId(5),
        client_order_id: id("c-1"),
        instrument: InstrumentId(7),
        target: OrderTarget::ClientOrderId(id("a-1")),
    };
    let named = cancel(Some(CancelTarget::OriginalClientOrderId("a-1".to_owned())));
    assert_eq!(convert::cancel(&named, &OneInstrument), Ok(Command::Cancel(expected)));
    for (field, target) in [
        ("target", None),
        ("order_id", Some(CancelTarget::OrderId(0))),
        ("original_client_order_id", Some(CancelTarget::OriginalClientOrderId(String::new()))),
    ] {
        assert_eq!(field_of(convert::cancel(&cancel(target), &OneInstrument)), field);
    }

    let replace = pb::ReplaceOrderRequest {
        account_id: 5,
        client_order_id: "r-1".to_owned(),
        symbol: "ACME".to_owned(),
        target: Some(ReplaceTarget::OrderId(12)),
        price: 9,
        quantity: 4,
    };
    let expected = Replace {
        account: AccountId(5),
        client_order_id: id("r-1"),
        instrument: InstrumentId(7),
        target: OrderTarget::OrderId(OrderId(12)),
        price: Price(9),
        quantity: Qty(4),
    };
    assert_eq!(convert::replace(&replace, &OneInstrument), Ok(Command::Replace(expected)));
    let empty = pb::ReplaceOrderRequest { quantity: 0, ..replace.clone() };
    assert_eq!(field_of(convert::replace(&empty, &OneInstrument)), "quantity");
    let targetless = pb::ReplaceOrderRequest { target: None, ..replace };
    assert_eq!(field_of(convert::replace(&targetless, &OneInstrument)), "target");
}

#[test]
fn mass_cancels_with_and_without_limits() {
    let all =
        pb::MassCancelRequest { account_id: 5, client_order_id: "m-1".to_owned(), symbol: String::new(), side: 0 };
    let expected = MassCancel { account: AccountId(5), client_order_id: id("m-1"), instrument: None, side: None };
    assert_eq!(convert::mass_cancel(&all, &OneInstrument), Ok(Command::MassCancel(expected)));
    let some = pb::MassCancelRequest { symbol: "ACME".to_owned(), side: pb::Side::Buy.into(), ..all.clone() };
    let expected = MassCancel { instrument: Some(InstrumentId(7)), side: Some(Side::Buy), ..expected };
    assert_eq!(convert::mass_cancel(&some, &OneInstrument), Ok(Command::MassCancel(expected)));
    let wrong = pb::MassCancelRequest { side: 7, ..all };
    assert_eq!(field_of(convert::mass_cancel(&wrong, &OneInstrument)), "side");
}

#[test]
fn a_session_request_without_a_command_is_refused() {
    use pb::order_session_request::Command as Sent;
    let request = |command| pb::OrderSessionRequest { client_seq: 1, command, ..Default::default() };
    assert_eq!(field_of(convert::session_command(&request(None), &OneInstrument)), "command");
    let submit = convert::submit(&good(), &OneInstrument);
    assert_eq!(convert::session_command(&request(Some(Sent::Submit(good()))), &OneInstrument), submit);
}

#[test]
fn an_order_is_asked_for_by_one_of_two_keys() {
    use pb::get_order_request::Key;
    let request = |key| pb::GetOrderRequest { account_id: 5, key, ..Default::default() };
    let by_id = convert::order_key(&request(Some(Key::OrderId(3))));
    assert_eq!(by_id, Ok((AccountId(5), OrderTarget::OrderId(OrderId(3)))));
    assert_eq!(field_of(convert::order_key(&request(None))), "key");
    assert_eq!(field_of(convert::order_key(&request(Some(Key::ClientOrderId(" ".to_owned()))))), "client_order_id");
}
