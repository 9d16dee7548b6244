//! What happened in a time, from what is on record anyway: audit logs of all instances (orders of operators, changes
//! of leaders, conditions of components), the history, pools, and alerts of the monitoring.
//!
//! Nothing is guessed: what could not be found out stands in the report as missing. Deliberately absent: causes.

mod alerts;
mod http;
mod orders;
mod stamps;

use std::sync::Arc;
use std::time::Duration;

use service_kit::clock;
use tonic::{Request, Response, Status};
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::incident_service_server::IncidentService;
use wire::status::ApiError;
use wire::transport::Channel;

pub(crate) use http::router;

use crate::audit::AuditAnswers;
use crate::gather::Gather;

/// Most records of one area; the audit log gives no more at once.
const RECORDS_MAX: u32 = 1_000;
/// Longest time of a report: more than that is no incident.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Longest wait for a gateway that counts orders: it reads many pages.
const GATEWAY_WAITS: Duration = Duration::from_secs(10);
/// What an order itself changes is in the history.
const ORDERS: &str = "order.";

/// Puts reports together.
#[derive(Clone)]
pub(crate) struct Incidents {
    gather: Arc<Gather>,
    audit: AuditAnswers,
    history: Vec<Channel>,
    prometheus: Option<alerts::Prometheus>,
}

/// What a source says: events, and what is missing.
#[derive(Default)]
struct Said {
    events: Vec<pb::IncidentEvent>,
    missing: Vec<String>,
}

impl Incidents {
    /// `prometheus_url` is empty where there is none.
    ///
    /// # Errors
    /// When the system's certificates cannot be read.
    pub(crate) fn new(gather: Arc<Gather>, history: Vec<Channel>, prometheus_url: &str) -> reqwest::Result<Self> {
        let prometheus = if prometheus_url.is_empty() { None } else { Some(alerts::Prometheus::new(prometheus_url)?) };
        Ok(Self { audit: AuditAnswers::new(Arc::clone(&gather)), gather, history, prometheus })
    }

    pub(crate) async fn report(
        &self,
        request: &pb::GetIncidentReportRequest,
    ) -> Result<pb::GetIncidentReportResponse, Status> {
        let now = clock::now_us();
        let from_us = request.from_us;
        let to_us = if request.to_us == 0 { now } else { request.to_us.min(now) };
        if from_us == 0 || from_us >= to_us {
            return Err(ApiError::invalid("from_us", "must be a time before to_us and before now").into());
        }
        if u128::from(to_us - from_us) > LONGEST.as_micros() {
            return Err(ApiError::invalid("from_us", "must be at most seven days before to_us").into());
        }
        let (recorded, alerts, orders, pools) = tokio::join!(
            self.recorded(from_us, to_us),
            self.alerts(from_us, to_us),
            orders::affected(&self.history, from_us, to_us),
            self.gather.pools(self.gather.default_timeout()),
        );
        let (Said { mut events, mut missing }, answers) = recorded?;
        events.extend(alerts.events);
        missing.extend(alerts.missing);
        events.sort_by(|a, b| (a.at_us, &a.source, &a.node).cmp(&(b.at_us, &b.source, &b.node)));
        let orders = orders.map_err(|error| missing.push(format!("orders: {error}"))).ok();
        for answer in answers.iter().filter(|answer| !answer.error.is_empty()) {
            missing.push(format!("what {} recorded: it did not answer: {}", answer.target, answer.error));
        }
        let stamps = stamps::of(&events, &mut missing);
        Ok(pb::GetIncidentReportResponse {
            from_us,
            to_us,
            started_us: stamps.started,
            detected_us: stamps.detected,
            responded_us: stamps.responded,
            resolved_us: stamps.resolved,
            impact_us: stamps.started.zip(stamps.resolved).map(|(from, to)| to.saturating_sub(from)),
            events,
            orders,
            pools: pools.instances,
            missing,
            answers,
        })
    }

    async fn recorded(&self, from_us: u64, to_us: u64) -> Result<(Said, Vec<pb::NodeAnswer>), Status> {
        let filter = pb::AuditFilter {
            limit: RECORDS_MAX,
            from_us,
            to_us,
            without_action: ORDERS.to_owned(),
            ..Default::default()
        };
        let pb::SearchAuditResponse { records, answers } = self.audit.search(filter).await?;
        let mut said = Said::default();
        if records.len() >= RECORDS_MAX as usize {
            let oldest = records.last().map_or(from_us, |record| record.at_us);
            let oldest = clock::rfc3339(oldest);
            said.missing.push(format!("records before {oldest}: there are more than {RECORDS_MAX}, choose less time"));
        }
        said.events = records.into_iter().map(event).collect();
        Ok((said, answers))
    }

    async fn alerts(&self, from_us: u64, to_us: u64) -> Said {
        match &self.prometheus {
            None => Said { missing: vec!["alerts: admin_api.prometheus_url is not set".to_owned()], ..Said::default() },
            Some(prometheus) => match prometheus.alerts(from_us, to_us).await {
                Ok(events) => Said { events, missing: Vec::new() },
                Err(error) => Said { missing: vec![format!("alerts: Prometheus: {error}")], ..Said::default() },
            },
        }
    }
}

fn event(record: pb::AuditRecord) -> pb::IncidentEvent {
    let area = record.action.split('.').next().unwrap_or_default();
    let source = match area {
        "health" | "leadership" => area,
        _ if record.subject == "system" => "system",
        _ => "operator",
    };
    let who = if record.subject == "system" { String::new() } else { record.actor };
    let mut detail = Vec::new();
    if !record.reason.is_empty() {
        detail.push(record.reason);
    }
    if record.result != "ok" {
        detail.push(format!("{}: {}", record.result, record.detail));
    }
    let changed = [record.before, record.after].map(|text| if text.is_empty() { "-".to_owned() } else { text });
    if changed.iter().any(|text| text != "-") {
        detail.push(changed.join(" -> "));
    }
    pb::IncidentEvent {
        at_us: record.at_us,
        source: source.to_owned(),
        node: record.node,
        what: record.action,
        target: record.target,
        who,
        detail: detail.join("; "),
    }
}

/// The first of several that answers. One after the other: all of them would look into the same database.
async fn first_that_answers<T, F>(channels: &[Channel], ask: impl Fn(Channel) -> F) -> Result<T, String>
where
    F: Future<Output = Result<T, Status>>,
{
    let mut error = "no gateway is configured".to_owned();
    for channel in channels {
        match tokio::time::timeout(GATEWAY_WAITS, ask(channel.clone())).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(status)) => error = crate::targets::explain(&status),
            Err(_) => error = format!("no answer within {} s", GATEWAY_WAITS.as_secs()),
        }
    }
    Err(error)
}

#[tonic::async_trait]
impl IncidentService for Incidents {
    async fn get_incident_report(
        &self,
        request: Request<pb::GetIncidentReportRequest>,
    ) -> Result<Response<pb::GetIncidentReportResponse>, Status> {
        Ok(Response::new(self.report(request.get_ref()).await?))
    }
}
