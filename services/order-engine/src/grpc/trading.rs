//! The way of one request through the engine as a handler sees it: decode, admit, wait for the answer, measure.
//!
//! Deliberately absent: which RPC it is; unary calls, sessions and the operator's calls all come through here.

use crate::admission::{Admission, Published};
use crate::leadership::ShardStatus;
use crate::metrics::{Metrics, Operation, Outcome};
use crate::shard::{Answer, Freshness, Query, Reply, Told};
use crate::trace::{self, CommandTrace};
use service_kit::trace::{Open, Tracer, current};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use types::{ClientOrderId, Command, OrderStatus, Seq, ShardId, Symbol};
use wire::convert::InstrumentLookup;
use wire::pb::orders::v1::OrderReport;
use wire::status::{ApiError, ErrorCode};

/// What all handlers of a shard share. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Trading {
    pub(crate) shard: ShardId,
    pub(crate) admission: Arc<Admission>,
    pub(crate) status: Arc<ShardStatus>,
    pub(crate) metrics: Arc<Metrics>,
    /// Cancelled when the engine stops taking work: streams are ended, after their last answers.
    pub(crate) closing: CancellationToken,
    /// Records what commands go through.
    pub(crate) tracer: Tracer,
}

/// A command on its way through the shard.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) answer: oneshot::Receiver<Result<Answer, ApiError>>,
    pub(crate) shard: ShardId,
    operation: Operation,
    client_order_id: Option<ClientOrderId>,
    received: Instant,
    admitted: Instant,
    trace: Option<CommandTrace>,
}

impl Trading {
    /// Whether the shard has the instrument, as far as this engine knows.
    pub(crate) fn has(&self, symbol: &Symbol) -> bool {
        self.admission.published().instrument_id(symbol).is_some()
    }

    /// The instruments that the shard has, as far as this engine knows.
    pub(crate) fn symbols(&self) -> Vec<Symbol> {
        self.admission.published().symbols.load().keys().copied().collect()
    }

    /// Decodes a request and hands it to the shard. `open` is the span of it all, if it is recorded.
    pub(crate) fn start(
        &self,
        operation: Operation,
        open: Option<Open>,
        decode: impl FnOnce(&Published) -> Result<Command, ApiError>,
    ) -> Result<Pending, ApiError> {
        let received = Instant::now();
        let trace = open.map(CommandTrace::new);
        let started = decode(self.admission.published()).and_then(|command| {
            let answer = self.admission.execute(command, received, trace.as_ref().map(CommandTrace::journal))?;
            let client_order_id = command.request().map(|(_, id)| id);
            let admitted = if trace.is_some() { Instant::now() } else { received };
            Ok(Pending { answer, shard: self.shard, operation, client_order_id, received, admitted, trace })
        });
        if let Err(error) = &started {
            self.answered(operation, outcome_of_error(error), (received, received), trace.as_ref(), Err(error));
        }
        started
    }

    /// What the client gets when the shard has answered, or has gone without an answer.
    pub(crate) fn finish(
        &self,
        pending: &Pending,
        answer: Result<Result<Answer, ApiError>, oneshot::error::RecvError>,
    ) -> Result<OrderReport, ApiError> {
        let answer = answer.unwrap_or_else(|_| Err(gone_without_answer()));
        let outcome = match &answer {
            Ok(answer) => outcome_of_answer(answer),
            Err(error) => outcome_of_error(error),
        };
        let trace = pending.trace.as_ref();
        let report = answer.as_ref().map(|answer| {
            self.metrics.egress_seconds.record(answer.stages.applied.elapsed(), trace.map(CommandTrace::id));
            let mut report = wire::convert::report(
                self.shard,
                answer.place,
                answer.timestamp,
                pending.client_order_id,
                &answer.outcome,
                &answer.fills,
            );
            report.volatile = self.status.volatile.load(Ordering::Relaxed);
            report
        });
        self.answered(pending.operation, outcome, (pending.received, pending.admitted), trace, answer.as_ref());
        report.map_err(ApiError::clone)
    }

