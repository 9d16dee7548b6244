//! What is read of an instance's metrics, which are in Prometheus' text format. A pure function. Absent: names that
//! nothing here shows.

use std::collections::BTreeMap;

use wire::pb::admin::v1 as pb;

/// Requests that change a book.
const TRADING: [&str; 4] = ["submit", "cancel", "replace", "mass_cancel"];

/// Histograms without a label that tells the stage, and what the stage is called here.
const STAGES: [(&str, &str); 3] = [
    ("journal_fdatasync_duration_seconds", "disk"),
    ("projection_batch_duration_seconds", "projector"),
    ("consensus_store_duration_seconds", "leadership"),
];

/// One line: a name, its labels as written, a value.
struct Sample<'a> {
    name: &'a str,
    labels: &'a str,
    value: f64,
}

/// A histogram while it is put together from many.
#[derive(Default)]
struct Sum {
    count: u64,
    seconds: f64,
    buckets: BTreeMap<u64, u64>,
}

pub(super) fn activity(text: &str) -> pb::Activity {
    let mut activity = pb::Activity::default();
    let mut requests = Sum::default();
    let mut stages: BTreeMap<&str, Sum> = BTreeMap::new();
    for sample in text.lines().filter_map(Sample::read) {
        let value = whole(sample.value);
        match sample.name {
            "order_engine_orders_accepted_total" => activity.orders += value,
            "order_engine_trades_total" => activity.trades += value,
            "order_engine_overloaded_total" => activity.overloaded += value,
            "order_engine_queued_commands" => activity.queued_commands += value,
            // Every gateway has its own; the one furthest behind counts.
            "projection_lag_entries" => activity.history_lag_entries = activity.history_lag_entries.max(value),
            name => {
                let Some((name, part)) = histogram(name) else { continue };
                if name == "trading_operation_duration_seconds" {
                    if part == Part::Count {
                        count_request(&sample, value, &mut activity);
                    }
                    if is_answered(&sample) {
                        requests.add(part, &sample);
                    }
                } else if name == "order_engine_stage_duration_seconds" {
                    let stage = sample.label("stage").unwrap_or("other");
                    stages.entry(stage).or_default().add(part, &sample);
                } else if let Some((_, stage)) = STAGES.iter().find(|(of, _)| *of == name) {
                    stages.entry(stage).or_default().add(part, &sample);
                }
            }
        }
    }
    activity.requests = Some(requests.into());
    activity.stages = stages.into_iter().map(|(stage, sum)| (stage.to_owned(), sum.into())).collect();
    activity
}

fn count_request(sample: &Sample<'_>, value: u64, activity: &mut pb::Activity) {
    match sample.label("outcome") {
        Some("rejected") if is_answered(sample) => activity.rejected += value,
        Some("invalid" | "refused" | "unknown") => activity.failed += value,
        _ => {}
    }
}

/// Whether it is of a request that was carried out here: one that was handed on is counted where it went.
fn is_answered(sample: &Sample<'_>) -> bool {
    sample.label("operation").is_some_and(|operation| TRADING.contains(&operation))
        && matches!(sample.label("outcome"), Some("accepted" | "rejected" | "duplicate"))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Bucket,
    Count,
    Sum,
}

fn histogram(name: &str) -> Option<(&str, Part)> {
    [("_bucket", Part::Bucket), ("_count", Part::Count), ("_sum", Part::Sum)]
        .into_iter()
        .find_map(|(end, part)| Some((name.strip_suffix(end)?, part)))
}

impl<'a> Sample<'a> {
    fn read(line: &'a str) -> Option<Self> {
        if line.starts_with('#') {
            return None;
        }
        let (head, value) = line.rsplit_once(' ')?;
        let (name, labels) = match head.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}')?),
            None => (head, ""),
        };
        Some(Self { name, labels, value: value.parse().ok()? })
    }

    /// None of the labels that are read here has a value with a comma, an equals sign or a quote.
    fn label(&self, wanted: &str) -> Option<&'a str> {
        self.labels.split(',').find_map(|label| {
            let (name, value) = label.split_once('=')?;
            (name == wanted).then(|| value.trim_matches('"'))
        })
    }
}

