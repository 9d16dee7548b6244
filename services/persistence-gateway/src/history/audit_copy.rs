//! Copies of audit logs in the database: what is there, and more of it. Absent: changing or removing a line; nothing
//! here can.

use tonic::{Request, Response, Status};
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::audit_store_service_server::AuditStoreService;
use wire::status::ApiError;

use service_kit::audit::Record;

use super::{HistoryError, HistoryReader};

/// Lines of one call.
const LINES_MAX: usize = 1_000;
/// Longest name of an instance.
const NAME_MAX: usize = 64;
/// Digits of a hash.
const HASH_DIGITS: usize = 64;

/// Keeps copies. Clones share their connections.
#[derive(Clone, Debug)]
pub struct AuditCopies(HistoryReader);

impl AuditCopies {
    /// In the database of this history, if it is a server.
    #[must_use]
    pub fn new(history: HistoryReader) -> Self {
        Self(history)
    }
}

#[tonic::async_trait]
impl AuditStoreService for AuditCopies {
    async fn get_audit_copy(
        &self,
        request: Request<pb::GetAuditCopyRequest>,
    ) -> Result<Response<pb::GetAuditCopyResponse>, Status> {
        let pb::GetAuditCopyRequest { node, log } = request.into_inner();
        check(&node, &log)?;
        let last_seq = self.0.audit_copied(&node, &log).await.map_err(refuse)?;
        Ok(Response::new(pb::GetAuditCopyResponse { last_seq }))
    }

    async fn append_audit(
        &self,
        request: Request<pb::AppendAuditRequest>,
    ) -> Result<Response<pb::AppendAuditResponse>, Status> {
        let pb::AppendAuditRequest { node, log, lines } = request.into_inner();
        check(&node, &log)?;
        let first = check_lines(&node, &lines)?;
        let last = self.0.audit_copied(&node, &log).await.map_err(refuse)?;
        if first > last + 1 {
            let why = format!("the copy goes up to record {last}, these begin with {first}: ask again how far it goes");
            return Err(ApiError::precondition(why).into());
        }
        let last_seq = self.0.copy_audit(&node, &log, &lines).await.map_err(refuse)?;
        Ok(Response::new(pb::AppendAuditResponse { last_seq }))
    }
}

fn check(node: &str, log: &str) -> Result<(), ApiError> {
    if node.is_empty() || node.chars().count() > NAME_MAX || node.chars().any(char::is_control) {
        return Err(ApiError::invalid("node", format!("must have 1 to {NAME_MAX} printable characters")));
    }
    if log.len() != HASH_DIGITS || !log.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(ApiError::invalid("log", format!("must have {HASH_DIGITS} hexadecimal digits")));
    }
    Ok(())
}

/// Checks that the lines are records of that instance as they were written, without gaps. Returns the first number.
fn check_lines(node: &str, lines: &[String]) -> Result<u64, ApiError> {
    if lines.is_empty() || lines.len() > LINES_MAX {
        return Err(ApiError::invalid("lines", format!("must be 1 to {LINES_MAX}")));
    }
    let mut first = 0;
    let mut next = None;
    for (index, line) in lines.iter().enumerate() {
        let bad = |why: &str| ApiError::invalid(format!("lines[{index}]"), why);
        let record = Record::read(line).map_err(bad)?;
        if record.node != node {
            return Err(bad("is a record of another instance"));
        }
        if next.is_some_and(|next| record.seq != next) {
            return Err(bad("does not follow the line before"));
        }
        if index == 0 {
            first = record.seq;
        }
        next = Some(record.seq + 1);
    }
    Ok(first)
}

fn refuse(error: HistoryError) -> ApiError {
    match error {
        HistoryError::Configuration(why) => ApiError::precondition(why),
        error => ApiError::not_ready(error.to_string()),
    }
}
