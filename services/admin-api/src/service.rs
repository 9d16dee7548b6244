//! The service put together. Absent: sockets (the node's) and where the channels lead.

use std::sync::Arc;

use service_kit::config::Live;
use service_kit::{Component, NodeContext, Service, ServiceError, Shutdown, async_trait};
use tonic::server::NamedService;
use tonic::service::RoutesBuilder;
use wire::pb::admin::v1::admin_service_server::AdminServiceServer;
use wire::pb::admin::v1::database_service_server::DatabaseServiceServer;
use wire::transport::{Channel, REQUEST_LIMIT};

use crate::config::{Config, ConfigError};
use crate::database::DatabaseOrders;
use crate::gather::Gather;
use crate::grpc::Answers;
use crate::{database_http, http};

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
}

/// Why the service could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// The admin service, ready to run.
pub struct AdminApi {
    gather: Arc<Gather>,
    component: Component,
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
    let gather = Gather::new(context.clone(), deps.nodes, deps.consensus, config.timeout.0);
    Ok(AdminApi { gather: Arc::new(gather), component })
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
    }

    fn http(&self) -> Option<axum::Router> {
        let database = database_http::router(DatabaseOrders::new(Arc::clone(&self.gather)));
        Some(http::router(Arc::clone(&self.gather)).merge(database))
    }

    /// Has nothing of its own to do: it answers until the doors close, also while the node drains.
    async fn run(self: Box<Self>, shutdown: Shutdown) -> Result<(), ServiceError> {
        self.component.ok();
        shutdown.draining().await;
        Ok(())
    }
}
