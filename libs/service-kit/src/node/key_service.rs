//! `NodeKeyService`: the keys of this instance. Absent: other instances.

use serde_json::json;
use tonic::{Extensions, Request, Response, Status};
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::node_key_service_server::NodeKeyService;
use wire::pb::consensus::v1::Order;
use wire::status::ApiError;

use crate::audit::{Act, Outcome};
use crate::auth::{KeepError, KeyInfo};
use crate::caller::Accounts;
use crate::{Caller, NodeContext, clock};

/// Longest text of a fingerprint: all of it.
const FINGERPRINT_MAX: usize = 12;

/// Answers from the keys of the context.
#[derive(Clone, Debug)]
pub struct NodeKeys(NodeContext);

impl From<KeyInfo> for pb::KeyInfo {
    fn from(info: KeyInfo) -> Self {
        let KeyInfo { id, role, accounts, fingerprint, loopback_only, expires_us, expired } = info;
        let accounts = match accounts {
            Accounts::All => Vec::new(),
            Accounts::Only(accounts) => accounts.to_vec(),
        };
        let expires_us = expires_us.unwrap_or(0);
        Self { id, role: role.to_string(), accounts, fingerprint, loopback_only, expires_us, expired }
    }
}

impl From<KeepError> for ApiError {
    fn from(error: KeepError) -> Self {
        match &error {
            KeepError::Unknown { .. } => Self::not_found(error.to_string()),
            KeepError::ReadOnly { .. } => Self::precondition(error.to_string()),
            KeepError::Revoked(_) => Self::internal(error),
        }
    }
}

impl NodeKeys {
    /// For the instance of this context.
    #[must_use]
    pub const fn new(context: NodeContext) -> Self {
        Self(context)
    }

    /// Makes a new key in place of those of an id.
    ///
    /// # Errors
    /// What the caller is told.
    pub fn rotate(
        &self,
        extensions: &Extensions,
        request: pb::RotateKeyRequest,
    ) -> Result<pb::RotateKeyResponse, ApiError> {
        let pb::RotateKeyRequest { order, id, keep_former, expires_us } = request;
        let order = checked(&id, order)?;
        let expires_us = (expires_us > 0).then_some(expires_us);
        if expires_us.is_some_and(|us| us <= clock::now_us()) {
            return Err(ApiError::invalid("expires_us", "must be a time to come"));
        }
        let rotated = self.0.auth.rotate(&id, keep_former, expires_us, order.dry_run);
        let done = rotated.as_ref().map(|done| json!({"fingerprint": done.info.fingerprint, "revoked": done.revoked}));
        self.record("keys.rotate", extensions, &order, &id, done);
        let rotated = rotated?;
        Ok(pb::RotateKeyResponse {
            key: rotated.key.map(|key| key.reveal().to_owned()).unwrap_or_default(),
            info: Some(rotated.info.into()),
            revoked: count(rotated.revoked),
        })
    }

    fn record(
        &self,
        action: &'static str,
        extensions: &Extensions,
        order: &Order,
        id: &str,
        done: Result<serde_json::Value, &KeepError>,
    ) {
        if order.dry_run {
            return;
        }
        let (after, result) = match done {
            Ok(after) => (after, Outcome::Ok),
            Err(error) => (serde_json::Value::Null, Outcome::Failed(error.to_string())),
        };
        let act = Act::ordered(action, Caller::of(extensions), order);
        self.0.audit.record(Act { target: id.to_owned(), after, result, ..act });
    }
}

fn checked(id: &str, order: Option<Order>) -> Result<Order, ApiError> {
    if !wire::api_key::is_id(id) {
        return Err(ApiError::invalid("id", "must be 1 to 32 lower-case letters, digits or hyphens"));
    }
    order.ok_or_else(|| ApiError::invalid("order", "must be set"))
}

fn count(keys: usize) -> u32 {
    u32::try_from(keys).unwrap_or(u32::MAX)
}

#[tonic::async_trait]
impl NodeKeyService for NodeKeys {
    async fn list_node_keys(
        &self,
        _: Request<pb::ListNodeKeysRequest>,
    ) -> Result<Response<pb::ListNodeKeysResponse>, Status> {
        let (node, roles) = (self.0.name.clone(), self.0.roles.clone());
        let keys = self.0.auth.keys().into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListNodeKeysResponse { node, roles, keys, problems: self.0.auth.problems() }))
    }

    async fn revoke_node_key(
        &self,
        request: Request<pb::RevokeNodeKeyRequest>,
    ) -> Result<Response<pb::RevokeNodeKeyResponse>, Status> {
        let (_, extensions, pb::RevokeNodeKeyRequest { order, id, fingerprint }) = request.into_parts();
        let order = checked(&id, order)?;
        if fingerprint.len() > FINGERPRINT_MAX {
            return Err(ApiError::invalid("fingerprint", "must have at most 12 characters").into());
        }
        let (auth, wanted, only) = (self.0.auth.clone(), id.clone(), fingerprint.clone());
        // A mounted directory may be slow.
        let revoke = move || auth.revoke(&wanted, &only, order.dry_run);
        let revoked =
            tokio::task::spawn_blocking(revoke).await.map_err(|error| ApiError::internal(error.to_string()))?;
        let done = revoked.as_ref().map(|revoked| json!({ "fingerprint": fingerprint, "revoked": revoked }));
        self.record("keys.revoke", &extensions, &order, &id, done);
        let revoked = count(revoked.map_err(ApiError::from)?);
        let (node, roles) = (self.0.name.clone(), self.0.roles.clone());
        Ok(Response::new(pb::RevokeNodeKeyResponse { node, roles, revoked }))
    }
}
