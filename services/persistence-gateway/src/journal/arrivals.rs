//! Appends that wait for their answers: how long each did, and the traces that it belongs to.
//!
//! Deliberately absent: the answers; the acceptor gives them.

use std::collections::VecDeque;
use std::time::Instant;

use journal_core::Entry;
use journal_core::acceptor::ClientId;
use service_kit::metrics::Latency;
use service_kit::trace::{TraceContext, TraceId};
use types::Seq;

use super::traced::Traced;

/// Appends that are remembered; more are not under way at one time.
const MOST: usize = 4096;

/// By the time of their arrival.
pub(super) struct Arrivals {
    waiting: VecDeque<Arrival>,
    /// From the arrival to the answer.
    append: Latency,
    traced: Traced,
}

struct Arrival {
    stream: ClientId,
    /// Its last entry.
    last: Seq,
    arrived: Instant,
    /// Where commands of its entries stand in traces.
    traces: Vec<(Seq, TraceContext)>,
}

impl Arrivals {
    pub(super) fn new(append: Latency, traced: Traced) -> Self {
        Self { waiting: VecDeque::new(), append, traced }
    }

    /// An append with these entries came.
    pub(super) fn arrived(
        &mut self,
        stream: ClientId,
        entries: &[Entry],
        arrived: Instant,
        traces: Vec<(Seq, TraceContext)>,
    ) {
        if let Some(last) = entries.last()
            && self.waiting.len() < MOST
        {
            self.waiting.push_back(Arrival { stream, last: last.seq, arrived, traces });
        }
    }

    /// Appends of a stream are answered up to this entry; `write` began and ended then, and is what made them durable if
    /// they were `synced`.
    pub(super) fn answered(&mut self, stream: ClientId, up_to: Seq, synced: bool, write: (Instant, Instant)) {
        let (now, append, traced) = (Instant::now(), &self.append, &self.traced);
        self.waiting.retain(|waiting| {
            let over = waiting.stream == stream && waiting.last <= up_to;
            if over && synced {
                append.record(now.saturating_duration_since(waiting.arrived), waiting.trace());
                traced.appended(&waiting.traces, waiting.arrived, write);
            }
            !over
        });
    }

    /// Nobody waits for answers on this stream any more.
    pub(super) fn forget(&mut self, stream: ClientId) {
        self.waiting.retain(|waiting| waiting.stream != stream);
    }

    /// A recorded trace that one of them belongs to.
    pub(super) fn trace(&self) -> Option<TraceId> {
        self.waiting.iter().find_map(Arrival::trace)
    }
}

impl Arrival {
    fn trace(&self) -> Option<TraceId> {
        self.traces.iter().find(|(_, context)| context.sampled).map(|(_, context)| context.trace)
    }
}
