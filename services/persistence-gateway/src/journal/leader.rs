//! What a voter saw of the leader last: evidence for whoever decides whether it is gone. Absent: that decision.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use journal_core::acceptor::ClientId;
use types::Epoch;

/// Told by the streams and by the writer thread, read by LeaderSeen. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct LeaderSight(Arc<Mutex<Sight>>);

#[derive(Debug, Default)]
struct Sight {
    promised: Epoch,
    /// Newest epoch an append or a heartbeat came from, and when the last one of it came.
    heard: Option<(Epoch, Instant)>,
    /// Epoch each open stream used last.
    streams: HashMap<ClientId, Epoch>,
}

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The promised epoch.
    pub(super) epoch: Epoch,
    /// Whether a stream of that epoch is open.
    pub(super) stream_open: bool,
    /// Since the last sign of life of that epoch; `None` if there was none.
    pub(super) silent: Option<Duration>,
}

impl LeaderSight {
    /// An append arrived on a stream. A disk that takes its time is no silence of the leader: this is told on arrival.
    pub(super) fn heard(&self, stream: ClientId, epoch: Epoch, at: Instant) {
        let mut sight = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sight.streams.insert(stream, epoch);
        if sight.heard.is_none_or(|(newest, _)| newest.number <= epoch.number) {
            sight.heard = Some((epoch, at));
        }
    }

    /// A promise was made, here or by another gateway of the same storage. It is never taken back.
    pub(super) fn promised(&self, promised: Epoch) {
        let mut sight = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if promised.number > sight.promised.number {
            sight.promised = promised;
        }
    }

    /// A stream ended.
    pub(super) fn closed(&self, stream: ClientId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).streams.remove(&stream);
    }

    pub(super) fn seen(&self) -> Seen {
        let sight = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Seen {
            epoch: sight.promised,
            stream_open: sight.streams.values().any(|epoch| *epoch == sight.promised),
            silent: sight.heard.filter(|(epoch, _)| *epoch == sight.promised).map(|(_, at)| at.elapsed()),
        }
    }
}
