//! What is made is up to date, complete, and means what it should: promtool and amtool are asked. Every rule is shown on
//! planted mistakes as well.

use std::collections::BTreeSet;
use std::fs;
use std::process::Output;

use super::promql::{Emitted, names};
use super::{Alert, Priority, Source, dashboard, made, rules, source};
use crate::testing::command;
use crate::tidy::source::{SourceFile, read_tree};
use crate::workspace_root;

/// Series of Prometheus and Alertmanager themselves.
const FOREIGN: [&str; 4] =
    ["up", "ALERTS", "prometheus_notifications_dropped_total", "alertmanager_notifications_failed_total"];

fn there() -> Source {
    source(&workspace_root()).expect("the source of the alerts")
}

fn runbook() -> String {
    fs::read_to_string(workspace_root().join("docs/runbook.md")).expect("the runbook")
}

/// What a program of the system says of our files; it must be content.
fn asked(words: &[&str]) -> String {
    let Output { status, stdout, stderr } = command(&workspace_root(), words)
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}; `cargo xtask test` installs it", words[0]));
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{} said:\n{said}", words.join(" "));
    said
}

/// Names in expressions that nothing emits, with where they stand.
fn unknown<'a>(emitted: &Emitted, source: &Source, exprs: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let recorded: BTreeSet<_> = source.record.iter().flat_map(rules::recorded).map(|(name, _)| name).collect();
    let known = |name: &str| emitted.has(name) || recorded.contains(name) || FOREIGN.contains(&name);
    let mut found = Vec::new();
    for (place, expr) in exprs {
        found.extend(names(expr).into_iter().filter(|name| !known(name)).map(|name| format!("{place}: {name}")));
    }
    found
}

/// What is wrong with the entries of the runbook.
fn faults(alerts: &[Alert], runbook: &str) -> Vec<String> {
    let mut found = Vec::new();
    let entries: Vec<_> = runbook.split("\n### ").skip(1).collect();
    for alert in alerts {
        let entry = entries.iter().find(|entry| entry.lines().next() == Some(alert.name.as_str()));
        let Some(entry) = entry else {
            found.push(format!("{}: the runbook has no entry `### {}`", alert.name, alert.name));
            continue;
        };
        let text = entry.split("\n#").next().unwrap_or_default();
        if !text.contains(&format!("\n{}", alert.priority.name())) {
            found.push(format!("{}: the runbook gives it another priority", alert.name));
        }
        for part in ["**Show** ", "**End** ", "**Trap** "] {
            if !text.contains(part) {
                found.push(format!("{}: its entry lacks {part}", alert.name));
            }
        }
        if !text.contains('`') {
            found.push(format!("{}: its entry has no command", alert.name));
        }
    }
    for entry in entries {
        let name = entry.lines().next().unwrap_or_default();
        if !alerts.iter().any(|alert| alert.name == name) {
            found.push(format!("{name}: the runbook has an entry for it, and there is no such alert"));
        }
    }
    found
}

/// What each alert must bring along.
fn incomplete(alerts: &[Alert]) -> Vec<String> {
    let mut found = Vec::new();
    for alert in alerts {
        let (fires, silent): (Vec<_>, Vec<_>) = alert.case.iter().partition(|case| !case.fires.is_empty());
        // What fires always has nothing to be silent about.
        if fires.is_empty() || (silent.is_empty() && alert.expr != "vector(1)") {
            found.push(format!("{}: needs a case that fires and one that stays silent", alert.name));
        }
        if !alert.summary.contains("$value") {
            found.push(format!("{}: its summary does not tell the value", alert.name));
        }
    }
    found
}

#[test]
fn r95_hosts_of_an_installation_stand_in_one_place() {
    let links = there().links;
    let host = |link: &str| link.split('/').nth(2).map(str::to_owned).expect("a link with a host");
    let hosts = [host(&links.runbook), host(&links.dashboard)];
    let domain = hosts[0].split_once('.').map(|(_, domain)| domain.to_owned()).expect("a host below a domain");
    let made: Vec<String> = made(&workspace_root()).expect("the sources").into_iter().map(|(path, _)| path).collect();
    let shipped = ["deploy/", "scripts/", "libs/", "services/", "docs/", "README.md"];
    for file in read_tree(&workspace_root()).expect("the tree can be read") {
        let ours = shipped.iter().any(|place| file.path.starts_with(place));
        if ours && file.path != super::ALERTS && !made.contains(&file.path) {
            let named = hosts.iter().any(|host| file.text.contains(host)) || file.text.contains(&format!(".{domain}"));
            assert!(!named, "{} names a host of {domain}: hosts are a setting", file.path);
        }
    }
    assert!(links.dashboard.ends_with("/d/hive-mind"), "the uid of the dashboard is what the runbook types");
}

