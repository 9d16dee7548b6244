//! How everybody else talks to a shard's writer thread: a bounded queue in, answers through channels.
//!
//! Sending never waits: a full queue is an answer. Deliberately absent: gRPC.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Weak};
use std::time::Instant;

use journal_core::acceptor::ClientId;
use journal_core::{AppendRequest, FenceReply, FenceRequest, Tail};
use journal_store::postgres::Sessions;
use journal_store::{LogReader, SnapshotStore};
use service_kit::trace::TraceContext;
use tokio::sync::{mpsc, oneshot, watch};
use tonic::Status;
use types::{LogId, Seq, ShardId};
use wire::pb::journal::v1::AppendResponse;

use super::leader::{LeaderSight, Seen};
use super::traced::Traced;
use super::watch::{Following, Watch};

/// Messages that may wait for the writer thread: a leader keeps at most 64 appends under way, and a handful of
/// engines, old and new, may talk at one time. Beyond that somebody misbehaves.
pub(super) const QUEUE: usize = 512;

/// Answers that may wait for a stream to be read. More than a conforming leader has under way; a stream that lets
/// them pile up is closed.
pub(super) const REPLIES: usize = 512;

/// What the writer thread is told.
pub(super) enum Message {
    Fence {
        request: FenceRequest,
        reply: oneshot::Sender<FenceReply>,
    },
    Open {
        stream: ClientId,
        replies: mpsc::Sender<Result<AppendResponse, Status>>,
    },
    Append {
        stream: ClientId,
        request: AppendRequest,
        arrived: Instant,
        /// Where commands of its entries stand in traces.
        traces: Vec<(Seq, TraceContext)>,
    },
    Close {
        stream: ClientId,
    },
    Trim {
        base: Tail,
        done: oneshot::Sender<Result<(), String>>,
    },
    /// Replace the sessions on the database server.
    Renew {
        done: oneshot::Sender<Result<(), String>>,
    },
    /// A shared storage was seen to be at this point: read it again if that is news.
    Seen {
        promised: u64,
        tail: Seq,
        base: Seq,
    },
    /// The database of a shared storage answers.
    Back,
    Stop,
}

/// Why the writer thread did not take a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// Its queue is full.
    #[error("the journal's queue is full")]
    Full,
    /// It ended.
    #[error("the journal has stopped")]
    Stopped,
}

/// The sessions of a shard's journal on a database server. Does not keep the journal's thread from ending.
pub(crate) struct ShardSessions {
    pub(crate) shard: ShardId,
    queue: Weak<SyncSender<Message>>,
    pub(crate) sessions: Sessions,
}

impl ShardSessions {
    /// Replaces them, between two writes.
    pub(crate) async fn renew(&self) -> Result<(), String> {
        let queue = self.queue.upgrade().ok_or_else(|| QueueError::Stopped.to_string())?;
        let (done, answer) = oneshot::channel();
        send(&queue, Message::Renew { done }).map_err(|error| error.to_string())?;
        drop(queue);
        answer.await.map_err(|_| QueueError::Stopped.to_string())?
    }
}

/// A shard's journal, seen from outside its thread. Clones are handles of the same journal.
#[derive(Clone)]
pub struct JournalHandle {
    pub(super) shard: ShardId,
    pub(super) log_id: LogId,
    pub(super) queue: Arc<SyncSender<Message>>,
    pub(super) next_client: Arc<AtomicU64>,
    pub(super) commit: watch::Receiver<Seq>,
    pub(super) tail: watch::Receiver<Seq>,
    pub(super) log: Arc<dyn LogReader>,
    pub(super) snapshots: Arc<dyn SnapshotStore>,
    pub(super) sight: LeaderSight,
    /// Who looks after a shared storage; none for one of our own.
    pub(super) watch: Option<Watch>,
    /// Of a storage on a database server.
    pub(super) sessions: Option<Sessions>,
    /// What traces are told of, after its writes.
    pub(super) traced: Traced,
}

impl JournalHandle {
    /// The shard.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// The active history.
    #[must_use]
    pub fn log_id(&self) -> LogId {
        self.log_id
    }

