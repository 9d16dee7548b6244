//! `NodeConfigService`: the configuration of this instance. Absent: other instances, and what the acts are; see
//! [`crate::config::acts`].

use tonic::{Request, Response, Status};
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::node_config_service_server::NodeConfigService;

use crate::config::acts;
use crate::{Caller, NodeContext};

/// Answers for the instance of the context.
#[derive(Clone, Debug)]
pub(super) struct ConfigAnswers(pub(super) NodeContext);

impl ConfigAnswers {
    fn own(&self) -> (String, Vec<String>) {
        (self.0.name.clone(), self.0.roles.clone())
    }
}

#[tonic::async_trait]
impl NodeConfigService for ConfigAnswers {
    async fn get_node_config(
        &self,
        _: Request<pb::GetNodeConfigRequest>,
    ) -> Result<Response<pb::GetNodeConfigResponse>, Status> {
        let (node, roles) = self.own();
        Ok(Response::new(pb::GetNodeConfigResponse { config: Some(acts::state(&self.0)?), node, roles }))
    }

    async fn check_node_config(
        &self,
        request: Request<pb::CheckNodeConfigRequest>,
    ) -> Result<Response<pb::CheckNodeConfigResponse>, Status> {
        let outcome = acts::check(&self.0, request.into_inner().text).await?;
        let (node, roles) = self.own();
        Ok(Response::new(pb::CheckNodeConfigResponse { outcome: Some(outcome), node, roles }))
    }

    async fn reload_node_config(
        &self,
        request: Request<pb::ReloadNodeConfigRequest>,
    ) -> Result<Response<pb::ReloadNodeConfigResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let outcome = acts::reload(&self.0, caller, request.into_inner().order.unwrap_or_default()).await?;
        let (node, roles) = self.own();
        Ok(Response::new(pb::ReloadNodeConfigResponse { outcome: Some(outcome), node, roles }))
    }

    async fn set_node_log_level(
        &self,
        request: Request<pb::SetNodeLogLevelRequest>,
    ) -> Result<Response<pb::SetNodeLogLevelResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let pb::SetNodeLogLevelRequest { order, level, duration_ms } = request.into_inner();
        let (before, after) = acts::log_level(&self.0, caller, &order.unwrap_or_default(), &level, duration_ms)?;
        let (node, roles) = self.own();
        Ok(Response::new(pb::SetNodeLogLevelResponse { before, after, node, roles }))
    }
}
