//! What the engine counts and measures: names, units, label sets and why. Handles are made once; recording on the
//! path of an order takes no lock and allocates nothing.
//!
//! Deliberately absent: exporters and buckets (service-kit), and metric calls in the pure crates.

use metrics::{Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram};
use service_kit::metrics::Latency;
use service_kit::trace::TraceId;
use std::time::Duration;
use types::{Command, ShardId};

/// What a client asked for. The closed set of the label `operation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Submit,
    Cancel,
    Replace,
    MassCancel,
    Instrument,
    GetOrder,
    GetBook,
}

/// How it ended. The closed set of the label `outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Executed, or answered.
    Accepted,
    /// A business refusal, journaled.
    Rejected,
    /// A retry that got its original answer.
    Duplicate,
    /// Malformed: never reached the log.
    Invalid,
    /// Refused at the door: full, not leading, not open.
    Refused,
    /// Nobody can tell yet.
    Unknown,
    /// Handed on to the engine that leads the shard, and answered by it.
    Forwarded,
}

const OPERATIONS: [(Operation, &str); 7] = [
    (Operation::Submit, "submit"),
    (Operation::Cancel, "cancel"),
    (Operation::Replace, "replace"),
    (Operation::MassCancel, "mass_cancel"),
    (Operation::Instrument, "instrument"),
    (Operation::GetOrder, "get_order"),
    (Operation::GetBook, "get_book"),
];

const OUTCOMES: [(Outcome, &str); 7] = [
    (Outcome::Accepted, "accepted"),
    (Outcome::Rejected, "rejected"),
    (Outcome::Duplicate, "duplicate"),
    (Outcome::Invalid, "invalid"),
    (Outcome::Refused, "refused"),
    (Outcome::Unknown, "unknown"),
    (Outcome::Forwarded, "forwarded"),
];

/// The engine of a shard either leads or stands by. The closed set of the label `role`.
const ROLES: [&str; 2] = ["leader", "standby"];

/// All handles.
#[derive(Debug)]
pub(crate) struct Metrics {
    operations: Vec<Latency>,
    /// From the door to the batch: what waiting for room in the log costs.
    pub(crate) queue_seconds: Latency,
    /// From handing an entry to the journal until it was committed: the disk, and the way there and back.
    pub(crate) journal_seconds: Latency,
    /// Applying one entry.
    pub(crate) apply_seconds: Latency,
    /// From applying a command until its handler has the answer.
    pub(crate) egress_seconds: Latency,
    /// Commands of one entry: what group commit gathers.
    pub(crate) batch_commands: Histogram,
    /// Commands waiting for the next entry.
    pub(crate) queued: Gauge,
    /// Entries on their way to the journal.
    pub(crate) in_flight: Gauge,
    /// Commands applied while leading.
    pub(crate) commands: Counter,
    /// New orders among them that were accepted.
    pub(crate) orders: Counter,
    /// Trades.
    pub(crate) trades: Counter,
    /// Requests refused because something was full.
    pub(crate) overloaded: Counter,
    /// Commands answered UNKNOWN.
    pub(crate) unknown: Counter,
    /// Connections to the journal lost.
    pub(crate) journal_losses: Counter,
    /// Times the state differed from its digest in the log.
    pub(crate) divergences: Counter,
    /// From being given the shard until its log was open.
    pub(crate) takeover_seconds: Histogram,
    /// Subscribers ended for being slow.
    pub(crate) slow_subscribers: Counter,
    /// Epoch under which this engine leads; 0 while it does not.
    pub(crate) leader_epoch: Gauge,
    /// Last committed and applied entry.
    pub(crate) applied_seq: Gauge,
}

impl Metrics {
    /// The handles of one shard. How long requests take is told of requests is of all shards together.
    pub(crate) fn new(shard: ShardId) -> Self {
        describe();
        let of = shard.to_string();
        let mut operations = Vec::with_capacity(ROLES.len() * OPERATIONS.len() * OUTCOMES.len());
        for role in ROLES {
            for (_, operation) in OPERATIONS {
                for (_, outcome) in OUTCOMES {
                    let labels = [("operation", operation), ("outcome", outcome), ("role", role)];
                    let labels = labels.map(|(label, value)| (label, value.to_owned()));
                    operations.push(Latency::new("trading_operation_duration_seconds", &labels));
                }
            }
        }
        let stage = |stage: &str| {
            let labels = [("stage", stage.to_owned()), ("shard", of.clone())];
            Latency::new("order_engine_stage_duration_seconds", &labels)
        };
        Self {
            operations,
            queue_seconds: stage("queue"),
            journal_seconds: stage("journal"),
            apply_seconds: stage("apply"),
            egress_seconds: stage("egress"),
            batch_commands: metrics::histogram!("order_engine_batch_commands", "shard" => of.clone()),
            queued: metrics::gauge!("order_engine_queued_commands", "shard" => of.clone()),
            in_flight: metrics::gauge!("order_engine_entries_in_flight", "shard" => of.clone()),
            commands: counter!("order_engine_commands_total", "shard" => of.clone()),
            orders: counter!("order_engine_orders_accepted_total", "shard" => of.clone()),
            trades: counter!("order_engine_trades_total", "shard" => of.clone()),
            overloaded: counter!("order_engine_overloaded_total", "shard" => of.clone()),
            unknown: counter!("order_engine_unknown_outcomes_total", "shard" => of.clone()),
            journal_losses: counter!("order_engine_journal_connections_lost_total", "shard" => of.clone()),
            divergences: counter!("order_engine_divergences_total", "shard" => of.clone()),
            takeover_seconds: metrics::histogram!("order_engine_takeover_duration_seconds", "shard" => of.clone()),
            slow_subscribers: counter!("order_engine_slow_subscribers_total", "shard" => of.clone()),
            leader_epoch: metrics::gauge!("order_engine_leader_epoch", "shard" => of.clone()),
            applied_seq: metrics::gauge!("order_engine_applied_seq", "shard" => of.clone()),
        }
    }

