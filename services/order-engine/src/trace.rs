//! The spans of one command: what it went through in this engine, told at once when it is answered, by its handler. The
//! loop of the shard only takes the times, which it takes anyway.
//!
//! Deliberately absent: which commands are recorded (`service-kit`), and what the journal's voters do below the span that
//! is named to them.

use crate::shard::Answer;
use service_kit::trace::{Kind, Open, Span, SpanId, TraceContext, TraceId, Tracer};
use std::time::Instant;
use types::ShardId;
use wire::status::ApiError;

/// Where the spans of this crate come from.
pub(crate) const SCOPE: &str = "order-engine";

/// A command whose way is recorded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommandTrace {
    /// All of it, from the arrival at its handler.
    open: Open,
    /// The span of the journal, which the voters hear of before it begins.
    journal: SpanId,
}

/// The times of a command, and where it stood.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stages {
    /// It was put into an entry.
    pub(crate) proposed: Instant,
    /// The entry was final.
    pub(crate) committed: Instant,
    /// It was applied.
    pub(crate) applied: Instant,
}

impl CommandTrace {
    pub(crate) fn new(open: Open) -> Self {
        Self { open, journal: Open::below(open.context, open.started).context.span }
    }

    /// Which trace.
    pub(crate) const fn id(&self) -> TraceId {
        self.open.context.trace
    }

    /// What the journal goes on from.
    pub(crate) const fn journal(&self) -> TraceContext {
        TraceContext { span: self.journal, ..self.open.context }
    }

    /// It was answered, so, and was let in at `admitted`.
    pub(crate) fn answered(&self, tracer: &Tracer, command: &Told, answer: Result<&Answer, &ApiError>) {
        let now = Instant::now();
        let part = |name: &'static str, from: Instant, to: Instant| {
            tracer.record(Open::below(self.open.context, from).end(SCOPE, name, Kind::Internal, to));
        };
        if let Ok(Answer { place, stages: Stages { proposed, committed, applied }, .. }) = answer {
            // The shard may be faster than the handler is in looking at the clock.
            let admitted = command.admitted.min(*proposed);
            part("admission", self.open.started, admitted);
            part("sequencing", admitted, *proposed);
            let journal = Open { context: self.journal(), parent: Some(self.open.context.span), started: *proposed };
            let journal = journal.end(SCOPE, "journal", Kind::Client, *committed);
            tracer.record(journal.with("hive_mind.seq", place.seq.0).with("hive_mind.index", u64::from(place.index)));
            part("apply", *committed, *applied);
            part("answer", *applied, now);
        }
        let Told { operation, shard, outcome, .. } = *command;
        let whole = self.open.end(SCOPE, operation, Kind::Internal, now).with("hive_mind.shard", u64::from(shard.0));
        tracer.record(whole.with("hive_mind.outcome", outcome).failed(answer.err().map(|error| error.code.reason())));
    }
}

/// A request of a shard was handed on, and answered by the engine that leads it.
pub(crate) fn forwarded(open: Open, shard: ShardId, error: Option<&ApiError>) -> Span {
    let span = open.end(SCOPE, "forward", Kind::Client, Instant::now()).with("hive_mind.shard", u64::from(shard.0));
    span.failed(error.map(|error| error.code.reason()))
}

/// What is told of a command beside its times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    pub(crate) operation: &'static str,
    pub(crate) outcome: &'static str,
    pub(crate) shard: ShardId,
    pub(crate) admitted: Instant,
}
