//! `ActivityService`: what the system is doing, from the metrics of all instances. Absent: rates; they are the difference
//! of two answers, and whoever asks knows how far apart they are.

mod exposition;

use std::sync::Arc;
use std::time::Duration;

use service_kit::clock;
use service_kit::metrics::Exporter;
use tonic::{Request, Response, Status};
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::activity_service_server::ActivityService;
use wire::pb::admin::v1::node_activity_service_client::NodeActivityServiceClient;
use wire::transport::PEER_MESSAGE_LIMIT;

use crate::gather::Gather;
use crate::metrics::Question;
use crate::targets::Asked;

/// Answers from the metrics of all instances. This one's are read without a call.
#[derive(Clone)]
pub(crate) struct Activities {
    gather: Arc<Gather>,
    own: Exporter,
}

impl Activities {
    pub(crate) const fn new(gather: Arc<Gather>, own: Exporter) -> Self {
        Self { gather, own }
    }

    pub(crate) async fn metrics(&self, limit: Duration) -> pb::GetMetricsResponse {
        let ask = async |channel| {
            let request = pb::GetNodeMetricsRequest {};
            let mut client = NodeActivityServiceClient::new(channel).max_decoding_message_size(PEER_MESSAGE_LIMIT);
            Ok(client.get_node_metrics(request).await?.into_inner())
        };
        let others = self.gather.others().ask_all(Question::Activity, limit, ask).await;
        let own = pb::InstanceMetrics { answer: Some(self.gather.own_answer()), text: self.own.render() };
        let others = others.into_iter().map(|Asked { answer, value }| {
            let pb::GetNodeMetricsResponse { text, node, roles } = value.unwrap_or_default();
            pb::InstanceMetrics { answer: Some(pb::NodeAnswer { node, roles, ..answer }), text }
        });
        pb::GetMetricsResponse { instances: std::iter::once(own).chain(others).collect() }
    }

    pub(crate) async fn activity(&self, limit: Duration) -> pb::GetActivityResponse {
        let metrics = self.metrics(limit).await;
        let at_us = clock::now_us();
        let activity = |pb::InstanceMetrics { answer, text }: pb::InstanceMetrics| {
            let answered = answer.as_ref().is_some_and(|answer| answer.error.is_empty());
            let activity = answered.then(|| pb::Activity { at_us, ..exposition::activity(&text) });
            pb::InstanceActivity { answer, activity }
        };
        pb::GetActivityResponse { instances: metrics.instances.into_iter().map(activity).collect() }
    }
}

#[tonic::async_trait]
impl ActivityService for Activities {
    async fn get_activity(
        &self,
        request: Request<pb::GetActivityRequest>,
    ) -> Result<Response<pb::GetActivityResponse>, Status> {
        let limit = self.gather.limit(request.get_ref().timeout_ms)?;
        Ok(Response::new(self.activity(limit).await))
    }

    async fn get_metrics(
        &self,
        request: Request<pb::GetMetricsRequest>,
    ) -> Result<Response<pb::GetMetricsResponse>, Status> {
        let limit = self.gather.limit(request.get_ref().timeout_ms)?;
        Ok(Response::new(self.metrics(limit).await))
    }
}

/// The time below which this share of what is counted lay, microseconds, read from the histogram as Prometheus'
/// `histogram_quantile` does: evenly spread within a bucket. `None` if nothing was counted; the last bound for what lies
/// behind it. `quantile` is 0 to 1.
#[must_use]
pub fn quantile_us(latencies: &pb::Latencies, quantile: f64) -> Option<f64> {
    if latencies.count == 0 {
        return None;
    }
    let rank = quantile * latencies.count as f64;
    let (mut below, mut counted) = (0, 0);
    for bucket in &latencies.buckets {
        if bucket.count as f64 >= rank && bucket.count > counted {
            let share = (rank - counted as f64) / (bucket.count - counted) as f64;
            return Some(below as f64 + (bucket.up_to_us - below) as f64 * share.clamp(0.0, 1.0));
        }
        (below, counted) = (bucket.up_to_us, bucket.count);
    }
    Some(below as f64)
}

/// What was counted after `before`. A process that was started anew counts from nothing again.
#[must_use]
pub fn since(now: &pb::Latencies, before: &pb::Latencies) -> pb::Latencies {
    if now.count < before.count || now.buckets.len() != before.buckets.len() {
        return now.clone();
    }
    let bucket = |(now, before): (&pb::LatencyBucket, &pb::LatencyBucket)| pb::LatencyBucket {
        up_to_us: now.up_to_us,
        count: now.count.saturating_sub(before.count),
    };
    pb::Latencies {
        count: now.count - before.count,
        sum_us: now.sum_us.saturating_sub(before.sum_us),
        buckets: now.buckets.iter().zip(&before.buckets).map(bucket).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latencies(buckets: &[(u64, u64)], count: u64) -> pb::Latencies {
        let buckets = buckets.iter().map(|&(up_to_us, count)| pb::LatencyBucket { up_to_us, count }).collect();
        pb::Latencies { count, sum_us: 0, buckets }
    }

    #[test]
    fn quantiles_are_those_of_prometheus() {
        assert_eq!(quantile_us(&latencies(&[(100, 0)], 0), 0.5), None, "nothing was counted");
        let some = latencies(&[(100, 0), (200, 50), (1_000, 99), (10_000, 99)], 100);
        // histogram_quantile(0.5, …) over the same buckets.
        assert_eq!(quantile_us(&some, 0.5), Some(200.0));
        assert_eq!(quantile_us(&some, 0.25), Some(150.0));
        assert_eq!(quantile_us(&some, 0.99), Some(1_000.0));
        assert_eq!(quantile_us(&some, 1.0), Some(10_000.0), "more than the last bound is not known");
    }

    #[test]
    fn a_moment_is_the_difference_and_a_new_process_begins_again() {
        let before = latencies(&[(100, 10), (200, 30)], 40);
        let now = latencies(&[(100, 11), (200, 35)], 45);
        assert_eq!(since(&now, &before), latencies(&[(100, 1), (200, 5)], 5));
        assert_eq!(since(&before, &now), before);
    }
}
