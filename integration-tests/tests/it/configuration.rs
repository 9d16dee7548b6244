//! The configuration of running nodes: what is in force, what a reload applies, that a broken file changes nothing, and
//! the commands around it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};
use integration_tests::node::Node;
use integration_tests::{http, tool};
use serde_json::Value;
use tonic::Code;
use wire::pb::marketdata::v1::ListInstrumentsRequest;
use wire::pb::marketdata::v1::market_data_service_client::MarketDataServiceClient;
use wire::pb::orders::v1::order_service_client::OrderServiceClient;
use wire::pb::orders::v1::{OrderReport, OrderType, Side, SubmitOrderRequest};
use wire::status::{ApiError, ErrorCode};

/// What `GET /admin/config` says of a node that is alone.
async fn state(node: &Node) -> Result<Value> {
    Ok(node.get("/admin/config").await?["instances"][0]["config"].take())
}

async fn until(node: &Node, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
    let mut last = Value::Null;
    let look = async || {
        last = state(node).await?;
        Ok(holds(&last))
    };
    integration_tests::until(what, look).await.with_context(|| node.log_end())?;
    Ok(last)
}

fn value<'a>(state: &'a Value, key: &str) -> &'a Value {
    let values = state["values"].as_array().map(Vec::as_slice).unwrap_or_default();
    values.iter().find(|value| value["key"] == key).unwrap_or_else(|| panic!("{key} is not shown: {state:#}"))
}

/// A node whose file is mounted as an orchestrator does it: through a link to a directory that is replaced.
struct Mounted<'a>(&'a Path);

