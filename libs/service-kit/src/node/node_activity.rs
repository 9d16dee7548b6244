//! `NodeActivityService`: the metrics of this instance, for whoever reaches its gRPC port and not its metrics port.
//! Absent: what they mean.

use tonic::{Request, Response, Status};
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::node_activity_service_server::NodeActivityService;

use crate::NodeContext;
use crate::metrics::Exporter;

/// Answers with what the metrics door serves.
#[derive(Clone, Debug)]
pub(super) struct NodeActivity {
    context: NodeContext,
    exporter: Exporter,
}

impl NodeActivity {
    pub(super) const fn new(context: NodeContext, exporter: Exporter) -> Self {
        Self { context, exporter }
    }
}

#[tonic::async_trait]
impl NodeActivityService for NodeActivity {
    async fn get_node_metrics(
        &self,
        _: Request<pb::GetNodeMetricsRequest>,
    ) -> Result<Response<pb::GetNodeMetricsResponse>, Status> {
        let (node, roles) = (self.context.name.clone(), self.context.roles.clone());
        Ok(Response::new(pb::GetNodeMetricsResponse { text: self.exporter.render(), node, roles }))
    }
}
