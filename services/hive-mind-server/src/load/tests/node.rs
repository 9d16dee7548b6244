//! A node that forgets, loses and hangs up as it is told: enough of one for a load to run against.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use wire::pb::history::v1 as history;
use wire::pb::history::v1::history_service_server::{HistoryService, HistoryServiceServer};
use wire::pb::orders::v1 as pb;
use wire::pb::orders::v1::order_service_server::{OrderService, OrderServiceServer};
use wire::pb::orders::v1::order_session_request::Command;
use wire::status::{ApiError, ErrorCode};
use wire::transport::{Channel, ClientOptions, connect, in_process};

#[derive(Default)]
pub(super) struct Node {
    /// A session ends without an answer to the request after so many; 0 for never.
    pub(super) hang_up_after: usize,
    /// What the engine knows, by client id.
    pub(super) engine: Mutex<BTreeMap<String, pb::Order>>,
    /// What only the history knows.
    pub(super) history: Vec<pb::Order>,
    /// How far the history is; each look at it brings it one further.
    pub(super) projected: Mutex<u64>,
}

#[derive(Clone)]
struct Stub(Arc<Node>);

pub(super) fn start(node: Node) -> (Channel, Arc<Node>) {
    let node = Arc::new(node);
    let (handle, listener) = in_process();
    let mut routes = tonic::service::Routes::builder();
    routes
        .add_service(OrderServiceServer::new(Stub(Arc::clone(&node))))
        .add_service(HistoryServiceServer::new(Stub(Arc::clone(&node))));
    tokio::spawn(listener.serve(routes.routes(), std::future::pending()));
    (connect(&handle.into(), &ClientOptions::default()), node)
}

impl Node {
    /// Executes a request once, however often it comes.
    fn execute(&self, account_id: u64, client_order_id: String) -> pb::OrderReport {
        let mut engine = self.engine.lock().expect("no panic under the lock");
        let next = engine.len() as u64 + 1;
        let known = engine.get(&client_order_id).is_some();
        let order = engine.entry(client_order_id.clone()).or_insert_with(|| pb::Order {
            order_id: next,
            account_id,
            client_order_id: client_order_id.clone(),
            status: pb::OrderStatus::New.into(),
            ..Default::default()
        });
        pb::OrderReport {
            order_id: order.order_id,
            client_order_id,
            status: order.status,
            duplicate: known,
            place: Some(pb::Place { seq: order.order_id, ..Default::default() }),
            ..Default::default()
        }
    }

    fn execute_command(&self, command: Command) -> pb::OrderReport {
        match command {
            Command::Submit(r) => self.execute(r.account_id, r.client_order_id),
            Command::Cancel(r) => self.execute(r.account_id, r.client_order_id),
            Command::Replace(r) => self.execute(r.account_id, r.client_order_id),
            Command::MassCancel(r) => self.execute(r.account_id, r.client_order_id),
        }
    }
}

fn absent() -> Status {
    ApiError::new(ErrorCode::Unsupported, "not part of this node").into()
}

#[tonic::async_trait]
impl OrderService for Stub {
    type OrderSessionStream = Pin<Box<dyn Stream<Item = Result<pb::OrderSessionResponse, Status>> + Send>>;

    async fn submit_order(
        &self,
        request: Request<pb::SubmitOrderRequest>,
    ) -> Result<Response<pb::SubmitOrderResponse>, Status> {
        let report = self.0.execute_command(Command::Submit(request.into_inner()));
        Ok(Response::new(pb::SubmitOrderResponse { report: Some(report) }))
    }

    async fn cancel_order(
        &self,
        request: Request<pb::CancelOrderRequest>,
    ) -> Result<Response<pb::CancelOrderResponse>, Status> {
        let report = self.0.execute_command(Command::Cancel(request.into_inner()));
        Ok(Response::new(pb::CancelOrderResponse { report: Some(report) }))
    }

    async fn replace_order(
        &self,
        request: Request<pb::ReplaceOrderRequest>,
    ) -> Result<Response<pb::ReplaceOrderResponse>, Status> {
        let report = self.0.execute_command(Command::Replace(request.into_inner()));
        Ok(Response::new(pb::ReplaceOrderResponse { report: Some(report) }))
    }

    async fn mass_cancel(&self, _: Request<pb::MassCancelRequest>) -> Result<Response<pb::MassCancelResponse>, Status> {
        Err(absent())
    }

    async fn get_topology(
        &self,
        _: Request<pb::GetTopologyRequest>,
    ) -> Result<Response<pb::GetTopologyResponse>, Status> {
        Ok(Response::new(pb::GetTopologyResponse { shards: 1, ..Default::default() }))
    }

    async fn get_order(&self, request: Request<pb::GetOrderRequest>) -> Result<Response<pb::GetOrderResponse>, Status> {
        let engine = self.0.engine.lock().expect("no panic under the lock");
        let order = match request.into_inner().key {
            Some(pb::get_order_request::Key::ClientOrderId(id)) => engine.get(&id).cloned(),
            _ => None,
        };
        let order = order.ok_or_else(|| ApiError::not_found("no such order"))?;
        Ok(Response::new(pb::GetOrderResponse { order: Some(order), as_of_seq: 1, stale: false }))
    }

    async fn order_session(
        &self,
        request: Request<Streaming<pb::OrderSessionRequest>>,
    ) -> Result<Response<Self::OrderSessionStream>, Status> {
        let (answers, receiver) = mpsc::channel(16);
        tokio::spawn(session(Arc::clone(&self.0), request.into_inner(), answers));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

async fn session(
    node: Arc<Node>,
    mut requests: Streaming<pb::OrderSessionRequest>,
    answers: mpsc::Sender<Result<pb::OrderSessionResponse, Status>>,
) {
    let mut number = 0;
    while let Ok(Some(request)) = requests.message().await {
        let Some(command) = request.command else { continue };
        let report = node.execute_command(command);
        number += 1;
        if node.hang_up_after > 0 && number > node.hang_up_after {
            return;
        }
        let result = Some(pb::order_session_response::Result::Report(report));
        if answers.send(Ok(pb::OrderSessionResponse { client_seq: request.client_seq, result })).await.is_err() {
            return;
        }
    }
}

#[tonic::async_trait]
impl HistoryService for Stub {
    async fn list_orders(
        &self,
        request: Request<history::ListOrdersRequest>,
    ) -> Result<Response<history::ListOrdersResponse>, Status> {
        let wanted = request.into_inner().order_id;
        let orders = self.0.history.iter().filter(|order| order.order_id == wanted);
        let rows = orders.map(|order| history::HistoricalOrder { order: Some(order.clone()), ..Default::default() });
        Ok(Response::new(history::ListOrdersResponse { orders: rows.collect(), ..Default::default() }))
    }

    async fn list_executions(
        &self,
        _: Request<history::ListExecutionsRequest>,
    ) -> Result<Response<history::ListExecutionsResponse>, Status> {
        Err(absent())
    }

    async fn list_trades(
        &self,
        _: Request<history::ListTradesRequest>,
    ) -> Result<Response<history::ListTradesResponse>, Status> {
        Err(absent())
    }

    async fn get_history_status(
        &self,
        _: Request<history::GetHistoryStatusRequest>,
    ) -> Result<Response<history::GetHistoryStatusResponse>, Status> {
        let mut projected = self.0.projected.lock().expect("no panic under the lock");
        *projected += 1;
        Ok(Response::new(history::GetHistoryStatusResponse { projected_seq: *projected, ..Default::default() }))
    }
}
