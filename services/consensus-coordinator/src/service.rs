//! Puts a coordinator together and runs it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use journal_core::placement::{Input, Timing};
use service_kit::config::Live;
use service_kit::{NodeContext, Service, ServiceError, Shutdown};
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};
use tonic::server::NamedService;
use tonic::service::RoutesBuilder;
use wire::pb::consensus::v1::consensus_service_server::ConsensusServiceServer;
use wire::transport::Channel;
use wire::transport::REQUEST_LIMIT;

use crate::coordinator::Coordinator;
use crate::grpc::Consensus;
use crate::voters::Voters;
use crate::{Config, ConfigError, EmbeddedStore, EtcdOptions, EtcdStore, LeaseStore, StoreError, StoreKind};

/// Time between two readings of the store: an outage is known within a second or two even if no engine speaks, and a
/// change even if the watch says nothing.
const READ_EVERY: Duration = Duration::from_secs(1);
/// Time between two readings for hints of the watch.
const READ_PAUSE: Duration = Duration::from_millis(10);
/// Time between two looks at the clock.
const TICK: Duration = Duration::from_millis(100);

/// Whom a coordinator asks about leaders it suspects.
#[derive(Clone, Debug, Default)]
pub struct Deps {
    /// Gateways. Without any, a leader that dies without a word ends with its lease.
    pub gateways: Vec<Channel>,
    /// Whether all gateways are ways to one voter, a common database.
    pub shared_voter: bool,
}

/// Why a coordinator cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A setting cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The embedded store cannot be opened, or an address is none. An etcd that is away is no error.
    #[error("the consensus store cannot be opened: {0}")]
    Store(#[from] StoreError),
    /// A start-up task ended badly.
    #[error("cannot start: {0}")]
    System(String),
}

/// A coordinator, ready to run.
#[derive(Debug)]
pub struct ConsensusCoordinator {
    consensus: Consensus,
    shutdown: watch::Sender<Option<Shutdown>>,
}

/// Opens the store.
///
/// # Errors
/// When a setting cannot be used or the embedded store cannot be opened.
pub async fn build(
    config: impl Into<Live<Config>>,
    deps: Deps,
    context: &NodeContext,
) -> Result<ConsensusCoordinator, BuildError> {
    let live: Live<Config> = config.into();
    let config = (*live.now()).clone();
    config.validate()?;
    let shards = config.shards.into();
    let voters = Voters { gateways: deps.gateways, shared: deps.shared_voter };
    let lease = Duration::from_secs(config.lease_ttl.0.as_millis().div_ceil(1_000).try_into().unwrap_or(u64::MAX));
    let timing = Timing { lease, balance_pause: config.balance_pause.0, ..Timing::default() };
    let component = context.components.register_optional("consensus");
    component.serves(<ConsensusServiceServer<Consensus> as NamedService>::NAME);
    let ttl = config.lease_ttl.0;
    let store: Arc<dyn LeaseStore> = match config.store {
        StoreKind::Embedded => {
            let path = context.data_dir.join("consensus").join("epochs");
            let begun = Instant::now();
            let clock: crate::Monotonic = Arc::new(move || begun.elapsed());
            let opened = tokio::task::spawn_blocking(move || EmbeddedStore::open(path, ttl, clock));
            Arc::new(opened.await.map_err(|error| BuildError::System(error.to_string()))??)
        }
        StoreKind::Etcd => {
            let options = EtcdOptions {
                endpoints: config.endpoints,
                prefix: config.prefix,
                ttl,
                request_timeout: config.request_timeout.0,
                connect_timeout: config.connect_timeout.0,
            };
            Arc::new(EtcdStore::connect(options).await?)
        }
    };
    let acquire_limit = config.request_timeout.0 * 2 + Duration::from_millis(500);
    let (name, audit) = (context.name.clone(), context.audit.clone());
    let coordinator = Coordinator::new(name, store, (shards, voters, timing), (component, audit), acquire_limit);
    let coordinator = Arc::new(coordinator);
    coordinator.look().await;
    coordinator.refresh().await;
    let (shutdown, told) = watch::channel(None);
    let consensus = Consensus { coordinator, shutdown: told };
    Ok(ConsensusCoordinator { consensus, shutdown })
}

#[async_trait]
impl Service for ConsensusCoordinator {
    fn name(&self) -> &'static str {
        "consensus-coordinator"
    }

    fn register(&self, routes: &mut RoutesBuilder) {
        let server = ConsensusServiceServer::new(self.consensus.clone());
        routes.add_service(server.max_decoding_message_size(REQUEST_LIMIT));
    }

    /// Serves through the whole of the drain: an engine that ends gives its leadership back then, and another one
    /// takes it.
    async fn run(self: Box<Self>, shutdown: Shutdown) -> Result<(), ServiceError> {
        self.shutdown.send_replace(Some(shutdown.clone()));
        let (coordinator, stop) = (Arc::clone(&self.consensus.coordinator), shutdown.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = stop.stopped() => {}
                _ = async { tokio::join!(clock(&coordinator), readings(&coordinator), looks(&coordinator)) } => {}
            }
        });
        shutdown.draining().await;
        Ok(())
    }
}

async fn clock(coordinator: &Arc<Coordinator>) {
    let mut ticks = every(TICK);
    loop {
        ticks.tick().await;
        coordinator.feed(Input::Tick);
    }
}

/// The hint says when, the reading what.
async fn readings(coordinator: &Arc<Coordinator>) {
    let mut ticks = every(READ_EVERY);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = coordinator.store.changed() => {}
        }
        coordinator.refresh().await;
        tokio::time::sleep(READ_PAUSE).await;
    }
}

async fn looks(coordinator: &Arc<Coordinator>) {
    let mut ticks = every(READ_EVERY);
    loop {
        ticks.tick().await;
        coordinator.look().await;
    }
}

fn every(period: Duration) -> Interval {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