    /// Measures an answer to a command that was received and let in at these times, and tells its trace.
    fn answered(
        &self,
        operation: Operation,
        outcome: Outcome,
        (received, admitted): (Instant, Instant),
        trace: Option<&CommandTrace>,
        answer: Result<&Answer, &ApiError>,
    ) {
        let id = trace.map(CommandTrace::id);
        self.metrics.answered(operation, outcome, self.admission.is_open(), received.elapsed(), id);
        if let Some(trace) = trace {
            let (operation, outcome) = (operation.name(), outcome.name());
            let told = trace::Told { operation, outcome, shard: self.shard, admitted };
            trace.answered(&self.tracer, &told, answer);
        }
    }

    /// A request from beginning to end.
    pub(crate) async fn run(
        &self,
        operation: Operation,
        decode: impl FnOnce(&Published) -> Result<Command, ApiError>,
    ) -> Result<OrderReport, ApiError> {
        let mut pending = self.start(operation, self.open(), decode)?;
        let answer = (&mut pending.answer).await;
        self.finish(&pending, answer)
    }

    /// The span of a command of the request that this task works on, if it is recorded.
    pub(crate) fn open(&self) -> Option<Open> {
        self.tracer.open(current())
    }

    /// A question from beginning to end, answered by the leader.
    pub(crate) async fn ask<T>(&self, question: impl FnOnce(Reply<T>) -> Query) -> Result<T, ApiError> {
        Ok(self.read(false, 0, question).await?.view)
    }

    /// A question from beginning to end, answered by the leader, or from what this engine has applied if that may be
    /// stale; in any case from a state that is as far as `min_seq`.
    pub(crate) async fn read<T>(
        &self,
        allow_stale: bool,
        min_seq: u64,
        question: impl FnOnce(Reply<T>) -> Query,
    ) -> Result<Told<T>, ApiError> {
        let freshness = if allow_stale { Freshness::Applied } else { Freshness::Confirmed };
        let answer = self.admission.ask(freshness, Seq(min_seq), question)?;
        answer.await.map_err(|_| self.admission.unanswered(freshness))
    }

    /// A request that another engine answers, measured.
    pub(crate) async fn handed_on<A>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<A, ApiError>>,
    ) -> Result<A, ApiError> {
        let received = Instant::now();
        let answer = call.await;
        let outcome = answer.as_ref().map_or_else(outcome_of_error, |_| Outcome::Forwarded);
        self.record(operation, outcome, received.elapsed());
        answer
    }

    /// Tells the trace of a request, if it is recorded, that another engine has answered it.
    pub(crate) fn forwarded(&self, open: Option<Open>, error: Option<&ApiError>) {
        if let Some(open) = open {
            self.tracer.record(trace::forwarded(open, self.shard, error));
        }
    }

    /// Measures a request that is no command of this engine.
    pub(crate) fn record(&self, operation: Operation, outcome: Outcome, took: Duration) {
        self.metrics.answered(operation, outcome, self.admission.is_open(), took, None);
    }
}

fn gone_without_answer() -> ApiError {
    ApiError::unknown_outcome("the engine stopped before it could answer")
}

fn outcome_of_answer(answer: &Answer) -> Outcome {
    if answer.outcome.original.is_some() {
        Outcome::Duplicate
    } else if answer.outcome.status == OrderStatus::Rejected {
        Outcome::Rejected
    } else {
        Outcome::Accepted
    }
}

pub(crate) fn outcome_of_error(error: &ApiError) -> Outcome {
    match error.code {
        ErrorCode::InvalidArgument => Outcome::Invalid,
        ErrorCode::UnknownOutcome => Outcome::Unknown,
        _ => Outcome::Refused,
    }
}
