//! What a voter saw of the leader last: evidence for whoever decides whether it is gone. Absent: that decision.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use journal_core::acceptor::ClientId;
use types::Epoch;

/// Written by the writer thread, read by LeaderSeen. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct LeaderSight(Arc<Mutex<Sight>>);

#[derive(Debug, Default)]
struct Sight {
    promised: Epoch,
    /// Last append or heartbeat of the promised epoch.
    heard: Option<Instant>,
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
    /// An append arrived on a stream.
    pub(super) fn heard(&self, stream: ClientId, epoch: Epoch, promised: Epoch, at: Instant) {
        let mut sight = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sight.streams.insert(stream, epoch);
        sight.promise(promised);
        if epoch == promised {
            sight.heard = Some(at);
        }
    }

    /// A fence was answered.
    pub(super) fn promised(&self, promised: Epoch) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).promise(promised);
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
            silent: sight.heard.map(|at| at.elapsed()),
        }
    }
}

impl Sight {
    fn promise(&mut self, promised: Epoch) {
        if self.promised != promised {
            self.promised = promised;
            self.heard = None;
        }
    }
}
