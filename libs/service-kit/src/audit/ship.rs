//! Sends the audit log to the gateways, which keep copies in the database. Each line arrives exactly once, in order:
//! the copy itself says how far it goes, and what is there already is not added again.
//!
//! Absent: who keeps copies, and where. Recording does not know of any of this.

use std::path::Path;
use std::time::Duration;

use tonic::{Code, Status};
use wire::pb::admin::v1::audit_store_service_client::AuditStoreServiceClient;
use wire::pb::admin::v1::{AppendAuditRequest, GetAuditCopyRequest};
use wire::transport::Channel;

use super::{Audit, Line, Lines};

/// Pause after each round, so that records that come together go together.
const PAUSE: Duration = Duration::from_millis(500);
/// First pause after a failure; doubled after each further one.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// Longest pause after a failure, and the one where there is no database server: that may be changed.
const RETRY_LAST: Duration = Duration::from_secs(30);
/// Longest wait for a gateway.
const LIMIT: Duration = Duration::from_secs(10);
/// Bytes of the lines of one call; gateways take 64 KiB. A single line may have more, and is then too long for any.
const BYTES: usize = 32 << 10;
/// Lines of one call.
const LINES: usize = 100;

/// Sends what is recorded, for as long as the process lives.
pub async fn ship(audit: Audit, gateways: Vec<Channel>) {
    let Some(directory) = audit.directory().map(Path::to_owned) else { return };
    if gateways.is_empty() {
        return;
    }
    metrics::describe_gauge!("audit_copied_seq", "Number of the last audit record whose copy is in the database.");
    let mut head = audit.head();
    let mut pause = RETRY_FIRST;
    let mut told = false;
    for gateway in gateways.iter().cycle() {
        // Until it fails; then the next gateway.
        let ended = follow(&audit, &directory, gateway, &mut head, (&mut pause, &mut told)).await;
        if ended.code() == Code::FailedPrecondition || ended.code() == Code::Unimplemented {
            tracing::debug!(reason = ended.message(), "the audit log is not copied");
            pause = RETRY_LAST;
        } else if !told {
            // The log of a database that is away is the gateway's.
            tracing::info!(
                error = ended.message(),
                "the audit log cannot be copied into the database, it is tried again"
            );
            told = true;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_LAST);
    }
}

/// Returns with what went wrong.
async fn follow(
    audit: &Audit,
    directory: &Path,
    gateway: &Channel,
    head: &mut tokio::sync::watch::Receiver<super::Head>,
    (pause, told): (&mut Duration, &mut bool),
) -> Status {
    loop {
        if head.borrow_and_update().seq > 0 {
            break;
        }
        if head.changed().await.is_err() {
            return Status::cancelled("the audit log is closed");
        }
    }
    let first = read(Lines::from(directory, 1), 1).await;
    let (mut lines, log) = match first {
        Ok((_, first)) if first.is_empty() => return Status::data_loss("the audit log has no first record"),
        Ok((_, first)) => (Lines::from(directory, 1), first[0].head.hash.clone()),
        Err(status) => return status,
    };
    let node = audit.node().to_owned();
    let mut client = AuditStoreServiceClient::new(gateway.clone());
    let asked = GetAuditCopyRequest { node: node.clone(), log: log.clone() };
    match limited(client.get_audit_copy(asked)).await {
        Ok(answer) => lines.skip_to(answer.last_seq + 1),
        Err(status) => return status,
    }
    loop {
        let (rest, some) = match read(lines, LINES).await {
            Ok(read) => read,
            Err(status) => return status,
        };
        lines = rest;
        for part in parts(some) {
            let lines = part.into_iter().map(|line| line.text).collect();
            let request = AppendAuditRequest { node: node.clone(), log: log.clone(), lines };
            match limited(client.append_audit(request)).await {
                Ok(answer) => {
                    metrics::gauge!("audit_copied_seq").set(answer.last_seq as f64);
                    (*pause, *told) = (RETRY_FIRST, false);
                }
                Err(status) => return status,
            }
        }
        if lines.next_seq() > head.borrow_and_update().seq && head.changed().await.is_err() {
            return Status::cancelled("the audit log is closed");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Cuts lines into calls of a size that gateways take.
fn parts(lines: Vec<Line>) -> Vec<Vec<Line>> {
    let mut parts: Vec<Vec<Line>> = Vec::new();
    let mut bytes = BYTES;
    for line in lines {
        if bytes + line.text.len() > BYTES {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes += line.text.len();
        if let Some(part) = parts.last_mut() {
            part.push(line);
        }
    }
    parts
}

async fn read(mut lines: Lines, most: usize) -> Result<(Lines, Vec<Line>), Status> {
    let read = tokio::task::spawn_blocking(move || lines.read(most).map(|read| (lines, read))).await;
    let read = read.map_err(|error| Status::internal(error.to_string()))?;
    read.map_err(|error| Status::data_loss(format!("the audit log cannot be read: {error}")))
}

async fn limited<T>(call: impl Future<Output = Result<tonic::Response<T>, Status>>) -> Result<T, Status> {
    match tokio::time::timeout(LIMIT, call).await {
        Ok(answer) => answer.map(tonic::Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded("the gateway does not answer")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Head;
    use super::*;

    #[test]
    fn calls_are_no_larger_than_gateways_take() {
        let line = |length: usize| Line { head: Head::GENESIS, text: "x".repeat(length) };
        let sizes = |lengths: &[usize]| {
            let parts = parts(lengths.iter().map(|length| line(*length)).collect());
            parts.iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(sizes(&[]), Vec::<usize>::new());
        assert_eq!(sizes(&[1, 2, 3]), [3]);
        assert_eq!(sizes(&[BYTES, 1, BYTES - 1, 1]), [1, 2, 1]);
    }
}
