//! `cargo xtask alerts`: makes Prometheus' rules and their tests of deploy/prometheus/alerts.toml, and Grafana's dashboards of
//! their sources in deploy/grafana. Everything that each alert must have and nobody would miss until it is needed (severity,
//! links, the answer's deadline) is added here, and so cannot be forgotten.
//!
//! Absent: what promtool and amtool check; the tests ask them.

mod dashboard;
#[cfg(test)]
mod promql;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

/// What is read.
const ALERTS: &str = "deploy/prometheus/alerts.toml";
const DASHBOARDS: &str = "deploy/grafana";

/// deploy/prometheus/alerts.toml.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    links: Links,
    record: Vec<Recording>,
    alert: Vec<Alert>,
}

/// Where people find more. Of one installation; whoever has others changes them there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Links {
    /// The page docs/runbook.md, as it is published.
    runbook: String,
    dashboard: String,
}

/// A series that is computed ahead: one for each window, if there are windows.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recording {
    /// `{window}` stands for a window, also in the expression.
    name: String,
    expr: String,
    #[serde(default)]
    windows: Vec<String>,
}

/// An alert, and the cases that show it at work.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Alert {
    name: String,
    priority: Priority,
    /// Who besides those on call hears of it; a receiver in deploy/alertmanager/alertmanager.yml.
    tell: Option<Told>,
    /// How long it must hold before it fires.
    #[serde(rename = "for")]
    holds: Option<String>,
    expr: String,
    summary: String,
    case: Vec<Case>,
}

/// One test: fires with just these, or stays silent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    at: String,
    /// A series and its values, one every 15 seconds, as promtool reads them.
    series: Vec<(String, String)>,
    #[serde(default)]
    fires: Vec<Fired>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fired {
    #[serde(default)]
    labels: BTreeMap<String, String>,
    summary: String,
}

/// How severe an incident is, as the runbook names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Priority {
    P1,
    P2,
    P3,
    P4,
}

impl Priority {
    fn name(self) -> &'static str {
        match self {
            Self::P1 => "P1",
            Self::P2 => "P2",
            Self::P3 => "P3",
            Self::P4 => "P4",
        }
    }

    fn severity(self) -> &'static str {
        match self {
            Self::P1 => "critical",
            Self::P2 => "high",
            Self::P3 => "medium",
            Self::P4 => "low",
        }
    }

    fn respond_within(self) -> &'static str {
        match self {
            Self::P1 => "at once",
            Self::P2 => "15 minutes",
            Self::P3 => "2 hours",
            Self::P4 => "next business day",
        }
    }
}

/// Whom an alert concerns besides those on call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Told {
    TradingDesk,
    Compliance,
    Security,
    Cto,
}

impl Told {
    fn name(self) -> &'static str {
        match self {
            Self::TradingDesk => "trading-desk",
            Self::Compliance => "compliance",
            Self::Security => "security",
            Self::Cto => "cto",
        }
    }
}

/// Writes what is made of the sources; with `check`, fails if it differs from what is there.
pub(crate) fn run(root: &Path, check: bool) -> Result<()> {
    let mut stale = Vec::new();
    for (path, text) in made(root)? {
        if fs::read_to_string(root.join(&path)).is_ok_and(|there| there == text) {
            continue;
        }
        if !check {
            fs::write(root.join(&path), text).with_context(|| path.clone())?;
        }
        stale.push(path);
    }
    match stale.as_slice() {
        [] => println!("alerts: everything is up to date"),
        stale if check => bail!("out of date: {}; run `cargo xtask alerts`", stale.join(", ")),
        stale => println!("alerts: wrote {}", stale.join(", ")),
    }
    Ok(())
}

/// Every file that is made, with its text.
fn made(root: &Path) -> Result<Vec<(String, String)>> {
    let source = source(root)?;
    let mut made = vec![
        ("deploy/prometheus/rules.yml".to_owned(), rules::rules(&source)),
        ("deploy/kubernetes/components/monitoring/prometheus-rule.yaml".to_owned(), rules::object(&source)),
        ("deploy/prometheus/tests/rules.yml".to_owned(), rules::tests(&source)),
    ];
    for (name, dashboard) in dashboard::read(root)? {
        made.push((format!("{DASHBOARDS}/{name}.json"), dashboard.render()?));
    }
    Ok(made)
}

fn source(root: &Path) -> Result<Source> {
    let text = fs::read_to_string(root.join(ALERTS)).context(ALERTS)?;
    toml::from_str(&text).context(ALERTS)
}
