//! What a gateway measures. Series carry the shard or the pool; those sets are closed by the configuration.
//!
//! Handles are made once and kept: recording costs some 40 ns then. Deliberately absent: names without a description.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Unit};
use service_kit::metrics::Latency;
use types::ShardId;

/// Measures of one shard's journal.
#[derive(Clone, Debug)]
pub(crate) struct JournalMetrics {
    /// From the arrival of an append on the writer thread's queue to its answer.
    pub(crate) append: Latency,
    /// One durable write, all of it the storage's.
    pub(crate) sync: Latency,
    /// Entries of a write unit: how well group commit works.
    pub(crate) unit_entries: Histogram,
    /// Committed seq.
    pub(crate) commit_seq: Gauge,
    /// Failures of the storage.
    pub(crate) errors: Counter,
}

/// Measures of one shard's projection.
#[derive(Clone, Debug)]
pub(crate) struct ProjectionMetrics {
    /// Committed entries that are not in the history yet.
    pub(crate) lag: Gauge,
    /// Rows written.
    pub(crate) rows: Counter,
    /// Entries projected.
    pub(crate) entries: Counter,
    /// One transaction.
    pub(crate) batch: Histogram,
    /// Failed attempts.
    pub(crate) errors: Counter,
    /// Making and storing a snapshot.
    pub(crate) snapshot: Histogram,
    /// Size of the newest snapshot.
    pub(crate) snapshot_bytes: Gauge,
}

/// Measures of the statements on the connections of one pool.
#[derive(Clone, Debug)]
pub(crate) struct QueryMetrics {
    /// Those that were given up.
    pub(crate) timeouts: Counter,
    /// Those that took long.
    pub(crate) slow: Counter,
}

/// Measures of the backups.
#[derive(Clone, Debug)]
pub(crate) struct BackupMetrics {
    /// When the newest one was made, seconds since the Unix epoch; 0 if there is none.
    pub(crate) newest: Gauge,
    /// Making one.
    pub(crate) duration: Histogram,
    /// Failed attempts.
    pub(crate) failures: Counter,
}

impl QueryMetrics {
    pub(crate) fn new(pool: &str) -> Self {
        metrics::describe_counter!("database_query_timeouts_total", "Statements that were given up, by pool.");
        metrics::describe_counter!("database_slow_queries_total", "Statements that took more than a second, by pool.");
        Self {
            timeouts: metrics::counter!("database_query_timeouts_total", "pool" => pool.to_owned()),
            slow: metrics::counter!("database_slow_queries_total", "pool" => pool.to_owned()),
        }
    }
}

impl BackupMetrics {
    pub(crate) fn new() -> Self {
        metrics::describe_gauge!(
            "backup_last_success_timestamp_seconds",
            Unit::Seconds,
            "When the newest backup was made, since the Unix epoch; 0 if there is none."
        );
        metrics::describe_histogram!("backup_duration_seconds", Unit::Seconds, "Making a backup.");
        metrics::describe_counter!("backup_failures_total", "Backups that could not be made.");
        let newest = metrics::gauge!("backup_last_success_timestamp_seconds");
        newest.set(0.0);
        let failures = metrics::counter!("backup_failures_total");
        failures.absolute(0);
        Self { newest, duration: metrics::histogram!("backup_duration_seconds"), failures }
    }
}

impl JournalMetrics {
    pub(crate) fn new(shard: ShardId) -> Self {
        let shard = shard.to_string();
        metrics::describe_histogram!(
            "journal_append_duration_seconds",
            Unit::Seconds,
            "From the arrival of an append at the writer to its answer."
        );
        metrics::describe_histogram!(
            "journal_fdatasync_duration_seconds",
            Unit::Seconds,
            "Writing one unit and waiting until it is durable."
        );
        metrics::describe_histogram!("journal_unit_entries", "Entries that became durable together.");
        metrics::describe_gauge!("journal_commit_seq", "Highest entry known to be final.");
        metrics::describe_counter!("journal_errors_total", "Failures of the journal's storage.");
        Self {
            append: Latency::new("journal_append_duration_seconds", &[("shard", shard.clone())]),
            sync: Latency::new("journal_fdatasync_duration_seconds", &[("shard", shard.clone())]),
            unit_entries: metrics::histogram!("journal_unit_entries", "shard" => shard.clone()),
            commit_seq: metrics::gauge!("journal_commit_seq", "shard" => shard.clone()),
            errors: metrics::counter!("journal_errors_total", "shard" => shard),
        }
    }
}

impl ProjectionMetrics {
    pub(crate) fn new(shard: ShardId) -> Self {
        let shard = shard.to_string();
        metrics::describe_gauge!("projection_lag_entries", "Committed entries that are not in the history yet.");
        metrics::describe_counter!("projection_rows_total", "Rows written to the history.");
        metrics::describe_counter!("projection_entries_total", "Journal entries projected into the history.");
        metrics::describe_histogram!(
            "projection_batch_duration_seconds",
            Unit::Seconds,
            "One transaction of the projector."
        );
        metrics::describe_counter!("projection_errors_total", "Failed attempts to write the history.");
        metrics::describe_histogram!("snapshot_duration_seconds", Unit::Seconds, "Making and storing a snapshot.");
        metrics::describe_gauge!("snapshot_size_bytes", Unit::Bytes, "Size of the newest snapshot.");
        Self {
            lag: metrics::gauge!("projection_lag_entries", "shard" => shard.clone()),
            rows: metrics::counter!("projection_rows_total", "shard" => shard.clone()),
            entries: metrics::counter!("projection_entries_total", "shard" => shard.clone()),
            batch: metrics::histogram!("projection_batch_duration_seconds", "shard" => shard.clone()),
            errors: metrics::counter!("projection_errors_total", "shard" => shard.clone()),
            snapshot: metrics::histogram!("snapshot_duration_seconds", "shard" => shard.clone()),
            snapshot_bytes: metrics::gauge!("snapshot_size_bytes", "shard" => shard),
        }
    }
}

/// A number as a gauge holds it: exact up to 2^53, far more entries than a log has.
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
pub(crate) fn gauge(number: u64) -> f64 {
    number as f64
}

/// A duration as a histogram holds it.
pub(crate) fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