    /// Highest committed seq, for those who follow it.
    #[must_use]
    pub fn commit(&self) -> watch::Receiver<Seq> {
        self.commit.clone()
    }

    /// The last durable entry, acknowledged or not.
    pub(crate) fn tail(&self) -> Seq {
        *self.tail.borrow()
    }

    /// From now on what other gateways write is noticed within a tenth of a second, until the result is dropped.
    #[must_use]
    pub fn follow(&self) -> Option<Following> {
        self.watch.as_ref().map(Watch::follow)
    }

    /// What is seen of the leader. A promise made by another gateway counts: its storage is asked, for a moment.
    pub(super) async fn leader_seen(&self) -> Seen {
        self.look().await;
        self.sight.seen()
    }

    /// Brings what is known of a shared storage up to date, if it answers within a moment.
    pub(crate) async fn look(&self) {
        if let Some(watch) = &self.watch {
            watch.look().await;
        }
    }

    /// The traces that its entries belong to.
    pub(crate) fn traced(&self) -> Traced {
        self.traced.clone()
    }

    /// Reader of the durable entries; its calls block.
    #[must_use]
    pub fn log(&self) -> Arc<dyn LogReader> {
        Arc::clone(&self.log)
    }

    /// The snapshots; calls block.
    #[must_use]
    pub fn snapshots(&self) -> Arc<dyn SnapshotStore> {
        Arc::clone(&self.snapshots)
    }

    /// Asks for an epoch.
    ///
    /// # Errors
    /// When the writer thread cannot be asked or ended before it answered.
    pub async fn fence(&self, request: FenceRequest) -> Result<FenceReply, QueueError> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Fence { request, reply })?;
        answer.await.map_err(|_| QueueError::Stopped)
    }

    /// Forgets entries up to `base`, which a snapshot and the history contain.
    ///
    /// # Errors
    /// What the storage said.
    pub async fn trim(&self, base: Tail) -> Result<(), String> {
        let (done, answer) = oneshot::channel();
        self.send(Message::Trim { base, done }).map_err(|error| error.to_string())?;
        answer.await.map_err(|_| QueueError::Stopped.to_string())?
    }

    /// The sessions of a storage on a database server.
    #[must_use]
    pub(crate) fn sessions(&self) -> Option<ShardSessions> {
        let (shard, queue) = (self.shard, Arc::downgrade(&self.queue));
        self.sessions.clone().map(|sessions| ShardSessions { shard, queue, sessions })
    }

    /// Lets the writer thread finish what is queued and end.
    pub fn stop(&self) {
        // Full: it is told by the queue's end, when the last handle goes.
        let _ = self.send(Message::Stop);
    }

    /// Opens a stream whose answers go to `replies`.
    pub(super) fn open(&self, replies: mpsc::Sender<Result<AppendResponse, Status>>) -> Result<ClientId, QueueError> {
        let stream = ClientId(self.next_client.fetch_add(1, Ordering::Relaxed));
        self.send(Message::Open { stream, replies })?;
        Ok(stream)
    }

    pub(super) fn append(
        &self,
        stream: ClientId,
        request: AppendRequest,
        traces: Vec<(Seq, TraceContext)>,
    ) -> Result<(), QueueError> {
        let arrived = Instant::now();
        self.sight.heard(stream, request.epoch, arrived);
        self.send(Message::Append { stream, request, arrived, traces })
    }

    pub(super) fn close(&self, stream: ClientId) {
        self.sight.closed(stream);
        // If this fails the writer drops the stream when it finds its receiver gone.
        let _ = self.send(Message::Close { stream });
    }

    fn send(&self, message: Message) -> Result<(), QueueError> {
        send(&self.queue, message)
    }
}

fn send(queue: &SyncSender<Message>, message: Message) -> Result<(), QueueError> {
    queue.try_send(message).map_err(|error| match error {
        TrySendError::Full(_) => QueueError::Full,
        TrySendError::Disconnected(_) => QueueError::Stopped,
    })
}

impl std::fmt::Debug for JournalHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "JournalHandle(shard {})", self.shard)
    }
}
