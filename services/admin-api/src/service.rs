//! The service put together. Absent: sockets (the node's) and where the channels lead.

use std::sync::Arc;

use service_kit::config::Live;
use service_kit::config::acts::TEXT_MAX;
use service_kit::metrics::{Exporter, MetricsError};
use service_kit::{Component, NodeContext, Service, ServiceError, Shutdown, async_trait};
use tonic::server::NamedService;
use tonic::service::RoutesBuilder;
use wire::pb::admin::v1::activity_service_server::ActivityServiceServer;
use wire::pb::admin::v1::admin_service_server::AdminServiceServer;
use wire::pb::admin::v1::audit_service_server::AuditServiceServer;
use wire::pb::admin::v1::config_service_server::ConfigServiceServer;
use wire::pb::admin::v1::database_service_server::DatabaseServiceServer;
use wire::pb::admin::v1::incident_service_server::IncidentServiceServer;
use wire::pb::admin::v1::key_service_server::KeyServiceServer;
use wire::pb::admin::v1::memory_service_server::MemoryServiceServer;
use wire::pb::admin::v1::notification_service_server::NotificationServiceServer;
use wire::pb::admin::v1::trading_service_server::TradingServiceServer;
use wire::transport::{Channel, PEER_MESSAGE_LIMIT, REQUEST_LIMIT};

use crate::activity::Activities;
use crate::audit::AuditAnswers;
use crate::config::{Config, ConfigError};
use crate::configuration::Configuration;
use crate::database::DatabaseOrders;
use crate::gather::Gather;
use crate::grpc::Answers;
use crate::incident::{self, Incidents};
use crate::keys::KeyOrders;
use crate::memory::MemoryAnswers;
use crate::notifications::{self, Delivery, Notifications, Outbox};
use crate::trading::Trading;
use crate::ways::Ways;
use crate::{audit_http, database_http, http};

/// Name of the service among the components of a node's health.
const COMPONENT: &str = "admin";

/// Whom the service asks.
#[derive(Clone, Debug)]
pub struct Deps {
    /// Every instance by name, each reached by its own channel. The instance that has the name of the context is this
    /// one, and is not asked over its channel.
    pub nodes: Vec<(String, Channel)>,
    /// Every coordinator by name, that of this process included.
    pub consensus: Vec<(String, Channel)>,
    /// Every engine, the one in this process first.
    pub engines: Vec<Channel>,
    /// Every gateway: any of them knows the history.
    pub history: Vec<Channel>,
    /// Who is notified.
    pub notifications: Live<notifications::Config>,
}

impl Deps {
    /// Asks these, knows no engine and no history and notifies nobody.
    #[must_use]
    pub fn new(nodes: Vec<(String, Channel)>, consensus: Vec<(String, Channel)>) -> Self {
        let notifications = Live::fixed(notifications::Config::default());
        Self { nodes, consensus, engines: Vec::new(), history: Vec::new(), notifications }
    }
}

/// Why the service could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Metrics cannot be read.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The notifications that wait cannot be read.
    #[error("cannot use the outbox of notifications in the data directory: {0}")]
    Outbox(std::io::Error),
    /// The certificates of the system cannot be read.
    #[error("cannot set up an HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

/// The admin service, ready to run.
pub struct AdminApi {
    gather: Arc<Gather>,
    activities: Activities,
    trading: Trading,
    engines: Ways,
    coordinators: Ways,
    component: Component,
    notifications: Notifications,
    delivery: Delivery,
    incidents: Incidents,
}

