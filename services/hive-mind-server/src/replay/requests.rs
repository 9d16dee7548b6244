//! Planned requests as the order session takes them.

use types::Side;
use wire::pb::orders::v1 as pb;
use wire::pb::orders::v1::order_session_request::Command;

use super::item::{Planned, Request};

/// Accounts of one replay: bids, asks and incoming orders each have their own, so that nothing is ever a self-trade.
/// The numbers are far from those people pick first, for runs against a node that others use too.
const BID_ACCOUNT: u64 = 900_000_001;
const ASK_ACCOUNT: u64 = 900_000_002;
const INCOMING_ACCOUNT: u64 = 900_000_003;

/// Writes requests for one symbol. Ids of requests begin with the run's own word: a second run is no retry of the
/// first.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    /// What is traded.
    pub(super) symbol: String,
    /// The run's word, at most 16 characters.
    pub(super) run: String,
}

impl Writer {
    /// The request.
    pub(super) fn write(&self, planned: &Planned) -> Command {
        let client_order_id = self.id(planned.serial);
        let symbol = self.symbol.clone();
        match planned.request {
            Request::Rest { side, price, quantity, .. } => Command::Submit(pb::SubmitOrderRequest {
                account_id: account(side),
                client_order_id,
                symbol,
                side: pb::Side::from(side).into(),
                order_type: pb::OrderType::Limit.into(),
                time_in_force: pb::TimeInForce::GoodTillCancel.into(),
                post_only: true,
                price: price.0,
                quantity: quantity.0,
                self_trade_prevention: pb::SelfTradePrevention::CancelNewest.into(),
            }),
            Request::Take { side, price, quantity } => Command::Submit(pb::SubmitOrderRequest {
                account_id: INCOMING_ACCOUNT,
                client_order_id,
                symbol,
                side: pb::Side::from(side).into(),
                order_type: pb::OrderType::Limit.into(),
                time_in_force: pb::TimeInForce::ImmediateOrCancel.into(),
                post_only: false,
                price: price.0,
                quantity: quantity.0,
                self_trade_prevention: pb::SelfTradePrevention::CancelNewest.into(),
            }),
            Request::Cancel { side, entered } => Command::Cancel(pb::CancelOrderRequest {
                account_id: account(side),
                client_order_id,
                symbol,
                target: Some(pb::cancel_order_request::Target::OriginalClientOrderId(self.id(entered))),
            }),
            Request::Replace { side, entered, price, total } => Command::Replace(pb::ReplaceOrderRequest {
                account_id: account(side),
                client_order_id,
                symbol,
                target: Some(pb::replace_order_request::Target::OriginalClientOrderId(self.id(entered))),
                price: price.0,
                quantity: total.0,
            }),
        }
    }

    fn id(&self, serial: u64) -> String {
        format!("{}-{serial}", self.run)
    }
}

const fn account(side: Side) -> u64 {
    match side {
        Side::Buy => BID_ACCOUNT,
        Side::Sell => ASK_ACCOUNT,
    }
}
