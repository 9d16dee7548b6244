//! The ways to one voter: a database in front of which several gateways stand is reached through any of them. The append
//! stream and the calls share what they find out: a way that was of no use is left by all.
//!
//! Deliberately absent: when a way is of no use; its users know.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use types::ShardId;
use wire::pb::journal::v1::journal_service_client::JournalServiceClient;
use wire::transport::{Channel, PEER_MESSAGE_LIMIT};

/// The ways to one voter, of which one is in use. Clones share that.
#[derive(Clone)]
pub(super) struct Ways {
    clients: Arc<[JournalServiceClient<Channel>]>,
    current: Arc<AtomicUsize>,
}

/// One of the ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way(usize);

impl Ways {
    /// # Panics
    /// If there is none; the engine refuses to start then.
    pub(super) fn new(shard: ShardId, channels: Vec<Channel>) -> Self {
        assert!(!channels.is_empty(), "every voter can be reached somehow");
        // A gateway in this process is the shortest way; other ones share the shards.
        let spread = usize::try_from(shard.0).unwrap_or(0) % channels.len();
        let first = if channels[0].is_in_process() { 0 } else { spread };
        let client = |channel| {
            JournalServiceClient::new(channel)
                .max_decoding_message_size(PEER_MESSAGE_LIMIT)
                .max_encoding_message_size(PEER_MESSAGE_LIMIT)
        };
        Self { clients: channels.into_iter().map(client).collect(), current: Arc::new(AtomicUsize::new(first)) }
    }

    pub(super) fn count(&self) -> usize {
        self.clients.len()
    }

    /// The way in use.
    pub(super) fn current(&self) -> (Way, JournalServiceClient<Channel>) {
        // Relaxed: whoever gets an old one finds out, and leaves it.
        let at = self.current.load(Ordering::Relaxed) % self.clients.len();
        (Way(at), self.clients[at].clone())
    }

    /// A way was of no use: the next one, unless somebody else has left it already.
    pub(super) fn leave(&self, way: Way) {
        let next = (way.0 + 1) % self.clients.len();
        // A failure means that it was left.
        let _ = self.current.compare_exchange(way.0, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}
