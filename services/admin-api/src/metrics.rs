//! What is measured of the fan-out. Absent: what the instances measure of themselves.

use metrics::{Counter, Histogram, Unit, describe_counter, describe_histogram};

/// What instances are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Health,
    Pools,
    Memory,
    Consensus,
    Activity,
    /// An order to database pools.
    Database,
    /// Switching its profiling, and its heap profile.
    Profiling,
    /// A question or an order about the configuration.
    Config,
    /// Records of the audit log.
    Audit,
    /// Which keys are in force, or an order to revoke one.
    Keys,
}

impl Question {
    const ALL: &[Self] = &[
        Self::Health,
        Self::Pools,
        Self::Memory,
        Self::Consensus,
        Self::Activity,
        Self::Database,
        Self::Profiling,
        Self::Config,
        Self::Audit,
        Self::Keys,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Pools => "pools",
            Self::Memory => "memory",
            Self::Consensus => "consensus",
            Self::Activity => "activity",
            Self::Database => "database",
            Self::Profiling => "profiling",
            Self::Config => "config",
            Self::Audit => "audit",
            Self::Keys => "keys",
        }
    }
}

/// Handles of the metrics, one per question.
pub(crate) struct Metrics {
    durations: Vec<Histogram>,
    failures: Vec<Counter>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        describe_histogram!(
            "admin_fanout_duration_seconds",
            Unit::Seconds,
            "Time until all instances had answered or were given up, by question."
        );
        describe_counter!("admin_fanout_failures_total", "Questions that an instance did not answer in time.");
        let all = || Question::ALL.iter().map(|question| question.as_str());
        Self {
            durations: all().map(|q| metrics::histogram!("admin_fanout_duration_seconds", "question" => q)).collect(),
            failures: all().map(|q| metrics::counter!("admin_fanout_failures_total", "question" => q)).collect(),
        }
    }

    pub(crate) fn duration(&self, question: Question) -> &Histogram {
        &self.durations[question as usize]
    }

    pub(crate) fn failures(&self, question: Question) -> &Counter {
        &self.failures[question as usize]
    }
}
