//! `MemoryService`: sampling of allocation sites and heap profiles, at all instances or those that are named. Absent:
//! how it is done; each instance does it itself.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use service_kit::node::NodeMemory;
use tonic::{Extensions, Request, Response, Status};
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::memory_service_server::MemoryService;
use wire::pb::admin::v1::node_memory_service_client::NodeMemoryServiceClient;
use wire::pb::admin::v1::node_memory_service_server::NodeMemoryService;
use wire::status::{ApiError, ErrorCode};
use wire::transport::{Channel, PEER_MESSAGE_LIMIT};

use crate::gather::Gather;
use crate::metrics::Question;
use crate::targets::{Asked, explain};

/// Instances that one request may name.
const TARGETS_MAX: usize = 64;
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

    fn own_name(&self) -> &str {
        &self.gather.context().name
    }
}

#[tonic::async_trait]
impl MemoryService for MemoryAnswers {
    async fn set_memory_profiling(
        &self,
        request: Request<pb::SetMemoryProfilingRequest>,
    ) -> Result<Response<pb::SetMemoryProfilingResponse>, Status> {
        let (metadata, extensions, pb::SetMemoryProfilingRequest { order, enabled, targets }) = request.into_parts();
        let chosen = self.choose(targets)?;
        let order = pb::SetNodeMemoryProfilingRequest { order, enabled };
        let ask = async |channel| {
            let request = Request::from_parts(metadata.clone(), Extensions::default(), order.clone());
            Ok(client(channel).set_node_memory_profiling(request).await?.into_inner())
        };
        let own = Request::from_parts(metadata.clone(), extensions, order.clone());
        let own = self.ask_own(&chosen, self.own.set_node_memory_profiling(own));
        let others = self.gather.others().ask_those(Question::Profiling, SWITCH_WAITS, |name| chosen.has(name), ask);
        let (own, others) = tokio::join!(own, others);
        let change = |Asked { mut answer, value }: Asked<pb::SetNodeMemoryProfilingResponse>| {
            let value = value.unwrap_or_default();
            if answer.node.is_empty() {
                (answer.node, answer.roles) = (value.node, value.roles);
            }
            pb::MemoryProfilingChange { answer: Some(answer), changed: value.changed, enabled: value.enabled }
        };
        let instances = own.into_iter().chain(others).map(change).collect();
        Ok(Response::new(pb::SetMemoryProfilingResponse { instances }))
    }

    async fn look_at_memory(
        &self,
        request: Request<pb::LookAtMemoryRequest>,
    ) -> Result<Response<pb::LookAtMemoryResponse>, Status> {
        let chosen = self.choose(request.into_inner().targets)?;
        let look = || Request::new(pb::LookAtNodeMemoryRequest {});
        let ask = async |channel| Ok(client(channel).look_at_node_memory(look()).await?.into_inner());
        let own = self.ask_own(&chosen, self.own.look_at_node_memory(look()));
        let others = self.gather.others().ask_those(Question::Profiling, LOOK_WAITS, |name| chosen.has(name), ask);
        let (own, others) = tokio::join!(own, others);
        let memory = |Asked { mut answer, value }: Asked<pb::LookAtNodeMemoryResponse>| {
            let value = value.unwrap_or_default();
            if answer.node.is_empty() {
                (answer.node, answer.roles) = (value.node, value.roles);
            }
            pb::InstanceMemory { answer: Some(answer), memory: value.memory }
        };
        let instances = own.into_iter().chain(others).map(memory).collect();
        Ok(Response::new(pb::LookAtMemoryResponse { instances }))
    }

    async fn dump_heap(&self, request: Request<pb::DumpHeapRequest>) -> Result<Response<pb::DumpHeapResponse>, Status> {
        let target = request.into_inner().target;
        let dump = || Request::new(pb::DumpNodeHeapRequest {});
        let dumped = if target.is_empty() || target == self.own_name() {
            self.own.dump_node_heap(dump()).await?
        } else {
            let chosen = self.choose(vec![target])?;
            let ask = async |channel| Ok(client(channel).dump_node_heap(dump()).await);
            let mut asked =
                self.gather.others().ask_those(Question::Profiling, LOOK_WAITS, |name| chosen.has(name), ask).await;
            let Asked { answer, value } = asked.pop().ok_or_else(|| ApiError::internal("nobody was asked"))?;
            value.ok_or_else(|| ApiError::new(ErrorCode::Unreachable, answer.error))??
        };
        let pb::DumpNodeHeapResponse { pprof, node } = dumped.into_inner();
        Ok(Response::new(pb::DumpHeapResponse { node, pprof }))
    }
}
