//! The journal's voters as the shard sees them: calls and streams go out, what they answer comes back as events.
//!
//! It is polled by the shard's own task. There is no task between the shard and the network that would have to be
//! woken on the way of an order.
//!
//! Deliberately absent: every decision of the protocol. Who is fenced, what is appended and sent again, when a stream
//! is opened again and what is committed is the proposer's; this room only carries it.

mod calls;
mod follow;
mod link;
mod ways;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use journal_core::proposer::VoterId;
use journal_core::{AppendReply, AppendRequest, Entry, FenceReply, FenceRequest, Tail};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use types::{LogId, Seq, ShardId, Snapshot};
use wire::pb::journal::v1::EntryTrace;
use wire::status::ApiError;
use wire::transport::Channel;

use crate::leadership::ShardStatus;
use calls::Caller;
use follow::Follow;
use link::Link;
use ways::{Way, Ways};

pub(crate) use follow::Followed;

/// What the voters answered.
#[derive(Debug)]
pub(crate) enum JournalEvent {
    /// A vote, or that the call failed.
    Fenced { voter: VoterId, reply: Box<FenceReply> },
    /// Entries that were asked for, from the first one on; none if the call failed.
    Fetched { entries: Vec<Entry> },
    /// The newest snapshot any voter holds; `None` if there is none.
    SnapshotRead { snapshot: Option<Box<(Tail, Snapshot)>> },
    /// Committed entries, from where the stream was opened.
    Followed(Followed),
    /// The committed log is not followed any more, or could not be.
    FollowEnded { error: ApiError },
    /// Entries can be sent.
    StreamOpened { voter: VoterId },
    /// They cannot any more, or still not.
    StreamClosed { voter: VoterId },
    /// The answer to an append.
    Appended { voter: VoterId, reply: AppendReply },
}

/// The voters of one shard.
pub(crate) struct JournalClient {
    shard: ShardId,
    links: Vec<Link>,
    /// Fences, fetches and snapshot reads in progress: one fence for each voter and one of the others.
    calls: FuturesUnordered<BoxFuture<'static, JournalEvent>>,
    /// The committed log, while this engine does not lead.
    follow: Follow,
    /// The way by which it is read.
    followed: Option<(VoterId, Way)>,
    /// Which voter the log is read from next.
    turn: usize,
}

impl JournalClient {
    /// The voters, each reached by any of its `channels`; the position in the list is the voter's number.
    /// What is volatile is told to `status`.
    pub(crate) fn new(shard: ShardId, channels: Vec<Vec<Channel>>, status: &Arc<ShardStatus>) -> Self {
        let voters = (0..).map(VoterId);
        let link = |(voter, channels)| Link::new(voter, Ways::new(shard, channels), Arc::clone(status));
        let links = voters.zip(channels).map(link).collect();
        Self { shard, links, calls: FuturesUnordered::new(), follow: Follow::Closed, followed: None, turn: 0 }
    }

    /// The numbers of all voters.
    pub(crate) fn voters(&self) -> Vec<VoterId> {
        self.links.iter().map(Link::voter).collect()
    }

    /// Asks for a vote.
    pub(crate) fn fence(&mut self, voter: VoterId, request: &FenceRequest) {
        if let Some(caller) = self.caller(voter) {
            self.calls.push(caller.fence(request));
        }
    }

    /// Asks for entries.
    pub(crate) fn fetch(&mut self, voter: VoterId, log_id: LogId, from: Seq, to: Seq) {
        if let Some(caller) = self.caller(voter) {
            self.calls.push(caller.fetch(log_id, from, to));
        }
    }

    /// Asks all voters for their newest snapshot.
    pub(crate) fn read_snapshot(&mut self) {
        let callers =
            self.links.iter().map(|link| Caller::new(self.shard, link.voter(), link.ways().clone())).collect();
        self.calls.push(calls::read_snapshot(callers));
    }

    /// Reads what is committed from `from` on, and goes on reading: at the voter after the one that was read last.
    pub(crate) fn follow(&mut self, from: Seq) {
        let link = self.turn % self.links.len().max(1);
        self.turn = self.turn.wrapping_add(1);
        if let Some(link) = self.links.get(link) {
            let (way, client) = link.ways().current();
            self.followed = Some((link.voter(), way));
            self.follow.open(client, self.shard, from);
        }
    }

    /// Opens the append stream of a voter.
    pub(crate) fn open_stream(&mut self, voter: VoterId) {
        if let Some(link) = self.link(voter) {
            link.open();
        }
    }

    /// Sends entries, or a heartbeat, and the traces that they belong to. A stream that takes nothing more is closed, which
    /// comes back as an event.
    pub(crate) fn append(&mut self, voter: VoterId, request: AppendRequest, traces: Vec<EntryTrace>) {
        if let Some(link) = self.link(voter) {
            link.append(request, traces);
        }
    }

    /// Gives up all calls and streams, without events.
    pub(crate) fn reset(&mut self) {
        self.calls.clear();
        self.follow.close();
        for link in &mut self.links {
            link.close();
        }
    }

    /// Gives up streams on which a voter has been silent for too long.
    pub(crate) fn watch(&mut self, now: Instant) {
        for link in &mut self.links {
            link.watch(now);
        }
    }

    /// The next event. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> JournalEvent {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<JournalEvent> {
        for link in &mut self.links {
            if let Poll::Ready(event) = link.poll_next(cx) {
                return Poll::Ready(event);
            }
        }
        if let Poll::Ready(event) = self.follow.poll_next(cx) {
            if matches!(event, JournalEvent::FollowEnded { .. })
                && let Some((voter, way)) = self.followed.take()
                && let Some(link) = self.link(voter)
            {
                link.ways().leave(way);
            }
            return Poll::Ready(event);
        }
        match self.calls.poll_next_unpin(cx) {
            Poll::Ready(Some(event)) => Poll::Ready(event),
            // A call that is made later is polled by the loop's next turn, which making it is part of.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    fn link(&mut self, voter: VoterId) -> Option<&mut Link> {
        self.links.get_mut(usize::from(voter.0))
    }

    fn caller(&self, voter: VoterId) -> Option<Caller> {
        let link = self.links.get(usize::from(voter.0))?;
        Some(Caller::new(self.shard, voter, link.ways().clone()))
    }
}