/// Puts the service together. Connects to nobody yet.
///
/// # Errors
/// [`BuildError`] when the configuration is wrong.
pub async fn build(config: impl Into<Live<Config>>, deps: Deps, context: &NodeContext) -> Result<AdminApi, BuildError> {
    let live: Live<Config> = config.into();
    let config = (*live.now()).clone();
    config.validate()?;
    let component = context.components.register_optional(COMPONENT);
    component.serves(<AdminServiceServer<Answers> as NamedService>::NAME);
    component.serves(<DatabaseServiceServer<DatabaseOrders> as NamedService>::NAME);
    component.serves(<ConfigServiceServer<Configuration> as NamedService>::NAME);
    component.serves(<ActivityServiceServer<Activities> as NamedService>::NAME);
    component.serves(<TradingServiceServer<Trading> as NamedService>::NAME);
    component.serves(<MemoryServiceServer<MemoryAnswers> as NamedService>::NAME);
    component.serves(<KeyServiceServer<KeyOrders> as NamedService>::NAME);
    let coordinators = deps.consensus.iter().map(|(_, channel)| channel.clone()).collect();
    let engines = Ways::to_engines(deps.engines);
    component.serves(<AuditServiceServer<AuditAnswers> as NamedService>::NAME);
    component.serves(<NotificationServiceServer<Notifications> as NamedService>::NAME);
    component.serves(<IncidentServiceServer<Incidents> as NamedService>::NAME);
    let gather = Arc::new(Gather::new(context.clone(), deps.nodes, deps.consensus, config.timeout.0));
    let data_dir = context.data_dir.clone();
    let outbox = tokio::task::spawn_blocking(move || Outbox::open(&data_dir)).await;
    let outbox = Arc::new(outbox.map_err(std::io::Error::other).flatten().map_err(BuildError::Outbox)?);
    let waiting = context.components.register_optional(notifications::COMPONENT);
    let delivery = Delivery::new(Arc::clone(&outbox), deps.notifications.clone(), context.audit.clone(), waiting)?;
    let notifications = Notifications::new(Arc::clone(&gather), outbox, deps.notifications);
    let incidents = Incidents::new(Arc::clone(&gather), deps.history, &config.prometheus_url)?;
    Ok(AdminApi {
        activities: Activities::new(Arc::clone(&gather), Exporter::install()?),
        trading: Trading::new(engines.clone(), context.audit.clone()),
        coordinators: Ways::to_coordinators(coordinators),
        gather,
        engines,
        component,
        notifications,
        delivery,
        incidents,
    })
}

#[async_trait]
impl Service for AdminApi {
    fn name(&self) -> &'static str {
        "admin-api"
    }

    fn register(&self, routes: &mut RoutesBuilder) {
        let answers = Answers(Arc::clone(&self.gather));
        routes.add_service(AdminServiceServer::new(answers).max_decoding_message_size(REQUEST_LIMIT));
        let orders = DatabaseOrders::new(Arc::clone(&self.gather));
        routes.add_service(DatabaseServiceServer::new(orders).max_decoding_message_size(REQUEST_LIMIT));
        let activities = ActivityServiceServer::new(self.activities.clone()).max_decoding_message_size(REQUEST_LIMIT);
        routes.add_service(activities.max_encoding_message_size(PEER_MESSAGE_LIMIT));
        routes.add_service(TradingServiceServer::new(self.trading.clone()).max_decoding_message_size(REQUEST_LIMIT));
        let memory = MemoryAnswers::new(Arc::clone(&self.gather));
        routes.add_service(
            MemoryServiceServer::new(memory)
                .max_decoding_message_size(REQUEST_LIMIT)
                .max_encoding_message_size(PEER_MESSAGE_LIMIT),
        );
        let configuration = Configuration(Arc::clone(&self.gather));
        let limit = TEXT_MAX + REQUEST_LIMIT;
        routes.add_service(ConfigServiceServer::new(configuration).max_decoding_message_size(limit));
        let audit = AuditAnswers::new(Arc::clone(&self.gather));
        routes.add_service(AuditServiceServer::new(audit).max_decoding_message_size(REQUEST_LIMIT));
        let (notifications, incidents) = (self.notifications.clone(), self.incidents.clone());
        routes.add_service(NotificationServiceServer::new(notifications).max_decoding_message_size(REQUEST_LIMIT));
        routes.add_service(IncidentServiceServer::new(incidents).max_decoding_message_size(REQUEST_LIMIT));
        let keys = KeyOrders::new(Arc::clone(&self.gather));
        routes.add_service(KeyServiceServer::new(keys).max_decoding_message_size(REQUEST_LIMIT));
    }

    fn http(&self) -> Option<axum::Router> {
        let actions = http::actions::router(self.trading.clone(), self.coordinators.clone());
        let market = http::market::router(self.engines.clone());
        let activity = http::activity::router(Arc::clone(&self.gather), self.activities.clone());
        let database = database_http::router(DatabaseOrders::new(Arc::clone(&self.gather)));
        let audit = audit_http::router(AuditAnswers::new(Arc::clone(&self.gather)));
        let notifications = notifications::router(self.notifications.clone());
        let incidents = incident::router(self.incidents.clone());
        let reads = http::router(Arc::clone(&self.gather));
        let reads = reads.merge(database).merge(activity).merge(audit).merge(notifications).merge(incidents);
        Some(reads.merge(market).merge(actions).merge(http::console::router()))
    }

    /// Delivers notifications; and answers until the doors close, also while the node drains.
    async fn run(self: Box<Self>, shutdown: Shutdown) -> Result<(), ServiceError> {
        self.component.ok();
        tokio::select! {
            () = self.delivery.run() => {}
            () = shutdown.draining() => {}
        }
        Ok(())
    }
}
