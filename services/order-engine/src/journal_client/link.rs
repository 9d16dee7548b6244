//! The append stream of one voter: opened when the proposer wants it, fed from a bounded queue, given up when the voter
//! is silent, and opened over another way at once when there is one.
//!
//! Deliberately absent: when a stream that was lost over all ways is opened again, and what is sent again; the proposer
//! knows.

use super::JournalEvent;
use super::ways::{Way, Ways};
use crate::leadership::ShardStatus;
use futures::Stream as _;
use futures::future::BoxFuture;
use journal_core::proposer::VoterId;
use journal_core::{AppendReply, AppendRequest};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use wire::convert;
use wire::pb::journal::v1 as pb;

/// Requests on their way to one voter: the protocol's 64 units in flight, and as many heartbeats.
const REQUEST_QUEUE: usize = 128;

/// How long opening a stream may take: the gateway answers without its disk.
const OPEN_TIMEOUT: Duration = Duration::from_secs(1);

/// A voter answers every heartbeat, ten a second. A gateway that was silent for so long is left for another one, if
/// there is one.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where all gateways are silent for so long, or the only one, the disk stands still, and the connection tells nothing
/// any more. Each silence in vain doubles the patience up to here: changing gateways does not make a database faster.
const PATIENCE_MAX: Duration = Duration::from_secs(5);

/// A write that took less than this shows that the disk is as it should be.
const SOUND_SYNC: Duration = Duration::from_millis(500);

struct Opened {
    requests: mpsc::Sender<pb::AppendRequest>,
    replies: Streaming<pb::AppendResponse>,
}

enum Stream {
    Closed,
    Opening(BoxFuture<'static, Result<Opened, Status>>),
    Open(Box<Opened>),
    /// Given up between two polls; what follows from it is still to be done.
    Lost(Status),
}

/// One voter.
pub(super) struct Link {
    voter: VoterId,
    ways: Ways,
    status: Arc<ShardStatus>,
    /// The way of the stream.
    way: Way,
    stream: Stream,
    /// When it said something last, or its stream was opened.
    heard: Option<Instant>,
    /// How long it may be silent.
    patience: Duration,
    /// Losses since the last answer.
    failures: usize,
}

impl Link {
    pub(super) fn new(voter: VoterId, ways: Ways, status: Arc<ShardStatus>) -> Self {
        let patience = if ways.count() > 1 { PATIENCE } else { PATIENCE_MAX };
        let (way, _) = ways.current();
        Self { voter, ways, status, way, stream: Stream::Closed, heard: None, patience, failures: 0 }
    }

    pub(super) const fn voter(&self) -> VoterId {
        self.voter
    }

    pub(super) const fn ways(&self) -> &Ways {
        &self.ways
    }

    pub(super) fn open(&mut self) {
        let (way, mut client) = self.ways.current();
        self.way = way;
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

    pub(super) fn append(&mut self, request: AppendRequest, traces: Vec<pb::EntryTrace>) {
        let Stream::Open(open) = &self.stream else { return };
        let request = pb::AppendRequest { traces, ..convert::append_request_to_pb(request) };
        if open.requests.try_send(request).is_err() {
            self.stream = Stream::Lost(Status::resource_exhausted("the gateway takes no more entries"));
        }
    }

    pub(super) fn watch(&mut self, now: Instant) {
        if let Stream::Open(_) = &self.stream
            && self.heard.is_none_or(|heard| now.saturating_duration_since(heard) > self.patience)
        {
            self.patience = (self.patience * 2).min(PATIENCE_MAX);
            self.stream = Stream::Lost(Status::deadline_exceeded("the voter is silent"));
        }
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<JournalEvent> {
        loop {
            let lost = match &mut self.stream {
                Stream::Closed => return Poll::Pending,
                Stream::Lost(status) => status.clone(),
                Stream::Opening(opening) => match opening.as_mut().poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(opened)) => {
                        self.stream = Stream::Open(Box::new(opened));
                        self.heard = Some(Instant::now());
                        return Poll::Ready(JournalEvent::StreamOpened { voter: self.voter });
                    }
                    Poll::Ready(Err(status)) => status,
                },
                Stream::Open(open) => match Pin::new(&mut open.replies).poll_next(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(Ok(reply))) => match self.replied(&reply) {
                        Ok(event) => return Poll::Ready(event),
                        Err(status) => status,
                    },
                    Poll::Ready(Some(Err(status))) => status,
                    Poll::Ready(None) => Status::unavailable("the gateway ended the stream"),
                },
            };
            if let Some(event) = self.lost(&lost) {
                return Poll::Ready(event);
            }
        }
    }

    /// An answer. One that says that this gateway cannot write is a loss: another one may.
    fn replied(&mut self, reply: &pb::AppendResponse) -> Result<JournalEvent, Status> {
        let synced = match &reply.result {
            Some(pb::append_response::Result::Ok(ok)) => {
                // Before the entries it answers for are applied, and their answers given.
                self.status.volatile.store(ok.volatile, Ordering::Relaxed);
                Duration::from_micros(ok.sync_us)
            }
            _ => Duration::ZERO,
        };
        let reply = convert::append_reply(reply)?;
        if let AppendReply::Failed { message } = reply {
            return Err(Status::unavailable(message));
        }
        self.heard = Some(Instant::now());
        self.failures = 0;
        if self.ways.count() > 1 && !synced.is_zero() && synced < SOUND_SYNC {
            self.patience = PATIENCE;
        }
        Ok(JournalEvent::Appended { voter: self.voter, reply })
    }

    /// The stream is gone: the next way is taken at once. When all of them were tried the proposer is told, who knows
    /// when to begin again.
    fn lost(&mut self, status: &Status) -> Option<JournalEvent> {
        if self.failures == 0 {
            tracing::warn!(voter = self.voter.0, %status, "append stream to the journal voter lost, reconnecting");
        } else {
            tracing::debug!(voter = self.voter.0, %status, failures = self.failures, "journal not reached");
        }
        self.failures = self.failures.saturating_add(1);
        self.ways.leave(self.way);
        if !self.failures.is_multiple_of(self.ways.count()) {
            self.open();
            return None;
        }
        self.stream = Stream::Closed;
        Some(JournalEvent::StreamClosed { voter: self.voter })
    }
}
