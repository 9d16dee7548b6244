//! `NodeMemoryService`: allocation sites of this instance. Absent: other instances.

use serde_json::json;
use tonic::{Request, Response, Status};
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::node_memory_service_server::NodeMemoryService;
use wire::status::ApiError;

use crate::audit::{Act, Outcome};
use crate::memory::{Profiler, ProfilingError};
use crate::{Caller, NodeContext};

/// Asks and switches the profiler of the context.
#[derive(Clone, Debug)]
pub struct NodeMemory(NodeContext);

impl NodeMemory {
    /// Answers for the instance of `context`.
    #[must_use]
    pub fn new(context: NodeContext) -> Self {
        Self(context)
    }

    fn switched(&self, changed: bool, enabled: bool) -> Response<pb::SetNodeMemoryProfilingResponse> {
        let (node, roles) = (self.0.name.clone(), self.0.roles.clone());
        Response::new(pb::SetNodeMemoryProfilingResponse { changed, enabled, node, roles })
    }

    /// Runs `work` where it may block.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Profiler) -> Result<T, ProfilingError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let profiler = self.0.memory.profiler().clone();
        match tokio::task::spawn_blocking(move || work(&profiler)).await {
            Ok(done) => done.map_err(|error| ApiError::precondition(error.to_string())),
            Err(error) => Err(ApiError::internal(format!("the memory profiler ended badly: {error}"))),
        }
    }
}

#[tonic::async_trait]
impl NodeMemoryService for NodeMemory {
    async fn set_node_memory_profiling(
        &self,
        request: Request<pb::SetNodeMemoryProfilingRequest>,
    ) -> Result<Response<pb::SetNodeMemoryProfilingResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let pb::SetNodeMemoryProfilingRequest { order, enabled } = request.into_inner();
        let order = order.unwrap_or_default();
        if order.dry_run {
            let now = self.0.memory.memory().profiling_enabled;
            return Ok(self.switched(now != enabled, now));
        }
        let done = self.with(move |profiler| profiler.switch(enabled)).await;
        let mut act = Act::ordered(if enabled { "memory.start" } else { "memory.stop" }, caller, &order);
        act.target.clone_from(&self.0.name);
        match done {
            Ok(changed) => {
                (act.before, act.after) = (json!({ "enabled": enabled != changed }), json!({ "enabled": enabled }));
                self.0.audit.record(act);
                Ok(self.switched(changed, enabled))
            }
            Err(error) => {
                act.result = Outcome::Failed(error.message.clone());
                self.0.audit.record(act);
                Err(error.into())
            }
        }
    }

    async fn look_at_node_memory(
        &self,
        _: Request<pb::LookAtNodeMemoryRequest>,
    ) -> Result<Response<pb::LookAtNodeMemoryResponse>, Status> {
        let looked = self.with(|profiler| match profiler.look() {
            Err(ProfilingError::Off | ProfilingError::Impossible) => Ok(()),
            looked => looked,
        });
        looked.await?;
        let (node, roles) = (self.0.name.clone(), self.0.roles.clone());
        Ok(Response::new(pb::LookAtNodeMemoryResponse { memory: Some(self.0.memory.memory()), node, roles }))
    }

    async fn dump_node_heap(
        &self,
        _: Request<pb::DumpNodeHeapRequest>,
    ) -> Result<Response<pb::DumpNodeHeapResponse>, Status> {
        let pprof = self.with(Profiler::pprof).await?.into();
        Ok(Response::new(pb::DumpNodeHeapResponse { pprof, node: self.0.name.clone() }))
    }
}
