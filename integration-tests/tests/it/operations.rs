//! What goes out and what is kept: notifications with receivers that fail, the report of an incident, and the copy of
//! the audit log in PostgreSQL.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use integration_tests::node::Node;
use integration_tests::record::{settle, wait_projected};
use integration_tests::requests::Requests;
use integration_tests::{LIMIT, LOOK_AGAIN, until};
use journal_store::testing::PostgresServer;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use wire::pb::history::v1::ListOrdersRequest;
use wire::pb::history::v1::history_service_client::HistoryServiceClient;

use super::audit::actions;

/// What a receiver got: path, idempotency key, body.
type Got = (String, String, String);

/// A receiver of webhooks that refuses the first `failures` and takes the rest.
async fn receiver(failures: usize) -> Result<(String, mpsc::Receiver<Got>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let (tell, told) = mpsc::channel(100);
    tokio::spawn(async move {
        for number in 0_usize.. {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let mut text = String::new();
            let mut bytes = [0; 4096];
            let (head, length) = loop {
                let read = stream.read(&mut bytes).await.unwrap_or(0);
                text.push_str(&String::from_utf8_lossy(&bytes[..read]));
                let whole = text.split_once("\r\n\r\n").map(|(head, body)| (head.to_lowercase(), body.len()));
                let field = |head: &str, name: &str| {
                    head.lines().find_map(|line| line.strip_prefix(name).map(|value| value.trim().to_owned()))
                };
                if let Some((head, length)) = whole {
                    let wanted = field(&head, "content-length:").and_then(|n| n.parse().ok()).unwrap_or(0);
                    if length >= wanted {
                        break (head, wanted);
                    }
                }
                if read == 0 {
                    return;
                }
            };
            let status = if number < failures { "503 Service Unavailable" } else { "200 OK" };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.ok();
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let key = head.lines().find_map(|line| line.strip_prefix("idempotency-key: ")).unwrap_or_default();
            let body = text[text.len() - length..].to_owned();
            if tell.send((path, key.to_owned(), body)).await.is_err() {
                return;
            }
        }
    });
    Ok((address, told))
}

async fn got(told: &mut mpsc::Receiver<Got>) -> Result<Got> {
    tokio::time::timeout(LIMIT, told.recv()).await.context("nothing was received")?.context("the receiver ended")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r87_r88_receivers_get_the_bodies_of_the_runbook_in_order_and_once() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (address, mut told) = receiver(1).await?;
    let configuration = format!(
        "{}[notifications]\nsecurity_webhook = \"{address}/security?token=canary\"\n\
         status_page_webhook = \"{address}/status\"\nnotification_webhook = \"{address}/notify\"\n",
        crate::PLAIN
    );
    let node = Node::start(directory.path(), "all", &configuration).await?;
    node.admin(&["notify", "security", "--reason", "a drill", "--actor", "ann"])?.with(0)?;
    let security = r#"{"incident":"security_breach","severity":"P1","system":"hive-mind-rust"}"#;
    let first = got(&mut told).await?;
    assert_eq!((first.0.as_str(), first.2.as_str()), ("/security?token=canary", security));
    // It was refused: the same again, under the same key.
    assert_eq!(got(&mut told).await?, first);
    // Once more within the time is no news.
    let again = node.admin(&["notify", "security"])?.with(0)?;
    assert!(again.out.contains("no change"), "{}", again.out);
    node.admin(&["notify", "resolved", "--dry-run"])?.with(0)?;
    node.admin(&["notify", "resolved"])?.with(0)?;
    let (status, message) = (got(&mut told).await?, got(&mut told).await?);
    let page = r#"{"status":"operational","message":"System restored"}"#;
    assert_eq!((status.0.as_str(), status.2.as_str()), ("/status", page));
    let text = r#"{"message":"Hive Mind incident resolved"}"#;
    assert_eq!((message.0.as_str(), message.2.as_str()), ("/notify", text));
    assert!(told.try_recv().is_err(), "each once");
    let listed = node.json(&["notify", "list"])?;
    assert_eq!(listed["notifications"].as_array().map(Vec::len), Some(3), "{listed}");
    let sent = node.json(&["audit", "search", "--action", "notification.send"])?;
    assert_eq!(actions(&sent).len(), 3, "a duplicate and a dry run are no acts: {sent}");
    assert_eq!(sent["records"][2]["actor"], "ann", "{sent}");
    // The addresses are secrets.
    assert!(!format!("{}{listed}{sent}", node.log()).contains("canary"));
    Ok(())
}

