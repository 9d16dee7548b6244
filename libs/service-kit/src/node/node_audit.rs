//! `NodeAuditService`: the audit log of this instance, read and checked. Absent: other instances, and recording.

use serde_json::Value;
use tonic::{Request, Response, Status};
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::node_audit_service_server::NodeAuditService;
use wire::status::{ApiError, ErrorCode};

use crate::NodeContext;
use crate::audit::{Audit, Finding, Head, Query, Record, Verification};

/// Records if the caller does not say how many.
const USUAL_RECORDS: u32 = 50;
/// Most records of one answer.
const RECORDS_MAX: u32 = 1_000;

/// Answers from the files of this instance.
#[derive(Clone, Debug)]
pub struct NodeAudit {
    audit: Audit,
    node: String,
    roles: Vec<String>,
}

impl NodeAudit {
    /// For the instance of this context.
    #[must_use]
    pub fn new(context: &NodeContext) -> Self {
        Self { audit: context.audit.clone(), node: context.name.clone(), roles: context.roles.clone() }
    }

    /// How many records a filter asks for.
    ///
    /// # Errors
    /// When they are too many.
    pub fn limit(filter: &pb::AuditFilter) -> Result<usize, ApiError> {
        match filter.limit {
            0 => Ok(USUAL_RECORDS as usize),
            limit if limit <= RECORDS_MAX => Ok(limit as usize),
            _ => Err(ApiError::invalid("filter.limit", format!("must be 0 to {RECORDS_MAX}"))),
        }
    }
}

#[tonic::async_trait]
impl NodeAuditService for NodeAudit {
    async fn search_node_audit(
        &self,
        request: Request<pb::SearchNodeAuditRequest>,
    ) -> Result<Response<pb::SearchNodeAuditResponse>, Status> {
        let query = query(request.into_inner().filter.unwrap_or_default())?;
        self.audit.flush().await;
        let records = self.audit.search(query).await.map_err(|error| unreadable(&error))?;
        let records = records.into_iter().map(record).collect();
        let (node, roles) = (self.node.clone(), self.roles.clone());
        Ok(Response::new(pb::SearchNodeAuditResponse { node, roles, records }))
    }

    async fn verify_node_audit(
        &self,
        request: Request<pb::VerifyNodeAuditRequest>,
    ) -> Result<Response<pb::VerifyNodeAuditResponse>, Status> {
        let noted = request.into_inner().noted.remove(&self.node);
        let noted = noted.map(|pb::AuditHead { seq, hash }| {
            let field = format!("noted[{}]", self.node);
            Head::parse(&format!("{seq}:{hash}"))
                .ok_or_else(|| ApiError::invalid(field, "must be a number and 64 hexadecimal digits"))
        });
        let found = self.audit.verify(noted.transpose()?).await.map_err(|error| unreadable(&error))?;
        let (node, roles, verification) = (self.node.clone(), self.roles.clone(), Some(found.into()));
        Ok(Response::new(pb::VerifyNodeAuditResponse { node, roles, verification }))
    }
}

fn unreadable(error: &std::io::Error) -> ApiError {
    ApiError::new(ErrorCode::Internal, format!("the audit log cannot be read: {error}"))
}

fn query(filter: pb::AuditFilter) -> Result<Query, ApiError> {
    let limit = NodeAudit::limit(&filter)?;
    if !matches!(filter.result.as_str(), "" | "ok" | "refused" | "failed") {
        return Err(ApiError::invalid("filter.result", "must be ok, refused, failed or empty"));
    }
    let pb::AuditFilter { limit: _, from_us, to_us, action, who, request_id, result, text, without_action } = filter;
    Ok(Query { limit, from_us, to_us, action, without_action, who, request_id, result, text })
}

fn record(record: Record) -> pb::AuditRecord {
    let json = |value: Value| if value.is_null() { String::new() } else { value.to_string() };
    pb::AuditRecord {
        seq: record.seq,
        at_us: record.at_us,
        node: record.node,
        action: record.action,
        target: record.target,
        subject: record.subject,
        role: record.role,
        peer: record.peer.map(|peer| peer.to_string()).unwrap_or_default(),
        actor: record.actor,
        reason: record.reason,
        request_id: record.request_id,
        result: record.result,
        detail: record.detail,
        parameters: json(record.parameters),
        before: json(record.before),
        after: json(record.after),
        hash: record.hash,
    }
}

impl From<Finding> for pb::AuditFinding {
    fn from(Finding { file, line, seq, problem }: Finding) -> Self {
        Self { file, line, seq, problem }
    }
}

impl From<Verification> for pb::AuditVerification {
    fn from(found: Verification) -> Self {
        Self {
            records: found.records,
            files: found.files,
            last_seq: found.last_seq,
            last_hash: found.last_hash,
            findings: found.findings.into_iter().map(Into::into).collect(),
            findings_total: found.findings_total,
        }
    }
}
