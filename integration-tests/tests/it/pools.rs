//! Connection pools of a running node, as operators see them and change them: rows 43, 52 and 53.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use integration_tests::node::Node;
use integration_tests::record::{check_history, check_places, work};
use integration_tests::requests::Requests;
use integration_tests::tool::Said;
use integration_tests::{LIMIT, LOOK_AGAIN, until};
use journal_store::testing::PostgresServer;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use wire::pb::history::v1::ListOrdersRequest;
use wire::pb::history::v1::history_service_client::HistoryServiceClient;

/// Questions asked at one time to have connections opened.
const CROWD: usize = 30;

/// Sessions of ours.
const OURS: &str = "application_name IN ('hive-mind', 'hivemind-journal')";

/// A node with journal and history in a server.
fn configuration(url: &str) -> String {
    format!(
        "[persistence_gateway]\njournal.backend = \"postgres\"\nhistory.database = \"postgres\"\n\
         database.url = \"{url}\"\ndatabase.max_connections = 40\n"
    )
}

pub(crate) struct Running {
    pub(crate) node: Node,
    pub(crate) server: PostgresServer,
    pub(crate) url: String,
}

impl Running {
    pub(crate) async fn start(directory: &Path) -> Result<Self> {
        Self::start_with(directory, configuration).await
    }

    /// With another configuration, given the URL of the database.
    pub(crate) async fn start_with(directory: &Path, configuration: impl Fn(&str) -> String) -> Result<Self> {
        let server = tokio::task::block_in_place(PostgresServer::start);
        let url = server.database();
        let node = Node::start(directory, "all", &configuration(&url)).await?;
        node.history_ready().await?;
        Ok(Self { node, server, url })
    }

    /// What `admin database` says to this.
    pub(crate) fn database(&self, arguments: &[&str]) -> Result<Said> {
        self.node.admin(&[&["database"][..], arguments].concat())
    }

    /// The same as a document.
    pub(crate) fn json(&self, arguments: &[&str]) -> Result<Value> {
        self.node.json(&[&["database"][..], arguments].concat())
    }

