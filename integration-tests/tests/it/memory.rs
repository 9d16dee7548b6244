//! Memory as operators see it: who uses it, who allocated it, and what happens near its limit.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use integration_tests::LOOK_AGAIN;
use integration_tests::http;
use integration_tests::node::{Node, server_binary};
use integration_tests::record::send;
use integration_tests::requests::Requests;
use integration_tests::tool::{self, Said};
use rustix::process::Signal;
use serde_json::Value;
use tonic::Code;
use wire::pb::orders::v1::order_session_request::Command;

use crate::PLAIN;

/// How long a change of the configuration may take to show on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn memory(node: &Node, directory: &Path, arguments: &[&str]) -> Result<Said> {
    let data = node.data();
    let mut all = vec!["admin", "--data-dir", data.to_str().expect("a readable path"), "--output", "json"];
    // The first look reads the line tables of an unoptimised program.
    all.extend_from_slice(&["--timeout", "60", "memory"]);
    all.extend_from_slice(arguments);
    tool::run(&server_binary()?, &all, directory)
}

fn json(said: &Said) -> Value {
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("stdout is not one JSON document ({e}):\n{}", said.out))
}

async fn profile(node: &Node) -> Result<Value> {
    Ok(serde_json::from_str(&http::get(&node.admin, "/admin/memory-profile").await?.body)?)
}

/// The process's own resident set, from outside.
fn resident(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a resident set");
    Ok(kib.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// Writes the configuration anew and has it read.
fn reload(node: &Node, directory: &Path, text: &str) -> Result<()> {
    std::fs::write(directory.join("production.toml"), text)?;
    node.signal(Signal::HUP)
}

/// A new order, which needs memory.
fn submit(requests: &mut Requests) -> Command {
    requests.find(|command| matches!(command, Command::Submit(_))).expect("there is always one")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r44_r60_profiling_is_switched_while_the_node_trades_and_names_functions() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let node = Node::start(directory.path(), "all", PLAIN).await?;
    let before = profile(&node).await?;
    let rss = resident(node.pid())?;
    assert!(before["rss"].as_u64().unwrap().abs_diff(rss) * 10 <= rss, "{rss} and {before}");
    assert_eq!((before["profiling_enabled"].as_bool(), before["hint"].is_string()), (Some(false), true));
    for part in ["order_engine.book-0", "order_engine.idempotency-0", "persistence_gateway.projector-0"] {
        assert!(before["components"][part].is_u64(), "{part} accounts for itself: {before}");
    }

    let on = json(&memory(&node, directory.path(), &["start", "--reason", "a test"])?);
    assert_eq!((&on["instances"][0]["changed"], &on["instances"][0]["enabled"]), (&true.into(), &true.into()));
    let again = json(&memory(&node, directory.path(), &["start"])?);
    assert_eq!(again["instances"][0]["changed"], false);
    let mut requests = Requests::new(44, 7, "profiled");
    for command in requests.by_ref().take(2_000) {
        send(node.channel(), command).await?;
    }
    let shown = json(&memory(&node, directory.path(), &["profile"])?);
    let sites = shown["instances"][0]["memory"]["top_sites"].as_array().unwrap().clone();
    let named = sites.iter().filter(|site| site["location"].as_str().is_some_and(|place| place.contains(".rs:")));
    assert!(named.count() > 0, "functions of this program with their places: {shown:#}");

    let heap = directory.path().join("heap.pb.gz");
    let dumped = json(&memory(&node, directory.path(), &["dump", "--file", heap.to_str().unwrap()])?);
    assert!(dumped["bytes"].as_u64() > Some(100) && std::fs::read(&heap)?.starts_with(&[0x1f, 0x8b]), "{dumped}");
    let dry = json(&memory(&node, directory.path(), &["stop", "--dry-run"])?);
    assert_eq!((&dry["dry_run"], &dry["instances"][0]["enabled"]), (&true.into(), &true.into()));
    let off = json(&memory(&node, directory.path(), &["stop"])?);
    assert_eq!((&off["instances"][0]["changed"], &off["instances"][0]["enabled"]), (&true.into(), &false.into()));
    let refused = memory(&node, directory.path(), &["dump"])?;
    assert_eq!(refused.code, 5, "nothing to dump: {}{}", refused.out, refused.err);

    reload(&node, directory.path(), &format!("{PLAIN}[memory]\nenable_memory_profiling = true\n"))?;
    let begin = Instant::now();
    while profile(&node).await?["profiling_enabled"] == false {
        assert!(begin.elapsed() < PATIENCE, "the key is not hot");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    assert!(node.terminate().await?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r78_new_orders_are_refused_before_the_limit_of_memory_and_taken_again_below_it() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let node = Node::start(directory.path(), "all", PLAIN).await?;
    let mut requests = Requests::new(78, 7, "pressed");
    send(node.channel(), submit(&mut requests)).await?;
    // Far below what the process uses already.
    reload(&node, directory.path(), &format!("{PLAIN}[memory]\nlimit = \"1MiB\"\n"))?;
    let begin = Instant::now();
    let refused = loop {
        match send(node.channel(), submit(&mut requests)).await {
            Err(refused) => break refused,
            Ok(_) => assert!(begin.elapsed() < PATIENCE, "no order was refused"),
        }
    };
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(refused.message().contains("memory"), "{refused}");
    let shown = profile(&node).await?;
    assert_eq!((shown["shedding"].as_bool(), shown["limit"].as_u64()), (Some(true), Some(1 << 20)));
    let health: Value = serde_json::from_str(&http::get(&node.admin, "/health").await?.body)?;
    assert_eq!(health["components"]["memory"]["status"], "degraded", "{health:#}");

    reload(&node, directory.path(), PLAIN)?;
    let begin = Instant::now();
    while let Err(refused) = send(node.channel(), submit(&mut requests)).await {
        assert!(refused.code() == Code::ResourceExhausted && begin.elapsed() < PATIENCE, "{refused}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let log = node.log();
    assert_eq!(log.matches("memory pressure: near the limit").count(), 1, "one line for one cause");
    assert_eq!(log.matches("memory pressure is over").count(), 1);
    assert!(node.terminate().await?.success());
    Ok(())
}
