//! Traces of orders: one order through the processes of a cluster as a collector sees it, from a bucket of a histogram to
//! a trace as Prometheus has it, and what a collector that is not there costs.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use integration_tests::collector::{Collector, Span};
use integration_tests::node::Node;
use integration_tests::{LIMIT, LOOK_AGAIN, http, ports, until};
use rustix::process::Signal;
use serde_json::Value;
use tokio::net::TcpListener;
use wire::client::{Session, SessionOptions};
use wire::pb::orders::v1::order_service_client::OrderServiceClient;
use wire::pb::orders::v1::order_session_request::Command as Sent;
use wire::pb::orders::v1::{GetTopologyRequest, OrderStatus, OrderType, Side, SubmitOrderRequest};
use wire::trace::{SpanId, TraceContext, TraceId, within};
use wire::transport::Channel;

/// The span of the client that sends an order.
const CLIENT: SpanId = SpanId(0x0c11e47);

/// The span of a door that an order came through.
const DOOR: &str = "hivemind.orders.v1.OrderService/SubmitOrder";

/// Parts of an order's way through the engine that leads its shard.
const STAGES: [&str; 5] = ["admission", "sequencing", "journal", "apply", "answer"];

fn order(number: u64) -> SubmitOrderRequest {
    SubmitOrderRequest {
        account_id: 7,
        client_order_id: format!("order-{number}"),
        symbol: "BTC-USD".to_owned(),
        side: Side::Buy.into(),
        order_type: OrderType::Limit.into(),
        price: 5_000_000,
        quantity: 1_000_000,
        ..Default::default()
    }
}

/// Where a client's order stands in a trace.
fn place(trace: u128, sampled: bool) -> Option<TraceContext> {
    Some(TraceContext { trace: TraceId(trace), span: CLIENT, sampled })
}

/// Sends an order and expects it to be taken.
async fn submit(channel: &Channel, number: u64, place: Option<TraceContext>) -> Result<()> {
    let mut client = OrderServiceClient::new(channel.clone());
    let answer = within(place, client.submit_order(order(number))).await?.into_inner();
    let report = answer.report.context("an order without a report")?;
    ensure!(report.status() == OrderStatus::New, "order {number}: {report:?}");
    Ok(())
}

/// The same over a session.
async fn submit_in_session(channel: &Channel, number: u64, place: Option<TraceContext>) -> Result<()> {
    let session = Session::open(channel.clone(), SessionOptions::default()).await?;
    let report = within(place, session.call(Sent::Submit(order(number)))).await?;
    ensure!(report.status() == OrderStatus::New, "order {number}: {report:?}");
    session.close().await;
    Ok(())
}

/// The only span of this name and service.
fn the<'a>(spans: &'a [Span], service: &str, name: &str) -> Result<&'a Span> {
    let mut found = spans.iter().filter(|span| span.name == name && span.service() == service);
    let one = found.next().with_context(|| format!("{service} has no span {name}: {spans:#?}"))?;
    ensure!(found.next().is_none(), "{service} has more than one span {name}: {spans:#?}");
    ensure!(one.start > 0 && one.start <= one.end && !one.failed, "{one:#?}");
    Ok(one)
}

/// The spans of an order from its client, or whoever handed it on, at `parent`, to the history: each in its place.
fn expect_whole(spans: &[Span], leader: &str, parent: &str) -> Result<()> {
    let ids: BTreeSet<_> = spans.iter().map(|span| &span.span).collect();
    ensure!(ids.len() == spans.len(), "two spans are one: {spans:#?}");
    let submit = spans.iter().find(|span| span.name == "submit").context("no engine executed it")?;
    ensure!(submit.resource["service.instance.id"] == leader && submit.parent == parent, "{spans:#?}");
    ensure!(submit.values["hive_mind.outcome"] == "accepted", "{submit:#?}");
    let engine = "order-engine";
    for stage in STAGES {
        ensure!(the(spans, engine, stage)?.parent == submit.span, "{stage} is no part of the order: {spans:#?}");
    }
    let gateway = "persistence-gateway";
    let append = the(spans, gateway, "append")?;
    ensure!(append.parent == the(spans, engine, "journal")?.span, "the append came from nowhere: {spans:#?}");
    ensure!(append.values["hive_mind.seq"] == the(spans, engine, "journal")?.values["hive_mind.seq"], "{spans:#?}");
    for part in ["write", "history"] {
        ensure!(the(spans, gateway, part)?.parent == append.span, "{part} is no part of the append: {spans:#?}");
    }
    Ok(())
}

