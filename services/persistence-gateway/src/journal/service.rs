//! JournalService over the writer threads of a gateway's shards.
//!
//! Deliberately absent: any decision; requests are checked for form, passed on, and the answers passed back.

use std::collections::BTreeMap;
use std::pin::Pin;

use futures::Stream;
use journal_core::acceptor::ClientId;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use types::{LogId, ShardId};
use wire::convert;
use wire::pb::journal::v1::{self as pb, journal_service_server::JournalService};
use wire::status::ApiError;

use super::client::{JournalHandle, QueueError, REPLIES};
use super::read;

/// Serves JournalService.
#[derive(Clone, Debug, Default)]
pub struct JournalVoter {
    shards: BTreeMap<ShardId, JournalHandle>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl JournalVoter {
    /// Serves the given shards.
    #[must_use]
    pub fn new(shards: BTreeMap<ShardId, JournalHandle>) -> Self {
        Self { shards }
    }

    fn shard(&self, shard: ShardId) -> Result<&JournalHandle, ApiError> {
        self.shards.get(&shard).ok_or_else(|| ApiError::not_found(format!("this gateway does not hold shard {shard}")))
    }

    /// The journal of a shard, if its active history is the one meant.
    fn log(&self, log_id: LogId, shard: ShardId) -> Result<&JournalHandle, ApiError> {
        let journal = self.shard(shard)?;
        if log_id != LogId(0) && log_id != journal.log_id() {
            let active = journal.log_id();
            return Err(ApiError::precondition(format!("history {log_id} is not active here, {active} is")));
        }
        Ok(journal)
    }
}

fn refuse(error: QueueError) -> ApiError {
    match error {
        QueueError::Full => ApiError::overloaded("the journal's queue", wire::status::RETRY_AFTER),
        QueueError::Stopped => ApiError::not_ready("the journal has stopped: ask another node, or later"),
    }
}

#[tonic::async_trait]
impl JournalService for JournalVoter {
    async fn fence(&self, request: Request<pb::FenceRequest>) -> Result<Response<pb::FenceResponse>, Status> {
        let request = convert::fence_request(request.get_ref())?;
        let reply = self.shard(request.shard)?.fence(request).await.map_err(refuse)?;
        Ok(Response::new(convert::fence_reply_to_pb(reply)))
    }

    type AppendStream = Answers<pb::AppendResponse>;

    async fn append(
        &self,
        request: Request<Streaming<pb::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let (replies, answers) = mpsc::channel(REPLIES);
        tokio::spawn(self.clone().take_appends(request.into_inner(), replies));
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    type ReadStream = Answers<pb::ReadResponse>;

    async fn read(&self, request: Request<pb::ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let request = request.get_ref();
        let (log_id, shard) = convert::log_of_shard(&request.log_id, request.shard)?;
        let range = read::Range::check(request)?;
        let journal = self.log(log_id, shard)?.clone();
        let (out, answers) = mpsc::channel(read::AHEAD);
        tokio::spawn(read::entries(journal, range, out));
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    type ReadSnapshotStream = Answers<pb::ReadSnapshotResponse>;

    async fn read_snapshot(
        &self,
        request: Request<pb::ReadSnapshotRequest>,
    ) -> Result<Response<Self::ReadSnapshotStream>, Status> {
        let request = request.get_ref();
        let (log_id, shard) = convert::log_of_shard(&request.log_id, request.shard)?;
        let snapshots = self.log(log_id, shard)?.snapshots();
        let (out, answers) = mpsc::channel(read::AHEAD);
        tokio::spawn(read::snapshot(snapshots, out));
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn leader_seen(
        &self,
        request: Request<pb::LeaderSeenRequest>,
    ) -> Result<Response<pb::LeaderSeenResponse>, Status> {
        let request = request.get_ref();
        let (log_id, shard) = convert::log_of_shard(&request.log_id, request.shard)?;
        let journal = self.log(log_id, shard)?;
        let seen = journal.leader_seen().await;
        Ok(Response::new(pb::LeaderSeenResponse {
            epoch: Some(convert::epoch_to_pb(seen.epoch)),
            stream_open: seen.stream_open,
            // Never heard is as long ago as can be.
            silent_ms: seen.silent.map_or(u64::MAX, |silent| u64::try_from(silent.as_millis()).unwrap_or(u64::MAX)),
            commit_seq: journal.commit.borrow().0,
        }))
    }
}

type Replies = mpsc::Sender<Result<pb::AppendResponse, Status>>;

/// Where the requests of an append stream go.
enum Route {
    /// Nothing came yet.
    New(Replies),
    /// To this shard. Only its writer holds the sender, so that the stream ends when the writer closes it.
    Open(JournalHandle, ClientId),
}

impl JournalVoter {
    /// Passes the requests of one stream on, until it ends.
    async fn take_appends(self, mut requests: Streaming<pb::AppendRequest>, replies: Replies) {
        let weak = replies.downgrade();
        let mut route = Route::New(replies);
        // An error here means that the leader went away: nobody is left to be told.
        while let Ok(Some(request)) = requests.message().await {
            let Some(answers) = weak.upgrade() else { break };
            if let Err(error) = self.take_append(request, &mut route) {
                // Fails only if the leader is gone.
                drop(answers.send(Err(error.into())).await);
                break;
            }
        }
        if let Route::Open(journal, stream) = route {
            journal.close(stream);
        }
    }

    fn take_append(&self, request: pb::AppendRequest, route: &mut Route) -> Result<(), ApiError> {
        let traces = convert::entry_traces(&request.traces);
        let request = convert::append_request(request)?;
        if let Route::New(replies) = route {
            let journal = self.shard(request.shard)?.clone();
            let stream = journal.open(replies.clone()).map_err(refuse)?;
            *route = Route::Open(journal, stream);
        }
        let Route::Open(journal, stream) = route else { return Ok(()) };
        if request.shard != journal.shard() {
            return Err(ApiError::invalid("shard", format!("this stream is about shard {}", journal.shard())));
        }
        journal.append(*stream, request, traces).map_err(refuse)
    }
}
