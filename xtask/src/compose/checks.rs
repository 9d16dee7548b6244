//! What a running cluster has to show: orders that are taken, durable, in history and in both databases; processes that are
//! watched; an incident that reaches somebody, with the page that says what to do.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cluster::{Cluster, output};
use super::{look_again, seconds};
use crate::testing::command;

/// An administrator's key, which everybody knows: deploy/compose/keys.
const KEY: &str = "hm_development_8d475368beaf91a42b891cdc72ec7f4ed35448f3ccef76e81e2f50670c38478b";

/// The server inside the images.
const SERVER: &str = "/app/bin/hive-mind-server";

/// Requests a second and seconds: little, since every process of the cluster shares this machine.
const LOAD: [&str; 4] = ["--rate", "200", "--duration", "5"];

/// History follows the journal within a second, the replica the database; both share a machine with everything else.
pub(super) const FOUND_WITHIN: Duration = Duration::from_secs(60);

/// Prometheus asks every 5 s and finds engines by their names within as many.
const SCRAPED_WITHIN: Duration = Duration::from_secs(60);

/// A lease ends after 5 s, the rule waits for 30 s, and each is looked at every 5 s.
const ALERTED_WITHIN: Duration = Duration::from_secs(180);

/// What the coordinator says when no engine is left.
const ALERT: &str = "HiveMindNoLeader";

/// Whom Alertmanager tells: deploy/alertmanager/alertmanager.yml.
const RECEIVER: &str = "/on-call-page";

/// What `hive-mind-server bench` reports.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Load {
    pub(super) orders: u64,
    pub(super) acknowledged: u64,
    unresolved: u64,
    lost: u64,
}

/// How an incident was told.
#[derive(Debug, Default, Serialize)]
pub(super) struct Incident {
    pub(super) alert: String,
    pub(super) receiver: String,
    runbook: String,
    /// From the death of the engines to the message.
    pub(super) after_s: f64,
}

/// Repeats a look until it finds something.
pub(super) fn until<T>(what: &str, within: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + within;
    loop {
        let seen = look();
        if let Ok(Some(found)) = seen {
            return Ok(found);
        }
        if Instant::now() > end {
            let last = seen.err().map(|error| format!(": {error:#}")).unwrap_or_default();
            bail!("{what}: not within {} s{last}", within.as_secs());
        }
        look_again();
    }
}

/// A call of one of our services from this machine.
fn call(cluster: &Cluster, port: &str, method: &str, request: &Value) -> Result<Value> {
    let address = format!("localhost:{}", cluster.port(port)?);
    let key = format!("authorization: Bearer {KEY}");
    let request = request.to_string();
    let words = ["grpcurl", "-plaintext", "-max-time", "10", "-H", &key, "-d", &request, &address, method];
    let answer = output(command(cluster.root(), &words).envs(cluster.environment()))?;
    serde_json::from_str(&answer).with_context(|| answer)
}

/// Enters an order by one service and finds it by another, which has it from a third.
pub(super) fn an_order_is_found(cluster: &Cluster, name: &str) -> Result<()> {
    let order = json!({"account_id": 7, "client_order_id": name, "symbol": "ETH-USD", "side": "SIDE_BUY",
        "order_type": "ORDER_TYPE_LIMIT", "price": "200000", "quantity": "1000000"});
    let submit = || call(cluster, "HIVE_PORT_ORDERS", "hivemind.orders.v1.OrderService/SubmitOrder", &order).map(Some);
    let answer = until("an order is taken", FOUND_WITHIN, submit)?;
    let number = &answer["report"]["orderId"];
    if !number.is_string() {
        bail!("the order was not taken: {answer}");
    }
    let wanted = json!({"account_id": 7, "client_order_id": name});
    until("the order is in the history", FOUND_WITHIN, || {
        let listed = call(cluster, "HIVE_PORT_HISTORY", "hivemind.history.v1.HistoryService/ListOrders", &wanted)?;
        Ok((listed["orders"][0]["order"]["orderId"] == *number).then_some(()))
    })
}

/// Puts a load on the engines; the program itself looks afterwards for everything that was acknowledged.
pub(super) fn load(cluster: &Cluster) -> Result<Load> {
    let words = [&[SERVER, "bench", "--target", "http://ingress:8080", "--output", "json"][..], &LOAD].concat();
    let said = cluster.exec("order-engine", &words)?;
    let load: Load = serde_json::from_str(&said).with_context(|| said)?;
    if load.lost + load.unresolved > 0 || load.acknowledged == 0 {
        bail!("of the load, requests are lost, in doubt, or none was acknowledged: {load:?}");
    }
    Ok(load)
}

