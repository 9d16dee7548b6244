//! Reads of a shard's log and snapshots as streams. Blocking calls run where blocking is allowed.
//!
//! Deliberately absent: caching; readers that matter follow closely and hit the page cache.

use std::sync::Arc;

use bytes::Bytes;
use journal_core::{Entry, Tail};
use journal_store::{LogReader, SnapshotStore, StoreError};
use tokio::sync::mpsc;
use tonic::Status;
use types::Seq;
use wire::convert;
use wire::pb::journal::v1 as pb;
use wire::status::{ApiError, ErrorCode};

use super::client::JournalHandle;
use crate::blocking;

/// Payload of one message of a read: large enough to amortize it, far below the message limit.
const PART: usize = 1 << 20;
/// Messages made ahead of a reader.
pub(super) const AHEAD: usize = 2;

/// A checked read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) from: Seq,
    pub(super) to: Seq,
    pub(super) committed_only: bool,
    pub(super) follow: bool,
}

impl Range {
    pub(super) fn check(request: &pb::ReadRequest) -> Result<Self, ApiError> {
        if request.from_seq == 0 {
            return Err(ApiError::invalid("from_seq", "must be at least 1"));
        }
        let to = if request.to_seq == 0 { u64::MAX } else { request.to_seq };
        if to < request.from_seq {
            return Err(ApiError::invalid("to_seq", "must not be below from_seq; 0 reads all there is"));
        }
        Ok(Self {
            from: Seq(request.from_seq),
            to: Seq(to),
            committed_only: request.committed_only,
            follow: request.follow,
        })
    }
}

pub(super) fn refuse(error: &StoreError) -> ApiError {
    match error {
        StoreError::Trimmed { .. } => ApiError::precondition(error.to_string()),
        StoreError::Corrupt { .. } => {
            tracing::error!(%error, "journal read failed");
            ApiError::new(ErrorCode::DataLoss, error.to_string())
        }
        _ => {
            tracing::warn!(%error, "journal read failed");
            ApiError::not_ready("the journal cannot be read: try again")
        }
    }
}

/// Sends the entries of `range` until there are no more, or for as long as the reader listens.
pub(super) async fn entries(journal: JournalHandle, range: Range, out: mpsc::Sender<Result<pb::ReadResponse, Status>>) {
    if let Err(error) = send_entries(&journal, range, &out).await {
        // The reader is gone if this fails too.
        let _ = out.send(Err(error.into())).await;
    }
}

async fn send_entries(
    journal: &JournalHandle,
    range: Range,
    out: &mpsc::Sender<Result<pb::ReadResponse, Status>>,
) -> Result<(), ApiError> {
    let following = if range.follow { journal.follow() } else { None };
    if following.is_none() && range.committed_only {
        journal.look().await;
    }
    let mut commit = journal.commit();
    let mut tail = journal.tail.clone();
    let mut from = range.from;
    let mut answered = false;
    while from <= range.to {
        let committed = *commit.borrow_and_update();
        tail.mark_unchanged();
        let response = |entries: Vec<Entry>| pb::ReadResponse {
            entries: entries.into_iter().map(convert::entry_to_pb).collect(),
            commit_seq: committed.0,
            log_id: convert::log_id_to_pb(journal.log_id()),
        };
        let last = if range.committed_only { range.to.min(committed) } else { range.to };
        let entries = if from <= last { part(journal.log(), from, last).await? } else { Vec::new() };
        let Some(end) = entries.last().map(|entry| entry.seq) else {
            if !answered || !range.follow {
                // Also an empty log has a committed seq.
                let sent = out.send(Ok(response(Vec::new()))).await;
                answered = true;
                if sent.is_err() || !range.follow {
                    return Ok(());
                }
            }
            let news = if range.committed_only { &mut commit } else { &mut tail };
            tokio::select! {
                changed = news.changed() => {
                    if changed.is_err() {
                        return Err(ApiError::shutting_down());
                    }
                }
                () = out.closed() => return Ok(()),
            }
            continue;
        };
        from = end.next();
        answered = true;
        if out.send(Ok(response(entries))).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

async fn part(log: Arc<dyn LogReader>, from: Seq, to: Seq) -> Result<Vec<Entry>, ApiError> {
    blocking::storage(move || log.read(from, to, PART)).await.map_err(|error| refuse(&error))
}

/// Sends the newest snapshot in parts; nothing if there is none.
pub(super) async fn snapshot(
    snapshots: Arc<dyn SnapshotStore>,
    out: mpsc::Sender<Result<pb::ReadSnapshotResponse, Status>>,
) {
    let latest = match blocking::storage(move || snapshots.latest()).await {
        Ok(latest) => latest,
        Err(error) => {
            // The reader is gone if this fails.
            let _ = out.send(Err(refuse(&error).into())).await;
            return;
        }
    };
    let Some((at, bytes)) = latest else { return };
    for part in parts(&at, &bytes) {
        if out.send(Ok(part)).await.is_err() {
            return;
        }
    }
}

fn parts(at: &Tail, bytes: &Bytes) -> impl Iterator<Item = pb::ReadSnapshotResponse> {
    let at = convert::tail_to_pb(at);
    (0..bytes.len()).step_by(PART).map(move |from| pb::ReadSnapshotResponse {
        at: Some(at.clone()),
        part: bytes.slice(from..bytes.len().min(from + PART)),
    })
}
