//! `AdminService` over gRPC. Absent: how the answers are made; see [`crate::gather`].

use std::sync::Arc;

use tonic::{Request, Response, Status};
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::admin_service_server::AdminService;

use crate::gather::Gather;

/// Answers from what is gathered.
#[derive(Clone)]
pub(crate) struct Answers(pub(crate) Arc<Gather>);

#[tonic::async_trait]
impl AdminService for Answers {
    async fn get_health(
        &self,
        request: Request<pb::GetHealthRequest>,
    ) -> Result<Response<pb::GetHealthResponse>, Status> {
        let limit = self.0.limit(request.get_ref().timeout_ms)?;
        Ok(Response::new(self.0.health(limit).await))
    }

    async fn get_pool_status(
        &self,
        request: Request<pb::GetPoolStatusRequest>,
    ) -> Result<Response<pb::GetPoolStatusResponse>, Status> {
        let limit = self.0.limit(request.get_ref().timeout_ms)?;
        Ok(Response::new(self.0.pools(limit).await))
    }

    async fn get_memory_profile(
        &self,
        request: Request<pb::GetMemoryProfileRequest>,
    ) -> Result<Response<pb::GetMemoryProfileResponse>, Status> {
        let limit = self.0.limit(request.get_ref().timeout_ms)?;
        Ok(Response::new(self.0.memory(limit).await))
    }
}
