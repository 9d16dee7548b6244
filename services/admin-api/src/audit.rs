//! The audit logs of all instances: the newest records of all, and whether each chain holds. Absent: recording; each
//! instance does that where something is done.

use std::sync::Arc;
use std::time::Duration;

use service_kit::node::NodeAudit;
use tonic::{Request, Response, Status};
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::audit_service_server::AuditService;
use wire::pb::admin::v1::node_audit_service_client::NodeAuditServiceClient;
use wire::pb::admin::v1::node_audit_service_server::NodeAuditService;

use crate::gather::Gather;
use crate::metrics::Question;
use crate::orders::named;
use crate::targets::Asked;

/// How long an instance may take to look through its records.
const SEARCH_LIMIT: Duration = Duration::from_secs(5);
/// How long an instance may take to check all of them: a few hundred megabytes a second are read.
const VERIFY_LIMIT: Duration = Duration::from_secs(60);

/// Answers for all instances. This one is asked without a call.
#[derive(Clone)]
pub(crate) struct AuditAnswers {
    gather: Arc<Gather>,
    own: NodeAudit,
}

impl AuditAnswers {
    pub(crate) fn new(gather: Arc<Gather>) -> Self {
        let own = NodeAudit::new(gather.context());
        Self { gather, own }
    }

    /// The newest records of all instances, newest first.
    pub(crate) async fn search(&self, filter: pb::AuditFilter) -> Result<pb::SearchAuditResponse, Status> {
        let limit = NodeAudit::limit(&filter)?;
        let request = || pb::SearchNodeAuditRequest { filter: Some(filter.clone()) };
        // What is wrong with the filter is told here; the others would be listed as not answering.
        let own = self.own.search_node_audit(Request::new(request())).await?.into_inner();
        let ask = async |channel| {
            let mut client = NodeAuditServiceClient::new(channel);
            Ok(client.search_node_audit(request()).await?.into_inner())
        };
        let others = self.gather.others().ask_all(Question::Audit, SEARCH_LIMIT, ask).await;
        let mut records = own.records;
        let mut answers = vec![self.gather.own_answer()];
        for Asked { answer, value } in others {
            let value = value.unwrap_or_default();
            answers.push(named(answer, value.node, value.roles));
            records.extend(value.records);
        }
        records.sort_by(|a, b| (b.at_us, &b.node, b.seq).cmp(&(a.at_us, &a.node, a.seq)));
        records.truncate(limit);
        Ok(pb::SearchAuditResponse { records, answers })
    }

    /// Has all instances check their logs.
    pub(crate) async fn verify(&self, request: pb::VerifyAuditRequest) -> Result<pb::VerifyAuditResponse, Status> {
        let noted = request.noted;
        let request = || pb::VerifyNodeAuditRequest { noted: noted.clone() };
        let own = self.own.verify_node_audit(Request::new(request())).await?.into_inner();
        let ask = async |channel| {
            let mut client = NodeAuditServiceClient::new(channel);
            Ok(client.verify_node_audit(request()).await?.into_inner())
        };
        let others = self.gather.others().ask_all(Question::Audit, VERIFY_LIMIT, ask).await;
        let own = pb::InstanceAudit { answer: Some(self.gather.own_answer()), verification: own.verification };
        let others = others.into_iter().map(|Asked { answer, value }| {
            let value = value.unwrap_or_default();
            let answer = named(answer, value.node, value.roles);
            pb::InstanceAudit { answer: Some(answer), verification: value.verification }
        });
        Ok(pb::VerifyAuditResponse { instances: std::iter::once(own).chain(others).collect() })
    }
}

#[tonic::async_trait]
impl AuditService for AuditAnswers {
    async fn search_audit(
        &self,
        request: Request<pb::SearchAuditRequest>,
    ) -> Result<Response<pb::SearchAuditResponse>, Status> {
        Ok(Response::new(self.search(request.into_inner().filter.unwrap_or_default()).await?))
    }

    async fn verify_audit(
        &self,
        request: Request<pb::VerifyAuditRequest>,
    ) -> Result<Response<pb::VerifyAuditResponse>, Status> {
        Ok(Response::new(self.verify(request.into_inner()).await?))
    }
}
