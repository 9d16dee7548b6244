//! `MemoryService`: sampling of allocation sites and heap profiles, at all instances or those that are named. Absent:
//! how it is done; each instance does it itself.

use std::sync::Arc;
use std::time::Duration;

use service_kit::Caller;
use service_kit::node::NodeMemory;
use tonic::{Request, Response, Status};
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::memory_service_server::MemoryService;
use wire::pb::admin::v1::node_memory_service_client::NodeMemoryServiceClient;
use wire::pb::admin::v1::node_memory_service_server::NodeMemoryService;
use wire::status::{ApiError, ErrorCode};
use wire::transport::{Channel, PEER_MESSAGE_LIMIT};

use crate::gather::Gather;
use crate::metrics::Question;
use crate::orders::{in_the_name_of, named};
use crate::targets::Asked;

/// Longest wait for an instance to switch.
const SWITCH_WAITS: Duration = Duration::from_secs(5);
/// Longest wait for an instance to look at its memory: the first look reads the line tables of the program.
const LOOK_WAITS: Duration = Duration::from_secs(60);

/// Answers for all instances. This one is asked without a call.
#[derive(Clone)]
pub(crate) struct MemoryAnswers {
    gather: Arc<Gather>,
    own: NodeMemory,
}

fn client(channel: Channel) -> NodeMemoryServiceClient<Channel> {
    NodeMemoryServiceClient::new(channel).max_decoding_message_size(PEER_MESSAGE_LIMIT)
}

impl MemoryAnswers {
    pub(crate) fn new(gather: Arc<Gather>) -> Self {
        let own = NodeMemory::new(gather.context().clone());
        Self { gather, own }
    }
}

#[tonic::async_trait]
impl MemoryService for MemoryAnswers {
    async fn set_memory_profiling(
        &self,
        request: Request<pb::SetMemoryProfilingRequest>,
    ) -> Result<Response<pb::SetMemoryProfilingResponse>, Status> {
        let (metadata, extensions, pb::SetMemoryProfilingRequest { order, enabled, targets }) = request.into_parts();
        let chosen = self.gather.choose(targets)?;
        let order = Some(in_the_name_of(&Caller::of(&extensions), order.unwrap_or_default()));
        let order = pb::SetNodeMemoryProfilingRequest { order, enabled };
        let ask = async |channel| Ok(client(channel).set_node_memory_profiling(order.clone()).await?.into_inner());
        let own = Request::from_parts(metadata, extensions, order.clone());
        let own = self.own.set_node_memory_profiling(own);
        let asked = self.gather.give(Question::Profiling, SWITCH_WAITS, &chosen, own, ask).await;
        let change = |Asked { answer, value }: Asked<pb::SetNodeMemoryProfilingResponse>| {
            let pb::SetNodeMemoryProfilingResponse { changed, enabled, node, roles } = value.unwrap_or_default();
            pb::MemoryProfilingChange { answer: Some(named(answer, node, roles)), changed, enabled }
        };
        let instances = asked.into_iter().map(change).collect();
        Ok(Response::new(pb::SetMemoryProfilingResponse { instances }))
    }

    async fn look_at_memory(
        &self,
        request: Request<pb::LookAtMemoryRequest>,
    ) -> Result<Response<pb::LookAtMemoryResponse>, Status> {
        let chosen = self.gather.choose(request.into_inner().targets)?;
        let look = || Request::new(pb::LookAtNodeMemoryRequest {});
        let ask = async |channel| Ok(client(channel).look_at_node_memory(look()).await?.into_inner());
        let own = self.own.look_at_node_memory(look());
        let asked = self.gather.give(Question::Profiling, LOOK_WAITS, &chosen, own, ask).await;
        let memory = |Asked { answer, value }: Asked<pb::LookAtNodeMemoryResponse>| {
            let pb::LookAtNodeMemoryResponse { memory, node, roles } = value.unwrap_or_default();
            pb::InstanceMemory { answer: Some(named(answer, node, roles)), memory }
        };
        let instances = asked.into_iter().map(memory).collect();
        Ok(Response::new(pb::LookAtMemoryResponse { instances }))
    }

    async fn dump_heap(&self, request: Request<pb::DumpHeapRequest>) -> Result<Response<pb::DumpHeapResponse>, Status> {
        let target = request.into_inner().target;
        let target = if target.is_empty() { self.gather.context().name.clone() } else { target };
        let chosen = self.gather.choose(vec![target])?;
        let dump = || Request::new(pb::DumpNodeHeapRequest {});
        // What an instance refuses is its answer, not the lack of one.
        let ask = async |channel| Ok(client(channel).dump_node_heap(dump()).await);
        let own = async { Ok(Response::new(self.own.dump_node_heap(dump()).await)) };
        let asked = self.gather.give(Question::Profiling, LOOK_WAITS, &chosen, own, ask).await.pop();
        let Asked { answer, value } = asked.ok_or_else(|| ApiError::internal("nobody was asked"))?;
        let dumped = value.ok_or_else(|| ApiError::new(ErrorCode::Unreachable, answer.error))??;
        let pb::DumpNodeHeapResponse { pprof, node } = dumped.into_inner();
        Ok(Response::new(pb::DumpHeapResponse { node, pprof }))
    }
}
