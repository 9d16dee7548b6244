//! What operators order of database pools: given to all instances, or to those named, side by side. Absent: what an
//! instance does; see `service_kit::pools`.

use std::sync::Arc;
use std::time::Duration;

use service_kit::node::NodeDatabase;
use tonic::{Extensions, Request, Response, Status};
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::database_service_server::DatabaseService;
use wire::pb::admin::v1::node_database_service_client::NodeDatabaseServiceClient;
use wire::pb::admin::v1::node_database_service_server::NodeDatabaseService;

use crate::gather::Gather;
use crate::metrics::Question;
use crate::orders::named;

/// What an instance that used up its time has left to say so.
const GRACE: Duration = Duration::from_millis(1_000);

/// Answers for all instances. This one is ordered without a call.
#[derive(Clone)]
pub(crate) struct DatabaseOrders {
    gather: Arc<Gather>,
    own: NodeDatabase,
}

impl DatabaseOrders {
    pub(crate) fn new(gather: Arc<Gather>) -> Self {
        let own = NodeDatabase::new(gather.context().clone());
        Self { gather, own }
    }

    /// Instances with connections to a database server, as far as they say so in time.
    async fn instances_on_a_server(&self) -> u32 {
        let answer = self.gather.pools(self.gather.default_timeout()).await;
        let on_a_server = |instance: &&pb::InstancePools| instance.pools.iter().any(|pool| pool.database == "postgres");
        u32::try_from(answer.instances.iter().filter(on_a_server).count()).unwrap_or(u32::MAX)
    }
}

#[tonic::async_trait]
impl DatabaseService for DatabaseOrders {
    async fn reset_pools(
        &self,
        request: Request<pb::ResetPoolsRequest>,
    ) -> Result<Response<pb::ResetPoolsResponse>, Status> {
        let (metadata, extensions, pb::ResetPoolsRequest { order, targets, timeout_ms }) = request.into_parts();
        let limit = NodeDatabase::limit(timeout_ms)? + GRACE;
        let chosen = self.gather.choose(targets)?;
        let order = pb::ResetNodePoolsRequest { order, timeout_ms };
        let own = Request::from_parts(metadata.clone(), extensions, order.clone());
        let give = async |channel| {
            let request = Request::from_parts(metadata.clone(), Extensions::default(), order.clone());
            Ok(NodeDatabaseServiceClient::new(channel).reset_node_pools(request).await?.into_inner())
        };
        let own = self.own.reset_node_pools(own);
        let asked = self.gather.give(Question::Database, limit, &chosen, own, give).await;
        let instances = asked.into_iter().map(|asked| {
            let pb::ResetNodePoolsResponse { pools, node, roles } = asked.value.unwrap_or_default();
            pb::InstanceReset { answer: Some(named(asked.answer, node, roles)), pools }
        });
        Ok(Response::new(pb::ResetPoolsResponse { instances: instances.collect() }))
    }

    async fn optimize_connections(
        &self,
        request: Request<pb::OptimizeConnectionsRequest>,
    ) -> Result<Response<pb::OptimizeConnectionsResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let pb::OptimizeConnectionsRequest { order, targets, timeout_ms } = request;
        let limit = NodeDatabase::limit(timeout_ms)? + GRACE;
        let chosen = self.gather.choose(targets)?;
        let instances = self.instances_on_a_server().await;
        let order = pb::OptimizeNodeConnectionsRequest { order, instances, timeout_ms };
        let own = Request::from_parts(metadata.clone(), extensions, order.clone());
        let give = async |channel| {
            let request = Request::from_parts(metadata.clone(), Extensions::default(), order.clone());
            Ok(NodeDatabaseServiceClient::new(channel).optimize_node_connections(request).await?.into_inner())
        };
        let own = self.own.optimize_node_connections(own);
        let asked = self.gather.give(Question::Database, limit, &chosen, own, give).await;
        let instances = asked.into_iter().map(|asked| {
            let pb::OptimizeNodeConnectionsResponse { pools, node, roles } = asked.value.unwrap_or_default();
            pb::InstanceOptimization { answer: Some(named(asked.answer, node, roles)), pools }
        });
        Ok(Response::new(pb::OptimizeConnectionsResponse { instances: instances.collect() }))
    }
}
