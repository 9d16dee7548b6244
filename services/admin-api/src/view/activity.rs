//! `GET /admin/activity`: throughput, latencies and where the time goes, of every instance, since each was started. Rates
//! and the latencies of a moment are the difference of two answers.

use std::collections::BTreeMap;

use serde::Serialize;
use wire::pb::admin::v1 as pb;

use super::AnswerView;
use crate::activity::quantile_us;

/// The whole answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ActivityView {
    /// All instances, also those that did not answer.
    pub instances: Vec<InstanceView>,
}

/// An instance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InstanceView {
    /// Whether it answered.
    #[serde(flatten)]
    pub answer: AnswerView,
    /// What it did; null if it did not answer.
    pub activity: Option<DoneView>,
}

/// What an instance did since it was started.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DoneView {
    /// When this was read, microseconds since the Unix epoch.
    pub at_us: u64,
    /// Requests it answered as a leader.
    pub requests: LatenciesView,
    /// Those of them that the exchange refused.
    pub rejected: u64,
    /// Requests that never reached the log, were turned away, or whose outcome nobody knows.
    pub failed: u64,
    /// New orders accepted.
    pub orders: u64,
    /// Trades.
    pub trades: u64,
    /// Requests turned away because a queue was full.
    pub overloaded: u64,
    /// Where the time goes: queue, journal, apply, egress; disk, projector, leadership.
    pub stages: BTreeMap<String, LatenciesView>,
    /// Commands waiting for the next journal entry now.
    pub queued_commands: u64,
    /// Committed entries that are not in the history yet.
    pub history_lag_entries: u64,
}

/// How long something took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LatenciesView {
    /// How often it was done.
    pub count: u64,
    /// How long all of them took together, microseconds.
    pub sum_us: u64,
    /// Median, microseconds; null if it was never done.
    pub p50_us: Option<f64>,
    /// 99th percentile.
    pub p99_us: Option<f64>,
    /// 99.9th percentile.
    pub p999_us: Option<f64>,
    /// Upper bounds, microseconds, and how often it took at most that.
    pub buckets: Vec<(u64, u64)>,
}

impl From<pb::GetActivityResponse> for ActivityView {
    fn from(response: pb::GetActivityResponse) -> Self {
        let instance = |pb::InstanceActivity { answer, activity }: pb::InstanceActivity| InstanceView {
            answer: answer.into(),
            activity: activity.map(DoneView::from),
        };
        Self { instances: response.instances.into_iter().map(instance).collect() }
    }
}

impl From<pb::Activity> for DoneView {
    fn from(activity: pb::Activity) -> Self {
        Self {
            at_us: activity.at_us,
            requests: activity.requests.unwrap_or_default().into(),
            rejected: activity.rejected,
            failed: activity.failed,
            orders: activity.orders,
            trades: activity.trades,
            overloaded: activity.overloaded,
            stages: activity.stages.into_iter().map(|(stage, latencies)| (stage, latencies.into())).collect(),
            queued_commands: activity.queued_commands,
            history_lag_entries: activity.history_lag_entries,
        }
    }
}

impl From<pb::Latencies> for LatenciesView {
    fn from(latencies: pb::Latencies) -> Self {
        let quantile = |quantile| quantile_us(&latencies, quantile);
        Self {
            count: latencies.count,
            sum_us: latencies.sum_us,
            p50_us: quantile(0.5),
            p99_us: quantile(0.99),
            p999_us: quantile(0.999),
            buckets: latencies.buckets.iter().map(|bucket| (bucket.up_to_us, bucket.count)).collect(),
        }
    }
}
