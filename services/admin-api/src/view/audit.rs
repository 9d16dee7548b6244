//! `GET /admin/audit`: the newest records of all instances; `GET /admin/audit/verify`: whether their chains hold. The
//! same JSON comes from `admin audit` with `--output json`.

use serde::Serialize;
use serde_json::Value;
use wire::pb::admin::v1 as pb;

use super::{AnswerView, given, rfc3339};

/// Records, newest first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RecordsView {
    /// The records.
    pub records: Vec<RecordView>,
    /// All instances, also those that did not answer.
    pub instances: Vec<AnswerView>,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RecordView {
    /// Number in the log of its instance.
    pub seq: u64,
    /// When.
    pub at: Option<String>,
    /// Instance that recorded it.
    pub node: String,
    /// What was done, as `<area>.<verb>`.
    pub action: String,
    /// What it was done to; null if nothing in particular.
    pub target: Option<String>,
    /// Who called, as authenticated; "system" for what nobody ordered.
    pub subject: String,
    /// Role of the caller.
    pub role: String,
    /// Where the call came from; null if not over the network.
    pub peer: Option<String>,
    /// Who ordered it, as the caller says.
    pub actor: Option<String>,
    /// Why, as the caller says.
    pub reason: Option<String>,
    /// Id of the order or the request.
    pub request_id: Option<String>,
    /// "ok", "refused" or "failed".
    pub result: String,
    /// Why refused, how failed.
    pub detail: Option<String>,
    /// How it was asked for; only the verbose level has it.
    pub parameters: Value,
    /// What it was before.
    pub before: Value,
    /// What it was afterwards.
    pub after: Value,
    /// Hash of the record.
    pub hash: String,
}

/// Checks of all instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerificationsView {
    /// Whether all instances answered and nothing is wrong.
    pub intact: bool,
    /// All instances, also those that did not answer.
    pub instances: Vec<VerificationView>,
}

/// The check of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerificationView {
    /// Whether it answered.
    #[serde(flatten)]
    pub answer: AnswerView,
    /// Records that are as they were written.
    pub records: u64,
    /// Files.
    pub files: u64,
    /// The last record, `seq:hash`: note it down elsewhere for a later check; null if there is none.
    pub head: Option<String>,
    /// What is wrong, the first hundred.
    pub findings: Vec<FindingView>,
    /// How much is wrong.
    pub findings_total: u64,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FindingView {
    /// File; null if it is not about one.
    pub file: Option<String>,
    /// Line in it, from 1; 0 if it is not about one.
    pub line: u64,
    /// Number of the record.
    pub seq: u64,
    /// What, for people.
    pub problem: String,
}

impl From<pb::SearchAuditResponse> for RecordsView {
    fn from(response: pb::SearchAuditResponse) -> Self {
        let records = response.records.into_iter().map(RecordView::from).collect();
        Self { records, instances: response.answers.into_iter().map(|answer| Some(answer).into()).collect() }
    }
}

impl From<pb::AuditRecord> for RecordView {
    fn from(record: pb::AuditRecord) -> Self {
        let json = |text: String| serde_json::from_str(&text).unwrap_or(Value::Null);
        Self {
            seq: record.seq,
            at: rfc3339(record.at_us),
            node: record.node,
            action: record.action,
            target: given(record.target),
            subject: record.subject,
            role: record.role,
            peer: given(record.peer),
            actor: given(record.actor),
            reason: given(record.reason),
            request_id: given(record.request_id),
            result: record.result,
            detail: given(record.detail),
            parameters: json(record.parameters),
            before: json(record.before),
            after: json(record.after),
            hash: record.hash,
        }
    }
}

impl From<pb::VerifyAuditResponse> for VerificationsView {
    fn from(response: pb::VerifyAuditResponse) -> Self {
        let instances: Vec<_> = response.instances.into_iter().map(VerificationView::from).collect();
        let good = |instance: &VerificationView| instance.answer.error.is_none() && instance.findings_total == 0;
        Self { intact: instances.iter().all(good), instances }
    }
}

impl From<pb::InstanceAudit> for VerificationView {
    fn from(instance: pb::InstanceAudit) -> Self {
        let found = instance.verification.unwrap_or_default();
        let head = (found.last_seq > 0).then(|| format!("{}:{}", found.last_seq, found.last_hash));
        let finding = |finding: pb::AuditFinding| FindingView {
            file: given(finding.file),
            line: finding.line,
            seq: finding.seq,
            problem: finding.problem,
        };
        Self {
            answer: instance.answer.into(),
            records: found.records,
            files: found.files,
            head,
            findings: found.findings.into_iter().map(finding).collect(),
            findings_total: found.findings_total,
        }
    }
}