/// A node with this below `[audit]` and `[notifications]`, and waits until it is in force.
async fn configured(node: &Node, audit: &str, notifications: &str) -> Result<()> {
    let before = node.get("/admin/config").await?["instances"][0]["config"]["generation"].clone();
    node.reload(&format!("{}[audit]\n{audit}\n[notifications]\n{notifications}\n", crate::PLAIN))?;
    until("the configuration is loaded", async || {
        let config = node.get("/admin/config").await?["instances"][0]["config"].take();
        ensure!(config["last_error"].is_null() && config["needs_restart"] == Value::Array(vec![]), "{config}");
        Ok(config["generation"] != before)
    })
    .await
}

/// What is recorded and who is told follows the file of a running node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r61_r62_r67_r87_audit_and_webhooks_follow_the_configuration() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let node = Node::start(directory.path(), "all", crate::PLAIN).await?;
    let acts = |action: &str, result: &str| -> Result<usize> {
        Ok(actions(&node.json(&["audit", "search", "--action", action, "--result", result])?).len())
    };
    // There is nobody else who could lead.
    let refused = || -> Result<usize> {
        node.admin(&["consensus", "force-election", "--shard", "0"])?.with(5)?;
        acts("consensus.force_election", "refused")
    };
    assert_eq!(refused()?, 0);
    configured(&node, "audit_level = \"verbose\"", "").await?;
    until("refusals are recorded", async || Ok(refused()? > 0)).await?;
    configured(&node, "enable_audit_logging = false", "").await?;
    until("the log says that it ends", async || Ok(acts("audit.configured", "ok")? == 2)).await?;
    node.json(&["consensus", "pause"])?;
    configured(&node, "enable_audit_logging = true", "").await?;
    until("the log goes on", async || Ok(acts("audit.configured", "ok")? == 3)).await?;
    node.json(&["consensus", "resume"])?;
    let found = node.json(&["audit", "search", "--action", "consensus."])?;
    assert_eq!(actions(&found).first(), Some(&"consensus.resume"), "{found}");
    assert!(!actions(&found).contains(&"consensus.pause"), "the log was off: {found}");
    let switched = node.json(&["audit", "search", "--action", "audit.configured"])?;
    let words: Vec<_> = switched["records"].as_array().context("records")?.iter().map(|one| &one["after"]).collect();
    assert_eq!(words, ["standard", "off", "verbose"], "{switched}");
    let checked = node.json(&["audit", "verify"])?;
    assert_eq!(checked["intact"], true, "{checked}");

    // Nobody is told, then one receiver, then another one, then nobody.
    node.admin(&["notify", "message", "before"])?.with(5)?;
    let (one, mut told_one) = receiver(0).await?;
    configured(&node, "", &format!("notification_webhook = \"{one}/a\"")).await?;
    node.admin(&["notify", "message", "first"])?.with(0)?;
    let (path, _, body) = got(&mut told_one).await?;
    assert_eq!((path.as_str(), body.as_str()), ("/a", r#"{"message":"first"}"#));
    let (other, mut told_other) = receiver(0).await?;
    configured(&node, "", &format!("notification_webhook = \"{other}/b\"")).await?;
    node.admin(&["notify", "message", "second"])?.with(0)?;
    let (path, _, body) = got(&mut told_other).await?;
    assert_eq!((path.as_str(), body.as_str()), ("/b", r#"{"message":"second"}"#));
    assert!(told_one.try_recv().is_err(), "the former one is told no more");
    configured(&node, "", "").await?;
    node.admin(&["notify", "message", "third"])?.with(5)?;
    assert!(node.terminate().await?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r87_a_notification_outlives_the_process_that_took_it() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let gone = TcpListener::bind("127.0.0.1:0").await?;
    let nobody = gone.local_addr()?;
    drop(gone);
    let configuration = |url: &str| format!("{}[notifications]\nsecurity_webhook = \"{url}/security\"\n", crate::PLAIN);
    let node = Node::start(directory.path(), "all", &configuration(&format!("http://{nobody}"))).await?;
    node.admin(&["notify", "security", "--severity", "P2"])?.with(0)?;
    // Nobody is configured for these, and a severity is one of four.
    node.admin(&["notify", "message", "hello"])?.with(5)?;
    node.admin(&["notify", "security", "--severity", "P9"])?.with(5)?;
    let (address, mut told) = receiver(0).await?;
    let node = node.kill_and_start("all", &configuration(&address)).await?;
    let (path, _, body) = got(&mut told).await?;
    assert_eq!((path.as_str(), body.contains("\"P2\"")), ("/security", true), "{body}");
    drop(node);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r92_a_report_tells_the_timeline_and_what_is_missing() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut server = tokio::task::block_in_place(PostgresServer::start);
    let configuration = format!(
        "{}[persistence_gateway]\nhistory.database = \"postgres\"\ndatabase.url = \"{}\"\n\
         database.connection_timeout = \"2s\"\n",
        crate::PLAIN,
        server.database()
    );
    let node = Node::start(directory.path(), "all", &configuration).await?;
    let mut requests = Requests::new(7, 1, "report");
    let mut last = 0;
    for _ in 0..20 {
        let one = settle(requests.next().context("endless")?, || node.channel()).await?;
        requests.learn(&one.report);
        last = one.report.place.as_ref().map_or(last, |place| place.seq);
    }
    wait_projected(&node.channel(), last).await?;
    tokio::task::block_in_place(|| server.kill());
    for _ in 0..5 {
        let one = settle(requests.next().context("endless")?, || node.channel()).await?;
        requests.learn(&one.report);
    }
    let failed = |found: &Value| actions(found).contains(&"health.changed");
    wait_for(&node, &["audit", "search", "--action", "health.changed"], failed).await?;
    node.admin(&["consensus", "pause", "--actor", "ann", "--reason", "while the database is away"])?.with(0)?;
    tokio::task::block_in_place(|| server.launch());
    let well = |found: &Value| {
        let records = found["records"].as_array().map(Vec::as_slice).unwrap_or_default();
        records.first().is_some_and(|record| record["after"]["condition"] == "ok")
    };
    wait_for(&node, &["audit", "search", "--action", "health.changed"], well).await?;
    let report = node.json(&["incident", "report", "--from", "10m"])?;
    for stamp in ["started", "responded", "resolved", "impact_s"] {
        assert!(!report[stamp].is_null(), "{stamp} is missing in {report}");
    }
    assert!(report["detected"].is_null(), "nobody watches: {report}");
    let missing = report["missing"].to_string();
    assert!(missing.contains("alerts: admin_api.prometheus_url is not set"), "{missing}");
    assert!(missing.contains("detection: no alert is known"), "{missing}");
    let events = report["events"].to_string();
    for word in ["leadership.acquired", "consensus.pause", "while the database is away", "health.changed"] {
        assert!(events.contains(word), "{word} is not in {events}");
    }
    assert!(report["orders"]["submitted"].as_u64().is_some_and(|orders| orders > 0), "{report}");
    let text = node.admin(&["incident", "report", "--from", "10m"])?.with(0)?.out;
    for word in ["# Incident report", "## Timeline", "| Detection | **missing** |", "## Impact", "## Missing"] {
        assert!(text.contains(word), "{word} is not in {text}");
    }
    Ok(())
}

/// Asks until the answer is as wanted.
async fn wait_for(node: &Node, arguments: &[&str], good: impl Fn(&Value) -> bool) -> Result<()> {
    until(&format!("{arguments:?} is as wanted"), async || Ok(good(&node.json(arguments)?))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r61_the_copy_in_postgres_is_exact_and_catches_up() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut server = tokio::task::block_in_place(PostgresServer::start);
    let url = server.database();
    let configuration = format!(
        "{}[audit]\naudit_level = \"verbose\"\n[persistence_gateway]\nhistory.database = \"postgres\"\n\
         database.url = \"{url}\"\ndatabase.connection_timeout = \"2s\"\n",
        crate::PLAIN
    );
    let node = Node::start(directory.path(), "all", &configuration).await?;
    copied(&server, &url, &node).await?;
    tokio::task::block_in_place(|| server.kill());
    // What is done while the database is away is in the file at once, and in the copy when it is back.
    node.admin(&["consensus", "restart", "--actor", "ann", "--request-id", "while-away"])?.with(0)?;
    let node = node.kill_and_start("all", &configuration).await?;
    tokio::task::block_in_place(|| server.launch());
    let mut requests = Requests::new(7, 1, "copy");
    for _ in 0..10 {
        let one = settle(requests.next().context("endless")?, || node.channel()).await?;
        requests.learn(&one.report);
    }
    wait_for(&node, &["audit", "search", "--action", "order."], |found| !actions(found).is_empty()).await?;
    copied(&server, &url, &node).await?;
    let sql = |statement: &str| tokio::task::block_in_place(|| server.sql(&url, statement)).trim().to_owned();
    assert_eq!(sql("SELECT count(*) FROM audit WHERE line LIKE '%while-away%'"), "1");
    assert_ne!(sql("SELECT count(*) FROM audit WHERE action LIKE 'order.%'"), "0");
    Ok(())
}

/// Waits until the copy holds exactly what the files hold.
async fn copied(server: &PostgresServer, url: &str, node: &Node) -> Result<()> {
    let begun = std::time::Instant::now();
    loop {
        let files = lines(&node.data().join("audit"))?;
        let sql = "SELECT count(*) || ' ' || count(DISTINCT seq) || ' ' || coalesce(max(seq), 0) || ' ' || \
                   coalesce(string_agg(hash, ' ' ORDER BY seq), '') FROM audit";
        let exists = "SELECT count(*) FROM pg_tables WHERE tablename = 'audit'";
        let found = tokio::task::block_in_place(|| match server.sql(url, exists).trim() {
            "1" => server.sql(url, sql).trim().to_owned(),
            _ => String::new(),
        });
        let hashes: Vec<&str> = files.iter().map(|(_, hash)| hash.as_str()).collect();
        let number = files.len();
        if found == format!("{number} {number} {number} {}", hashes.join(" ")) {
            return Ok(());
        }
        ensure!(begun.elapsed() < LIMIT, "the copy is {found}\nthe files are {files:?}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn lines(directory: &Path) -> Result<Vec<(u64, String)>> {
    let mut found = Vec::new();
    for file in std::fs::read_dir(directory)? {
        for line in std::fs::read_to_string(file?.path())?.lines() {
            let record: Value = serde_json::from_str(line)?;
            let hash = record["hash"].as_str().context("a hash")?.to_owned();
            found.push((record["seq"].as_u64().context("a number")?, hash));
        }
    }
    found.sort();
    Ok(found)
}

/// Lines of a log that a runbook's `grep -i` finds.
fn family<'a>(log: &'a [Value], words: &[&str]) -> Vec<&'a Value> {
    let found = |line: &&Value| {
        let text = line.to_string().to_lowercase();
        words.iter().any(|word| text.contains(word))
    };
    log.iter().filter(found).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r76_r78_each_cause_is_a_json_line_and_no_flood() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut server = tokio::task::block_in_place(PostgresServer::start);
    let configuration = format!(
        "{}[persistence_gateway]\nhistory.database = \"postgres\"\ndatabase.url = \"{}\"\n\
         database.connection_timeout = \"1s\"\n",
        crate::PLAIN,
        server.database()
    );
    let node = Node::start(directory.path(), "all", &configuration).await?;
    let mut requests = Requests::new(7, 1, "families");
    let first = settle(requests.next().context("endless")?, || node.channel()).await?;
    wait_projected(&node.channel(), first.report.place.as_ref().map_or(1, |place| place.seq)).await?;
    let before = node.log().lines().count();
    tokio::task::block_in_place(|| server.kill());
    settle(requests.next().context("endless")?, || node.channel()).await?;
    let mut history = HistoryServiceClient::new(node.channel());
    let filter = ListOrdersRequest { account_id: 1, client_order_id: "canary-value".to_owned(), ..Default::default() };
    for number in 1..=3 {
        let mut request = tonic::Request::new(filter.clone());
        request.metadata_mut().insert("x-request-id", format!("family-{number}").parse()?);
        assert_eq!(history.list_orders(request).await.unwrap_err().code(), tonic::Code::Unavailable);
    }
    let begun = std::time::Instant::now();
    while !node.log().contains("trying again") {
        ensure!(begun.elapsed() < LIMIT, "nothing says that the database is away:\n{}", node.log_end());
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let mut log = Vec::new();
    for line in node.log().lines() {
        log.push(serde_json::from_str::<Value>(line).with_context(|| format!("not JSON: {line}"))?);
    }
    // Whoever greps for the database finds out that it is away: what went wrong since says so.
    let ours = |line: &&Value| !line["target"].as_str().is_some_and(|target| target.starts_with("deadpool"));
    let wrong: Vec<&Value> = log[before..].iter().filter(|line| line["level"] != "INFO").filter(ours).collect();
    let named = |line: &&&Value| !family(std::slice::from_ref(**line), &["database", "sql", "query"]).is_empty();
    assert!(
        wrong.iter().any(|line| line["message"].as_str().is_some_and(|text| text.contains("database"))),
        "{wrong:?}"
    );
    assert_eq!(wrong.iter().find(|line| !named(line)), None, "a line about the outage that no grep for it finds");
    // Retries are paced: the fourth comes after seven seconds.
    let retries = family(&log, &["trying again"]).len();
    assert!(retries <= 6, "{retries} lines about one outage");
    let consensus = family(&log, &["consensus", "raft", "election", "leader"]);
    let won = consensus.iter().filter(|line| line["message"] == "consensus: election won, new leader").count();
    assert_eq!(won, 1, "{consensus:?}");
    // Heartbeats come several times a second, and are no lines.
    assert!(consensus.len() < 20, "{consensus:?}");
    assert!(!node.log().contains("canary-value"), "a value of a statement is in the log");
    Ok(())
}
