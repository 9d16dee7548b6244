//! What a coordinator measures. Labels: the operation on the store, a closed set.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Unit};

use crate::StoreError;

/// An operation on the store.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    Acquire,
    KeepAlive,
    Release,
    Read,
}

impl Operation {
    const ALL: [Self; 4] = [Self::Acquire, Self::KeepAlive, Self::Release, Self::Read];

    const fn label(self) -> &'static str {
        match self {
            Self::Acquire => "acquire",
            Self::KeepAlive => "keep_alive",
            Self::Release => "release",
            Self::Read => "read",
        }
    }
}

/// The measures.
#[derive(Debug)]
pub(crate) struct CoordinatorMetrics {
    /// Leaderships given.
    pub(crate) elections: Counter,
    /// Leaders told that they lead no longer.
    pub(crate) depositions: Counter,
    /// 1 while the store does not answer.
    pub(crate) failsafe: Gauge,
    operations: [(Histogram, Counter); Operation::ALL.len()],
}

impl CoordinatorMetrics {
    pub(crate) fn new() -> Self {
        metrics::describe_counter!("consensus_elections_total", "Leaderships given to engines.");
        metrics::describe_counter!("consensus_depositions_total", "Leaders told that they lead no longer.");
        metrics::describe_gauge!("consensus_failsafe", "1 while the store does not answer: no election is possible.");
        metrics::describe_histogram!(
            "consensus_store_duration_seconds",
            Unit::Seconds,
            "Operations on the store of epochs and leases."
        );
        metrics::describe_counter!("consensus_store_errors_total", "Operations the store did not answer.");
        let operation = |operation: Operation| {
            let histogram = metrics::histogram!("consensus_store_duration_seconds", "operation" => operation.label());
            let errors = metrics::counter!("consensus_store_errors_total", "operation" => operation.label());
            (histogram, errors)
        };
        Self {
            elections: metrics::counter!("consensus_elections_total"),
            depositions: metrics::counter!("consensus_depositions_total"),
            failsafe: metrics::gauge!("consensus_failsafe"),
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
}