/// Two engines, and which of them leads.
struct Engines {
    nodes: Vec<Node>,
    leader: usize,
}

impl Engines {
    async fn start(directory: &Path, peers: &str) -> Result<Self> {
        let mut nodes = Vec::new();
        for name in ["engine-1", "engine-2"] {
            let configuration = format!("{peers}[node]\nname = \"{name}\"\n");
            nodes.push(Node::launch(&directory.join(name), "order-engine", &configuration).await?);
        }
        let begin = Instant::now();
        loop {
            let asked = OrderServiceClient::new(nodes[0].channel()).get_topology(GetTopologyRequest {}).await;
            let named = asked.ok().and_then(|answer| answer.into_inner().leaders.pop());
            let leader = named.map_or(String::new(), |leader| leader.engine);
            if let Some(leader) = ["engine-1", "engine-2"].iter().position(|name| *name == leader) {
                return Ok(Self { nodes, leader });
            }
            ensure!(begin.elapsed() < LIMIT, "no engine leads:\n{}", nodes[0].log_end());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn leader(&self) -> &Node {
        &self.nodes[self.leader]
    }

    fn other(&self) -> &Node {
        &self.nodes[1 - self.leader]
    }

    fn names(&self) -> [String; 2] {
        [self.leader, 1 - self.leader].map(|at| format!("engine-{}", at + 1))
    }
}

/// A line of its log, as an operator looks for it.
async fn line_of(node: &Node, request_id: &str) -> Result<Value> {
    let begin = Instant::now();
    loop {
        let lines = node.log();
        let found = lines.lines().find(|line| line.contains(request_id) && line.contains("request failed"));
        if let Some(line) = found {
            return serde_json::from_str(line).with_context(|| line.to_owned());
        }
        ensure!(begin.elapsed() < LIMIT, "no line about {request_id}:\n{}", node.log_end());
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r78_one_order_is_one_trace_through_four_processes() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let directory = directory.path();
    let collector = Collector::start(&directory.join("collector"), Collector::address()?).await?;
    let tracing = format!("[tracing]\nendpoint = \"{}\"\nsample_ratio = 0.0\n", collector.endpoint());
    let gateway = Node::start(&directory.join("gateway"), "persistence-gateway", &tracing).await?;
    let coordinator = Node::start(&directory.join("coordinator"), "consensus-coordinator", &tracing).await?;
    let peers = format!(
        "{tracing}[peers]\npersistence_gateway = \"http://{}\"\nconsensus_coordinator = \"http://{}\"\n",
        gateway.grpc, coordinator.grpc
    );
    let engines = Engines::start(directory, &peers).await?;
    let [leader, other] = engines.names();
    let (led, handing) = (engines.leader().channel(), engines.other().channel());

    // What its client does not record, or nobody asks to be recorded, leaves nothing.
    submit(&led, 1, place(1, false)).await?;
    submit(&led, 2, None).await?;

    // Straight to the leader.
    submit(&led, 3, place(3, true)).await?;
    let client = CLIENT.to_string();
    let trace = |number: u128| TraceId(number).to_string();
    let spans = collector.whole(&trace(3), &["history", "submit", DOOR]).await?;
    let door = the(&spans, "order-engine", DOOR)?;
    ensure!(door.parent == client && door.kind == "SPAN_KIND_SERVER", "{door:#?}");
    expect_whole(&spans, &leader, &door.span)?;

    // Handed on by the engine that does not lead: both doors, and the way between them.
    submit(&handing, 4, place(4, true)).await?;
    let spans = collector.whole(&trace(4), &["history", "submit", "forward", DOOR, DOOR]).await?;
    let forward = the(&spans, "order-engine", "forward")?;
    let doors: Vec<_> = spans.iter().filter(|span| span.name == DOOR).collect();
    let first = doors.iter().find(|door| door.parent == client).context("the door that the client knocked at")?;
    let second = doors.iter().find(|door| door.parent == forward.span).context("the door of the leader")?;
    ensure!(forward.parent == first.span && doors.len() == 2, "{spans:#?}");
    ensure!(first.resource["service.instance.id"] == other.as_str(), "{spans:#?}");
    expect_whole(&spans, &leader, &second.span)?;

    // The same over sessions, whose requests each have a place of their own.
    submit_in_session(&led, 5, place(5, true)).await?;
    expect_whole(&collector.whole(&trace(5), &["history", "submit"]).await?, &leader, &client)?;
    submit_in_session(&handing, 6, place(6, true)).await?;
    let spans = collector.whole(&trace(6), &["history", "submit", "forward"]).await?;
    let forward = the(&spans, "order-engine", "forward")?;
    ensure!(forward.parent == client, "{spans:#?}");
    expect_whole(&spans, &leader, &forward.span)?;

    // Requests of a session that say nothing stand where its stream does.
    let session = within(place(8, true), Session::open(led.clone(), SessionOptions::default())).await?;
    session.call(Sent::Submit(order(8))).await?;
    session.close().await;
    let stream = "hivemind.orders.v1.OrderService/OrderSession";
    let spans = collector.whole(&trace(8), &["history", "submit", stream]).await?;
    expect_whole(&spans, &leader, &the(&spans, "order-engine", stream)?.span)?;

    assert!(collector.trace(&trace(1))?.is_empty(), "its client said that it is not recorded");

    // A line of the log leads to the trace, and the other way round.
    gateway.signal(Signal::STOP)?;
    let mut request = tonic::Request::new(order(7));
    request.metadata_mut().insert("x-request-id", "order-that-hangs".parse()?);
    let mut client = OrderServiceClient::new(led.clone());
    let hangs = within(place(7, true), client.submit_order(request)).await;
    gateway.signal(Signal::CONT)?;
    let status = hangs.err().context("the gateway stands still, and the order is answered")?;
    assert_eq!(status.code(), tonic::Code::Unknown, "{status}");
    let line = line_of(engines.leader(), "order-that-hangs").await?;
    assert_eq!((&line["request_id"], &line["trace_id"]), (&"order-that-hangs".into(), &trace(7).into()), "{line}");
    let spans = collector.whole(&trace(7), &[DOOR]).await?;
    let failed = spans.iter().find(|span| span.values.get("hive_mind.request_id") == Some(&"order-that-hangs".into()));
    assert!(failed.is_some_and(|span| span.failed), "{spans:#?}");
    Ok(())
}

/// A Prometheus that keeps exemplars. Dropping it ends it.
struct Prometheus {
    child: Child,
    address: String,
}

impl Prometheus {
    async fn start(directory: &Path, target: &str) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let configuration = format!(
            "scrape_configs:\n  - job_name: hive-mind\n    scrape_interval: 1s\n    static_configs:\n      \
             - targets: [\"{target}\"]\n"
        );
        fs::write(directory.join("prometheus.yml"), configuration)?;
        let (address, log) = (format!("127.0.0.1:{}", ports::take()?), File::create(directory.join("prometheus.log"))?);
        let child = Command::new("prometheus")
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=series", "--enable-feature=exemplar-storage"])
            .arg(format!("--web.listen-address={address}"))
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("prometheus is missing: `cargo xtask test` installs what the tests need")?;
        Ok(Self { child, address })
    }

    /// What it answers, once it answers something.
    async fn ask(&self, path: &str) -> Result<Value> {
        let begin = Instant::now();
        loop {
            if let Ok(answer) = http::get(&self.address, path).await
                && let Ok(body) = serde_json::from_str::<Value>(&answer.body)
                && (body["data"].as_array().is_some_and(|found| !found.is_empty())
                    || body["data"]["activeTargets"][0]["health"] == "up")
            {
                return Ok(body["data"].clone());
            }
            ensure!(begin.elapsed() < LIMIT, "Prometheus has no answer to {path}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r49_a_bucket_leads_prometheus_to_a_trace() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let directory = directory.path();
    let collector = Collector::start(&directory.join("collector"), Collector::address()?).await?;
    let tracing = format!("[tracing]\nendpoint = \"{}\"\nsample_ratio = 0.0\n", collector.endpoint());
    let node = Node::start(&directory.join("node"), "all", &tracing).await?;
    submit(&node.channel(), 1, place(11, true)).await?;
    submit(&node.channel(), 2, None).await?;
    let prometheus = Prometheus::start(&directory.join("prometheus"), &node.metrics).await?;
    let targets = prometheus.ask("/api/v1/targets").await?;
    assert_eq!(targets["activeTargets"][0]["lastError"], "", "{targets}");
    let trace = TraceId(11).to_string();
    for name in [
        "trading_operation_duration_seconds",
        "order_engine_stage_duration_seconds",
        "journal_append_duration_seconds",
        "journal_fdatasync_duration_seconds",
    ] {
        let path = format!("/api/v1/query_exemplars?query={name}_bucket&start=0&end=9999999999");
        let found = prometheus.ask(&path).await?;
        for series in found.as_array().context("series")? {
            let exemplars = series["exemplars"].as_array().filter(|all| !all.is_empty()).context("exemplars")?;
            let own = exemplars.iter().all(|exemplar| exemplar["labels"]["trace_id"] == trace.as_str());
            assert!(own, "only one order is recorded: {found}");
        }
    }
    collector.whole(&trace, &["submit", "append"]).await?;
    // Whoever does not ask for them gets what was always there.
    let plain = http::get(&node.metrics, "/metrics").await?.body;
    assert!(!plain.contains("trace_id") && !plain.contains("# EOF"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r78_a_collector_that_is_gone_or_silent_costs_no_order_and_is_counted() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let directory = directory.path();
    let address = Collector::address()?;
    let tracing = format!("[tracing]\nendpoint = \"http://{address}\"\nsample_ratio = 1.0\n");
    let node = Node::start(&directory.join("node"), "all", &tracing).await?;
    let channel = node.channel();
    submit(&channel, 1, None).await?;
    counted(&node, "tracing_spans_dropped_total{reason=\"export_failed\"}").await?;
    assert_eq!(node.metric("tracing_spans_exported_total").await?, Some(0.0));

    // It takes connections and says nothing: the queue fills, and the market goes on.
    let silent = TcpListener::bind(&address).await?;
    let session = Session::open(channel.clone(), SessionOptions::default()).await?;
    let mut replies = Vec::new();
    for number in 2..4_000 {
        replies.push(session.send(Sent::Submit(order(number))).await?);
    }
    for reply in replies {
        let report = reply.await.result?;
        assert_eq!(report.status(), OrderStatus::New);
    }
    session.close().await;
    counted(&node, "tracing_spans_dropped_total{reason=\"queue_full\"}").await?;
    drop(silent);

    // One that comes later gets what comes later.
    let collector = Collector::start(&directory.join("collector"), address).await?;
    counted(&node, "tracing_spans_exported_total").await?;
    submit(&channel, 4_000, place(12, true)).await?;
    collector.whole(&TraceId(12).to_string(), &["submit", "append"]).await?;

    // Off and on again while the node runs.
    let file = directory.join("node").join("production.toml");
    for (configuration, said, trace) in
        [("", "orders are traced no longer", 13_u64), (&*tracing, "orders are traced", 14)]
    {
        let before = node.log().matches(&format!("{said}\"")).count();
        fs::write(&file, configuration)?;
        until(said, async || Ok(node.log().matches(&format!("{said}\"")).count() > before)).await?;
        submit(&channel, 5_000 + trace, place(trace.into(), true)).await?;
    }
    collector.whole(&TraceId(14).to_string(), &["submit", "append"]).await?;
    assert!(collector.trace(&TraceId(13).to_string())?.is_empty(), "nothing is recorded while it is off");
    let status = node.terminate().await?;
    assert!(status.success(), "{status}");
    Ok(())
}

/// Waits until a counter has counted something.
async fn counted(node: &Node, name: &str) -> Result<()> {
    until(&format!("{name} is counted"), async || Ok(node.metric(name).await?.is_some_and(|value| value > 0.0))).await
}
