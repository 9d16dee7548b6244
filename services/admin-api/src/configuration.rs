//! `ConfigService`: configuration and log level of all instances, or of those that are named. Absent: what one instance
//! does about them; see `service_kit::config::acts`.

use std::sync::Arc;
use std::time::Duration;

use service_kit::config::acts;
use service_kit::{Caller, NodeContext};
use tonic::{Request, Response, Status};
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::config_service_server::ConfigService;
use wire::pb::admin::v1::node_config_service_client::NodeConfigServiceClient;
use wire::pb::consensus::v1::Order;
use wire::status::{ApiError, ErrorCode};
use wire::transport::Channel;

use crate::gather::Gather;
use crate::metrics::Question;
use crate::orders::{in_the_name_of, named};
use crate::targets::Asked;

/// Answers from what is gathered.
#[derive(Clone)]
pub(crate) struct Configuration(pub(crate) Arc<Gather>);

/// What an instance says, its name and its roles.
type Named<T> = (T, String, Vec<String>);

fn with_names<T>(own: &NodeContext, value: T) -> Result<Response<Named<T>>, Status> {
    Ok(Response::new((value, own.name.clone(), own.roles.clone())))
}

impl Configuration {
    async fn give<T, F>(
        &self,
        limit: Duration,
        targets: Vec<String>,
        own: impl Future<Output = Result<Response<Named<T>>, Status>>,
        give: impl Fn(Channel) -> F,
    ) -> Result<Vec<Asked<T>>, ApiError>
    where
        F: Future<Output = Result<Named<T>, Status>>,
    {
        let chosen = self.0.choose(targets)?;
        let asked = self.0.give(Question::Config, limit, &chosen, own, give).await;
        let all = asked.into_iter().map(|Asked { answer, value }| match value {
            Some((value, node, roles)) => Asked { answer: named(answer, node, roles), value: Some(value) },
            None => Asked { answer, value: None },
        });
        Ok(all.collect())
    }

    pub(crate) async fn get(&self, limit: Duration, targets: Vec<String>) -> Result<pb::GetConfigResponse, ApiError> {
        let own = async { with_names(self.0.context(), acts::state(self.0.context())?) };
        let ask = async |channel| {
            let answer = NodeConfigServiceClient::new(channel).get_node_config(pb::GetNodeConfigRequest {}).await?;
            let pb::GetNodeConfigResponse { config, node, roles } = answer.into_inner();
            Ok((config.unwrap_or_default(), node, roles))
        };
        let asked = self.give(limit, targets, own, ask).await?;
        let instances = asked.into_iter().map(|a| pb::InstanceConfig { answer: Some(a.answer), config: a.value });
        Ok(pb::GetConfigResponse { instances: instances.collect() })
    }

    pub(crate) async fn check(
        &self,
        limit: Duration,
        targets: Vec<String>,
        text: Option<String>,
    ) -> Result<pb::CheckConfigResponse, ApiError> {
        let own = async { with_names(self.0.context(), acts::check(self.0.context(), text.clone()).await?) };
        let ask = async |channel| {
            let request = pb::CheckNodeConfigRequest { text: text.clone() };
            let answer = NodeConfigServiceClient::new(channel).check_node_config(request).await?;
            let pb::CheckNodeConfigResponse { outcome, node, roles } = answer.into_inner();
            Ok((outcome.unwrap_or_default(), node, roles))
        };
        let asked = self.give(limit, targets, own, ask).await?;
        let instances = asked.into_iter().map(|a| pb::InstanceOutcome { answer: Some(a.answer), outcome: a.value });
        Ok(pb::CheckConfigResponse { instances: instances.collect() })
    }

    pub(crate) async fn reload(
        &self,
        caller: Caller,
        limit: Duration,
        targets: Vec<String>,
        order: Order,
    ) -> Result<pb::ReloadConfigResponse, ApiError> {
        let order = in_the_name_of(&caller, order);
        let own = async { with_names(self.0.context(), acts::reload(self.0.context(), caller, order.clone()).await?) };
        let ask = async |channel| {
            let request = pb::ReloadNodeConfigRequest { order: Some(order.clone()) };
            let answer = NodeConfigServiceClient::new(channel).reload_node_config(request).await?;
            let pb::ReloadNodeConfigResponse { outcome, node, roles } = answer.into_inner();
            Ok((outcome.unwrap_or_default(), node, roles))
        };
        let asked = self.give(limit, targets, own, ask).await?;
        let instances = asked.into_iter().map(|a| pb::InstanceOutcome { answer: Some(a.answer), outcome: a.value });
        Ok(pb::ReloadConfigResponse { instances: instances.collect() })
    }

    pub(crate) async fn set_log_level(
        &self,
        caller: Caller,
        limit: Duration,
        request: pb::SetLogLevelRequest,
    ) -> Result<pb::SetLogLevelResponse, ApiError> {
        let pb::SetLogLevelRequest { order, timeout_ms: _, targets, level, duration_ms } = request;
        let order = in_the_name_of(&caller, order.unwrap_or_default());
        // What no instance could do is refused here, before any is asked.
        let trial = Order { dry_run: true, ..order.clone() };
        if let Err(error) = acts::log_level(self.0.context(), caller.clone(), &trial, &level, duration_ms)
            && error.code == ErrorCode::InvalidArgument
        {
            return Err(error);
        }
        let own = async {
            let context = self.0.context();
            with_names(context, acts::log_level(context, caller, &order, &level, duration_ms)?)
        };
        let ask = async |channel| {
            let (order, level) = (Some(order.clone()), level.clone());
            let request = pb::SetNodeLogLevelRequest { order, level, duration_ms };
            let answer = NodeConfigServiceClient::new(channel).set_node_log_level(request).await?;
            let pb::SetNodeLogLevelResponse { before, after, node, roles } = answer.into_inner();
            Ok(((before, after), node, roles))
        };
        let asked = self.give(limit, targets, own, ask).await?;
        let instances = asked.into_iter().map(|asked| {
            let (before, after) = asked.value.unwrap_or_default();
            pb::InstanceLogLevel { answer: Some(asked.answer), before, after }
        });
        Ok(pb::SetLogLevelResponse { instances: instances.collect() })
    }
}

#[tonic::async_trait]
impl ConfigService for Configuration {
    async fn get_config(
        &self,
        request: Request<pb::GetConfigRequest>,
    ) -> Result<Response<pb::GetConfigResponse>, Status> {
        let limit = self.0.limit(request.get_ref().timeout_ms)?;
        Ok(Response::new(self.get(limit, request.into_inner().targets).await?))
    }

    async fn check_config(
        &self,
        request: Request<pb::CheckConfigRequest>,
    ) -> Result<Response<pb::CheckConfigResponse>, Status> {
        let pb::CheckConfigRequest { timeout_ms, targets, text } = request.into_inner();
        Ok(Response::new(self.check(self.0.limit(timeout_ms)?, targets, text).await?))
    }

    async fn reload_config(
        &self,
        request: Request<pb::ReloadConfigRequest>,
    ) -> Result<Response<pb::ReloadConfigResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let pb::ReloadConfigRequest { order, timeout_ms, targets } = request.into_inner();
        let limit = self.0.limit(timeout_ms)?;
        Ok(Response::new(self.reload(caller, limit, targets, order.unwrap_or_default()).await?))
    }

    async fn set_log_level(
        &self,
        request: Request<pb::SetLogLevelRequest>,
    ) -> Result<Response<pb::SetLogLevelResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let limit = self.0.limit(request.get_ref().timeout_ms)?;
        Ok(Response::new(self.set_log_level(caller, limit, request.into_inner()).await?))
    }
}
