//! The committed log as one voter sends it: a stream that is opened where its reader stands and read until it ends.
//!
//! Deliberately absent: what is done with the entries, and when a stream that has ended is opened again.

use super::JournalEvent;
use futures::Stream as _;
use futures::future::BoxFuture;
use journal_core::Entry;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::{Request, Status, Streaming};
use types::{Seq, ShardId};
use wire::convert;
use wire::pb::journal::v1 as pb;
use wire::pb::journal::v1::journal_service_client::JournalServiceClient;
use wire::status::ApiError;
use wire::transport::Channel;

/// How long opening a stream may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(2);

/// What a voter sent of the committed log.
#[derive(Debug)]
pub(crate) struct Followed {
    /// Consecutive entries; none when there is nothing new.
    pub(crate) entries: Vec<Entry>,
    /// Highest seq that the voter knows to be committed.
    pub(crate) commit: Seq,
}

/// The stream; there is one at the most.
pub(super) enum Follow {
    Closed,
    Opening(BoxFuture<'static, Result<Streaming<pb::ReadResponse>, Status>>),
    Open(Box<Streaming<pb::ReadResponse>>),
}

impl Follow {
    /// Asks for everything that is committed from `from` on, as it comes.
    pub(super) fn open(&mut self, mut client: JournalServiceClient<Channel>, shard: ShardId, from: Seq) {
        let request = pb::ReadRequest {
            log_id: convert::log_id_to_pb(types::LogId::default()),
            shard: shard.0,
            from_seq: from.0,
            committed_only: true,
            follow: true,
            ..Default::default()
        };
        *self = Self::Opening(Box::pin(async move {
            match tokio::time::timeout(OPEN_TIMEOUT, client.read(Request::new(request))).await {
                Ok(response) => Ok(response?.into_inner()),
                Err(_) => Err(Status::deadline_exceeded("the log was not opened for reading in time")),
            }
        }));
    }

    /// Ends it, without an event. Nothing that was on its way is delivered any more.
    pub(super) fn close(&mut self) {
        *self = Self::Closed;
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<JournalEvent> {
        loop {
            let ended = match self {
                Self::Closed => return Poll::Pending,
                Self::Opening(opening) => match opening.as_mut().poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(stream)) => {
                        *self = Self::Open(Box::new(stream));
                        continue;
                    }
                    Poll::Ready(Err(status)) => status,
                },
                Self::Open(stream) => match Pin::new(stream.as_mut()).poll_next(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(Ok(part))) => match followed(part) {
                        Ok(followed) => return Poll::Ready(JournalEvent::Followed(followed)),
                        Err(error) => error.into(),
                    },
                    Poll::Ready(Some(Err(status))) => status,
                    Poll::Ready(None) => Status::unavailable("the voter ended the stream"),
                },
            };
            *self = Self::Closed;
            return Poll::Ready(JournalEvent::FollowEnded { error: ApiError::from_status(&ended) });
        }
    }
}

fn followed(part: pb::ReadResponse) -> Result<Followed, ApiError> {
    let log_id = convert::log_id("log_id", &part.log_id)?;
    Ok(Followed { entries: convert::entries(log_id, part.entries)?, commit: Seq(part.commit_seq) })
}
