//! Instances on free ports, instances that fail, a coordinator that says what it is told, and a plain HTTP client.
//! Absent: the tests.

use std::net::SocketAddr;
use std::time::Duration;

use admin_api::{Config, Deps, build};
use service_kit::config::HumanDuration;
use service_kit::metrics::Exporter;
use service_kit::node::{Listen, Node, NodeError, NodeOptions};
use service_kit::{NodeContext, Service, ServiceError, Shutdown, async_trait};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tonic::service::RoutesBuilder;
use tonic::{Request, Response, Status};
use wire::pb::consensus::v1 as pb;
use wire::pb::consensus::v1::consensus_service_server::{ConsensusService, ConsensusServiceServer};
use wire::transport::{Address, Channel, ClientOptions, connect};

/// Longest an answer may take in these tests, however slow the machine. Without a deadline of its own the question
/// to an instance that never answers would take for ever.
const PATIENCE: Duration = Duration::from_secs(30);

/// A node that serves.
pub(crate) struct Served {
    pub(crate) at: Listen,
    pub(crate) shutdown: Shutdown,
    pub(crate) end: JoinHandle<Result<(), NodeError>>,
}

pub(crate) fn context(name: &str, role: &str) -> NodeContext {
    NodeContext::new(name, vec![role.to_owned()], "unused")
}

pub(crate) async fn serve(context: NodeContext, services: Vec<Box<dyn Service>>) -> Served {
    let mut options = NodeOptions::new(Listen::any_port(), context, Exporter::install().expect("metrics"));
    // Channels of the tests stay open.
    options.close_timeout = Duration::from_millis(10);
    let node = Node::bind(options).await.expect("bound");
    let (at, shutdown) = (node.addresses(), Shutdown::new());
    let end = tokio::spawn(node.serve(services, None, shutdown.clone()));
    Served { at, shutdown, end }
}

impl Served {
    pub(crate) fn channel(&self) -> Channel {
        channel(self.at.grpc)
    }

    pub(crate) async fn stop(self) {
        self.shutdown.drain();
        self.end.await.expect("no panic").expect("orderly");
    }
}

pub(crate) fn channel(at: SocketAddr) -> Channel {
    connect(&Address::Tcp(format!("http://{at}")), &ClientOptions::default())
}

/// An admin service that asks these instances and this coordinator, and waits 800 ms for each.
pub(crate) async fn admin(own: NodeContext, nodes: Vec<(&str, Channel)>, consensus: Channel) -> Served {
    let nodes = nodes.into_iter().map(|(name, channel)| (name.to_owned(), channel)).collect();
    let config = Config { timeout: HumanDuration::from_millis(800), ..Config::default() };
    let consensus = vec![("consensus".to_owned(), consensus)];
    let service = build(config, Deps::new(nodes, consensus), &own).await.expect("built");
    serve(own, vec![Box::new(service)]).await
}

/// An admin service that asks these coordinators.
pub(crate) async fn admin_of(coordinators: Vec<(&str, Channel)>) -> Served {
    let own = context("door", "admin-api");
    let consensus = coordinators.into_iter().map(|(name, channel)| (name.to_owned(), channel)).collect();
    let config = Config { timeout: HumanDuration::from_millis(800), ..Config::default() };
    let service = build(config, Deps::new(vec![], consensus), &own).await.expect("built");
    serve(own, vec![Box::new(service)]).await
}

/// An address where connections are taken and nothing is ever answered.
pub(crate) async fn silent() -> (TcpListener, Channel) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let at = listener.local_addr().expect("bound");
    // The kernel completes connections for a listener that never accepts.
    (listener, channel(at))
}

/// An address where nobody listens.
pub(crate) async fn nobody() -> Channel {
    let (listener, channel) = silent().await;
    drop(listener);
    channel
}

/// A coordinator that always gives the same status.
#[derive(Clone)]
pub(crate) struct Coordinator(pub(crate) pb::GetConsensusStatusResponse);

#[async_trait]
impl Service for Coordinator {
    fn name(&self) -> &'static str {
        "consensus-coordinator"
    }

    fn register(&self, routes: &mut RoutesBuilder) {
        routes.add_service(ConsensusServiceServer::new(self.clone()));
    }

    async fn run(self: Box<Self>, shutdown: Shutdown) -> Result<(), ServiceError> {
        shutdown.draining().await;
        Ok(())
    }
}

#[tonic::async_trait]
impl ConsensusService for Coordinator {
    type HeartbeatStream = tokio_stream::Empty<Result<pb::HeartbeatResponse, Status>>;

    async fn acquire_leadership(
        &self,
        _: Request<pb::AcquireLeadershipRequest>,
    ) -> Result<Response<pb::AcquireLeadershipResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn release_leadership(
        &self,
        _: Request<pb::ReleaseLeadershipRequest>,
    ) -> Result<Response<pb::ReleaseLeadershipResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn heartbeat(
        &self,
        _: Request<tonic::Streaming<pb::HeartbeatRequest>>,
    ) -> Result<Response<Self::HeartbeatStream>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn get_consensus_status(
        &self,
        _: Request<pb::GetConsensusStatusRequest>,
    ) -> Result<Response<pb::GetConsensusStatusResponse>, Status> {
        Ok(Response::new(self.0.clone()))
    }

    async fn force_election(
        &self,
        _: Request<pb::ForceElectionRequest>,
    ) -> Result<Response<pb::ForceElectionResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn set_elections(
        &self,
        _: Request<pb::SetElectionsRequest>,
    ) -> Result<Response<pb::SetElectionsResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn drain_engine(
        &self,
        _: Request<pb::DrainEngineRequest>,
    ) -> Result<Response<pb::DrainEngineResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn restart_consensus(
        &self,
        _: Request<pb::RestartConsensusRequest>,
    ) -> Result<Response<pb::RestartConsensusResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) json: serde_json::Value,
}

pub(crate) async fn get(at: SocketAddr, path: &str) -> Answer {
    request(at, "GET", path).await
}

/// The body as text.
pub(crate) async fn get_text(at: SocketAddr, path: &str) -> String {
    exchange(at, "GET", path).await.1
}

/// One request, answered in JSON.
pub(crate) async fn request(at: SocketAddr, method: &str, path: &str) -> Answer {
    let (status, body) = exchange(at, method, path).await;
    let json = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"));
    Answer { status, json }
}

/// One request on a connection of its own.
async fn exchange(at: SocketAddr, method: &str, path: &str) -> (u16, String) {
    let exchange = async {
        let mut stream = TcpStream::connect(at).await.expect("connected");
        let text = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(text.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        answer
    };
    let answer = tokio::time::timeout(PATIENCE, exchange).await.expect("an answer although an instance is silent");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, body.to_owned())
}
