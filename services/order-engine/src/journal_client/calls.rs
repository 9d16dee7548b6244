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

/// The same while there is one that cannot be read: it is large, and only people or a newer one change that.
const UNREADABLE_PAUSE: Duration = Duration::from_secs(10);

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
    async fn snapshot(&self) -> Found {
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

    async fn snapshot_over(&self, mut client: JournalServiceClient<Channel>) -> Found {
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

/// The newest snapshot of all voters. Asks until there is one that can be read, or a voter says that there is none.
pub(super) fn read_snapshot(callers: Vec<Caller>) -> BoxFuture<'static, JournalEvent> {
    async move {
        let mut told = String::new();
        loop {
            let mut newest = Newest::default();
            for caller in &callers {
                newest.take(caller.snapshot().await).await;
            }
            let missing = match newest.finish() {
                Ok(snapshot) => return JournalEvent::SnapshotRead { snapshot: snapshot.map(Box::new) },
                Err(missing) => missing,
            };
            let reason = missing.to_string();
            if reason != told {
                match &missing {
                    Missing::Unreachable(_) => tracing::warn!("{reason}, trying again"),
                    Missing::Unreadable { .. } => tracing::error!("{reason}"),
                }
                told = reason;
            }
            tokio::time::sleep(missing.pause()).await;
        }
    }
    .boxed()
}

/// A voter's newest snapshot, not decoded.
type Found = Result<Option<(Tail, Vec<u8>)>, Status>;

/// Why nothing can begin.
#[derive(Debug, thiserror::Error)]
enum Missing {
    #[error("no journal voter could be asked for a snapshot ({0})")]
    Unreachable(Status),
    #[error(
        "the journal's snapshot after entry {} cannot be read: {reason}: run the version of the program that made it",
        at.seq
    )]
    Unreadable { at: Tail, reason: String },
}

impl Missing {
    const fn pause(&self) -> Duration {
        match self {
            Self::Unreachable(_) => SNAPSHOT_PAUSE,
            Self::Unreadable { .. } => UNREADABLE_PAUSE,
        }
    }
}

/// The newest snapshot among those that voters gave.
#[derive(Default)]
struct Newest {
    newest: Option<(Tail, Snapshot)>,
    /// A voter has none.
    none: bool,
    unreadable: Option<(Tail, String)>,
    failure: Option<Status>,
}

impl Newest {
    /// Decodes at once what is newer: never more than one is kept beside the one that comes in.
    async fn take(&mut self, found: Found) {
        let (at, bytes) = match found {
            Ok(Some((at, _))) if self.newest.as_ref().is_some_and(|(newest, _)| newest.seq >= at.seq) => return,
            Ok(Some(found)) => found,
            Ok(None) => return self.none = true,
            Err(status) => return self.failure = Some(status),
        };
        // A large one takes seconds: requests must not wait for it.
        let decoded = tokio::task::spawn_blocking(move || codec::snapshot::decode(&bytes)).await;
        match decoded.map_err(|error| error.to_string()).and_then(|decoded| decoded.map_err(|error| error.to_string()))
        {
            Ok(snapshot) => self.newest = Some((at, snapshot)),
            Err(reason) => self.unreadable = Some((at, reason)),
        }
    }

    /// An older one that can be read is as good: the log goes on from there. None where there is none at all.
    fn finish(self) -> Result<Option<(Tail, Snapshot)>, Missing> {
        match (self.newest, self.unreadable) {
            (Some(newest), unreadable) => {
                if let Some((at, reason)) = unreadable {
                    tracing::warn!(seq = at.seq.0, reason, "snapshot cannot be read: another one is taken");
                }
                Ok(Some(newest))
            }
            (None, Some((at, reason))) => Err(Missing::Unreadable { at, reason }),
            (None, None) if self.none => Ok(None),
            (None, None) => {
                Err(Missing::Unreachable(self.failure.unwrap_or_else(|| Status::unavailable("there are no voters"))))
            }
        }
    }
}

async fn timely<T>(limit: Duration, call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    match tokio::time::timeout(limit, call).await {
        Ok(result) => result,
        Err(_) => Err(ApiError::new(ErrorCode::DeadlineExceeded, "no answer in time").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use journal_core::ChainHash;
    use matching::Exchange;
    use types::{Epoch, Incarnation};

    fn at(seq: u64) -> Tail {
        Tail { epoch: Epoch { number: 1, owner: Incarnation(1) }, seq: Seq(seq), chain: ChainHash::ZERO }
    }

    fn good(seq: u64) -> Found {
        Ok(Some((at(seq), codec::snapshot::encode(&Exchange::new(ShardId(0)).snapshot()))))
    }

    /// As another version of the program would have written it.
    fn foreign(seq: u64) -> Found {
        let mut found = good(seq);
        // The version follows the magic.
        if let Ok(Some((_, bytes))) = &mut found {
            bytes[8] = 9;
        }
        found
    }

    async fn newest(found: Vec<Found>) -> Result<Option<u64>, Missing> {
        let mut newest = Newest::default();
        for found in found {
            newest.take(found).await;
        }
        Ok(newest.finish()?.map(|(at, _)| at.seq.0))
    }

    #[tokio::test]
    async fn the_newest_snapshot_that_can_be_read_counts() {
        let away = || Err(Status::unavailable("away"));
        assert_eq!(newest(vec![good(5), good(9), good(7)]).await.expect("good"), Some(9));
        assert_eq!(newest(vec![away(), Ok(None)]).await.expect("there is none"), None);
        assert_eq!(newest(vec![foreign(9), good(5), away()]).await.expect("an older one"), Some(5));
        assert_eq!(newest(vec![good(5), foreign(9)]).await.expect("an older one"), Some(5));
        assert!(matches!(newest(vec![away()]).await, Err(Missing::Unreachable(_))));
        // A voter that has none cannot speak for one that has.
        let missing = newest(vec![Ok(None), foreign(9), away()]).await.expect_err("nothing to begin with");
        assert!(
            missing.to_string().contains("after entry 9") && missing.to_string().contains("version 9"),
            "{missing}"
        );
        assert_eq!(missing.pause(), UNREADABLE_PAUSE);
    }
}
