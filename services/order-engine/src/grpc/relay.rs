//! The commands of one session for one shard that another engine leads: handed on in their order, over one session with
//! that engine.
//!
//! Deliberately absent: a second try of a command. It was handed on, or its client is told that it was not.

use super::shards::Shards;
use super::trading::Trading;
use futures::FutureExt;
use futures::future::BoxFuture;
use service_kit::trace::{TraceContext, within};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use types::ShardId;
use wire::client::{Reply, Session, SessionOptions};
use wire::pb::orders::v1::OrderReport;
use wire::pb::orders::v1::order_session_request::Command;
use wire::status::ApiError;

/// How long the other engine may take to open a session.
const OPEN_TIMEOUT: Duration = Duration::from_secs(1);

/// After a session could not be opened, commands are refused for so long before it is tried again: they would otherwise
/// wait for each other's attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// The way of a session's commands to one shard. Dropping it lets what was taken go out.
pub(super) struct Relay {
    commands: mpsc::Sender<Item>,
}

struct Item {
    command: Command,
    /// Where it stands in a trace.
    place: Option<TraceContext>,
    sent: oneshot::Sender<Result<Reply, ApiError>>,
}

struct Task {
    shards: Shards,
    shard: ShardId,
    in_flight: usize,
    /// The session with the leader of this epoch.
    session: Option<(u64, Session)>,
    /// When and why no session could be opened.
    failed: Option<(Instant, ApiError)>,
}

impl Relay {
    /// `in_flight` is the most commands without an answer.
    pub(super) fn start(shards: Shards, shard: ShardId, in_flight: usize) -> Self {
        let (commands, items) = mpsc::channel(in_flight);
        let task = Task { shards, shard, in_flight, session: None, failed: None };
        tokio::spawn(task.run(items));
        Self { commands }
    }

    /// Hands a command on, from this place of a trace; the future gives its answer.
    pub(super) fn send(
        &self,
        command: Command,
        place: Option<TraceContext>,
    ) -> BoxFuture<'static, Result<OrderReport, ApiError>> {
        let (sent, reply) = oneshot::channel();
        if self.commands.try_send(Item { command, place, sent }).is_err() {
            return async { Err(ApiError::overloaded("the way to the leader", PAUSE)) }.boxed();
        }
        async move {
            match reply.await {
                Ok(Ok(reply)) => reply.await.result,
                Ok(Err(error)) => Err(error),
                Err(_) => Err(ApiError::shutting_down()),
            }
        }
        .boxed()
    }
}

impl Task {
    async fn run(mut self, mut items: mpsc::Receiver<Item>) {
        while let Some(Item { command, place, sent }) = items.recv().await {
            // A client that is gone needs nothing handed on.
            if !sent.is_closed() {
                let _ = sent.send(self.hand_on(command, place).await);
            }
        }
    }

    async fn hand_on(&mut self, command: Command, place: Option<TraceContext>) -> Result<Reply, ApiError> {
        self.connect().await?;
        let Some((_, session)) = &self.session else { return Err(self.closed()) };
        // The session itself stands nowhere: it carries other commands as well.
        match within(place, session.send(command)).await {
            Ok(reply) => Ok(reply),
            Err(error) => {
                // It was not sent; the next command has a new session opened.
                self.session = None;
                if let Some(way) = self.shards.elsewhere(self.door(), None) {
                    way.learn(&error);
                }
                Err(ApiError::not_ready(format!("the way to the leader was lost: {error}")))
            }
        }
    }

    /// Makes sure that there is a session with whoever leads now. Answers over an earlier one still come.
    async fn connect(&mut self) -> Result<(), ApiError> {
        let Some(hint) = self.door().admission.leader_elsewhere() else {
            self.session = None;
            return Err(self.closed());
        };
        if self.session.as_ref().is_some_and(|(epoch, _)| *epoch == hint.epoch) {
            return Ok(());
        }
        if let Some((_, error)) = self.failed.as_ref().filter(|(when, _)| when.elapsed() < PAUSE) {
            return Err(error.clone());
        }
        let way = self.shards.elsewhere(self.door(), None).ok_or_else(|| self.closed())?;
        let options = SessionOptions { in_flight: self.in_flight, open_timeout: OPEN_TIMEOUT };
        match Session::open_forwarded(way.channel(), options, self.shard).await {
            Ok(session) => {
                self.session = Some((hint.epoch, session));
                self.failed = None;
                Ok(())
            }
            Err(error) => {
                way.learn(&error);
                let error = ApiError::not_ready(format!("{} does not take sessions: {error}", hint.engine));
                self.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn door(&self) -> &Trading {
        self.shards.get(self.shard).unwrap_or(&self.shards.all()[0])
    }

    fn closed(&self) -> ApiError {
        ApiError::not_ready(format!("the leadership of shard {} is changing: send the request again", self.shard))
    }
}
