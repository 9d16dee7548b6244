//! A session: requests pipelined over one stream, answered in their order.
//!
//! Two halves. The reader takes requests off the network as they come, so that the connection never fills up with
//! unread frames, starts each in the shard and puts a slot for its answer into a bounded queue. The answers are the
//! response stream: it waits for the slot at the head only, which is right since the shard answers in order.
//!
//! Deliberately absent: state that survives the stream. A client that lost its session sends what is unanswered again.

use super::trading::{Pending, Trading};
use crate::metrics::Operation;
use futures::Stream;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, Streaming};
use wire::convert;
use wire::pb::orders::v1::order_session_request::Command;
use wire::pb::orders::v1::order_session_response::Result as Answered;
use wire::pb::orders::v1::{OrderSessionRequest, OrderSessionResponse};
use wire::status::ApiError;

/// When a session that has too many unanswered requests should send the next one.
const RETRY_SESSION_FULL: Duration = Duration::from_millis(50);

/// Slots per accepted command: a client over its limit gets an error for each request, and these take slots too. One
/// that sends as many again without reading a single answer is not reading, and its session is ended.
const SLOTS_PER_COMMAND: usize = 2;

/// The place of one answer in the order of the session.
enum Slot {
    /// The shard has the request.
    Waiting { client_seq: u64, pending: Pending },
    /// The request did not get there.
    Refused { client_seq: u64, error: ApiError },
    /// The session is over for this reason, after all answers before.
    End(ApiError),
}

/// The response stream.
pub(crate) struct Answers {
    slots: mpsc::Receiver<Slot>,
    head: Option<(u64, Pending)>,
    trading: Trading,
    unanswered: Arc<AtomicUsize>,
    ended: bool,
    /// Dropping the answers ends the reader.
    _reader: AbortOnDropHandle<()>,
}

/// Starts a session over `requests`.
pub(crate) fn open(trading: Trading, unanswered_max: usize, requests: Streaming<OrderSessionRequest>) -> Answers {
    let (slots, answers) = mpsc::channel(unanswered_max * SLOTS_PER_COMMAND);
    let unanswered = Arc::<AtomicUsize>::default();
    let reader = Reader { trading: trading.clone(), unanswered: Arc::clone(&unanswered), unanswered_max, slots };
    let reader = AbortOnDropHandle::new(tokio::spawn(reader.run(requests)));
    Answers { slots: answers, head: None, trading, unanswered, ended: false, _reader: reader }
}

struct Reader {
    trading: Trading,
    /// Requests the shard has and the client has no answer to. Counted up by the reader, down by the answers.
    unanswered: Arc<AtomicUsize>,
    unanswered_max: usize,
    slots: mpsc::Sender<Slot>,
}

impl Reader {
    async fn run(self, mut requests: Streaming<OrderSessionRequest>) {
        let end = loop {
            let request = tokio::select! {
                biased;
                () = self.trading.closing.cancelled() => break Some(ApiError::shutting_down()),
                request = requests.message() => request,
            };
            match request {
                Ok(Some(request)) => {
                    if self.slots.try_send(self.start(&request)).is_err() {
                        break Some(ApiError::slow_consumer("the stream of answers"));
                    }
                }
                Ok(None) => break None,
                Err(status) => break Some(ApiError::from_status(&status)),
            }
        };
        if let Some(error) = end {
            // Waits for room: the answers before come first, and a client that is gone drops the other half.
            let _ = self.slots.send(Slot::End(error)).await;
        }
    }

    fn start(&self, request: &OrderSessionRequest) -> Slot {
        let client_seq = request.client_seq;
        // Relaxed: a counter that guards no other memory.
        if self.unanswered.load(Ordering::Relaxed) >= self.unanswered_max {
            let error = ApiError::overloaded("the queue of the session", RETRY_SESSION_FULL);
            return Slot::Refused { client_seq, error };
        }
        let operation = match &request.command {
            Some(Command::Submit(_)) | None => Operation::Submit,
            Some(Command::Cancel(_)) => Operation::Cancel,
            Some(Command::Replace(_)) => Operation::Replace,
            Some(Command::MassCancel(_)) => Operation::MassCancel,
        };
        match self.trading.start(operation, |symbols| convert::session_command(request, symbols)) {
            Ok(pending) => {
                self.unanswered.fetch_add(1, Ordering::Relaxed);
                Slot::Waiting { client_seq, pending }
            }
            Err(error) => Slot::Refused { client_seq, error },
        }
    }
}

impl Stream for Answers {
    type Item = Result<OrderSessionResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        loop {
            if let Some((client_seq, pending)) = &mut this.head {
                let answer = ready!(Pin::new(&mut pending.answer).poll(cx));
                let result = match this.trading.finish(pending, answer) {
                    Ok(report) => Answered::Report(report),
                    Err(error) => Answered::Error(error.into_session_error()),
                };
                let response = OrderSessionResponse { client_seq: *client_seq, result: Some(result) };
                this.unanswered.fetch_sub(1, Ordering::Relaxed);
                this.head = None;
                return Poll::Ready(Some(Ok(response)));
            }
            match ready!(this.slots.poll_recv(cx)) {
                Some(Slot::Waiting { client_seq, pending }) => this.head = Some((client_seq, pending)),
                Some(Slot::Refused { client_seq, error }) => {
                    let result = Some(Answered::Error(error.into_session_error()));
                    return Poll::Ready(Some(Ok(OrderSessionResponse { client_seq, result })));
                }
                Some(Slot::End(error)) => {
                    this.ended = true;
                    return Poll::Ready(Some(Err(error.into())));
                }
                None => {
                    this.ended = true;
                    return Poll::Ready(None);
                }
            }
        }
    }
}
