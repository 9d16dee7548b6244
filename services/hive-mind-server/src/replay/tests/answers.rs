//! Answers that are not the planned ones are noticed; requests carry what the plan relies on.
#![allow(clippy::unwrap_used, reason = "tests")]

use types::{Price, Qty, Side};
use wire::pb::orders::v1::order_session_request::Command;
use wire::pb::orders::v1::{Fill, OrderReport, OrderStatus, RejectReason, SubmitOrderRequest, TimeInForce};

use super::super::item::{Expected, Planned, Request};
use super::super::messages::FileOrder;
use super::super::mirror::Name;
use super::super::requests::Writer;
use super::super::verify::Verifier;

const FIRST: Name = Name::File(FileOrder(7));
const SECOND: Name = Name::File(FileOrder(8));

fn rest(name: Name) -> Planned {
    let request = Request::Rest { name, side: Side::Buy, price: Price(100), quantity: Qty(5) };
    Planned { line: 1, serial: 1, request, expected: Expected::Open(Qty(5)) }
}

fn take() -> Planned {
    let fills = vec![(FIRST, Price(100), Qty(5)), (SECOND, Price(100), Qty(2))];
    let request = Request::Take { side: Side::Sell, price: Price(100), quantity: Qty(7) };
    Planned { line: 2, serial: 3, request, expected: Expected::Fills(fills) }
}

fn answer(status: OrderStatus, order_id: u64, leaves_quantity: u64, fills: &[(u64, i64, u64)]) -> OrderReport {
    let fill =
        |&(maker_order_id, price, quantity): &(u64, i64, u64)| Fill { trade_id: 1, price, quantity, maker_order_id };
    let fills = fills.iter().map(fill).collect();
    OrderReport { status: status.into(), order_id, leaves_quantity, fills, ..OrderReport::default() }
}

/// Wrong answers after two orders 1 and 2 were entered and `planned` was answered.
fn wrong(planned: &Planned, answer_to_it: &OrderReport) -> u64 {
    let mut verifier = Verifier::default();
    for (name, order_id) in [(FIRST, 1), (SECOND, 2)] {
        assert!(verifier.answer(&rest(name), &answer(OrderStatus::New, order_id, 5, &[])), "it changes the book");
    }
    verifier.answer(planned, answer_to_it);
    assert_eq!(verifier.findings.wrong_answers.len() as u64, verifier.findings.unexplained);
    verifier.findings.unexplained
}

#[test]
fn another_answer_than_the_planned_one_is_noticed() {
    use OrderStatus::{Canceled, Filled, New, Rejected};
    assert_eq!(wrong(&take(), &answer(Filled, 3, 0, &[(1, 100, 5), (2, 100, 2)])), 0);
    let other_fills: [&[(u64, i64, u64)]; 6] = [
        &[],
        &[(1, 100, 5)],
        &[(2, 100, 2), (1, 100, 5)],
        &[(1, 100, 5), (2, 101, 2)],
        &[(1, 100, 4), (2, 100, 3)],
        &[(1, 100, 5), (9, 100, 2)],
    ];
    for fills in other_fills {
        assert_eq!(wrong(&take(), &answer(Filled, 3, 0, fills)), 1, "{fills:?}");
    }
    assert_eq!(wrong(&take(), &answer(Canceled, 3, 0, &[(1, 100, 5), (2, 100, 2)])), 1, "something was left");
    assert_eq!(wrong(&rest(FIRST), &answer(New, 3, 4, &[])), 1);
    assert_eq!(wrong(&rest(FIRST), &answer(Rejected, 0, 0, &[])), 1);
    let retried = OrderReport { duplicate: true, ..answer(New, 3, 5, &[]) };
    assert_eq!(wrong(&rest(FIRST), &retried), 1);
}

#[test]
fn a_refusal_changes_no_book_and_is_told_with_its_reason() {
    let mut verifier = Verifier::default();
    let mut refused = answer(OrderStatus::Rejected, 0, 0, &[]);
    refused.reject_reason = RejectReason::PriceNotOnTick.into();
    assert!(!verifier.answer(&rest(FIRST), &refused));
    assert!(verifier.findings.wrong_answers[0].answer.contains("PRICE_NOT_ON_TICK"));
    assert_eq!(verifier.findings.orders, 0);
}

#[test]
fn resting_orders_never_take_and_incoming_ones_never_meet_their_own_account() {
    let writer = Writer { symbol: "TEST".into(), run: "run".into() };
    let submit = |planned: &Planned| -> SubmitOrderRequest {
        let Command::Submit(submit) = writer.write(planned) else { panic!("not a submission") };
        submit
    };
    let (resting, incoming) = (submit(&rest(FIRST)), submit(&take()));
    assert!(resting.post_only && !incoming.post_only);
    assert_eq!(resting.time_in_force(), TimeInForce::GoodTillCancel);
    assert_eq!(incoming.time_in_force(), TimeInForce::ImmediateOrCancel);
    let ask = Request::Rest { name: FIRST, side: Side::Sell, price: Price(101), quantity: Qty(1) };
    let ask = submit(&Planned { request: ask, ..rest(FIRST) });
    let accounts = [resting.account_id, ask.account_id, incoming.account_id];
    assert!(accounts[0] != accounts[1] && accounts[1] != accounts[2] && accounts[0] != accounts[2]);
    let ids = [resting.client_order_id, incoming.client_order_id];
    assert_eq!(ids, ["run-1", "run-3"]);
}
