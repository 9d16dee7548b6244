//! OrderService.
//!
//! Deliberately absent: authentication; the doors of the node have done that.

use super::encode;
use super::mass_cancel;
use super::session::{self, Answers};
use super::shards::Shards;
use super::trading;
use crate::metrics::{Operation, Outcome};
use crate::shard::{Query, Told};
use service_kit::auth::{Rights, permit};
use std::time::{Duration, Instant};
use tonic::{Request, Response, Status, Streaming};
use types::{AccountId, OrderTarget, ShardId};
use wire::convert;
use wire::forwarding::marked;
use wire::pb::history::v1::ListOrdersRequest;
use wire::pb::history::v1::history_service_client::HistoryServiceClient;
use wire::pb::orders::v1::order_service_client::OrderServiceClient;
use wire::pb::orders::v1::order_service_server::OrderService;
use wire::pb::orders::v1::{
    CancelOrderRequest, CancelOrderResponse, GetOrderRequest, GetOrderResponse, GetTopologyRequest,
    GetTopologyResponse, MassCancelRequest, MassCancelResponse, OrderSessionRequest, ReplaceOrderRequest,
    ReplaceOrderResponse, SubmitOrderRequest, SubmitOrderResponse,
};
use wire::status::{ApiError, ErrorCode};
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

    async fn find(&self, request: &GetOrderRequest, forwarded: Option<ShardId>) -> Result<GetOrderResponse, ApiError> {
        let (account, key) = convert::order_key(request)?;
        let doors = match key {
            OrderTarget::OrderId(id) => self.shards.of_order(id).map(std::slice::from_ref).unwrap_or_default(),
            OrderTarget::ClientOrderId(_) => self.shards.asked(forwarded),
        };
        let GetOrderRequest { allow_stale, min_seq, .. } = *request;
        if min_seq > 0 && doors.len() > 1 {
            return Err(ApiError::invalid("min_seq", "of which shard? ask by order_id, which says it"));
        }
        for door in doors {
            if !allow_stale && let Some(way) = self.shards.elsewhere(door, forwarded) {
                let call = |to, request| async move { client(to).get_order(request).await };
                match way.call(request.clone(), call).await {
                    Err(error) if error.code == ErrorCode::NotFound => continue,
                    answer => return answer,
                }
            }
            let question = |reply| Query::Order { account, key, reply };
            let Told { view: found, stale } = door.read(allow_stale, min_seq, question).await?;
            if let Some((order, symbol)) = &found.order {
                let (order, as_of_seq) = (Some(encode::order(order, symbol)), found.as_of.0);
                return Ok(GetOrderResponse { order, as_of_seq, stale });
            }
        }
        // Whoever hands requests on asks the history itself.
        if forwarded.is_some() { Err(not_found()) } else { self.find_in_history(account, key, allow_stale).await }
    }

    async fn find_in_history(
        &self,
        account: AccountId,
        key: OrderTarget,
        stale: bool,
    ) -> Result<GetOrderResponse, ApiError> {
        let Some(history) = &self.history else {
            return Err(not_found());
        };
        let mut question = ListOrdersRequest {
            account_id: account.0,
            page_size: 1,
            // The caller may have been told of the order just now.
            from_primary: true,
            ..Default::default()
        };
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
        permit(request.extensions(), request.get_ref().account_id)?;
        let forwarded = marked(request.metadata());
        let request = request.into_inner();
        let door = self.shards.of_text(&request.symbol);
        if let Some(way) = self.shards.elsewhere(door, forwarded) {
            let call = way.call(request, |to, request| async move { client(to).submit_order(request).await });
            return Ok(Response::new(door.handed_on(Operation::Submit, call).await?));
        }
        let report = door.run(Operation::Submit, |symbols| convert::submit(&request, symbols)).await?;
        Ok(Response::new(SubmitOrderResponse { report: Some(report) }))
    }

    async fn cancel_order(
        &self,
        request: Request<CancelOrderRequest>,
    ) -> Result<Response<CancelOrderResponse>, Status> {
        permit(request.extensions(), request.get_ref().account_id)?;
        let forwarded = marked(request.metadata());
        let request = request.into_inner();
        let door = self.shards.of_text(&request.symbol);
        if let Some(way) = self.shards.elsewhere(door, forwarded) {
            let call = way.call(request, |to, request| async move { client(to).cancel_order(request).await });
            return Ok(Response::new(door.handed_on(Operation::Cancel, call).await?));
        }
        let report = door.run(Operation::Cancel, |symbols| convert::cancel(&request, symbols)).await?;
        Ok(Response::new(CancelOrderResponse { report: Some(report) }))
    }

    async fn replace_order(
        &self,
        request: Request<ReplaceOrderRequest>,
    ) -> Result<Response<ReplaceOrderResponse>, Status> {
        permit(request.extensions(), request.get_ref().account_id)?;
        let forwarded = marked(request.metadata());
        let request = request.into_inner();
        let door = self.shards.of_text(&request.symbol);
        if let Some(way) = self.shards.elsewhere(door, forwarded) {
            let call = way.call(request, |to, request| async move { client(to).replace_order(request).await });
            return Ok(Response::new(door.handed_on(Operation::Replace, call).await?));
        }
        let report = door.run(Operation::Replace, |symbols| convert::replace(&request, symbols)).await?;
        Ok(Response::new(ReplaceOrderResponse { report: Some(report) }))
    }

    async fn mass_cancel(&self, request: Request<MassCancelRequest>) -> Result<Response<MassCancelResponse>, Status> {
        permit(request.extensions(), request.get_ref().account_id)?;
        let forwarded = marked(request.metadata());
        let request = request.get_ref();
        let doors = match &*request.symbol {
            "" => self.shards.asked(forwarded),
            symbol => std::slice::from_ref(self.shards.of_text(symbol)),
        };
        let report = mass_cancel::run(&self.shards, doors, forwarded, request).await?;
        Ok(Response::new(MassCancelResponse { report: Some(report) }))
    }

    async fn get_order(&self, request: Request<GetOrderRequest>) -> Result<Response<GetOrderResponse>, Status> {
        permit(request.extensions(), request.get_ref().account_id)?;
        let received = Instant::now();
        let found = self.find(request.get_ref(), marked(request.metadata())).await;
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
        let forwarded = marked(request.metadata());
        let rights = Rights::of(request.extensions());
        let (shards, max) = (self.shards.clone(), self.session_unanswered_max);
        let answers = session::open(shards, max, forwarded, rights, request.into_inner());
        Ok(Response::new(answers))
    }

    async fn get_topology(
        &self,
        _request: Request<GetTopologyRequest>,
    ) -> Result<Response<GetTopologyResponse>, Status> {
        Ok(Response::new(self.shards.topology()))
    }
}

fn client(channel: Channel) -> OrderServiceClient<Channel> {
    OrderServiceClient::new(channel)
}

fn not_found() -> ApiError {
    ApiError::not_found("no such order of this account")
}
