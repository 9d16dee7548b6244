//! Calls with one answer: fence, fetch, snapshot. Each has a deadline, and comes back as an event whatever becomes of
//! it.
//!
//! Deliberately absent: repeating a fence or a fetch (the proposer does, when and where it wants). Only the snapshot is
//! asked for until somebody answers, since nothing can begin without it.

use super::JournalEvent;
use futures::FutureExt;
use futures::future::BoxFuture;
use journal_core::codec;
use journal_core::proposer::VoterId;
use journal_core::{Entry, FenceReply, FenceRequest, Tail};
use std::time::Duration;
use tonic::{Request, Status};
use types::{LogId, Seq, ShardId, Snapshot};
use wire::convert;
use wire::pb::journal::v1 as pb;
use wire::pb::journal::v1::journal_service_client::JournalServiceClient;
use wire::status::{ApiError, ErrorCode};
use wire::transport::Channel;

/// How long a voter may take for a vote: it finishes the write in flight and makes one of its own.
const FENCE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a voter may take for the next part of a read.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Payload taken from one read; the rest is asked for again. Bounds the memory of a recovery.
const FETCH_BYTES_MAX: usize = 16 << 20;

/// Pause before the voters are asked for a snapshot again.
const SNAPSHOT_PAUSE: Duration = Duration::from_millis(250);

/// One voter, for one call.
pub(super) struct Caller {
    shard: ShardId,
    voter: VoterId,
    client: JournalServiceClient<Channel>,
}

impl Caller {
    pub(super) const fn new(shard: ShardId, voter: VoterId, client: JournalServiceClient<Channel>) -> Self {
        Self { shard, voter, client }
    }

    pub(super) fn fence(mut self, request: &FenceRequest) -> BoxFuture<'static, JournalEvent> {
        let mut request = Request::new(convert::fence_request_to_pb(request));
        request.set_timeout(FENCE_TIMEOUT);
        async move {
            let answer = timely(FENCE_TIMEOUT, self.client.fence(request)).await;
            let reply = answer.and_then(|response| Ok(convert::fence_reply(&response.into_inner())?));
            let reply = reply.unwrap_or_else(|status| {
                tracing::warn!(voter = self.voter.0, %status, "journal voter did not vote");
                FenceReply::Failed { message: status.to_string() }
            });
            JournalEvent::Fenced { voter: self.voter, reply: Box::new(reply) }
        }
        .boxed()
    }

    pub(super) fn fetch(mut self, log_id: LogId, from: Seq, to: Seq) -> BoxFuture<'static, JournalEvent> {
        async move {
            let mut entries = Vec::new();
            if let Err(status) = self.read(log_id, from, to, &mut entries).await {
                tracing::warn!(voter = self.voter.0, %status, from = from.0, to = to.0, "journal voter was not read");
            }
            JournalEvent::Fetched { entries }
        }
        .boxed()
    }

    /// Reads into `entries`; what came before an error can be used.
    async fn read(&mut self, log_id: LogId, from: Seq, to: Seq, entries: &mut Vec<Entry>) -> Result<(), Status> {
        let request = pb::ReadRequest {
            log_id: convert::log_id_to_pb(log_id),
            shard: self.shard.0,
            from_seq: from.0,
            to_seq: to.0,
            ..Default::default()
        };
        let mut parts = timely(READ_TIMEOUT, self.client.read(request)).await?.into_inner();
        let mut bytes = 0;
        while bytes < FETCH_BYTES_MAX
            && let Some(part) = timely(READ_TIMEOUT, parts.message()).await?
        {
            bytes += part.entries.iter().map(|entry| entry.payload.len()).sum::<usize>();
            let log_id = convert::log_id("log_id", &part.log_id)?;
            entries.extend(convert::entries(log_id, part.entries)?);
        }
        Ok(())
    }

    /// The newest snapshot of this voter.
    async fn snapshot(&mut self) -> Result<Option<(Tail, Vec<u8>)>, Status> {
        let request = pb::ReadSnapshotRequest { shard: self.shard.0, ..Default::default() };
        let mut parts = timely(READ_TIMEOUT, self.client.read_snapshot(request)).await?.into_inner();
        let mut snapshot: Option<(Tail, Vec<u8>)> = None;
        while let Some(part) = timely(READ_TIMEOUT, parts.message()).await? {
            let at = convert::tail("at", part.at.as_ref())?;
            match &mut snapshot {
                Some((before, _)) if *before != at => {
                    return Err(Status::aborted("the snapshot changed while it was read"));
                }
                Some((_, bytes)) => bytes.extend_from_slice(&part.part),
                None => snapshot = Some((at, part.part.to_vec())),
            }
        }
        Ok(snapshot)
    }
}

/// The newest snapshot of all voters. Asks until at least one has answered.
pub(super) fn read_snapshot(mut callers: Vec<Caller>) -> BoxFuture<'static, JournalEvent> {
    async move {
        let mut told = false;
        loop {
            match newest_snapshot(&mut callers).await {
                Ok(snapshot) => return JournalEvent::SnapshotRead { snapshot: snapshot.map(Box::new) },
                Err(status) => {
                    if !told {
                        tracing::warn!(%status, "no journal voter could be asked for a snapshot, trying again");
                        told = true;
                    }
                    tokio::time::sleep(SNAPSHOT_PAUSE).await;
                }
            }
        }
    }
    .boxed()
}

async fn newest_snapshot(callers: &mut [Caller]) -> Result<Option<(Tail, Snapshot)>, Status> {
    let mut newest: Option<(Tail, Vec<u8>)> = None;
    let mut answered = false;
    let mut failure = Status::unavailable("there are no voters");
    for caller in callers {
        match caller.snapshot().await {
            Ok(found) => {
                answered = true;
                if let Some(found) = found
                    && newest.as_ref().is_none_or(|(at, _)| at.seq < found.0.seq)
                {
                    newest = Some(found);
                }
            }
            Err(status) => failure = status,
        }
    }
    if !answered {
        return Err(failure);
    }
    let Some((at, bytes)) = newest else { return Ok(None) };
    let snapshot = codec::snapshot::decode(&bytes).map_err(|error| Status::data_loss(error.to_string()))?;
    Ok(Some((at, snapshot)))
}

async fn timely<T>(limit: Duration, call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    match tokio::time::timeout(limit, call).await {
        Ok(result) => result,
        Err(_) => Err(ApiError::new(ErrorCode::DeadlineExceeded, "no answer in time").into()),
    }
}
