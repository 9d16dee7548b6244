//! An order service that does as it is told, behind the same server settings as a node.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::Stream;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use crate::api_key::ApiKey;
use crate::pb::orders::v1 as pb;
use crate::pb::orders::v1::order_service_server::{OrderService, OrderServiceServer};
use crate::pb::orders::v1::order_session_request::Command;
use crate::pb::orders::v1::order_session_response::Result as Answered;
use crate::status::{ApiError, ErrorCode};
use crate::transport::{Channel, ClientOptions, connect, in_process, server_settings};

/// What the server does.
#[derive(Default)]
pub(super) struct Behaviour {
    /// Answers to the first requests, oldest first.
    pub(super) refusals: Vec<ApiError>,
    /// Answers of a session are held back and sent in reverse in groups of this size; 0 or 1 for in order.
    pub(super) reverse_in_groups_of: usize,
    /// Who leads, as the server says.
    pub(super) leaders: Vec<pb::LeaderHint>,
    /// Sessions read nothing until they are released or ended.
    pub(super) held: bool,
}

pub(super) struct Observed {
    pub(super) calls: AtomicUsize,
    /// Names of the keys that were shown with new orders.
    pub(super) keys: Mutex<Vec<Option<String>>>,
    pub(super) release: Notify,
    pub(super) end_sessions: Notify,
    refusals: Mutex<VecDeque<ApiError>>,
    behaviour: Behaviour,
}

#[derive(Clone)]
struct Orders(Arc<Observed>);

/// Serves in the background, until the channel is gone.
pub(super) fn start(mut behaviour: Behaviour) -> (Channel, Arc<Observed>) {
    let observed = Arc::new(Observed {
        calls: AtomicUsize::new(0),
        keys: Mutex::default(),
        release: Notify::new(),
        end_sessions: Notify::new(),
        refusals: Mutex::new(std::mem::take(&mut behaviour.refusals).into()),
        behaviour,
    });
    let (handle, listener) = in_process();
    let service = OrderServiceServer::new(Orders(Arc::clone(&observed)));
    tokio::spawn(listener.serve(service, std::future::pending()));
    (connect(&handle.into(), &ClientOptions::default()), observed)
}

/// The same, reached over the network until the task is aborted: its address, and the task.
pub(super) async fn start_on_tcp() -> (String, Arc<Observed>, JoinHandle<()>) {
    let (_, observed) = start(Behaviour::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let server = server_settings(Server::builder()).add_service(OrderServiceServer::new(Orders(Arc::clone(&observed))));
    let task = tokio::spawn(async move { server.serve_with_incoming(TcpIncoming::from(listener)).await.unwrap() });
    (address, observed, task)
}

impl Observed {
    fn answer(&self, client_order_id: String) -> Result<pb::OrderReport, ApiError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        match self.refusals.lock().unwrap().pop_front() {
            Some(refusal) => Err(refusal),
            None => Ok(pb::OrderReport { client_order_id, ..Default::default() }),
        }
    }
}

fn not_here() -> Status {
    ApiError::new(ErrorCode::Unsupported, "not here").into()
}

#[tonic::async_trait]
impl OrderService for Orders {
    type OrderSessionStream = Pin<Box<dyn Stream<Item = Result<pb::OrderSessionResponse, Status>> + Send>>;

    async fn submit_order(
        &self,
        request: Request<pb::SubmitOrderRequest>,
    ) -> Result<Response<pb::SubmitOrderResponse>, Status> {
        let key = ApiKey::of_headers(request.metadata().as_ref()).unwrap();
        self.0.keys.lock().unwrap().push(key.map(|key| key.id().to_owned()));
        let report = self.0.answer(request.into_inner().client_order_id)?;
        Ok(Response::new(pb::SubmitOrderResponse { report: Some(report) }))
    }

    async fn cancel_order(
        &self,
        _: Request<pb::CancelOrderRequest>,
    ) -> Result<Response<pb::CancelOrderResponse>, Status> {
        Err(not_here())
    }

    async fn replace_order(
        &self,
        _: Request<pb::ReplaceOrderRequest>,
    ) -> Result<Response<pb::ReplaceOrderResponse>, Status> {
        Err(not_here())
    }

    async fn mass_cancel(&self, _: Request<pb::MassCancelRequest>) -> Result<Response<pb::MassCancelResponse>, Status> {
        Err(not_here())
    }

    async fn get_topology(
        &self,
        _: Request<pb::GetTopologyRequest>,
    ) -> Result<Response<pb::GetTopologyResponse>, Status> {
        let leaders = self.0.behaviour.leaders.clone();
        Ok(Response::new(pb::GetTopologyResponse { shards: 1, leaders, ..Default::default() }))
    }

    async fn get_order(&self, _: Request<pb::GetOrderRequest>) -> Result<Response<pb::GetOrderResponse>, Status> {
        Err(ApiError::not_found("no such order").into())
    }

    async fn order_session(
        &self,
        request: Request<Streaming<pb::OrderSessionRequest>>,
    ) -> Result<Response<Self::OrderSessionStream>, Status> {
        let (sender, receiver) = mpsc::channel(16);
        tokio::spawn(session(Arc::clone(&self.0), request.into_inner(), sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

async fn session(
    observed: Arc<Observed>,
    mut requests: Streaming<pb::OrderSessionRequest>,
    answers: mpsc::Sender<Result<pb::OrderSessionResponse, Status>>,
) {
    if observed.behaviour.held {
        tokio::select! {
            () = observed.release.notified() => {}
            () = observed.end_sessions.notified() => return,
        }
    }
    let group = observed.behaviour.reverse_in_groups_of.max(1);
    let mut held = Vec::new();
    while let Ok(Some(request)) = requests.message().await {
        let Some(Command::Submit(submit)) = request.command else { continue };
        let result = match observed.answer(submit.client_order_id) {
            Ok(report) => Answered::Report(report),
            Err(error) => Answered::Error(error.into_session_error()),
        };
        held.push(pb::OrderSessionResponse { client_seq: request.client_seq, result: Some(result) });
        if held.len() == group {
            while let Some(answer) = held.pop() {
                if answers.send(Ok(answer)).await.is_err() {
                    return;
                }
            }
        }
    }
}