impl Mounted<'_> {
    fn put(&self, version: &str, text: &str) -> Result<()> {
        let directory = self.0.join(format!("..{version}"));
        fs::create_dir(&directory)?;
        fs::write(directory.join("production.toml"), text)?;
        let (new, data) = (self.0.join("..data_tmp"), self.0.join("..data"));
        symlink(&directory, &new)?;
        fs::rename(&new, &data)?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r67_a_changed_file_is_loaded_and_a_broken_one_changes_nothing() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let node = Node::start(directory.path(), "all", crate::PLAIN).await?;
    let first = state(&node).await?;
    assert_eq!((&first["generation"], &first["last_error"]), (&1.into(), &Value::Null), "{first:#}");
    let file = directory.path().join("production.toml");
    let level = value(&first, "log.level");
    assert_eq!((&level["value"], &level["hot"]), (&"info".into(), &true.into()));
    assert!(level["origin"].as_str().unwrap().ends_with("production.toml:2"), "{level}");
    assert_eq!(value(&first, "listen.grpc")["origin"], "HIVE__LISTEN__GRPC");
    assert_eq!(value(&first, "shards")["origin"], "default");

    // The file is replaced: by a link, since that is how it is mounted.
    let mounted = directory.path().join("mounted");
    fs::create_dir(&mounted)?;
    let mounted = Mounted(&mounted);
    mounted.put("1", "[log]\nlevel = \"debug\"\n\n[order_engine]\nunanswered_max = 4321\n")?;
    fs::remove_file(&file)?;
    symlink(mounted.0.join("..data/production.toml"), &file)?;
    let loaded = |state: &Value| state["generation"] == 2 && state["log_level"]["level"] == "debug";
    let second = until(&node, "the file is loaded and its hot key applied", loaded).await?;
    let waits = &second["needs_restart"][0];
    assert_eq!((&waits["key"], &waits["after"]), (&"order_engine.unanswered_max".into(), &4321.into()), "{second:#}");
    assert_eq!(node.metric("config_keys_pending_restart").await?, Some(1.0));

    // T7: the literal words of a patch replace the whole file.
    mounted.put("2", "...max_connections = 100\nconnection_timeout = \"30s\"...")?;
    let broken = until(&node, "the broken file is found", |state| state["last_error"].is_string()).await?;
    let error = broken["last_error"].as_str().unwrap();
    assert!(error.contains("production.toml:2:27: ") && error.contains("admin config set"), "{error}");
    assert_eq!((&broken["generation"], &broken["log_level"]["level"]), (&2.into(), &"debug".into()));
    assert_eq!(node.metric("config_reload_failed").await?, Some(1.0));
    assert!(node.log().contains("config_reload_failed"), "it is logged");
    let health = node.get("/health").await?;
    assert!(health.to_string().contains("the configuration cannot be used"), "{health}");
    let reloaded = http::request_with(&node.admin, "POST", "/admin/config/reload", &node.key_header()?).await?;
    assert!(reloaded.status == 422 && reloaded.body.contains("production.toml:2:27"), "{reloaded:?}");

    mounted.put("3", "[log]\nlevel = \"warn\"\n")?;
    let third = until(&node, "the good file is loaded", |state| state["generation"] == 3).await?;
    assert_eq!((&third["last_error"], &third["needs_restart"]), (&Value::Null, &Value::Array(vec![])));
    assert_eq!(node.metric("config_reload_failed").await?, Some(0.0));
    assert!(node.terminate().await?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r67_it_is_loaded_on_a_signal_on_a_call_and_on_a_command() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let node = Node::start(directory.path(), "all", crate::PLAIN).await?;
    let file = directory.path().join("production.toml");

    node.reload("[log]\nlevel = \"warn\"\n")?;
    until(&node, "SIGHUP is obeyed", |state| state["log_level"]["level"] == "warn").await?;

    fs::write(&file, "[log]\nlevel = \"error\"\n")?;
    let dry = node.admin(&["config", "reload", "--dry-run", "--reason", "a look"])?;
    assert_eq!(dry.code, 0, "{dry:?}");
    let said = node.admin(&["config", "reload", "--reason", "quieter", "--output", "json"])?;
    assert_eq!(said.code, 0, "{said:?}");
    until(&node, "the command is obeyed", |state| state["log_level"]["level"] == "error").await?;
    let again = node.admin(&["config", "reload", "--output", "json"])?.json(0)?;
    assert_eq!(again["instances"][0]["outcome"]["result"], "unchanged", "{again}");

    // A log of acts that ends with the next one holds the ones before it.
    node.admin(&["log-level", "warn", "--reason", "the end"])?;
    integration_tests::until("the act is recorded", async || Ok(audit_log(&node)?.contains("the end"))).await?;
    let audited = audit_log(&node)?;
    let quieter: Vec<&str> = audited.lines().filter(|line| line.contains("quieter")).collect();
    assert!(quieter.len() == 1 && quieter[0].contains("config.reload"), "recorded once: {quieter:?}");
    assert!(!audited.contains("a look"), "a dry run is no act");
    let called = http::request_with(&node.admin, "POST", "/admin/config/reload", &node.key_header()?).await?;
    assert!(called.status == 200 && called.body.contains("\"unchanged\""), "{called:?}");
    assert_eq!(http::get(&node.admin, "/admin/config/reload").await?.status, 405);
    assert!(node.terminate().await?.success());
    Ok(())
}

/// All acts that the node has recorded.
fn audit_log(node: &Node) -> Result<String> {
    let mut all = String::new();
    for entry in fs::read_dir(node.data().join("audit"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            all.push_str(&fs::read_to_string(path)?);
        }
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r57_the_commands_around_the_configuration() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let text = "# Kept.\n[log]\nlevel = \"info\" # kept too\n\n[persistence_gateway.database]\nurl = \"postgres://u:canary@h/d\"\n";
    let node = Node::start(directory.path(), "all", text).await?;
    let file = directory.path().join("production.toml");
    let path = file.to_str().context("a path of text")?;

    let shown = node.admin(&["config", "show"])?;
    assert!(shown.code == 0 && shown.out.contains("generation 1") && shown.out.contains("production.toml:3, hot"));
    assert!(shown.out.contains("postgres://u:***@h/d"), "{}", shown.out);
    let listed = node.admin(&["config", "show", "persistence_gateway", "--output", "json"])?.json(0)?;
    assert!(!listed.to_string().contains("canary") && !listed.to_string().contains("log.level"), "{listed}");

    for (candidate, validate, diff, says) in [
        ("[log]\nlevel = \"debug\"\n", 0, 4, "would apply: log.level"),
        ("shards = 2\n", 0, 4, "needs restart: shards 1 -> 2"),
        (text, 0, 0, "no change"),
        ("max_connections = 5\n", 3, 3, "did you mean persistence_gateway.database.max_connections?"),
        ("[log]\nlevel = \"loud\"\n", 3, 3, "log.level \"loud\" is not understood"),
    ] {
        let other = directory.path().join("candidate.toml");
        fs::write(&other, candidate)?;
        let other = other.to_str().context("a path of text")?;
        assert_eq!(node.admin(&["config", "validate", other])?.code, validate, "{candidate}");
        let said = node.admin(&["config", "diff", other])?;
        assert!(said.code == diff && said.out.contains(says), "{candidate}: {said:?}");
    }
    assert_eq!(state(&node).await?["generation"], 1, "nothing of this changed anything");

    let set = |extra: &[&str]| {
        node.admin(&[&["--config", path, "config", "set", "max_connections=50", "log.level=warn"], extra].concat())
    };
    let dry = set(&["--dry-run"])?;
    assert!(dry.code == 0 && dry.out.contains("-level = \"info\" # kept too\n+level = \"warn\" # kept too"), "{dry:?}");
    assert!(!dry.out.contains("canary") && dry.out.contains("+max_connections = 50"), "beside a secret: {dry:?}");
    assert_eq!(fs::read_to_string(&file)?, text);
    let done = set(&["--reload", "--reason", "less noise"])?;
    assert!(done.code == 0 && done.out.contains("generation 2"), "{done:?}");
    until(&node, "the level is applied", |state| state["log_level"]["level"] == "warn").await?;
    let after = fs::read_to_string(&file)?;
    assert_eq!(after, text.replace("\"info\"", "\"warn\"") + "max_connections = 50\n");
    let again = set(&[])?;
    assert!(again.code == 0 && again.out.contains("no change"), "{again:?}");
    let broken = node.admin(&["--config", path, "config", "set", "log.level=loud"])?;
    assert!(broken.code == 3 && broken.err.contains("loud"), "{broken:?}");
    assert_eq!(fs::read_to_string(&file)?, after, "what could not be used was not written");
    assert!(node.terminate().await?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r78_the_log_level_changes_at_run_time_and_back() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let node = Node::start(directory.path(), "all", crate::PLAIN).await?;
    let debug_lines = || node.log().lines().filter(|line| line.contains("\"level\":\"DEBUG\"")).count();
    assert_eq!(debug_lines(), 0);
    let said = node.admin(&["log-level", "info,service_kit=debug,h2=debug", "--for", "1h", "--reason", "a look"])?;
    assert!(said.code == 0 && said.out.contains("was info"), "{said:?}");
    let shown = node.admin(&["log-level", "--output", "json"])?.json(0)?;
    let level = &shown["instances"][0]["level"];
    assert!(level["ordered"] == true && level["until"].is_string(), "{shown}");
    integration_tests::until("a debug line came", async || {
        node.admin(&["config", "show"])?;
        Ok(debug_lines() > 0)
    })
    .await?;
    let reset = node.admin(&["log-level", "--reset"])?;
    assert!(reset.code == 0 && reset.out.contains(": info, was"), "{reset:?}");
    let refused = node.admin(&["log-level", "loud", "--output", "json"])?;
    assert!(refused.code == 5 && refused.out.contains("no level"), "{refused:?}");
    assert!(node.terminate().await?.success());
    Ok(())
}

/// R67: limits by key come and go while the node runs, and who is over one is told when to come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r51_r67_rate_limits_follow_the_configuration() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let node = Node::start(directory.path(), "all", crate::PLAIN).await?;
    let mut client = MarketDataServiceClient::new(node.channel());
    let mut ask = async || client.list_instruments(ListInstrumentsRequest::default()).await;
    let key = "security.limits.requests_per_second_per_key";
    node.reload(&format!("{}[security]\nlimits.requests_per_second_per_key = 2\n", crate::PLAIN))?;
    until(&node, "the limit is in force", |state| value(state, key)["value"] == 2).await?;
    let mut refused = None;
    integration_tests::until("somebody is over the limit", async || {
        refused = ask().await.err();
        Ok(refused.is_some())
    })
    .await?;
    let error = ApiError::from_status(&refused.context("a refusal")?);
    assert_eq!((error.code, error.code.grpc()), (ErrorCode::Overloaded, Code::ResourceExhausted), "{error}");
    assert!(error.retry_after.is_some(), "{error:?}");
    node.reload(crate::PLAIN)?;
    until(&node, "the limit is gone", |state| value(state, key)["value"] == 0).await?;
    for _ in 0..100 {
        ask().await?;
    }
    assert!(node.terminate().await?.success());
    Ok(())
}

/// Orders of each of the runs that are compared, after as many that warm everything up.
const ORDERS: usize = 2_000;

/// Allocations per order of a node, and what it answered, but for what differs in any two runs.
async fn traded(directory: &Path, zero_copy: bool, simd: bool) -> Result<(f64, Vec<OrderReport>)> {
    let text = format!("[performance]\nenable_zero_copy = {zero_copy}\nenable_simd = {simd}\n");
    let node = Node::start(directory, "all", &text).await?;
    let feature = async |name: &str| node.metric(&format!("feature_enabled{{feature=\"{name}\"}}")).await;
    assert_eq!(feature("zero_copy").await?, Some(f64::from(u8::from(zero_copy))));
    let vectors = feature("simd").await?.context("the metric is there")?;
    assert!(simd || vectors == 0.0);
    let mut client = OrderServiceClient::new(node.channel());
    let (mut answers, mut allocations) = (Vec::new(), Vec::new());
    for number in 0..2 * ORDERS {
        if number == ORDERS {
            allocations.push(node.metric("process_allocations_total").await?.context("jemalloc counts")?);
        }
        let request = SubmitOrderRequest {
            account_id: 1 + number as u64 % 2,
            client_order_id: format!("order-{number}"),
            symbol: "BTC-USD".to_owned(),
            side: if number % 2 == 0 { Side::Buy } else { Side::Sell }.into(),
            order_type: OrderType::Limit.into(),
            price: 5_000_000,
            quantity: 1_000_000,
            ..SubmitOrderRequest::default()
        };
        let answer = client.submit_order(request).await?.into_inner();
        let mut report = answer.report.context("an answer has a report")?;
        (report.place, report.transact_time_us) = (None, 0);
        answers.push(report);
    }
    allocations.push(node.metric("process_allocations_total").await?.context("jemalloc counts")?);
    let shown = node.admin(&["config", "show", "performance"])?;
    assert!(shown.out.contains(&format!("performance.enable_zero_copy = {zero_copy}")), "{}", shown.out);
    let data = node.data();
    assert!(node.terminate().await?.success());
    // With the defaults: whatever wrote the journal, it is the same to read.
    let verified = tool::hive(&["verify", "--data-dir", data.to_str().unwrap()], Path::new("/"))?;
    assert_eq!(verified.code, 0, "{verified:?}");
    Ok(((allocations[1] - allocations[0]) / ORDERS as f64, answers))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r58_r59_switches_change_what_is_used_and_no_answer() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (plain, expected) = traded(&directory.path().join("plain"), false, false).await?;
    let (shared, answers) = traded(&directory.path().join("shared"), true, true).await?;
    println!("allocations per order: {plain:.1} alone, {shared:.1} shared");
    assert!(expected == answers, "the same orders have the same outcomes");
    // At least the payload and an id or hash of each request and reply of the journal.
    assert!(shared + 4.0 < plain, "{plain:.1} allocations per order alone, {shared:.1} shared");
    Ok(())
}
