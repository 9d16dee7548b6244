//! `NodeService`: what this instance says of itself. Absent: other instances.

use tonic::{Request, Response, Status};
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::node_service_server::NodeService;

use crate::NodeContext;

/// Answers from the registries of the context; asks nobody.
#[derive(Clone, Debug)]
pub(super) struct NodeAnswers(pub(super) NodeContext);

#[tonic::async_trait]
impl NodeService for NodeAnswers {
    async fn get_node_health(
        &self,
        _: Request<pb::GetNodeHealthRequest>,
    ) -> Result<Response<pb::GetNodeHealthResponse>, Status> {
        Ok(Response::new(pb::GetNodeHealthResponse { health: Some(self.0.health()) }))
    }

    async fn get_node_pools(
        &self,
        _: Request<pb::GetNodePoolsRequest>,
    ) -> Result<Response<pb::GetNodePoolsResponse>, Status> {
        let (node, roles) = (self.0.name.clone(), self.0.roles.clone());
        Ok(Response::new(pb::GetNodePoolsResponse { pools: self.0.pools.snapshot(), node, roles }))
    }

    async fn get_node_memory(
        &self,
        _: Request<pb::GetNodeMemoryRequest>,
    ) -> Result<Response<pb::GetNodeMemoryResponse>, Status> {
        let (node, roles) = (self.0.name.clone(), self.0.roles.clone());
        Ok(Response::new(pb::GetNodeMemoryResponse { memory: Some(self.0.memory.memory()), node, roles }))
    }
}
