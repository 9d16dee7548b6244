//! Requests in few words. Everything is on AAPL unless said otherwise: ticks of 100.

use wire::pb::orders::v1 as pb;
use wire::pb::orders::v1::order_session_request::Command;

pub(crate) const SYMBOL: &str = "AAPL";

/// A limit order, good till cancel.
pub(crate) fn limit(account: u64, id: &str, side: pb::Side, price: i64, quantity: u64) -> pb::SubmitOrderRequest {
    pb::SubmitOrderRequest {
        account_id: account,
        client_order_id: id.to_owned(),
        symbol: SYMBOL.to_owned(),
        side: side.into(),
        order_type: pb::OrderType::Limit.into(),
        price,
        quantity,
        ..Default::default()
    }
}

pub(crate) fn buy(account: u64, id: &str, price: i64, quantity: u64) -> pb::SubmitOrderRequest {
    limit(account, id, pb::Side::Buy, price, quantity)
}

pub(crate) fn sell(account: u64, id: &str, price: i64, quantity: u64) -> pb::SubmitOrderRequest {
    limit(account, id, pb::Side::Sell, price, quantity)
}

pub(crate) fn cancel(account: u64, id: &str, original: &str) -> pb::CancelOrderRequest {
    pb::CancelOrderRequest {
        account_id: account,
        client_order_id: id.to_owned(),
        symbol: SYMBOL.to_owned(),
        target: Some(pb::cancel_order_request::Target::OriginalClientOrderId(original.to_owned())),
    }
}

pub(crate) fn replace(account: u64, id: &str, original: &str, price: i64, quantity: u64) -> pb::ReplaceOrderRequest {
    pb::ReplaceOrderRequest {
        account_id: account,
        client_order_id: id.to_owned(),
        symbol: SYMBOL.to_owned(),
        target: Some(pb::replace_order_request::Target::OriginalClientOrderId(original.to_owned())),
        price,
        quantity,
    }
}

/// One request of a session.
pub(crate) fn in_session(client_seq: u64, request: pb::SubmitOrderRequest) -> pb::OrderSessionRequest {
    pb::OrderSessionRequest { client_seq, command: Some(Command::Submit(request)), ..Default::default() }
}
