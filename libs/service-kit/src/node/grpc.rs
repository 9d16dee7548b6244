//! The gRPC door: all services behind one set of routes, over the network and in-process. Within the process nobody has
//! to show who they are. Absent: connections; see [`super::socket`].

use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic::service::{Routes, RoutesBuilder};
use tonic::transport::Server;
use tonic_health::server::HealthReporter;
use tower::Layer;
use wire::pb::admin::v1::node_activity_service_server::NodeActivityServiceServer;
use wire::pb::admin::v1::node_audit_service_server::NodeAuditServiceServer;
use wire::pb::admin::v1::node_config_service_server::NodeConfigServiceServer;
use wire::pb::admin::v1::node_database_service_server::NodeDatabaseServiceServer;
use wire::pb::admin::v1::node_key_service_server::NodeKeyServiceServer;
use wire::pb::admin::v1::node_memory_service_server::NodeMemoryServiceServer;
use wire::pb::admin::v1::node_service_server::NodeServiceServer;
use wire::transport::{InProcessListener, PEER_MESSAGE_LIMIT, REQUEST_LIMIT, server_settings};

use super::config_service::ConfigAnswers;
use super::database_service::NodeDatabase;
use super::key_service::NodeKeys;
use super::node_activity::NodeActivity;
use super::node_memory::NodeMemory;
use super::node_service::NodeAnswers;
use super::socket::Incoming;
use super::{NodeAudit, NodeError};
use crate::auth::GrpcLayer;
use crate::config::acts;
use crate::metrics::Exporter;
use crate::request_id::RequestIdLayer;
use crate::trace::Tracer;
use crate::{NodeContext, Service};

/// Mounts the services, health, reflection and what the instance says of itself.
pub(super) fn routes(
    services: &[Box<dyn Service>],
    context: &NodeContext,
    exporter: &Exporter,
) -> Result<(Routes, HealthReporter), NodeError> {
    let mut builder = RoutesBuilder::default();
    for service in services {
        service.register(&mut builder);
    }
    let (reporter, health) = tonic_health::server::health_reporter();
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(wire::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // With these, tools can show the details of an error.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    // Both versions: older tools know only the alpha.
    builder
        .add_service(health)
        .add_service(reflection().build_v1().map_err(NodeError::Reflection)?)
        .add_service(reflection().build_v1alpha().map_err(NodeError::Reflection)?)
        .add_service(NodeAuditServiceServer::new(NodeAudit::new(context)).max_decoding_message_size(REQUEST_LIMIT))
        .add_service(NodeServiceServer::new(NodeAnswers(context.clone())).max_decoding_message_size(REQUEST_LIMIT))
        .add_service(
            NodeDatabaseServiceServer::new(NodeDatabase::new(context.clone())).max_decoding_message_size(REQUEST_LIMIT),
        )
        .add_service(
            NodeActivityServiceServer::new(NodeActivity::new(context.clone(), exporter.clone()))
                .max_decoding_message_size(REQUEST_LIMIT)
                .max_encoding_message_size(PEER_MESSAGE_LIMIT),
        )
        .add_service(
            NodeMemoryServiceServer::new(NodeMemory::new(context.clone()))
                .max_decoding_message_size(REQUEST_LIMIT)
                .max_encoding_message_size(PEER_MESSAGE_LIMIT),
        )
        .add_service(
            NodeConfigServiceServer::new(ConfigAnswers(context.clone()))
                .max_decoding_message_size(acts::TEXT_MAX + REQUEST_LIMIT),
        )
        .add_service(
            NodeKeyServiceServer::new(NodeKeys::new(context.clone())).max_decoding_message_size(REQUEST_LIMIT),
        );
    Ok((builder.routes().prepare(), reporter))
}

/// Services of the node itself, healthy for as long as it lives.
pub(super) const ALWAYS_SERVING: &str = <NodeServiceServer<NodeAnswers> as NamedService>::NAME;

/// Serves the network until `end`, and then until the open calls have ended.
pub(super) async fn serve_network(
    incoming: Incoming,
    routes: Routes,
    context: NodeContext,
    end: CancellationToken,
) -> Result<(), String> {
    server_settings(Server::builder())
        .layer(RequestIdLayer::new(context.tracer))
        .layer(GrpcLayer(context.auth))
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, end.cancelled_owned())
        .await
        .map_err(|error| error.to_string())
}

/// Serves the calls of this process until `end`.
pub(super) async fn serve_in_process(
    listener: InProcessListener,
    routes: Routes,
    tracer: Tracer,
    end: CancellationToken,
) -> Result<(), String> {
    listener.serve(RequestIdLayer::new(tracer).layer(routes), end.cancelled_owned()).await;
    Ok(())
}