    /// Records one answered request: `leading` as seen when it was answered, `took` from its arrival at the handler,
    /// `trace` if that is recorded.
    pub(crate) fn answered(
        &self,
        operation: Operation,
        outcome: Outcome,
        leading: bool,
        took: Duration,
        trace: Option<TraceId>,
    ) {
        let role = usize::from(!leading);
        let at = (role * OPERATIONS.len() + operation as usize) * OUTCOMES.len() + outcome as usize;
        self.operations[at].record(took, trace);
    }
}

impl Operation {
    /// As the label has it.
    pub(crate) fn name(self) -> &'static str {
        OPERATIONS[self as usize].1
    }
}

impl Outcome {
    /// As the label has it.
    pub(crate) fn name(self) -> &'static str {
        OUTCOMES[self as usize].1
    }
}

impl From<&Command> for Operation {
    fn from(command: &Command) -> Self {
        match command {
            Command::Submit(_) => Self::Submit,
            Command::Cancel(_) => Self::Cancel,
            Command::Replace(_) => Self::Replace,
            Command::MassCancel(_) => Self::MassCancel,
            Command::DefineInstrument(_)
            | Command::SetInstrumentState(_)
            | Command::SetAccountLimit(_)
            | Command::SetRules(_) => Self::Instrument,
        }
    }
}

fn describe() {
    describe_histogram!(
        "trading_operation_duration_seconds",
        Unit::Seconds,
        "Time from the arrival of a request at its handler to its answer."
    );
    describe_histogram!(
        "order_engine_stage_duration_seconds",
        Unit::Seconds,
        "Time a command (queue, egress) or a journal entry (journal, apply) spends in one stage."
    );
    describe_histogram!("order_engine_batch_commands", Unit::Count, "Commands in one journal entry.");
    describe_gauge!("order_engine_queued_commands", Unit::Count, "Commands waiting for the next journal entry.");
    describe_gauge!("order_engine_entries_in_flight", Unit::Count, "Entries proposed and not yet committed.");
    describe_counter!("order_engine_commands_total", Unit::Count, "Commands applied while leading.");
    describe_counter!("order_engine_orders_accepted_total", Unit::Count, "New orders accepted while leading.");
    describe_counter!("order_engine_trades_total", Unit::Count, "Trades made while leading.");
    describe_counter!("order_engine_overloaded_total", Unit::Count, "Requests refused because a queue was full.");
    describe_counter!("order_engine_unknown_outcomes_total", Unit::Count, "Commands answered with outcome unknown.");
    describe_counter!("order_engine_journal_connections_lost_total", Unit::Count, "Append streams that broke.");
    describe_counter!(
        "order_engine_divergences_total",
        Unit::Count,
        "Times the state of a shard differed from its digest in the log; it is then dropped and built again."
    );
    describe_histogram!(
        "order_engine_takeover_duration_seconds",
        Unit::Seconds,
        "Time from being given a shard until its log was open: fence, the rest of the log, first entry."
    );
    describe_counter!(
        "order_engine_slow_subscribers_total",
        Unit::Count,
        "Market data streams ended because the client read too slowly."
    );
    describe_gauge!("order_engine_leader_epoch", Unit::Count, "Epoch this engine leads under, 0 while it does not.");
    describe_gauge!("order_engine_applied_seq", Unit::Count, "Last journal entry applied.");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_where_their_handles_are_looked_up() {
        for (at, (operation, _)) in OPERATIONS.into_iter().enumerate() {
            assert_eq!(operation as usize, at);
        }
        for (at, (outcome, _)) in OUTCOMES.into_iter().enumerate() {
            assert_eq!(outcome as usize, at);
        }
    }
}