impl Sum {
    fn add(&mut self, part: Part, sample: &Sample<'_>) {
        match part {
            Part::Count => self.count += whole(sample.value),
            Part::Sum => self.seconds += sample.value,
            Part::Bucket => {
                let bound: Option<f64> = sample.label("le").and_then(|bound| bound.parse().ok());
                if let Some(bound) = bound.filter(|bound| bound.is_finite()) {
                    *self.buckets.entry(micros(bound)).or_default() += whole(sample.value);
                }
            }
        }
    }
}

impl From<Sum> for pb::Latencies {
    fn from(Sum { count, seconds, buckets }: Sum) -> Self {
        let bucket = |(up_to_us, count)| pb::LatencyBucket { up_to_us, count };
        Self { count, sum_us: micros(seconds), buckets: buckets.into_iter().map(bucket).collect() }
    }
}

fn micros(seconds: f64) -> u64 {
    whole(seconds * 1e6)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates, and none is negative")]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
# HELP trading_operation_duration_seconds Time.
# TYPE trading_operation_duration_seconds histogram
trading_operation_duration_seconds_bucket{operation="submit",outcome="accepted",role="leader",le="0.0001"} 6
trading_operation_duration_seconds_bucket{operation="submit",outcome="accepted",role="leader",le="0.001"} 9
trading_operation_duration_seconds_bucket{operation="submit",outcome="accepted",role="leader",le="+Inf"} 10
trading_operation_duration_seconds_sum{operation="submit",outcome="accepted",role="leader"} 0.0042
trading_operation_duration_seconds_count{operation="submit",outcome="accepted",role="leader"} 10
trading_operation_duration_seconds_bucket{operation="cancel",outcome="rejected",role="leader",le="0.0001"} 1
trading_operation_duration_seconds_bucket{operation="cancel",outcome="rejected",role="leader",le="0.001"} 2
trading_operation_duration_seconds_count{operation="cancel",outcome="rejected",role="leader"} 2
trading_operation_duration_seconds_count{operation="submit",outcome="refused",role="standby"} 3
trading_operation_duration_seconds_count{operation="submit",outcome="forwarded",role="standby"} 5
trading_operation_duration_seconds_count{operation="get_book",outcome="accepted",role="leader"} 7
order_engine_stage_duration_seconds_bucket{stage="journal",shard="0",le="0.001"} 4
order_engine_stage_duration_seconds_bucket{stage="journal",shard="1",le="0.001"} 5
order_engine_stage_duration_seconds_count{stage="journal",shard="0"} 4
order_engine_stage_duration_seconds_count{stage="journal",shard="1"} 5
journal_fdatasync_duration_seconds_count{shard="0"} 8
order_engine_trades_total{shard="0"} 11
order_engine_trades_total{shard="1"} 1
projection_lag_entries{shard="0"} 2
projection_lag_entries{shard="1"} 70
process_open_fds 12
not a sample
"#;

    #[test]
    fn what_is_shown_is_read_and_the_rest_is_not() {
        let activity = activity(TEXT);
        let requests = activity.requests.expect("requests");
        assert_eq!((requests.count, requests.sum_us), (12, 4_200), "forwarded ones and reads are not among them");
        let buckets: Vec<_> = requests.buckets.iter().map(|bucket| (bucket.up_to_us, bucket.count)).collect();
        assert_eq!(buckets, [(100, 7), (1_000, 11)]);
        assert_eq!((activity.rejected, activity.failed, activity.trades), (2, 3, 12));
        assert_eq!(activity.history_lag_entries, 70);
        assert_eq!((activity.stages["journal"].count, activity.stages["disk"].count), (9, 8));
        assert_eq!(activity.stages["journal"].buckets[0].count, 9);
    }
}
