//! Many requests over one stream.
//!
//! Deliberately absent: retries. When a session ends, what was in flight is in doubt, and [`super::OrderClient`]
//! finds out about it under the same client_order_id.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::transport::Channel;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming};
use types::ShardId;

use crate::forwarding;
use crate::pb::orders::v1 as pb;
use crate::pb::orders::v1::order_service_client::OrderServiceClient;
use crate::pb::orders::v1::order_session_request::Command;
use crate::pb::orders::v1::order_session_response::Result as Answered;
use crate::status::{ApiError, ErrorCode};
use crate::trace;

/// How a session is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionOptions {
    /// Requests without an answer at one time; a further one waits. At least 1.
    pub in_flight: usize,
    /// How long opening may take.
    pub open_timeout: Duration,
}

impl Default for SessionOptions {
    /// 1024 in flight: what an engine works off in some 10 ms, ten times what covers a disk's sync at 10,000
    /// requests a second.
    fn default() -> Self {
        Self { in_flight: 1024, open_timeout: Duration::from_secs(5) }
    }
}

/// What became of one request, and when that was known here.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The report, or why there is none.
    pub result: Result<pb::OrderReport, ApiError>,
    /// When it was read from the stream, or when the stream was seen to have ended.
    pub received: Instant,
}

/// An answer to come.
#[derive(Debug)]
#[must_use = "the answer is lost"]
pub struct Reply {
    answer: oneshot::Receiver<Answer>,
}

/// An open session. Cheap to share by reference; requests are answered independently of one another.
#[derive(Debug)]
pub struct Session {
    requests: mpsc::Sender<pb::OrderSessionRequest>,
    pending: Arc<Pending>,
    permits: Arc<Semaphore>,
    reader: JoinHandle<()>,
}

/// Who waits for which number.
#[derive(Debug, Default)]
struct Pending {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next_seq: u64,
    waiting: HashMap<u64, Waiting>,
    /// Why there will be no further answers.
    ended: Option<ApiError>,
}

#[derive(Debug)]
struct Waiting {
    reply: oneshot::Sender<Answer>,
    _permit: OwnedSemaphorePermit,
}

impl Session {
    /// Opens a session over `channel`.
    pub async fn open(channel: Channel, options: SessionOptions) -> Result<Self, ApiError> {
        Self::start(channel, options, None).await
    }

    /// Opens a session over `channel` by which an engine hands on commands for one shard.
    pub async fn open_forwarded(channel: Channel, options: SessionOptions, shard: ShardId) -> Result<Self, ApiError> {
        Self::start(channel, options, Some(shard)).await
    }

    async fn start(channel: Channel, options: SessionOptions, forwarded: Option<ShardId>) -> Result<Self, ApiError> {
        let in_flight = options.in_flight.max(1);
        let (requests, outgoing) = mpsc::channel(in_flight);
        let mut client = OrderServiceClient::new(channel);
        let mut request = Request::new(ReceiverStream::new(outgoing));
        if let Some(shard) = forwarded {
            forwarding::mark(request.metadata_mut(), shard);
        }
        let opening = client.order_session(request);
        let answers = match tokio::time::timeout(options.open_timeout, opening).await {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => return Err(ApiError::from_status(&status)),
            Err(_) => return Err(ApiError::new(ErrorCode::Unreachable, "the session was not opened in time")),
        };
        let pending = Arc::new(Pending::default());
        let reader = tokio::spawn(read(answers, Arc::clone(&pending)));
        Ok(Self { requests, pending, permits: Arc::new(Semaphore::new(in_flight)), reader })
    }

    /// Sends a request as soon as there is room for it, with the place of the task in a trace if it has one. An error
    /// means that it was not sent.
    pub async fn send(&self, command: Command) -> Result<Reply, ApiError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| session_ended())?;
        let (reply, answer) = oneshot::channel();
        let client_seq = self.pending.expect(Waiting { reply, _permit: permit })?;
        let request = pb::OrderSessionRequest {
            client_seq,
            command: Some(command),
            traceparent: trace::current().map_or_else(String::new, |context| context.to_string()),
        };
        // There is a place in the queue for every permit. A closed queue means that the stream has ended, and that
        // the reader is about to answer all who wait, this one included.
        if self.requests.send(request).await.is_err() {
            self.pending.forget(client_seq);
            return Err(self.pending.why_ended().unwrap_or_else(session_ended));
        }
        Ok(Reply { answer })
    }

    /// Sends a request and waits for its answer.
    pub async fn call(&self, command: Command) -> Result<pb::OrderReport, ApiError> {
        self.send(command).await?.await.result
    }

    /// Requests without an answer now.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.pending.lock().waiting.len()
    }

    /// Ends the session after the answers to all that was sent.
    pub async fn close(self) {
        drop(self.requests);
        // The reader only fails by a panic, which has been reported; nobody waits for it then.
        let _ = self.reader.await;
    }
}

impl Future for Reply {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        Pin::new(&mut self.answer).poll(context).map(|answer| {
            answer.unwrap_or_else(|_| Answer {
                result: Err(in_doubt("the session was dropped")),
                received: Instant::now(),
            })
        })
    }
}

impl Pending {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing is left half-done under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expect(&self, waiting: Waiting) -> Result<u64, ApiError> {
        let mut state = self.lock();
        if let Some(why) = &state.ended {
            return Err(why.clone());
        }
        state.next_seq += 1;
        let client_seq = state.next_seq;
        state.waiting.insert(client_seq, waiting);
        Ok(client_seq)
    }

    fn forget(&self, client_seq: u64) {
        self.lock().waiting.remove(&client_seq);
    }

    fn why_ended(&self) -> Option<ApiError> {
        self.lock().ended.clone()
    }

    fn answer(&self, response: pb::OrderSessionResponse) {
        let received = Instant::now();
        let waiting = self.lock().waiting.remove(&response.client_seq);
        let result = match response.result {
            Some(Answered::Report(report)) => Ok(report),
            Some(Answered::Error(error)) => Err(ApiError::from_session_error(error)),
            None => Err(in_doubt("the answer came without a report")),
        };
        match waiting {
            // Whoever sent it may have stopped waiting.
            Some(waiting) => drop(waiting.reply.send(Answer { result, received })),
            None => tracing::warn!(client_seq = response.client_seq, "answer to a request that was not sent"),
        }
    }

    /// Nothing more will come: everybody who waits is told so.
    fn end(&self, why: &ApiError) {
        let received = Instant::now();
        let waiting = {
            let mut state = self.lock();
            state.ended = Some(ApiError::new(ErrorCode::Unreachable, format!("the session has ended: {why}")));
            std::mem::take(&mut state.waiting)
        };
        for (_, waiting) in waiting {
            let result = Err(in_doubt(&format!("the session ended before the answer ({why})")));
            drop(waiting.reply.send(Answer { result, received }));
        }
    }
}

async fn read(mut answers: Streaming<pb::OrderSessionResponse>, pending: Arc<Pending>) {
    let why = loop {
        match answers.message().await {
            Ok(Some(response)) => pending.answer(response),
            Ok(None) => break session_ended(),
            Err(status) => break ApiError::from_status(&status as &Status),
        }
    };
    pending.end(&why);
}

fn session_ended() -> ApiError {
    ApiError::new(ErrorCode::Unreachable, "the session has ended: open a new one")
}

fn in_doubt(why: &str) -> ApiError {
    ApiError::unknown_outcome(why)
}
