//! The report of an incident, as JSON (`GET /admin/incident`, `admin incident report --output json`) and as Markdown to
//! go on writing in.

use std::fmt::Write;

use serde::Serialize;
use wire::pb::admin::v1 as pb;

use super::{AnswerView, given, rfc3339};

/// The report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IncidentView {
    /// From when.
    pub from: Option<String>,
    /// Until when.
    pub to: Option<String>,
    /// When it began: the first failed component or alert; null if that is missing.
    pub started: Option<String>,
    /// When it was detected: the first alert; null if that is missing.
    pub detected: Option<String>,
    /// When an operator first acted; null if that is missing.
    pub responded: Option<String>,
    /// When the last component was well again and the last alert over; null if that is missing.
    pub resolved: Option<String>,
    /// From beginning to end, seconds; null if one of them is missing.
    pub impact_s: Option<f64>,
    /// Everything, in order of time.
    pub events: Vec<EventView>,
    /// What became of orders; null if the history did not answer.
    pub orders: Option<OrdersView>,
    /// Pools as they were when the report was made.
    pub pools: Vec<PoolView>,
    /// What could not be found out, and why.
    pub missing: Vec<String>,
    /// All instances, also those that did not answer.
    pub instances: Vec<AnswerView>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EventView {
    /// When.
    pub at: Option<String>,
    /// Where it is known from: "operator", "leadership", "health", "alert", "system".
    pub source: String,
    /// Instance; null for an alert.
    pub node: Option<String>,
    /// What.
    pub what: String,
    /// What it happened to.
    pub target: Option<String>,
    /// Who; null for what nobody did.
    pub who: Option<String>,
    /// More about it.
    pub detail: Option<String>,
}

/// What became of orders.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OrdersView {
    /// Orders submitted.
    pub submitted: u64,
    /// Of these, refused.
    pub rejected: u64,
    /// Trades.
    pub trades: u64,
    /// Accounts with orders.
    pub accounts: u64,
    /// Longest time without any order, seconds.
    pub longest_gap_s: f64,
    /// Whether there were more than were counted.
    pub truncated: bool,
}

/// A pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PoolView {
    /// Instance.
    pub instance: String,
    /// Name.
    pub name: String,
    /// Connections in use, and most there may be.
    pub in_use: u32,
    /// Most there may be.
    pub max: u32,
    /// Callers that gave up waiting since the start.
    pub timeouts_total: u64,
    /// Last error.
    pub last_error: Option<String>,
}

const SECOND_US: f64 = 1_000_000.0;

impl From<pb::GetIncidentReportResponse> for IncidentView {
    fn from(report: pb::GetIncidentReportResponse) -> Self {
        let time = |us: Option<u64>| us.and_then(rfc3339);
        let pools = report.pools.into_iter().flat_map(|instance| {
            let node = instance.answer.map(|answer| answer.node).unwrap_or_default();
            instance.pools.into_iter().map(move |pool| PoolView {
                instance: node.clone(),
                name: pool.name,
                in_use: pool.in_use,
                max: pool.max_size,
                timeouts_total: pool.timeouts_total,
                last_error: given(pool.last_error),
            })
        });
        Self {
            from: rfc3339(report.from_us),
            to: rfc3339(report.to_us),
            started: time(report.started_us),
            detected: time(report.detected_us),
            responded: time(report.responded_us),
            resolved: time(report.resolved_us),
            impact_s: report.impact_us.map(|us| us as f64 / SECOND_US),
            events: report.events.into_iter().map(EventView::from).collect(),
            orders: report.orders.map(OrdersView::from),
            pools: pools.collect(),
            missing: report.missing,
            instances: report.answers.into_iter().map(|answer| Some(answer).into()).collect(),
        }
    }
}

impl From<pb::IncidentEvent> for EventView {
    fn from(event: pb::IncidentEvent) -> Self {
        Self {
            at: rfc3339(event.at_us),
            source: event.source,
            node: given(event.node),
            what: event.what,
            target: given(event.target),
            who: given(event.who),
            detail: given(event.detail),
        }
    }
}

impl From<pb::IncidentOrders> for OrdersView {
    fn from(orders: pb::IncidentOrders) -> Self {
        let pb::IncidentOrders { submitted, rejected, trades, accounts, longest_gap_us, truncated } = orders;
        Self { submitted, rejected, trades, accounts, longest_gap_s: longest_gap_us as f64 / SECOND_US, truncated }
    }
}

impl IncidentView {
    /// The report with the headings that a post-mortem has, those that only people can fill in left open.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let mut line = |args: std::fmt::Arguments<'_>| writeln!(text, "{args}").unwrap_or(());
        let words = |time: &Option<String>| time.clone().unwrap_or_else(|| "**missing**".to_owned());
        line(format_args!("# Incident report\n"));
        line(format_args!("Time: {} to {}\n", words(&self.from), words(&self.to)));
        line(format_args!("## Timeline\n\n| | |\n|---|---|"));
        line(format_args!("| Start | {} |", words(&self.started)));
        line(format_args!("| Detection | {} |", words(&self.detected)));
        line(format_args!("| Response | {} |", words(&self.responded)));
        line(format_args!("| Resolution | {} |", words(&self.resolved)));
        let impact = self.impact_s.map_or("**missing**".to_owned(), |seconds| format!("{seconds:.1} s"));
        line(format_args!("| Impact duration | {impact} |\n"));
        line(format_args!("| Time | Source | Instance | What | Who | Detail |\n|---|---|---|---|---|---|"));
        for event in &self.events {
            let cell = |text: &Option<String>| text.as_deref().unwrap_or("").replace('|', "\\|").replace('\n', " ");
            let what = format!("{} {}", event.what, cell(&event.target));
            let (at, node, who, detail) = (cell(&event.at), cell(&event.node), cell(&event.who), cell(&event.detail));
            line(format_args!("| {at} | {} | {node} | {} | {who} | {detail} |", event.source, what.trim_end()));
        }
        line(format_args!("\n## Impact\n"));
        match &self.orders {
            None => line(format_args!("Orders: **missing**")),
            Some(orders) => {
                let OrdersView { submitted, rejected, trades, accounts, longest_gap_s, truncated } = orders;
                let least = if *truncated { "at least " } else { "" };
                line(format_args!("- Orders submitted: {least}{submitted}, of these refused: {rejected}"));
                line(format_args!("- Trades: {least}{trades}; accounts: {accounts}"));
                line(format_args!("- Longest time without an order: {longest_gap_s:.1} s"));
            }
        }
        line(format_args!("\n### Pools at the end\n"));
        for pool in &self.pools {
            let PoolView { instance, name, in_use, max, timeouts_total, last_error } = pool;
            let error = last_error.as_ref().map_or(String::new(), |error| format!(", last error: {error}"));
            line(format_args!("- {instance} {name}: {in_use} of {max} in use, {timeouts_total} timeouts{error}"));
        }
        line(format_args!("\n## Missing\n"));
        for missing in &self.missing {
            line(format_args!("- {missing}"));
        }
        if self.missing.is_empty() {
            line(format_args!("Nothing."));
        }
        for heading in ["Root cause", "Response evaluation", "Preventive actions"] {
            line(format_args!("\n## {heading}\n\n(to be written)"));
        }
        text
    }
}
