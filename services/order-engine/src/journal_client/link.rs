//! The append stream of one voter: opened when the proposer wants it, fed from a bounded queue, given up when the voter
//! is silent.
//!
//! Deliberately absent: when a lost stream is opened again, and what is sent again then; the proposer knows.

use super::JournalEvent;
use futures::Stream as _;
use futures::future::BoxFuture;
use journal_core::proposer::VoterId;
use journal_core::{AppendReply, AppendRequest};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use wire::convert;
use wire::pb::journal::v1 as pb;
use wire::pb::journal::v1::journal_service_client::JournalServiceClient;
use wire::transport::{Channel, PEER_MESSAGE_LIMIT};

/// Requests on their way to one voter: the protocol's 64 units in flight, and as many heartbeats.
const REQUEST_QUEUE: usize = 128;

/// How long opening a stream may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(2);

/// A voter answers every heartbeat, ten a second. One that was silent for so long is not there, or its disk stands
/// still; either way the connection tells nothing any more.
const SILENCE_MAX: Duration = Duration::from_secs(5);

struct Opened {
    requests: mpsc::Sender<pb::AppendRequest>,
    replies: Streaming<pb::AppendResponse>,
}

enum Stream {
    Closed,
    Opening(BoxFuture<'static, Result<Opened, Status>>),
    Open(Box<Opened>),
    /// Given up between two polls; the loss is still to be told.
    Lost,
}

/// One voter.
pub(super) struct Link {
    voter: VoterId,
    client: JournalServiceClient<Channel>,
    stream: Stream,
    /// When it said something last, or its stream was opened.
    heard: Option<Instant>,
    /// Losses since the last answer.
    failures: u32,
}

impl Link {
    pub(super) fn new(voter: VoterId, channel: Channel) -> Self {
        let client = JournalServiceClient::new(channel)
            .max_decoding_message_size(PEER_MESSAGE_LIMIT)
            .max_encoding_message_size(PEER_MESSAGE_LIMIT);
        Self { voter, client, stream: Stream::Closed, heard: None, failures: 0 }
    }

    pub(super) const fn voter(&self) -> VoterId {
        self.voter
    }

    pub(super) fn client(&self) -> JournalServiceClient<Channel> {
        self.client.clone()
    }

    pub(super) fn open(&mut self) {
        let mut client = self.client.clone();
        self.stream = Stream::Opening(Box::pin(async move {
            let (requests, queue) = mpsc::channel(REQUEST_QUEUE);
            let opening = client.append(ReceiverStream::new(queue));
            match tokio::time::timeout(OPEN_TIMEOUT, opening).await {
                Ok(Ok(response)) => Ok(Opened { requests, replies: response.into_inner() }),
                Ok(Err(status)) => Err(status),
                Err(_) => Err(Status::deadline_exceeded("the append stream was not opened in time")),
            }
        }));
    }

    pub(super) fn close(&mut self) {
        self.stream = Stream::Closed;
    }

    pub(super) fn append(&mut self, request: AppendRequest) {
        let Stream::Open(open) = &self.stream else { return };
        if open.requests.try_send(convert::append_request_to_pb(request)).is_err() {
            tracing::warn!(voter = self.voter.0, "journal voter takes no more entries, reconnecting");
            self.lose();
        }
    }

    pub(super) fn watch(&mut self, now: Instant) {
        if let Stream::Open(_) = &self.stream
            && self.heard.is_none_or(|heard| now.saturating_duration_since(heard) > SILENCE_MAX)
        {
            tracing::warn!(voter = self.voter.0, "journal voter is silent, reconnecting");
            self.lose();
        }
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<JournalEvent> {
        match &mut self.stream {
            Stream::Closed => Poll::Pending,
            Stream::Lost => {
                self.stream = Stream::Closed;
                Poll::Ready(JournalEvent::StreamClosed { voter: self.voter })
            }
            Stream::Opening(opening) => match opening.as_mut().poll(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Ok(opened)) => {
                    self.stream = Stream::Open(Box::new(opened));
                    self.heard = Some(Instant::now());
                    Poll::Ready(JournalEvent::StreamOpened { voter: self.voter })
                }
                Poll::Ready(Err(status)) => Poll::Ready(self.lost(&status)),
            },
            Stream::Open(open) => match Pin::new(&mut open.replies).poll_next(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Some(Ok(reply))) => match convert::append_reply(&reply) {
                    Ok(reply) => {
                        self.heard = Some(Instant::now());
                        self.failures = 0;
                        Poll::Ready(self.replied(reply))
                    }
                    Err(error) => Poll::Ready(self.lost(&error.into())),
                },
                Poll::Ready(Some(Err(status))) => Poll::Ready(self.lost(&status)),
                Poll::Ready(None) => Poll::Ready(self.lost(&Status::unavailable("the voter ended the stream"))),
            },
        }
    }

    const fn replied(&self, reply: AppendReply) -> JournalEvent {
        JournalEvent::Appended { voter: self.voter, reply }
    }

    fn lose(&mut self) {
        self.failures = self.failures.saturating_add(1);
        self.stream = Stream::Lost;
    }

    fn lost(&mut self, status: &Status) -> JournalEvent {
        if self.failures == 0 {
            tracing::warn!(voter = self.voter.0, %status, "append stream to the journal voter lost");
        } else {
            tracing::debug!(voter = self.voter.0, %status, failures = self.failures, "journal voter not reached");
        }
        self.failures = self.failures.saturating_add(1);
        self.stream = Stream::Closed;
        JournalEvent::StreamClosed { voter: self.voter }
    }
}
