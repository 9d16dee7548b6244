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
/// Highest number of a record: what the column of the database holds.
const SEQ_MAX: u64 = i64::MAX as u64;
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
        next = Some(follows(record.seq, next).map_err(bad)?);
        if index == 0 {
            first = record.seq;
        }
    }
    Ok(first)
}

/// Checks the number of a record against the one that was expected, if one was. Returns the number after it.
fn follows(seq: u64, expected: Option<u64>) -> Result<u64, &'static str> {
    if expected.is_some_and(|expected| seq != expected) {
        return Err("does not follow the line before");
    }
    if seq == 0 || seq > SEQ_MAX {
        return Err("has a number that no record has");
    }
    Ok(seq + 1)
}

fn refuse(error: HistoryError) -> ApiError {
    match error {
        HistoryError::Configuration(why) => ApiError::precondition(why),
        error => ApiError::not_ready(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_one_another_and_fit_the_database() {
        assert_eq!(follows(1, None), Ok(2));
        assert_eq!(follows(7, Some(7)), Ok(8));
        assert_eq!(follows(SEQ_MAX, None), Ok(SEQ_MAX + 1));
        assert!(follows(8, Some(7)).is_err());
        // A peer may send any number.
        for seq in [0, SEQ_MAX + 1, u64::MAX] {
            assert!(follows(seq, None).is_err(), "{seq}");
        }
    }
}
