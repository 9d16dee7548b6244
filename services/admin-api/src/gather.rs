//! The answers of all instances, this one first and without asking itself over the wire. Absent: what they mean; see
//! [`crate::verdict`].

use std::time::Duration;

use service_kit::NodeContext;
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::node_service_client::NodeServiceClient;
use wire::pb::consensus::v1::consensus_service_client::ConsensusServiceClient;
use wire::pb::consensus::v1::{GetConsensusStatusRequest, GetConsensusStatusResponse};
use wire::status::ApiError;
use wire::transport::Channel;

use crate::config::MAX_TIMEOUT;
use crate::metrics::Question;
use crate::orders::named;
use crate::targets::{Asked, Target, Targets};
use crate::verdict;

/// Asks and collects.
pub(crate) struct Gather {
    context: NodeContext,
    targets: Targets,
    consensus: Targets,
    default_timeout: Duration,
}

impl Gather {
    /// `nodes` may name this instance; it is not asked over its channel.
    pub(crate) fn new(
        context: NodeContext,
        nodes: Vec<(String, Channel)>,
        consensus: Vec<(String, Channel)>,
        default_timeout: Duration,
    ) -> Self {
        let others = nodes.into_iter().filter(|(name, _)| *name != context.name);
        let target = |(name, channel)| Target { name, channel };
        let targets = Targets::new(others.map(target).collect());
        let consensus = Targets::new(consensus.into_iter().map(target).collect());
        Self { context, targets, consensus, default_timeout }
    }

    /// All other instances.
    pub(crate) fn others(&self) -> &Targets {
        &self.targets
    }

    /// How long to wait for an instance, as asked for over gRPC; 0 for what is configured.
    pub(crate) fn limit(&self, timeout_ms: u32) -> Result<Duration, ApiError> {
        if timeout_ms == 0 {
            return Ok(self.default_timeout);
        }
        let limit = Duration::from_millis(timeout_ms.into());
        if limit > MAX_TIMEOUT {
            let message = format!("must be 0 to {}", MAX_TIMEOUT.as_millis());
            return Err(ApiError::invalid("timeout_ms", message));
        }
        Ok(limit)
    }

    /// The instance that answers.
    pub(crate) fn context(&self) -> &NodeContext {
        &self.context
    }

    /// How long to wait if the caller does not say.
    pub(crate) fn default_timeout(&self) -> Duration {
        self.default_timeout
    }

    /// Health of all instances.
    pub(crate) async fn health(&self, limit: Duration) -> pb::GetHealthResponse {
        let ask = async |channel| {
            let request = pb::GetNodeHealthRequest {};
            Ok(NodeServiceClient::new(channel).get_node_health(request).await?.into_inner().health)
        };
        let others = self.targets.ask_all(Question::Health, limit, ask).await;
        let own = Asked { answer: self.own_answer(), value: Some(Some(self.context.health())) };
        let instances = std::iter::once(own)
            .chain(others)
            .map(|Asked { mut answer, value }| {
                let mut health = value.flatten();
                if let Some(health) = &mut health {
                    answer.node.clone_from(&health.node);
                    answer.roles.clone_from(&health.roles);
                    health.components.iter_mut().for_each(|component| component.latency_us = answer.latency_us);
                }
                pb::InstanceHealth { answer: Some(answer), health }
            })
            .collect();
        let mut response = pb::GetHealthResponse { status: 0, instances };
        response.status = pb::ComponentStatus::from(verdict::judge(&response).condition).into();
        response
    }

    /// Pools of all instances.
    pub(crate) async fn pools(&self, limit: Duration) -> pb::GetPoolStatusResponse {
        let ask = async |channel| {
            let request = pb::GetNodePoolsRequest {};
            Ok(NodeServiceClient::new(channel).get_node_pools(request).await?.into_inner())
        };
        let others = self.targets.ask_all(Question::Pools, limit, ask).await;
        let own = pb::InstancePools { answer: Some(self.own_answer()), pools: self.context.pools.snapshot() };
        let others = others.into_iter().map(|Asked { answer, value }| {
            let value = value.unwrap_or_default();
            let answer = named(answer, value.node, value.roles);
            pb::InstancePools { answer: Some(answer), pools: value.pools }
        });
        pb::GetPoolStatusResponse { instances: std::iter::once(own).chain(others).collect() }
    }

    /// Memory of all instances.
    pub(crate) async fn memory(&self, limit: Duration) -> pb::GetMemoryProfileResponse {
        let ask = async |channel| {
            let request = pb::GetNodeMemoryRequest {};
            Ok(NodeServiceClient::new(channel).get_node_memory(request).await?.into_inner())
        };
        let others = self.targets.ask_all(Question::Memory, limit, ask).await;
        let own = pb::InstanceMemory { answer: Some(self.own_answer()), memory: Some(self.context.memory.memory()) };
        let others = others.into_iter().map(|Asked { answer, value }| {
            let value = value.unwrap_or_default();
            let answer = named(answer, value.node, value.roles);
            pb::InstanceMemory { answer: Some(answer), memory: value.memory }
        });
        pb::GetMemoryProfileResponse { instances: std::iter::once(own).chain(others).collect() }
    }

    /// What each coordinator says.
    pub(crate) async fn consensus(&self, limit: Duration) -> Vec<Asked<GetConsensusStatusResponse>> {
        let ask = async |channel| {
            let request = GetConsensusStatusRequest {};
            Ok(ConsensusServiceClient::new(channel).get_consensus_status(request).await?.into_inner())
        };
        self.consensus.ask_all(Question::Consensus, limit, ask).await
    }

    pub(crate) fn own_answer(&self) -> pb::NodeAnswer {
        let (node, roles) = (self.context.name.clone(), self.context.roles.clone());
        pb::NodeAnswer { target: node.clone(), error: String::new(), latency_us: 0, node, roles }
    }
}