    /// Process ids of our sessions on the server.
    pub(crate) fn sessions(&self) -> BTreeSet<i32> {
        let sql = format!("SELECT pid FROM pg_stat_activity WHERE {OURS} AND datname = current_database()");
        self.server.sql(&self.url, &sql).lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Asks many questions at one time, until at least `wanted` connections are open for them.
    pub(crate) async fn crowd(&self, wanted: u64) -> Result<()> {
        let begin = Instant::now();
        loop {
            let mut questions = JoinSet::new();
            for _ in 0..CROWD {
                let mut client = HistoryServiceClient::new(self.node.channel());
                questions.spawn(async move { client.list_orders(ListOrdersRequest::default()).await });
            }
            while let Some(answer) = questions.join_next().await {
                answer??;
            }
            if self.pool("history-read")?["size"].as_u64() >= Some(wanted) {
                return Ok(());
            }
            ensure!(begin.elapsed() < LIMIT, "never {wanted} connections at one time");
        }
    }

    pub(crate) fn pool(&self, name: &str) -> Result<Value> {
        let status = self.json(&["pool-status"])?;
        let pools = status["pools"].as_array().into_iter().flatten();
        let mut pools = pools;
        pools.find(|pool| pool["name"] == name).cloned().ok_or_else(|| anyhow::anyhow!("no pool {name}: {status}"))
    }
}

/// What is shown is what the server sees, and what Prometheus is told. Writers that open a session between the two looks
/// are looked at again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r43_r71_pools_are_as_the_server_sees_them() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let running = Running::start(directory.path()).await?;
    running.crowd(3).await?;
    until("the total is the number of sessions on the server", async || {
        let view = running.node.get("/admin/database/pool-status").await?;
        Ok(view["total"]["size"] == running.sessions().len())
    })
    .await?;
    // Nobody asks now, and questions leave their connections open.
    let pool = running.pool("history-read")?;
    for (name, field) in [("connections_max", "max"), ("connections_open", "size"), ("connections_idle", "size")] {
        let wanted = pool[field].as_f64().context("a number")?;
        running.node.until_metric(&format!("database_pool_{name}{{pool=\"history-read\"}}"), wanted).await?;
    }
    for name in ["connections_in_use", "callers_waiting"] {
        running.node.until_metric(&format!("database_pool_{name}{{pool=\"history-read\"}}"), 0.0).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r52_optimizing_closes_what_nobody_needs_and_then_finds_nothing() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let running = Running::start(directory.path()).await?;
    running.crowd(5).await?;
    let before = running.sessions().len();

    let planned = running.json(&["optimize-connections", "--dry-run"])?;
    assert_eq!(planned["changed"], true, "{planned}");
    assert_eq!(running.sessions().len(), before, "a dry run changes nothing");

    let done = running.json(&["optimize-connections", "--reason", "drill"])?;
    let of = |view: &Value, name: &str| {
        view["pools"].as_array().and_then(|all| all.iter().find(|pool| pool["before"]["name"] == name)).cloned()
    };
    let read = of(&done, "history-read").unwrap_or_default();
    assert!(read["closed_idle"].as_u64() >= Some(3), "{done}");
    assert_eq!(read["server"]["max_connections"], 200, "as the test server is started: {done}");
    assert_eq!(read["server"]["instances"], 1, "{done}");
    until("three sessions at least are gone", async || Ok(running.sessions().len() + 3 <= before)).await?;
    let again = running.database(&["optimize-connections"])?;
    assert_eq!(again.code, 0, "{}", again.err);
    assert!(again.out.contains("no change"), "{}", again.out);

    // A session that sits in a transaction is told, and left alone.
    let sleeper = running.server.hold_a_transaction(&running.url, "SELECT 1");
    let begin = Instant::now();
    loop {
        let seen = running.json(&["optimize-connections"])?;
        if let Some(session) = seen["idle_in_transaction"].as_array().and_then(|all| all.first()) {
            assert_eq!(session["application"], "sleeper", "{seen}");
            assert!(session["idle_ms"].as_u64() >= Some(5_000), "{seen}");
            break;
        }
        ensure!(begin.elapsed() < LIMIT, "the open transaction was never told: {seen}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    drop(sleeper);
    assert!(running.node.terminate().await?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r53_resetting_replaces_every_session_and_fails_no_request() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let running = Running::start(directory.path()).await?;
    running.crowd(3).await?;
    let (_channel, channels) = watch::channel(running.node.channel());
    let (stop, stopped) = watch::channel(false);
    let mut workers = JoinSet::new();
    for account in 1..=4 {
        workers.spawn(work(Requests::new(53, account, "reset"), channels.clone(), stopped.clone()));
    }
    let mut readers = JoinSet::new();
    for _ in 0..2 {
        let (channel, stopped) = (running.node.channel(), stopped.clone());
        readers.spawn(async move {
            let (mut asked, mut client) = (0_u64, HistoryServiceClient::new(channel));
            while !*stopped.borrow() {
                client.list_orders(ListOrdersRequest { page_size: 100, ..Default::default() }).await?;
                asked += 1;
            }
            Ok::<u64, tonic::Status>(asked)
        });
    }
    for round in 0..3 {
        let before = running.sessions();
        let done = running.json(&["reset-pools", "--reason", "drill", "--request-id", &format!("round-{round}")])?;
        assert!(done["closed"].as_u64() >= Some(4), "{done}");
        // A session that was closed is seen for as long as its process takes to end.
        until("every session is a new one", async || Ok(running.sessions().is_disjoint(&before))).await?;
        let again = running.json(&["reset-pools", "--request-id", &format!("round-{round}")])?;
        assert_eq!(again, done, "the same order again is not carried out again");
    }
    stop.send(true)?;
    let mut answered = Vec::new();
    while let Some(worker) = workers.join_next().await {
        answered.extend(worker??);
    }
    while let Some(reader) = readers.join_next().await {
        assert!(reader?? > 0, "a reader that asked nothing proves nothing");
    }
    assert_eq!(answered.iter().filter(|one| one.in_doubt).count(), 0, "no order was in doubt");
    check_places(&answered)?;
    check_history(&answered, &running.node.channel()).await?;

    let log = running.node.log();
    let audited = |line: &&str| line.contains("\"audit\"") && line.contains("database.reset_pools");
    assert_eq!(log.lines().filter(audited).count(), 3, "each order that was carried out, once");

    let unknown = running.database(&["reset-pools", "--instance", "nobody"])?;
    assert_eq!(unknown.code, 5, "{}{}", unknown.out, unknown.err);
    assert!(unknown.err.contains("there is no \"nobody\""), "{}", unknown.err);
    assert!(running.node.terminate().await?.success());
    Ok(())
}

/// Row 53 where there is no server: it says so, and is no failure.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r53_sqlite_says_that_it_has_no_sessions() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let node = Node::start(directory.path(), "all", crate::PLAIN).await?;
    for command in ["reset-pools", "optimize-connections"] {
        let said = node.admin(&["database", command])?.with(0)?;
        assert!(said.out.contains("no server sessions"), "{}", said.out);
    }
    assert!(node.terminate().await?.success());
    Ok(())
}
