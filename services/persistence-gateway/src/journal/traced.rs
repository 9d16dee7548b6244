//! Entries whose commands belong to recorded traces: what the journal and the projector tell of them.
//!
//! Which entries these are is known only to the gateway that took them from the leader, and only for a while: the log
//! has no traces in it. What is projected by another gateway, or after a restart, is not told.
//!
//! Deliberately absent: the choice of what is recorded (`service-kit`).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use service_kit::trace::{Kind, Open, TraceContext, Tracer};
use types::Seq;

/// Where the spans of this crate come from.
const SCOPE: &str = "persistence-gateway";

/// Commands of entries that are remembered until they are in the history: what a market with every order traced sends
/// within some tenths of a second. The oldest go first.
const REMEMBERED: usize = 4_096;

/// The traces of a shard's entries. Clones share what is remembered.
#[derive(Clone, Debug)]
pub(crate) struct Traced {
    tracer: Tracer,
    /// Durable and not in the history, as far as is known; by seq, the oldest first.
    waiting: Arc<Mutex<VecDeque<(Seq, TraceContext)>>>,
}

impl Traced {
    pub(crate) fn new(tracer: Tracer) -> Self {
        Self { tracer, waiting: Arc::default() }
    }

    /// These entries arrived, were made durable by a write, and are answered now.
    pub(super) fn appended(&self, traces: &[(Seq, TraceContext)], arrived: Instant, write: (Instant, Instant)) {
        let now = Instant::now();
        for (seq, context) in traces {
            if !context.sampled || !self.tracer.is_on() {
                continue;
            }
            let append = Open::below(*context, arrived);
            // One that came while the disk was busy waited for the write before.
            let written =
                Open::below(append.context, write.0.max(arrived)).end(SCOPE, "write", Kind::Internal, write.1);
            self.tracer.record(written);
            self.tracer.record(append.end(SCOPE, "append", Kind::Server, now).with("hive_mind.seq", seq.0));
            let mut waiting = self.waiting();
            if waiting.len() >= REMEMBERED {
                waiting.pop_front();
            }
            waiting.push_back((*seq, append.context));
        }
    }

    /// Everything up to `seq` is in the history, by a transaction that began at `started`.
    pub(crate) fn projected(&self, seq: Seq, started: Instant) {
        let ended = Instant::now();
        let mut waiting = self.waiting();
        while let Some((own, context)) = waiting.pop_front_if(|(own, _)| *own <= seq) {
            let span = Open::below(context, started).end(SCOPE, "history", Kind::Consumer, ended);
            self.tracer.record(span.with("hive_mind.seq", own.0));
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, VecDeque<(Seq, TraceContext)>> {
        // Nothing is left half-done under the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
