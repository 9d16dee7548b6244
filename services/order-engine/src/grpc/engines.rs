//! The ways to the other engines: whoever does not lead a shard hands requests on to the engine that does.
//!
//! Deliberately absent: a second try. What became of a request that was handed on and not answered is for the client to
//! find out, under the same id.

use service_kit::request_id;
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
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

/// Connections to the other engines, by address.
#[derive(Debug)]
pub(super) struct Engines {
    channels: Mutex<HashMap<String, Channel>>,
    timeout: Duration,
}

/// The way to the engine that leads a shard.
pub(super) struct Way {
    shard: ShardId,
    channel: Channel,
    timeout: Duration,
}

impl Engines {
    /// `answer_timeout` is how long an engine lets a command wait.
    pub(super) fn new(answer_timeout: Duration) -> Self {
        Self { channels: Mutex::default(), timeout: answer_timeout + WAY }
    }

    /// The way to whom the hint names; `None` if its address cannot be used.
    pub(super) fn way(&self, shard: ShardId, hint: &LeaderHint) -> Option<Way> {
        // A map is whole whatever happened to whoever held it.
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(&hint.address) {
            return Some(Way { shard, channel: channel.clone(), timeout: self.timeout });
        }
        let channel = connect(&hint.address.parse().ok()?, &ClientOptions::default());
        if channels.len() >= CHANNELS_MAX {
            channels.clear();
        }
        channels.insert(hint.address.clone(), channel.clone());
        Some(Way { shard, channel, timeout: self.timeout })
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
        let mut request = self.request(message);
        request.set_timeout(self.timeout);
        within(self.timeout, call(self.channel, request)).await
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
        within(OPEN_TIMEOUT, call(self.channel, request)).await
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
