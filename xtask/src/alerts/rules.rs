//! The rules and their tests, as Prometheus reads them. Absent: a library for YAML; what is written here is so little of it
//! that quoted strings, as JSON has them, are enough.

use super::{Alert, Recording, Source};

/// What stands at the top of a file that is made.
const HEAD: &str = "# Made of deploy/prometheus/alerts.toml by `cargo xtask alerts`: change that, not this.\n";

/// The file that Prometheus loads.
pub(super) fn rules(source: &Source) -> String {
    format!("{HEAD}{}\n", groups(source).join("\n"))
}

/// The same as an object of the Prometheus operator.
pub(super) fn object(source: &Source) -> String {
    let groups: Vec<_> = groups(source).iter().map(|line| format!("  {line}\n")).collect();
    let kind = "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\n";
    let metadata = "metadata:\n  name: hive-mind\n  namespace: hive-mind-production\n  labels: {app.kubernetes.io/part-of: hive-mind}\n";
    format!("{HEAD}{kind}{metadata}spec:\n{}", groups.concat())
}

fn groups(source: &Source) -> Vec<String> {
    let mut lines = vec!["groups:".to_owned(), "  - name: hive-mind-recorded".to_owned(), "    rules:".to_owned()];
    for (name, expr) in source.record.iter().flat_map(recorded) {
        lines.push(format!("      - record: {}", quoted(&name)));
        lines.push(format!("        expr: {}", quoted(&expr)));
    }
    lines.extend(["  - name: hive-mind".to_owned(), "    rules:".to_owned()]);
    for alert in &source.alert {
        lines.push(format!("      - alert: {}", quoted(&alert.name)));
        lines.push(format!("        expr: {}", quoted(&one_line(&alert.expr))));
        lines.extend(alert.holds.as_ref().map(|time| format!("        for: {}", quoted(time))));
        lines.push("        labels:".to_owned());
        lines.extend(labels(alert).map(|(name, value)| format!("          {name}: {}", quoted(value))));
        lines.push("        annotations:".to_owned());
        let notes = annotations(source, alert, &alert.summary);
        lines.extend(notes.into_iter().map(|(name, value)| format!("          {name}: {}", quoted(&value))));
    }
    lines
}

/// The file that `promtool test rules` reads.
pub(super) fn tests(source: &Source) -> String {
    let mut lines = vec!["rule_files:".to_owned(), "  - ../rules.yml".to_owned()];
    // Coarser than in production, where it is 15 s: some cases span hours, and all rules are evaluated for each.
    lines.extend(["evaluation_interval: 1m".to_owned(), "tests:".to_owned()]);
    for alert in &source.alert {
        for case in &alert.case {
            lines.push("  - interval: 15s".to_owned());
            lines.push(format!("    name: {}", quoted(&format!("{} at {}", alert.name, case.at))));
            lines.push("    input_series:".to_owned());
            for (series, values) in &case.series {
                lines.push(format!("      - series: {}", quoted(series)));
                lines.push(format!("        values: {}", quoted(values)));
            }
            lines.push("    alert_rule_test:".to_owned());
            lines.push(format!("      - eval_time: {}", quoted(&case.at)));
            lines.push(format!("        alertname: {}", quoted(&alert.name)));
            lines.push("        exp_alerts:".to_owned());
            for fired in &case.fires {
                lines.push("          - exp_labels:".to_owned());
                let own = fired.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                lines.extend(
                    own.chain(labels(alert)).map(|(name, value)| format!("              {name}: {}", quoted(value))),
                );
                lines.push("            exp_annotations:".to_owned());
                let notes = annotations(source, alert, &fired.summary);
                lines
                    .extend(notes.into_iter().map(|(name, value)| format!("              {name}: {}", quoted(&value))));
            }
        }
    }
    format!("{HEAD}{}\n", lines.join("\n"))
}

/// Names and expressions of what is recorded, windows filled in.
pub(super) fn recorded(recording: &Recording) -> Vec<(String, String)> {
    let filled = |window: &str| {
        (recording.name.replace("{window}", window), one_line(&recording.expr).replace("{window}", window))
    };
    if recording.windows.is_empty() {
        return vec![filled("")];
    }
    recording.windows.iter().map(|window| filled(window)).collect()
}

/// The labels by which Alertmanager decides who hears of it.
pub(super) fn labels(alert: &Alert) -> impl Iterator<Item = (&str, &str)> {
    let always = [("priority", alert.priority.name()), ("severity", alert.priority.severity())];
    always.into_iter().chain(alert.tell.map(|told| ("tell", told.name())))
}

/// What people read.
fn annotations(source: &Source, alert: &Alert, summary: &str) -> [(&'static str, String); 4] {
    [
        ("summary", summary.to_owned()),
        ("respond_within", alert.priority.respond_within().to_owned()),
        ("runbook_url", format!("{}#{}", source.links.runbook, alert.name.to_lowercase())),
        ("dashboard_url", source.links.dashboard.clone()),
    ]
}

/// An expression without its line breaks.
fn one_line(expr: &str) -> String {
    expr.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A string as JSON writes it, which YAML reads as well.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
