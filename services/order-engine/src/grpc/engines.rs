//! The ways to the other engines: whoever does not lead a shard hands requests on to the engine that does.
//!
//! Deliberately absent: a second try. What became of a request that was handed on and not answered is for the client to
//! find out, under the same id.

use crate::trace::forwarded;
use service_kit::request_id;
use service_kit::trace::{self, Tracer};
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore};
use tonic::metadata::AsciiMetadataKey;
use tonic::{Request, Response, Status};
use types::ShardId;
use wire::forwarding;
use wire::pb::orders::v1::LeaderHint;
use wire::status::{ApiError, ErrorCode};
use wire::transport::{Channel, ClientOptions, connect};

/// What a leader may take longer than its own limit for an answer: the way there and back.
const WAY: Duration = Duration::from_millis(500);

/// How long another engine may take to begin a stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(2);

/// Connections that are kept. Engines that are gone leave theirs behind; with so many, all are made anew.
const CHANNELS_MAX: usize = 64;

/// After a leader did not answer, a coordinator is asked who leads now; at most so often, however many requests fail.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// When an engine that waits for a leader with all its requests should be asked again.
const RETRY_FULL: Duration = Duration::from_millis(50);

/// Connections to the other engines, by address.
#[derive(Debug)]
pub(super) struct Engines {
    channels: Mutex<HashMap<String, Channel>>,
    timeout: Duration,
    to_peers: ClientOptions,
    doubts: Arc<Doubts>,
    room: Arc<Semaphore>,
    tracer: Tracer,
}

/// That somebody named as the leader may not lead.
#[derive(Debug)]
struct Doubts {
    /// Has a coordinator asked.
    session: Arc<Notify>,
    told: Mutex<Option<Instant>>,
}

/// The way to the engine that leads a shard.
pub(super) struct Way {
    shard: ShardId,
    channel: Channel,
    timeout: Duration,
    doubts: Arc<Doubts>,
    room: Arc<Semaphore>,
    tracer: Tracer,
}

impl Engines {
    /// `answer_timeout` is how long an engine lets a command wait; whoever waits for `session` tells a coordinator that
    /// this engine lives, and hears who leads. `handed_on_max`: requests handed on and not yet answered.
    pub(super) fn new(
        answer_timeout: Duration,
        handed_on_max: u32,
        session: Arc<Notify>,
        to_peers: ClientOptions,
        tracer: Tracer,
    ) -> Self {
        let doubts = Arc::new(Doubts { session, told: Mutex::default() });
        let room = Arc::new(Semaphore::new(handed_on_max as usize));
        Self { channels: Mutex::default(), timeout: answer_timeout + WAY, to_peers, doubts, room, tracer }
    }

    /// The way to whom the hint names; `None` if its address cannot be used.
    pub(super) fn way(&self, shard: ShardId, hint: &LeaderHint) -> Option<Way> {
        // A map is whole whatever happened to whoever held it.
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(&hint.address) {
            return Some(self.way_over(shard, channel.clone()));
        }
        let channel = connect(&hint.address.parse().ok()?, &self.to_peers);
        if channels.len() >= CHANNELS_MAX {
            channels.clear();
        }
        channels.insert(hint.address.clone(), channel.clone());
        Some(self.way_over(shard, channel))
    }

    fn way_over(&self, shard: ShardId, channel: Channel) -> Way {
        let (doubts, room) = (Arc::clone(&self.doubts), Arc::clone(&self.room));
        Way { shard, channel, timeout: self.timeout, doubts, room, tracer: self.tracer.clone() }
    }
}

impl Doubts {
    fn tell(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() >= ASK_AGAIN) {
            *told = Some(Instant::now());
            self.session.notify_one();
        }
    }
}

impl Way {
    /// The connection.
    pub(super) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Hands a request on.
    pub(super) async fn call<Q, A, F>(
        self,
        message: Q,
        call: impl FnOnce(Channel, Request<Q>) -> F,
    ) -> Result<A, ApiError>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        // A leader that does not answer must not fill this engine as well.
        let Ok(_room) = self.room.try_acquire() else {
            return Err(ApiError::overloaded("the way to the leader", RETRY_FULL));
        };
        let mut request = self.request(message);
        request.set_timeout(self.timeout);
        let entered = self.tracer.enter(trace::current(), || false);
        let call = trace::within(entered.context, call(self.channel.clone(), request));
        let answer = within(self.timeout, call).await;
        if let Some(open) = entered.span {
            self.tracer.record(forwarded(open, self.shard, answer.as_ref().err()));
        }
        answer.inspect_err(|error| self.learn(error))
    }

    /// Opens a stream there.
    pub(super) async fn stream<Q, A, F>(
        self,
        message: Q,
        call: impl FnOnce(Channel, Request<Q>) -> F,
    ) -> Result<A, ApiError>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let request = self.request(message);
        let answer = within(OPEN_TIMEOUT, call(self.channel.clone(), request)).await;
        answer.inspect_err(|error| self.learn(error))
    }

    /// It answered with this error. Unless it is about the request, it may not lead any more.
    pub(super) fn learn(&self, error: &ApiError) {
        if error.code.retryable() && error.code != ErrorCode::Overloaded {
            self.doubts.tell();
        }
    }

    fn request<Q>(&self, message: Q) -> Request<Q> {
        let mut request = Request::new(message);
        forwarding::mark(request.metadata_mut(), self.shard);
        // The same id in the logs of both.
        let id = request_id::current().and_then(|id| id.as_str().parse().ok());
        if let (Some(id), Ok(key)) = (id, request_id::HEADER.as_str().parse::<AsciiMetadataKey>()) {
            request.metadata_mut().insert(key, id);
        }
        request
    }
}

async fn within<A>(limit: Duration, call: impl Future<Output = Result<Response<A>, Status>>) -> Result<A, ApiError> {
    match tokio::time::timeout(limit, call).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(ApiError::from_status(&status)),
        Err(_) => Err(ApiError::new(ErrorCode::DeadlineExceeded, "the leader of the shard does not answer in time")),
    }
}
