//! Alerts of a time, from Prometheus. Absent: Alertmanager; it does not remember.

use std::time::Duration;

use reqwest::{Client, Url};
use serde::Deserialize;
use serde_json::Value;
use wire::pb::admin::v1 as pb;

/// Longest wait for an answer.
const LIMIT: Duration = Duration::from_secs(5);
/// Points that one answer may have, with a reserve: Prometheus gives 11,000.
const POINTS: u64 = 10_000;
/// Finest step, seconds: scrapes are no closer.
const STEP_MIN: u64 = 5;
const SECOND_US: u64 = 1_000_000;

/// Where the alerts are known.
#[derive(Clone)]
pub(super) struct Prometheus {
    url: String,
    client: Client,
}

#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    metric: std::collections::BTreeMap<String, String>,
    values: Vec<(f64, Value)>,
}

impl Prometheus {
    pub(super) fn new(url: &str) -> reqwest::Result<Self> {
        let client = crate::client::builder().timeout(LIMIT).build()?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), client })
    }

    /// When alerts began and stopped to fire.
    pub(super) async fn alerts(&self, from_us: u64, to_us: u64) -> Result<Vec<pb::IncidentEvent>, String> {
        let (from, to) = (from_us / SECOND_US, to_us.div_ceil(SECOND_US));
        let step = ((to - from) / POINTS).max(STEP_MIN);
        // One that fires always tells that alerts arrive: it begins no incident, and none would ever be over.
        let query = "ALERTS{alertstate=\"firing\",alertname!=\"Watchdog\"}";
        let (start, end, step_text) = (from.to_string(), to.to_string(), step.to_string());
        let parameters = [("query", query), ("start", &start), ("end", &end), ("step", &step_text)];
        let url = Url::parse_with_params(&format!("{}/api/v1/query_range", self.url), parameters);
        let url = url.map_err(|error| format!("admin_api.prometheus_url: {error}"))?;
        let failed = |error: reqwest::Error| error.without_url().to_string();
        let answer = self.client.get(url).send().await.and_then(reqwest::Response::error_for_status);
        let body = answer.map_err(failed)?.bytes().await.map_err(failed)?;
        let answer: Answer = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        Ok(answer.data.result.iter().flat_map(|series| events(series, step, to)).collect())
    }
}

/// A pause of more than two steps is an end and a new beginning.
fn events(series: &Series, step: u64, to: u64) -> Vec<pb::IncidentEvent> {
    let label = |name: &str| series.metric.get(name).cloned().unwrap_or_default();
    let event = |seconds: f64, detail: String| pb::IncidentEvent {
        at_us: (seconds * SECOND_US as f64) as u64,
        source: "alert".to_owned(),
        node: String::new(),
        what: label("alertname"),
        target: label("instance"),
        who: String::new(),
        detail,
    };
    let mut events = Vec::new();
    let mut last: Option<f64> = None;
    let gap = (2 * step) as f64;
    for (at, _) in &series.values {
        if last.is_none_or(|last| at - last > gap) {
            if let Some(last) = last {
                events.push(event(last, "resolved".to_owned()));
            }
            let [severity, priority] = ["severity", "priority"].map(label);
            events.push(event(*at, format!("firing {severity} {priority}").trim_end().to_owned()));
        }
        last = Some(*at);
    }
    // What fires at the end of the report is not over.
    if let Some(last) = last.filter(|last| to as f64 - last > gap) {
        events.push(event(last, "resolved".to_owned()));
    }
    events
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn r92_alerts_begin_end_and_begin_again() {
        let series: Series = serde_json::from_value(json!({
            "metric": {"alertname": "DatabaseDown", "severity": "critical", "priority": "P1"},
            "values": [[100, "1"], [105, "1"], [110, "1"], [200, "1"], [205, "1"]],
        }))
        .expect("a series");
        let words = |to| {
            let words = |event: &pb::IncidentEvent| format!("{} {}", event.at_us / SECOND_US, event.detail);
            events(&series, 5, to).iter().map(words).collect::<Vec<_>>()
        };
        let all = ["100 firing critical P1", "110 resolved", "200 firing critical P1", "205 resolved"];
        assert_eq!(words(300), all);
        assert_eq!(words(206), all[..3]);
    }
}
