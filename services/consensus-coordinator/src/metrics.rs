//! What a coordinator measures. Labels: the operation on the store, and the order of an operator; closed sets.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Unit};

use crate::{Reading, StoreError};

/// An operation on the store.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    Acquire,
    KeepAlive,
    End,
    Restore,
    Aim,
    Leave,
    Policy,
    Read,
}

impl Operation {
    const ALL: [Self; 8] =
        [Self::Acquire, Self::KeepAlive, Self::End, Self::Restore, Self::Aim, Self::Leave, Self::Policy, Self::Read];

    const fn label(self) -> &'static str {
        match self {
            Self::Acquire => "acquire",
            Self::KeepAlive => "keep_alive",
            Self::End => "end",
            Self::Restore => "restore",
            Self::Aim => "aim",
            Self::Leave => "leave",
            Self::Policy => "policy",
            Self::Read => "read",
        }
    }
}

/// The measures.
#[derive(Debug)]
pub(crate) struct CoordinatorMetrics {
    /// Leaderships given.
    pub(crate) elections: Counter,
    /// Leaders deposed for a suspicion or by force.
    pub(crate) depositions: Counter,
    /// Questions to the voters about a leader.
    pub(crate) suspicions: Counter,
    /// Leaders that went on after their lease had run out.
    pub(crate) restored: Counter,
    /// Shards moved to spread leaderships.
    pub(crate) moves: Counter,
    /// Elections forced by operators.
    pub(crate) forced: Counter,
    pub(crate) offers: Counter,
    pub(crate) resigns: Counter,
    /// Engines that asked for a shard and were not given it.
    pub(crate) denied: Counter,
    /// 1 while the store does not answer.
    pub(crate) failsafe: Gauge,
    leaderless: Gauge,
    engines: Gauge,
    paused: Gauge,
    operations: [(Histogram, Counter); Operation::ALL.len()],
}

impl CoordinatorMetrics {
    pub(crate) fn new() -> Self {
        let counter = |name: &'static str, help: &'static str| {
            metrics::describe_counter!(name, help);
            metrics::counter!(name)
        };
        let gauge = |name: &'static str, help: &'static str| {
            metrics::describe_gauge!(name, help);
            metrics::gauge!(name)
        };
        metrics::describe_histogram!(
            "consensus_store_duration_seconds",
            Unit::Seconds,
            "Operations on the store of epochs and leases."
        );
        metrics::describe_counter!("consensus_store_errors_total", "Operations the store did not answer.");
        metrics::describe_counter!(
            "consensus_orders_total",
            "Orders of operators, by what was ordered and how it went."
        );
        let operation = |operation: Operation| {
            let histogram = metrics::histogram!("consensus_store_duration_seconds", "operation" => operation.label());
            let errors = metrics::counter!("consensus_store_errors_total", "operation" => operation.label());
            (histogram, errors)
        };
        Self {
            elections: counter("consensus_elections_total", "Leaderships given to engines."),
            depositions: counter("consensus_depositions_total", "Leaders that were deposed."),
            suspicions: counter("consensus_suspicions_total", "Questions to the voters whether they hear a leader."),
            restored: counter("consensus_restored_total", "Leaders that went on after their lease had run out."),
            moves: counter("consensus_moves_total", "Shards moved to spread leaderships."),
            forced: counter("consensus_forced_elections_total", "Elections forced by operators."),
            offers: counter("consensus_offers_total", "Free shards offered to engines."),
            resigns: counter("consensus_resigns_total", "Leaders asked to resign."),
            denied: counter("consensus_denied_total", "Engines that asked for a shard and were not given it."),
            failsafe: gauge("consensus_failsafe", "1 while the store does not answer: no election is possible."),
            leaderless: gauge("consensus_shards_without_leader", "Shards that nobody leads."),
            engines: gauge("consensus_engines", "Engine processes with a session that are heard by a coordinator."),
            paused: gauge("consensus_elections_paused", "1 while an operator has paused elections."),
            operations: Operation::ALL.map(operation),
        }
    }

    pub(crate) fn record(&self, operation: Operation, took: Duration, error: Option<&StoreError>) {
        let (histogram, errors) = &self.operations[operation as usize];
        histogram.record(took);
        // That somebody else leads is an answer.
        if error.is_some_and(|error| !matches!(error, StoreError::Held(_))) {
            errors.increment(1);
        }
    }

    /// What the store held.
    pub(crate) fn read(&self, reading: &Reading, leaderless: usize) {
        let number = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        self.leaderless.set(number(leaderless));
        self.engines.set(number(reading.engines.values().filter(|session| !session.note.away).count()));
        self.paused.set(if reading.policy.paused { 1.0 } else { 0.0 });
    }

    /// An operator ordered something.
    pub(crate) fn order(&self, operation: &'static str, done: bool) {
        let outcome = if done { "done" } else { "refused" };
        metrics::counter!("consensus_orders_total", "order" => operation, "outcome" => outcome).increment(1);
    }
}
