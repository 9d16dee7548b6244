//! Memory as operators see it: who uses it, who allocated it, and what happens near its limit.

use std::time::Instant;

use anyhow::Result;
use integration_tests::node::Node;
use integration_tests::record::send;
use integration_tests::requests::Requests;
use integration_tests::tool::Said;
use integration_tests::{LIMIT, LOOK_AGAIN, until};
use serde_json::Value;
use tonic::Code;
use wire::pb::orders::v1::order_session_request::Command;

use crate::PLAIN;

fn memory(node: &Node, arguments: &[&str]) -> Result<Said> {
    // The first look reads the line tables of an unoptimised program.
    node.admin(&[&["--output", "json", "--timeout", "60", "memory"][..], arguments].concat())
}

async fn profile(node: &Node) -> Result<Value> {
    node.get("/admin/memory-profile").await
}

/// The process's own resident set, from outside.
fn resident(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a resident set");
    Ok(kib.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
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

    let on = memory(&node, &["start", "--reason", "a test"])?.json(0)?;
    assert_eq!((&on["instances"][0]["changed"], &on["instances"][0]["enabled"]), (&true.into(), &true.into()));
    let again = memory(&node, &["start"])?.json(0)?;
    assert_eq!(again["instances"][0]["changed"], false);
    let mut requests = Requests::new(44, 7, "profiled");
    for command in requests.by_ref().take(2_000) {
        send(node.channel(), command).await?;
    }
    let shown = memory(&node, &["profile"])?.json(0)?;
    let sites = shown["instances"][0]["memory"]["top_sites"].as_array().unwrap().clone();
    let named = sites.iter().filter(|site| site["location"].as_str().is_some_and(|place| place.contains(".rs:")));
    assert!(named.count() > 0, "functions of this program with their places: {shown:#}");

    let heap = directory.path().join("heap.pb.gz");
    let dumped = memory(&node, &["dump", "--file", heap.to_str().unwrap()])?.json(0)?;
    assert!(dumped["bytes"].as_u64() > Some(100) && std::fs::read(&heap)?.starts_with(&[0x1f, 0x8b]), "{dumped}");
    let dry = memory(&node, &["stop", "--dry-run"])?.json(0)?;
    assert_eq!((&dry["dry_run"], &dry["instances"][0]["enabled"]), (&true.into(), &true.into()));
    let off = memory(&node, &["stop"])?.json(0)?;
    assert_eq!((&off["instances"][0]["changed"], &off["instances"][0]["enabled"]), (&true.into(), &false.into()));
    let refused = memory(&node, &["dump"])?;
    assert_eq!(refused.code, 5, "nothing to dump: {}{}", refused.out, refused.err);

    node.reload(&format!("{PLAIN}[memory]\nenable_memory_profiling = true\n"))?;
    until("the key is hot", async || Ok(profile(&node).await?["profiling_enabled"] == true)).await?;
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
    node.reload(&format!("{PLAIN}[memory]\nlimit = \"1MiB\"\n"))?;
    let begin = Instant::now();
    let refused = loop {
        match send(node.channel(), submit(&mut requests)).await {
            Err(refused) => break refused,
            Ok(_) => assert!(begin.elapsed() < LIMIT, "no order was refused"),
        }
    };
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(refused.message().contains("memory"), "{refused}");
    let shown = profile(&node).await?;
    assert_eq!((shown["shedding"].as_bool(), shown["limit"].as_u64()), (Some(true), Some(1 << 20)));
    let health = node.get("/health").await?;
    assert_eq!(health["components"]["memory"]["status"], "degraded", "{health:#}");

    node.reload(PLAIN)?;
    let begin = Instant::now();
    while let Err(refused) = send(node.channel(), submit(&mut requests)).await {
        assert!(refused.code() == Code::ResourceExhausted && begin.elapsed() < LIMIT, "{refused}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let log = node.log();
    assert_eq!(log.matches("memory pressure: near the limit").count(), 1, "one line for one cause");
    assert_eq!(log.matches("memory pressure is over").count(), 1);
    assert!(node.terminate().await?.success());
    Ok(())
}