/// Waits until the database has all orders of the history and the replica what the database has; how many they are.
pub(super) fn history(cluster: &Cluster) -> Result<u64> {
    let rows = |port: &str| -> Result<u64> {
        let url = format!("postgres://hive_mind:hive_mind@127.0.0.1:{}/hive_mind", cluster.port(port)?);
        let words = ["psql", &url, "--no-psqlrc", "--tuples-only", "--no-align", "-c", "SELECT count(*) FROM orders"];
        let said = output(command(cluster.root(), &words).env("PGCONNECT_TIMEOUT", "10"))?;
        said.trim().parse().with_context(|| said)
    };
    until("the history is complete", FOUND_WITHIN, || {
        let status =
            call(cluster, "HIVE_PORT_HISTORY", "hivemind.history.v1.HistoryService/GetHistoryStatus", &json!({}))?;
        // Of the shard that is furthest behind.
        let complete = status["projectedSeq"] == status["commitSeq"];
        let (primary, replica) = (rows("HIVE_PORT_POSTGRES")?, rows("HIVE_PORT_REPLICA")?);
        Ok((complete && primary > 0 && primary == replica).then_some(primary))
    })
}

/// The body of an answer over HTTP.
fn get(cluster: &Cluster, port: &str, path: &str) -> Result<Value> {
    let url = format!("http://127.0.0.1:{}{path}", cluster.port(port)?);
    let body = output(&mut command(
        cluster.root(),
        &["curl", "--silent", "--show-error", "--fail", "--max-time", "10", &url],
    ))?;
    serde_json::from_str(&body).with_context(|| body)
}

/// Waits until Prometheus has heard of every process, and from it; how many they are.
pub(super) fn targets(cluster: &Cluster) -> Result<usize> {
    let engines = cluster.containers("order-engine")?.len();
    // Of the other three services one each; Prometheus itself, Alertmanager and etcd.
    let wanted = engines + 3 + 3;
    until("Prometheus hears from every process", SCRAPED_WITHIN, || {
        let answer = get(cluster, "HIVE_PORT_PROMETHEUS", "/api/v1/targets?state=active")?;
        let targets = answer["data"]["activeTargets"].as_array().context("no targets")?;
        let down: Vec<_> = targets.iter().filter(|target| target["health"] != "up").collect();
        if !down.is_empty() || targets.len() != wanted {
            bail!("{} targets of {wanted}, not up: {}", targets.len(), json!(down));
        }
        Ok(Some(targets.len()))
    })
}

/// Ends every engine, waits until somebody has been told what to do about it, and starts them again.
pub(super) fn incident(cluster: &Cluster) -> Result<Incident> {
    let began = Instant::now();
    cluster.kill("order-engine")?;
    let (receiver, runbook) =
        until("the alert is received", ALERTED_WITHIN, || Ok(received(&cluster.logs("webhook")?)))?;
    let after_s = seconds(began);
    let page = fs::read_to_string(cluster.root().join("docs/runbook.md")).context("docs/runbook.md")?;
    let anchor = runbook.split_once("runbook.md#").map(|(_, anchor)| anchor).unwrap_or_default();
    let entry = page.lines().filter_map(|line| line.strip_prefix("### ")).find(|title| title.to_lowercase() == anchor);
    if entry.is_none() {
        bail!("the alert links to {runbook}, and the runbook has no such entry");
    }
    cluster.start("order-engine")?;
    cluster.wait_healthy(FOUND_WITHIN)?;
    Ok(Incident { alert: ALERT.to_owned(), receiver, runbook, after_s })
}

/// The path and the link of the page in what the receiver printed: a path and a document, a line each.
fn received(log: &str) -> Option<(String, String)> {
    let messages = log.lines().filter_map(|line| line.split_once(' ')).filter(|(path, _)| *path == RECEIVER);
    messages.filter_map(|(path, body)| Some((path, serde_json::from_str::<Value>(body).ok()?))).find_map(
        |(path, body)| {
            let alerts = body["alerts"].as_array()?.iter();
            let mut firing =
                alerts.filter(|alert| alert["status"] == "firing" && alert["labels"]["alertname"] == ALERT);
            let link = firing.next()?["annotations"]["runbook_url"].as_str()?;
            Some((path.to_owned(), link.to_owned()))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_found_among_other_messages() {
        let alert = |name: &str, status: &str| json!({"status": status, "labels": {"alertname": name}, "annotations": {"runbook_url": "https://here#it"}});
        let message = |path: &str, alert: Value| format!("{path} {}\n", json!({"alerts": [alert]}));
        let others = [
            "AH: a line of something else\n".to_owned(),
            message("/dead-man", alert("Watchdog", "firing")),
            message("/on-call-page", alert("HiveMindDown", "firing")),
            message("/on-call-page", alert(ALERT, "resolved")),
            message("/trading-desk", alert(ALERT, "firing")),
        ]
        .concat();
        assert_eq!(received(&others), None);
        let page = others + &message(RECEIVER, alert(ALERT, "firing"));
        assert_eq!(received(&page), Some((RECEIVER.to_owned(), "https://here#it".to_owned())));
    }
}
