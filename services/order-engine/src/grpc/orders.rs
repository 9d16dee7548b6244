//! OrderService.
//!
//! Deliberately absent: authentication, and who may trade for which account.

use super::encode;
use super::mass_cancel;
use super::session::{self, Answers};
use super::shards::Shards;
use super::trading;
use crate::admission::Published;
use crate::metrics::{Operation, Outcome};
use crate::shard::{Query, Told};
use std::time::{Duration, Instant};
use tonic::{Request, Response, Status, Streaming};
use types::{AccountId, OrderTarget};
use wire::convert;
use wire::pb::history::v1::ListOrdersRequest;
use wire::pb::history::v1::history_service_client::HistoryServiceClient;
use wire::pb::orders::v1::order_service_server::OrderService;
use wire::pb::orders::v1::{
    CancelOrderRequest, CancelOrderResponse, GetOrderRequest, GetOrderResponse, MassCancelRequest, MassCancelResponse,
    OrderSessionRequest, ReplaceOrderRequest, ReplaceOrderResponse, SubmitOrderRequest, SubmitOrderResponse,
};
use wire::status::ApiError;
use wire::transport::Channel;

/// How long the history may take to answer for an order that the engine does not remember.
const HISTORY_TIMEOUT: Duration = Duration::from_secs(2);

/// The handlers.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    shards: Shards,
    session_unanswered_max: usize,
    history: Option<HistoryServiceClient<Channel>>,
}

impl Orders {
    pub(crate) fn new(shards: Shards, session_unanswered_max: usize, history: Option<Channel>) -> Self {
        Self { shards, session_unanswered_max, history: history.map(HistoryServiceClient::new) }
    }

    async fn find(&self, request: &GetOrderRequest) -> Result<GetOrderResponse, ApiError> {
        let (account, key) = convert::order_key(request)?;
        let doors = match key {
            OrderTarget::OrderId(id) => self.shards.of_order(id).map(std::slice::from_ref).unwrap_or_default(),
            OrderTarget::ClientOrderId(_) => self.shards.all(),
        };
        let GetOrderRequest { allow_stale, min_seq, .. } = *request;
        if min_seq > 0 && doors.len() > 1 {
            return Err(ApiError::invalid("min_seq", "of which shard? ask by order_id, which says it"));
        }
        for door in doors {
            let question = |reply| Query::Order { account, key, reply };
            let Told { view: found, stale } = door.read(allow_stale, min_seq, question).await?;
            if let Some((order, symbol)) = &found.order {
                let (order, as_of_seq) = (Some(encode::order(order, symbol)), found.as_of.0);
                return Ok(GetOrderResponse { order, as_of_seq, stale });
            }
        }
        self.find_in_history(account, key, allow_stale).await
    }

    async fn find_in_history(
        &self,
        account: AccountId,
        key: OrderTarget,
        stale: bool,
    ) -> Result<GetOrderResponse, ApiError> {
        let not_found = || ApiError::not_found("no such order of this account");
        let Some(history) = &self.history else {
            return Err(not_found());
        };
        let mut question = ListOrdersRequest { account_id: account.0, page_size: 1, ..Default::default() };
        match key {
            OrderTarget::OrderId(id) => question.order_id = id.0,
            OrderTarget::ClientOrderId(id) => question.client_order_id = id.to_string(),
        }
        let mut question = Request::new(question);
        question.set_timeout(HISTORY_TIMEOUT);
        let answer = history.clone().list_orders(question).await.map_err(|status| ApiError::from_status(&status))?;
        let answer = answer.into_inner();
        let order = answer.orders.into_iter().next().and_then(|row| row.order).ok_or_else(not_found)?;
        Ok(GetOrderResponse { order: Some(order), as_of_seq: answer.as_of_seq, stale })
    }
}

#[tonic::async_trait]
impl OrderService for Orders {
    type OrderSessionStream = Answers;

    async fn submit_order(
        &self,
        request: Request<SubmitOrderRequest>,
    ) -> Result<Response<SubmitOrderResponse>, Status> {
        let decode = |symbols: &Published| convert::submit(request.get_ref(), symbols);
        let report = self.shards.of_text(&request.get_ref().symbol).run(Operation::Submit, decode).await?;
        Ok(Response::new(SubmitOrderResponse { report: Some(report) }))
    }

    async fn cancel_order(
        &self,
        request: Request<CancelOrderRequest>,
    ) -> Result<Response<CancelOrderResponse>, Status> {
        let decode = |symbols: &Published| convert::cancel(request.get_ref(), symbols);
        let report = self.shards.of_text(&request.get_ref().symbol).run(Operation::Cancel, decode).await?;
        Ok(Response::new(CancelOrderResponse { report: Some(report) }))
    }

    async fn replace_order(
        &self,
        request: Request<ReplaceOrderRequest>,
    ) -> Result<Response<ReplaceOrderResponse>, Status> {
        let decode = |symbols: &Published| convert::replace(request.get_ref(), symbols);
        let report = self.shards.of_text(&request.get_ref().symbol).run(Operation::Replace, decode).await?;
        Ok(Response::new(ReplaceOrderResponse { report: Some(report) }))
    }

    async fn mass_cancel(&self, request: Request<MassCancelRequest>) -> Result<Response<MassCancelResponse>, Status> {
        let request = request.get_ref();
        let report = match self.shards.all() {
            doors @ [_, _, ..] if request.symbol.is_empty() => mass_cancel::run(doors, request).await?,
            _ => {
                let decode = |symbols: &Published| convert::mass_cancel(request, symbols);
                self.shards.of_text(&request.symbol).run(Operation::MassCancel, decode).await?
            }
        };
        Ok(Response::new(MassCancelResponse { report: Some(report) }))
    }

    async fn get_order(&self, request: Request<GetOrderRequest>) -> Result<Response<GetOrderResponse>, Status> {
        let received = Instant::now();
        let found = self.find(request.get_ref()).await;
        let outcome = match &found {
            Ok(_) => Outcome::Accepted,
            Err(error) => trading::outcome_of_error(error),
        };
        self.shards.all()[0].record(Operation::GetOrder, outcome, received.elapsed());
        Ok(Response::new(found?))
    }

    async fn order_session(
        &self,
        request: Request<Streaming<OrderSessionRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let answers = session::open(self.shards.clone(), self.session_unanswered_max, request.into_inner());
        Ok(Response::new(answers))
    }
}
