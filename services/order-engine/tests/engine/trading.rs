//! Requests and their answers.

use wire::pb::admin::v1::SetInstrumentStateRequest;
use wire::pb::marketdata::v1::{
    GetBookRequest, GetBookResponse, InstrumentState, ListInstrumentsRequest, ListInstrumentsResponse,
};
use wire::pb::orders::v1::get_order_request::Key;
use wire::pb::orders::v1::{GetOrderRequest, MassCancelRequest, OrderReport, OrderStatus, RejectReason, Side};
use wire::status::{ApiError, ErrorCode};

use crate::support::requests::{SYMBOL, buy, cancel, replace, sell};
use crate::support::{Engine, Rig, code};

async fn submit(engine: &Engine, request: wire::pb::orders::v1::SubmitOrderRequest) -> OrderReport {
    engine.orders().submit_order(request).await.unwrap().into_inner().report.unwrap()
}

async fn book(engine: &Engine) -> GetBookResponse {
    let request = GetBookRequest { symbol: SYMBOL.to_owned(), depth: 0, ..Default::default() };
    engine.market_data().get_book(request).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_lives_and_ends() {
    let engine = Rig::new().start().await;
    let resting = submit(&engine, sell(1, "s1", 1000, 10)).await;
    assert_eq!((resting.status(), resting.leaves_quantity), (OrderStatus::New, 10));
    let place = resting.place.unwrap();
    assert_eq!(place.epoch, 1);
    assert!(resting.transact_time_us > 0);

    let taker = submit(&engine, buy(2, "b1", 1200, 4)).await;
    assert_eq!((taker.status(), taker.cumulative_quantity), (OrderStatus::Filled, 4));
    assert_eq!(taker.fills.len(), 1);
    assert_eq!((taker.fills[0].price, taker.fills[0].maker_order_id), (1000, resting.order_id), "at the maker's price");
    assert!(taker.place.unwrap().seq > place.seq);

    let book = book(&engine).await.book.unwrap();
    assert_eq!((book.asks[0].price, book.asks[0].quantity, book.asks[0].orders), (1000, 6, 1));
    assert!(book.bids.is_empty());

    let request = replace(1, "r1", "s1", 1100, 9);
    let replaced = engine.orders().replace_order(request).await.unwrap().into_inner().report.unwrap();
    assert_eq!((replaced.order_id, replaced.leaves_quantity), (resting.order_id, 5));

    let canceled = engine.orders().cancel_order(cancel(1, "c1", "r1")).await.unwrap().into_inner().report.unwrap();
    assert_eq!((canceled.status(), canceled.cumulative_quantity), (OrderStatus::Canceled, 4));
    let again = engine.orders().cancel_order(cancel(1, "c2", "r1")).await.unwrap().into_inner().report.unwrap();
    assert_eq!((again.status(), again.reject_reason()), (OrderStatus::Rejected, RejectReason::OrderClosed));
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_found_by_number_and_by_client_id_open_or_closed() {
    let engine = Rig::new().start().await;
    let report = submit(&engine, sell(7, "one", 1000, 10)).await;
    let by_number = GetOrderRequest { account_id: 7, key: Some(Key::OrderId(report.order_id)), ..Default::default() };
    let by_client_id =
        GetOrderRequest { account_id: 7, key: Some(Key::ClientOrderId("one".to_owned())), ..Default::default() };
    let found = engine.orders().get_order(by_number.clone()).await.unwrap().into_inner();
    let order = found.order.clone().unwrap();
    assert_eq!((order.symbol.as_str(), order.side(), order.leaves_quantity), (SYMBOL, Side::Sell, 10));
    assert!(found.as_of_seq >= report.place.unwrap().seq);
    assert_eq!(engine.orders().get_order(by_client_id).await.unwrap().into_inner().order, Some(order));

    engine.orders().cancel_order(cancel(7, "c", "one")).await.unwrap();
    let closed = engine.orders().get_order(by_number).await.unwrap().into_inner().order.unwrap();
    assert_eq!((closed.status(), closed.leaves_quantity), (OrderStatus::Canceled, 0));

    let of_another = GetOrderRequest { account_id: 8, key: Some(Key::OrderId(report.order_id)), ..Default::default() };
    assert_eq!(code(engine.orders().get_order(of_another).await), ErrorCode::NotFound);
    let unset = GetOrderRequest { account_id: 8, key: None, ..Default::default() };
    assert_eq!(code(engine.orders().get_order(unset).await), ErrorCode::InvalidArgument);
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mass_cancel_takes_what_it_names() {
    let engine = Rig::new().start().await;
    for n in 0..5 {
        submit(&engine, sell(3, &format!("s{n}"), 1000 + 100 * n, 1)).await;
        submit(&engine, buy(3, &format!("b{n}"), 900 - 100 * n, 1)).await;
    }
    submit(&engine, sell(4, "other", 1000, 1)).await;
    let request = MassCancelRequest {
        account_id: 3,
        client_order_id: "m1".to_owned(),
        symbol: SYMBOL.to_owned(),
        side: Side::Sell.into(),
    };
    let report = engine.orders().mass_cancel(request.clone()).await.unwrap().into_inner().report.unwrap();
    assert_eq!((report.status(), report.canceled_orders), (OrderStatus::Canceled, 5));
    let again = engine.orders().mass_cancel(request).await.unwrap().into_inner().report.unwrap();
    assert_eq!((again.duplicate, again.canceled_orders), (true, 5), "a retry gets the original answer");
    let book = book(&engine).await.book.unwrap();
    assert_eq!((book.asks.len(), book.bids.len()), (1, 5));
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_gets_the_original_answer_and_another_content_is_refused() {
    let engine = Rig::new().start().await;
    submit(&engine, sell(1, "maker", 1000, 10)).await;
    let first = submit(&engine, buy(2, "id", 1000, 4)).await;
    assert_eq!(first.fills.len(), 1);
    let retry = submit(&engine, buy(2, "id", 1000, 4)).await;
    assert!(retry.duplicate && !first.duplicate);
    assert_eq!((&retry.place, retry.order_id, &retry.fills), (&first.place, first.order_id, &first.fills));
    let other = submit(&engine, buy(2, "id", 1000, 5)).await;
    assert_eq!((other.status(), other.reject_reason()), (OrderStatus::Rejected, RejectReason::DuplicateClientOrderId));

    // Many at once, while the first is still on its way.
    let retries = (0..20).map(|_| {
        let mut orders = engine.orders();
        async move { orders.submit_order(buy(2, "race", 1000, 1)).await.unwrap().into_inner().report.unwrap() }
    });
    let reports = futures::future::join_all(retries).await;
    assert_eq!(reports.iter().filter(|report| !report.duplicate).count(), 1);
    assert!(reports.iter().all(|report| report.place == reports[0].place && report.order_id == reports[0].order_id));
    let book = book(&engine).await.book.unwrap();
    assert_eq!(book.asks[0].quantity, 5, "executed once");
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_requests_name_their_field_and_change_nothing() {
    let engine = Rig::new().start().await;
    let before = engine.digest().await;
    let good = buy(1, "x", 1000, 1);
    let cases = [
        ("account_id", wire::pb::orders::v1::SubmitOrderRequest { account_id: 0, ..good.clone() }),
        (
            "client_order_id",
            wire::pb::orders::v1::SubmitOrderRequest { client_order_id: " ".to_owned(), ..good.clone() },
        ),
        ("symbol", wire::pb::orders::v1::SubmitOrderRequest { symbol: String::new(), ..good.clone() }),
        ("side", wire::pb::orders::v1::SubmitOrderRequest { side: 99, ..good.clone() }),
        ("order_type", wire::pb::orders::v1::SubmitOrderRequest { order_type: 0, ..good.clone() }),
        ("quantity", wire::pb::orders::v1::SubmitOrderRequest { quantity: 0, ..good.clone() }),
    ];
    for (field, request) in cases {
        let status = engine.orders().submit_order(request).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument, "{field}");
        assert_eq!(ApiError::from_status(&status).field.as_deref(), Some(field));
    }
    assert_eq!(engine.digest().await, before);
    let unknown = submit(&engine, wire::pb::orders::v1::SubmitOrderRequest { symbol: "NOPE".to_owned(), ..good }).await;
    assert_eq!(unknown.reject_reason(), RejectReason::UnknownInstrument, "a business refusal, journaled");
    engine.stop().await;
}

async fn instruments(engine: &Engine) -> ListInstrumentsResponse {
    engine.market_data().list_instruments(ListInstrumentsRequest::default()).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_adds_and_halts_instruments() {
    let engine = Rig::new().start().await;
    let listed = instruments(&engine).await;
    let symbols = |list: &ListInstrumentsResponse| -> Vec<String> {
        list.instruments.iter().map(|status| status.instrument.clone().unwrap().symbol).collect()
    };
    assert_eq!(symbols(&listed), ["BTC-USD", "ETH-USD", "AAPL"]);
    let mut definition = listed.instruments[2].instrument.clone().unwrap();
    definition.symbol = "MSFT".to_owned();
    let request = wire::pb::admin::v1::DefineInstrumentRequest { instrument: Some(definition) };
    let defined = engine.instruments().define_instrument(request.clone()).await.unwrap().into_inner().report.unwrap();
    assert_eq!(defined.status(), OrderStatus::Done);
    // The very next request may name it.
    let order = wire::pb::orders::v1::SubmitOrderRequest { symbol: "MSFT".to_owned(), ..buy(1, "m", 1000, 1) };
    assert_eq!(submit(&engine, order.clone()).await.status(), OrderStatus::New);
    let halt = SetInstrumentStateRequest { symbol: "MSFT".to_owned(), state: InstrumentState::Halted.into() };
    engine.instruments().set_instrument_state(halt).await.unwrap();
    let order = wire::pb::orders::v1::SubmitOrderRequest { client_order_id: "m2".to_owned(), ..order };
    assert_eq!(submit(&engine, order).await.reject_reason(), RejectReason::InstrumentNotTrading);
    assert_eq!(symbols(&instruments(&engine).await).len(), 4);
    engine.stop().await;
}
