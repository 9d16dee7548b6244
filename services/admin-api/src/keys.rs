//! The keys of all instances: which are in force, and taking one away everywhere. A new key is made at the asked instance
//! only: the others have directories of their own, or share its. Absent: what an instance does; see
//! `service_kit::node::NodeKeys`.

use std::sync::Arc;
use std::time::Duration;

use service_kit::Caller;
use service_kit::node::NodeKeys;
use tonic::{Extensions, Request, Response, Status};
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::key_service_server::KeyService;
use wire::pb::admin::v1::node_key_service_client::NodeKeyServiceClient;
use wire::pb::admin::v1::node_key_service_server::NodeKeyService;

use crate::gather::Gather;
use crate::metrics::Question;
use crate::orders::{in_the_name_of, named};

/// How long an instance may take to write down that a key was revoked.
const REVOKE_LIMIT: Duration = Duration::from_secs(10);

/// Answers for all instances. This one is asked without a call.
#[derive(Clone)]
pub(crate) struct KeyOrders {
    gather: Arc<Gather>,
    own: NodeKeys,
}

impl KeyOrders {
    pub(crate) fn new(gather: Arc<Gather>) -> Self {
        let own = NodeKeys::new(gather.context().clone());
        Self { gather, own }
    }
}

#[tonic::async_trait]
impl KeyService for KeyOrders {
    async fn list_keys(&self, request: Request<pb::ListKeysRequest>) -> Result<Response<pb::ListKeysResponse>, Status> {
        let limit = self.gather.limit(request.get_ref().timeout_ms)?;
        let own = self.own.list_node_keys(Request::new(pb::ListNodeKeysRequest {}));
        let ask = async |channel| {
            let request = pb::ListNodeKeysRequest {};
            Ok(NodeKeyServiceClient::new(channel).list_node_keys(request).await?.into_inner())
        };
        let all = self.gather.choose(Vec::new())?;
        let asked = self.gather.give(Question::Keys, limit, &all, own, ask).await;
        let instances = asked.into_iter().map(|asked| {
            let pb::ListNodeKeysResponse { node, roles, keys, problems } = asked.value.unwrap_or_default();
            pb::InstanceKeys { answer: Some(named(asked.answer, node, roles)), keys, problems }
        });
        Ok(Response::new(pb::ListKeysResponse { instances: instances.collect() }))
    }

    async fn revoke_key(
        &self,
        request: Request<pb::RevokeKeyRequest>,
    ) -> Result<Response<pb::RevokeKeyResponse>, Status> {
        let (metadata, extensions, pb::RevokeKeyRequest { order, id, fingerprint }) = request.into_parts();
        let order = Some(in_the_name_of(&Caller::of(&extensions), order.unwrap_or_default()));
        let order = pb::RevokeNodeKeyRequest { order, id, fingerprint };
        // What is wrong with the order is told by this instance, and then none is ordered.
        let own = self.own.revoke_node_key(Request::from_parts(metadata, extensions, order.clone())).await?;
        // The key of the caller may be the one that is revoked: this process shows its own to the others.
        let give = async |channel| {
            let request = Request::from_parts(Default::default(), Extensions::default(), order.clone());
            Ok(NodeKeyServiceClient::new(channel).revoke_node_key(request).await?.into_inner())
        };
        let all = self.gather.choose(Vec::new())?;
        let asked = self.gather.give(Question::Keys, REVOKE_LIMIT, &all, async { Ok(own) }, give).await;
        let instances = asked.into_iter().map(|asked| {
            let pb::RevokeNodeKeyResponse { node, roles, revoked } = asked.value.unwrap_or_default();
            pb::InstanceRevoked { answer: Some(named(asked.answer, node, roles)), revoked }
        });
        Ok(Response::new(pb::RevokeKeyResponse { instances: instances.collect() }))
    }

    async fn rotate_key(
        &self,
        request: Request<pb::RotateKeyRequest>,
    ) -> Result<Response<pb::RotateKeyResponse>, Status> {
        let (_, extensions, request) = request.into_parts();
        Ok(Response::new(self.own.rotate(&extensions, request)?))
    }
}
