//! Puts engine, voter and coordinator together, each behind a gRPC server reached over memory.

use order_engine::{Config, Deps};
use service_kit::{Components, MemoryAccounts, NodeContext, Service, ServiceError, Shutdown};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tonic::service::{Routes, RoutesBuilder};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use wire::pb::admin::v1::instrument_service_client::InstrumentServiceClient;
use wire::pb::consensus::v1::consensus_service_server::ConsensusServiceServer;
use wire::pb::journal::v1::journal_service_server::JournalServiceServer;
use wire::pb::marketdata::v1::market_data_service_client::MarketDataServiceClient;
use wire::pb::marketdata::v1::{GetStateDigestRequest, GetStateDigestResponse};
use wire::pb::orders::v1::order_service_client::OrderServiceClient;
use wire::transport::{Channel, ClientOptions, PEER_MESSAGE_LIMIT, connect, in_process, server_settings};

use super::{Coordinator, Voter};

/// Pause before an engine is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// What outlives an engine.
pub(crate) struct Rig {
    pub(crate) voter: Voter,
    /// Other ways to it.
    pub(crate) ways: Vec<Voter>,
    pub(crate) coordinator: Coordinator,
    /// Coordinators that are tried before that one.
    pub(crate) others: Vec<Coordinator>,
    pub(crate) config: Config,
}

/// One run of an engine.
pub(crate) struct Engine {
    pub(crate) channel: Channel,
    pub(crate) memory: MemoryAccounts,
    components: Components,
    shutdown: Shutdown,
    run: JoinHandle<Result<(), ServiceError>>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(crate) fn with(config: Config) -> Self {
        Self { voter: Voter::new(), ways: Vec::new(), coordinator: Coordinator::default(), others: Vec::new(), config }
    }

    /// An engine that serves clients.
    pub(crate) async fn start(&self) -> Engine {
        let engine = self.launch().await;
        engine.ready().await;
        engine
    }

    /// An engine that has just been started, and is reached over the network too.
    pub(crate) async fn launch_named(&self, name: &str) -> Engine {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let advertised_address = format!("http://{}", listener.local_addr().unwrap());
        let config = Config { name: name.to_owned(), advertised_address, ..self.config.clone() };
        self.launch_as(config, Some(listener)).await
    }

    /// An engine that has just been started.
    pub(crate) async fn launch(&self) -> Engine {
        self.launch_as(self.config.clone(), None).await
    }

    async fn launch_as(&self, config: Config, listener: Option<TcpListener>) -> Engine {
        let journal = |way: &Voter| {
            let service = JournalServiceServer::new(way.clone()).max_decoding_message_size(PEER_MESSAGE_LIMIT);
            serve(Routes::new(service))
        };
        let ways = [&self.voter].into_iter().chain(&self.ways).map(journal).collect();
        let coordinators = self.others.iter().chain([&self.coordinator]);
        let consensus = coordinators.map(|one| serve(Routes::new(ConsensusServiceServer::new(one.clone()))));
        let context = NodeContext::new("test", vec!["order-engine".to_owned()], std::env::temp_dir());
        let deps = Deps {
            journal: vec![ways],
            consensus: consensus.collect(),
            signs_of_life: Handle::current(),
            history: None,
        };
        let engine = order_engine::build(config, deps, &context).await.unwrap();
        let mut routes = RoutesBuilder::default();
        engine.register(&mut routes);
        let shutdown = Shutdown::new();
        let run = tokio::spawn(Box::new(engine).run(shutdown.clone()));
        let (memory, components) = (context.memory.clone(), context.components.clone());
        let routes = routes.routes();
        if let Some(listener) = listener {
            let server = server_settings(Server::builder()).add_routes(routes.clone());
            tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        }
        Engine { channel: serve(routes), memory, components, shutdown, run }
    }
}

impl Engine {
    /// Returns when it leads every shard and takes orders.
    pub(crate) async fn ready(&self) {
        self.becomes(true).await;
    }

    /// Returns when that is over.
    pub(crate) async fn closed(&self) {
        self.becomes(false).await;
    }

    /// Returns when it is ready, whoever leads.
    pub(crate) async fn settled(&self) {
        let mut changes = self.components.changes();
        while !self.components.is_ready() {
            changes.changed().await.unwrap();
        }
    }

    async fn becomes(&self, open: bool) {
        while self.is_open() != open {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn is_open(&self) -> bool {
        let details = self.components.snapshot().components.remove(0).details;
        let mut states = details.iter().filter(|(key, _)| key.starts_with("state-")).map(|(_, state)| state == "open");
        states.next().is_some_and(|first| first && states.all(|open| open))
    }

    /// A detail of its component.
    pub(crate) fn detail(&self, key: &str) -> Option<String> {
        let snapshot = self.components.snapshot();
        snapshot.components.iter().find_map(|component| component.details.get(key).cloned())
    }

    pub(crate) fn orders(&self) -> OrderServiceClient<Channel> {
        OrderServiceClient::new(self.channel.clone())
    }

    pub(crate) fn market_data(&self) -> MarketDataServiceClient<Channel> {
        MarketDataServiceClient::new(self.channel.clone())
    }

    pub(crate) fn instruments(&self) -> InstrumentServiceClient<Channel> {
        InstrumentServiceClient::new(self.channel.clone())
    }

    pub(crate) async fn digest(&self) -> GetStateDigestResponse {
        let mut client = self.market_data();
        // As it is, also while the journal stands still.
        let request = GetStateDigestRequest { allow_stale: true, ..Default::default() };
        client.get_state_digest(request).await.unwrap().into_inner()
    }

    /// An orderly stop.
    pub(crate) async fn stop(self) {
        self.shutdown.drain();
        self.run.await.unwrap().unwrap();
    }

    /// As if the process was killed.
    pub(crate) async fn kill(self) {
        self.run.abort();
        assert!(self.run.await.unwrap_err().is_cancelled());
    }

    /// The error it ends with by itself.
    pub(crate) async fn fails(mut self) -> ServiceError {
        let mut changes = self.components.changes();
        loop {
            tokio::select! {
                biased;
                ended = &mut self.run => return ended.unwrap().unwrap_err(),
                _ = changes.changed() => assert!(!self.is_open(), "it serves clients instead"),
            }
        }
    }
}

/// A server of these routes, and the way to it.
fn serve(routes: Routes) -> Channel {
    let (handle, listener) = in_process();
    tokio::spawn(listener.serve(routes, std::future::pending()));
    connect(&handle.into(), &ClientOptions::default())
}
