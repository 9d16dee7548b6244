//! Puts a coordinator together and runs it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use service_kit::{NodeContext, Service, ServiceError, Shutdown};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tonic::server::NamedService;
use tonic::service::RoutesBuilder;
use wire::pb::consensus::v1::consensus_service_server::ConsensusServiceServer;
use wire::transport::REQUEST_LIMIT;

use crate::coordinator::Coordinator;
use crate::grpc::Consensus;
use crate::{Config, ConfigError, EmbeddedStore, EtcdOptions, EtcdStore, LeaseStore, StoreError, StoreKind};

/// Time between two looks at the store: an outage is known within a second or two even if no engine speaks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

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
pub async fn build(config: Config, context: &NodeContext) -> Result<ConsensusCoordinator, BuildError> {
    config.validate()?;
    let shards = config.shards.into();
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
    let coordinator = Arc::new(Coordinator::new(store, component, acquire_limit));
    coordinator.look().await;
    let (shutdown, told) = watch::channel(None);
    let consensus = Consensus { name: context.name.clone(), coordinator, shards, shutdown: told };
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

    /// Serves through the whole of the drain: an engine that ends gives its leadership back then.
    async fn run(self: Box<Self>, shutdown: Shutdown) -> Result<(), ServiceError> {
        self.shutdown.send_replace(Some(shutdown.clone()));
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.draining() => return Ok(()),
                _ = ticks.tick() => self.consensus.coordinator.look().await,
            }
        }
    }
}
