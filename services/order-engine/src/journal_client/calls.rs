//! Calls with one answer: fence, fetch, snapshot. Each has a deadline, and comes back as an event whatever becomes of
//! it.
//!
//! Deliberately absent: repeating a fence or a fetch (the proposer does, when and where it wants). Only the snapshot is
//! asked for until somebody answers, since nothing can begin without it.

use super::JournalEvent;
use super::ways::Ways;
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

/// How long a gateway may take for it while there is another one. Asking both does no harm: it is the same question.
const FENCE_PATIENCE: Duration = Duration::from_secs(1);

/// How long a voter may take for the next part of a read.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a gateway may take for it while there is another one.
const READ_PATIENCE: Duration = Duration::from_secs(2);

/// Payload taken from one read; the rest is asked for again. Bounds the memory of a recovery.
const FETCH_BYTES_MAX: usize = 16 << 20;

/// How long a gateway may take for the first part of a snapshot: it reads hundreds of megabytes before it sends it. A
/// gateway that is gone or cut off is noticed by its connection, much earlier.
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(60);

/// Pause before the voters are asked for a snapshot again.
const SNAPSHOT_PAUSE: Duration = Duration::from_millis(250);

/// One voter, for one call. Each of its ways is tried, beginning with the one in use.
pub(super) struct Caller {
    shard: ShardId,
    voter: VoterId,
    ways: Ways,
}

impl Caller {
    pub(super) const fn new(shard: ShardId, voter: VoterId, ways: Ways) -> Self {
        Self { shard, voter, ways }
    }

    fn is_only_way(&self) -> bool {
        self.ways.count() == 1
    }

    pub(super) fn fence(self, request: &FenceRequest) -> BoxFuture<'static, JournalEvent> {
        let request = convert::fence_request_to_pb(request);
        async move {
            let mut reply = FenceReply::Failed { message: "there is no way to the voter".to_owned() };
            for _ in 0..self.ways.count() {
                let (way, client) = self.ways.current();
                reply = self.ask_for_vote(client, request.clone()).await;
                let FenceReply::Failed { message } = &reply else { break };
                tracing::warn!(voter = self.voter.0, reason = message, "journal voter did not vote");
                self.ways.leave(way);
            }
            JournalEvent::Fenced { voter: self.voter, reply: Box::new(reply) }
        }
        .boxed()
    }

    async fn ask_for_vote(&self, mut client: JournalServiceClient<Channel>, request: pb::FenceRequest) -> FenceReply {
        let limit = if self.is_only_way() { FENCE_TIMEOUT } else { FENCE_PATIENCE };
        let mut request = Request::new(request);
        request.set_timeout(limit);
        let answer = timely(limit, client.fence(request)).await;
        answer
            .and_then(|response| Ok(convert::fence_reply(&response.into_inner())?))
            .unwrap_or_else(|status| FenceReply::Failed { message: status.to_string() })
    }

    pub(super) fn fetch(self, log_id: LogId, from: Seq, to: Seq) -> BoxFuture<'static, JournalEvent> {
        async move {
            let mut entries = Vec::new();
            for _ in 0..self.ways.count() {
                let (way, client) = self.ways.current();
                let Err(status) = self.read(client, log_id, from, to, &mut entries).await else { break };
                tracing::warn!(voter = self.voter.0, %status, from = from.0, to = to.0, "journal voter was not read");
                self.ways.leave(way);
                if !entries.is_empty() {
                    // The rest is asked for again.
                    break;
                }
            }
            JournalEvent::Fetched { entries }
        }
        .boxed()
    }

    /// Reads into `entries`; what came before an error can be used.
    async fn read(
        &self,
        mut client: JournalServiceClient<Channel>,
        log_id: LogId,
        from: Seq,
        to: Seq,
        entries: &mut Vec<Entry>,
    ) -> Result<(), Status> {
        let request = pb::ReadRequest {
            log_id: convert::log_id_to_pb(log_id),
            shard: self.shard.0,
            from_seq: from.0,
            to_seq: to.0,
            ..Default::default()
        };
        let mut parts = timely(self.patience(), client.read(request)).await?.into_inner();
        let mut bytes = 0;
        while bytes < FETCH_BYTES_MAX
            && let Some(part) = timely(self.patience(), parts.message()).await?
        {
            bytes += part.entries.iter().map(|entry| entry.payload.len()).sum::<usize>();
            let log_id = convert::log_id("log_id", &part.log_id)?;
            entries.extend(convert::entries(log_id, part.entries)?);
        }
        Ok(())
    }

    /// The newest snapshot of this voter.
    async fn snapshot(&self) -> Result<Option<(Tail, Vec<u8>)>, Status> {
        let mut failure = Status::unavailable("there is no way to the voter");
        for _ in 0..self.ways.count() {
            let (way, client) = self.ways.current();
            match self.snapshot_over(client).await {
                Ok(snapshot) => return Ok(snapshot),
                Err(status) => failure = status,
            }
            self.ways.leave(way);
        }
        Err(failure)
    }

    async fn snapshot_over(
        &self,
        mut client: JournalServiceClient<Channel>,
    ) -> Result<Option<(Tail, Vec<u8>)>, Status> {
        let request = pb::ReadSnapshotRequest { shard: self.shard.0, ..Default::default() };
        let mut parts = timely(SNAPSHOT_PATIENCE, client.read_snapshot(request)).await?.into_inner();
        let mut snapshot: Option<(Tail, Vec<u8>)> = None;
        let mut patience = SNAPSHOT_PATIENCE;
        while let Some(part) = timely(patience, parts.message()).await? {
            patience = self.patience();
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

    fn patience(&self) -> Duration {
        if self.is_only_way() { READ_TIMEOUT } else { READ_PATIENCE }
    }
}

/// The newest snapshot of all voters. Asks until at least one has answered.
pub(super) fn read_snapshot(callers: Vec<Caller>) -> BoxFuture<'static, JournalEvent> {
    async move {
        let mut told = false;
        loop {
            match newest_snapshot(&callers).await {
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

async fn newest_snapshot(callers: &[Caller]) -> Result<Option<(Tail, Snapshot)>, Status> {
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
    // A large one takes seconds: requests must not wait for it.
    let decoded = tokio::task::spawn_blocking(move || codec::snapshot::decode(&bytes)).await;
    let decoded = decoded.map_err(|error| Status::internal(error.to_string()))?;
    Ok(Some((at, decoded.map_err(|error| Status::data_loss(error.to_string()))?)))
}

async fn timely<T>(limit: Duration, call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    match tokio::time::timeout(limit, call).await {
        Ok(result) => result,
        Err(_) => Err(ApiError::new(ErrorCode::DeadlineExceeded, "no answer in time").into()),
    }
}