#[test]
fn r71_what_is_made_of_the_alerts_is_up_to_date() {
    let root = workspace_root();
    for (path, text) in made(&root).expect("the sources can be read") {
        let there = fs::read_to_string(root.join(&path)).unwrap_or_default();
        assert!(there == text, "{path} is out of date; run `cargo xtask alerts`");
    }
}

#[test]
fn r71_r90_every_alert_has_its_priority_its_cases_its_value_and_its_entry_in_the_runbook() {
    let source = there();
    assert!(source.links.runbook.ends_with("runbook.md"), "the link leads to the page");
    let mut found = incomplete(&source.alert);
    let runbook = runbook();
    found.extend(faults(&source.alert, &runbook));
    let links = rules::rules(&source);
    let links: Vec<_> = links.split("runbook_url: \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(links.len(), source.alert.len(), "each has one");
    let headings = headings(&runbook);
    for link in links {
        let anchor = link.strip_prefix(&format!("{}#", source.links.runbook));
        if !anchor.is_some_and(|anchor| headings.contains(anchor)) {
            found.push(format!("{link} leads nowhere"));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn r71_an_alert_without_its_entry_or_its_cases_is_found() {
    let mut alerts = there().alert;
    let text = runbook();
    let without = text.replacen("### HiveMindNoLeader\n", "### Elsewhere\n", 1);
    assert_eq!(faults(&alerts, &without).len(), 2, "an alert without an entry, and an entry without an alert");
    assert_eq!(faults(&alerts, &text.replacen("### HiveMindNoLeader\nP1", "### HiveMindNoLeader\nP2", 1)).len(), 1);
    alerts[0].case.retain(|case| !case.fires.is_empty());
    alerts[1].summary = "down".to_owned();
    assert_eq!(incomplete(&alerts).len(), 2);
}

#[test]
fn r71_links_within_the_runbook_lead_somewhere() {
    let text = runbook();
    let headings = headings(&text);
    let links: Vec<_> = text.split("](#").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(links.len() > 20, "the links must be found");
    for link in links {
        assert!(headings.contains(link), "#{link} leads nowhere");
    }
}

/// Anchors of the headings of a page, as the viewers of Markdown make them.
fn headings(page: &str) -> BTreeSet<String> {
    let anchor = |line: &str| line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    page.lines().filter(|line| line.starts_with('#')).map(anchor).collect()
}

#[test]
fn r71_r73_every_metric_that_is_asked_for_is_emitted() {
    let root = workspace_root();
    let emitted = Emitted::find(&read_tree(&root).expect("the tree can be read"));
    assert!(emitted.len() > 60, "the search must find the metrics, it found {}", emitted.len());
    let source = there();
    let dashboards = dashboard::read(&root).expect("the sources of the dashboards");
    let alerts = source.alert.iter().map(|alert| (alert.name.as_str(), alert.expr.as_str()));
    let records = source.record.iter().map(|record| (record.name.as_str(), record.expr.as_str()));
    let panels = dashboards.iter().flat_map(|(name, one)| one.expressions().map(|expr| (name.as_str(), expr)));
    let found = unknown(&emitted, &source, alerts.chain(records).chain(panels));
    assert!(found.is_empty(), "nothing emits\n{}", found.join("\n"));
}

#[test]
fn r71_names_are_found_in_expressions_and_in_sources() {
    let of = |expr| names(expr).into_iter().collect::<Vec<_>>();
    assert_eq!(of("sum by (job, le) (rate(a_b{c=~\"x}|d\"}[5m])) / 1e6 > 0.5 * 14.4"), ["a_b"]);
    assert_eq!(of("a unless on (job) b offset 1h or vector(0) and c:d:e == bool 1"), ["a", "b", "c:d:e"]);
    assert_eq!(of("max by (job) (a) - on (job) group_right b"), ["a", "b"]);
    let text = "counter!(\n    \"one_total\", \"a\" => b); describe_histogram!(\"two_seconds\"); gauge(\"three_x\", \"help\"); \
                (\"four_bytes\", \"gauge\", 1); gauge(other)";
    let emitted = Emitted::find(&[
        SourceFile::planted("libs/a/src/metrics.rs", text),
        SourceFile::planted("xtask/src/a.rs", "counter!(\"five_total\")"),
    ]);
    let series = ["one_total", "two_seconds_bucket", "two_seconds_count", "three_x", "four_bytes"];
    assert!(series.iter().all(|series| emitted.has(series)), "{emitted:?}");
    assert!(["two_seconds", "one_total_bucket", "five_total", "other"].iter().all(|name| !emitted.has(name)));
}

#[test]
fn r70_r71_r72_every_alert_fires_and_stays_silent() {
    asked(&["promtool", "check", "rules", "deploy/prometheus/rules.yml"]);
    asked(&["promtool", "test", "rules", "deploy/prometheus/tests/rules.yml"]);
}

#[test]
fn r74_prometheus_and_alertmanager_take_their_configurations() {
    asked(&["promtool", "check", "config", "deploy/prometheus/prometheus.yml"]);
    asked(&["amtool", "check-config", "deploy/alertmanager/alertmanager.yml"]);
}

#[test]
fn r74_what_is_scraped_has_the_job_that_the_rules_ask_for() {
    let exprs: Vec<_> = there().alert.into_iter().map(|alert| alert.expr).collect();
    let jobs: BTreeSet<_> =
        exprs.iter().flat_map(|expr| expr.split("job=\"").skip(1)).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(jobs, BTreeSet::from(["hive-mind"]));
    for (path, given) in [
        ("deploy/prometheus/prometheus.yml", "job_name: hive-mind\n"),
        // An operator's job is the Service's name otherwise.
        (
            "deploy/kubernetes/components/monitoring/service-monitor.yaml",
            "{targetLabel: job, replacement: hive-mind}\n",
        ),
    ] {
        let text = fs::read_to_string(workspace_root().join(path)).expect(path);
        assert!(text.contains(given), "{path}: without {given:?} no alert about the processes means anything");
    }
}

#[test]
fn r74_r89_every_alert_reaches_those_it_concerns() {
    for alert in there().alert {
        let on_call = match alert.priority {
            _ if alert.name == "Watchdog" => "dead-man",
            Priority::P1 => "on-call-page",
            Priority::P2 => "on-call",
            Priority::P3 => "tickets",
            Priority::P4 => "backlog",
        };
        let all: Vec<_> = alert.tell.map(super::Told::name).into_iter().chain([on_call]).collect();
        let expected = format!("--verify.receivers={}", all.join(","));
        let configuration = "--config.file=deploy/alertmanager/alertmanager.yml";
        let mut words = vec!["amtool", "config", "routes", "test", configuration, &expected];
        let name = format!("alertname={}", alert.name);
        let labels: Vec<_> = rules::labels(&alert).map(|(label, value)| format!("{label}={value}")).collect();
        words.push(&name);
        words.extend(labels.iter().map(String::as_str));
        asked(&words);
    }
}

#[test]
fn r73_the_dashboards_are_what_grafana_reads_and_all_of_them_can_be_asked() {
    // What Grafana fills in is filled in; promtool takes expressions in rules only.
    let mut text = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    let mut uids = BTreeSet::new();
    for (name, source) in dashboard::read(&workspace_root()).expect("the sources of the dashboards") {
        let made: serde_json::Value = serde_json::from_str(&source.render().expect("a dashboard")).expect("JSON");
        assert_eq!(made["uid"], source.uid);
        let panels = made["panels"].as_array().expect("panels");
        let mut places = BTreeSet::new();
        for panel in panels {
            let place = &panel["gridPos"];
            let place = ["x", "y"].map(|axis| place[axis].as_u64().expect("a place"));
            assert!(places.insert(place), "{name}: two panels at {place:?}");
        }
        for expr in source.expressions() {
            let filled = expr.replace("$__rate_interval", "1m").replace("$job", ".*").replace("$instance", ".*");
            let number = text.len();
            text.push_str(&format!("      - record: panel:{number}\n        expr: {}\n", rules::quoted(&filled)));
        }
        assert!(uids.insert(source.uid.clone()), "two dashboards are {}", source.uid);
    }
    check_rules(&text);
    let wanted = ["", "-admin-api", "-consensus-coordinator", "-order-engine", "-persistence-gateway"];
    assert_eq!(uids, wanted.map(|role| format!("hive-mind{role}")).into(), "one for all, and one a role");
}

/// Asks promtool about rules that are not kept.
fn check_rules(text: &str) {
    let path = std::env::temp_dir().join(format!("hive-mind-dashboard-{}.yml", std::process::id()));
    fs::write(&path, text).expect("a temporary file");
    let said = std::panic::catch_unwind(|| asked(&["promtool", "check", "rules", &path.to_string_lossy()]));
    fs::remove_file(&path).expect("it was there");
    assert!(said.is_ok(), "an expression of a dashboard cannot be read");
}
