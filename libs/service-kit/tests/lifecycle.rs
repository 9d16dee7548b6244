//! How a node stops: in order, in time, and with the error of whoever brought it down.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use service_kit::node::{NodeError, NodeOptions};
use service_kit::{DataDir, Service};
use tokio::sync::mpsc;

use support::{Ending, Scripted, Served, options, serve};

/// A node with one service per ending, and what they report.
async fn node_of(options: NodeOptions, endings: &[(&'static str, Ending)]) -> (Served, mpsc::Receiver<String>) {
    let (log, seen) = mpsc::channel(16);
    let context = Some(options.context.clone());
    let service = |(name, ending): &(&'static str, Ending)| -> Box<dyn Service> {
        Box::new(Scripted { name, ending: *ending, log: log.clone(), context: context.clone() })
    };
    let services = endings.iter().map(service).collect();
    (serve(options, services).await, seen)
}

async fn all(mut seen: mpsc::Receiver<String>) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(line) = seen.recv().await {
        lines.push(line);
    }
    lines
}

#[tokio::test]
async fn r46_readiness_goes_first_then_services_from_the_last_to_the_first() {
    let services = [("gateway", Ending::Orderly), ("engine", Ending::Orderly), ("admin", Ending::Orderly)];
    let (node, seen) = node_of(options("drain"), &services).await;
    assert!(node.context.components.is_ready());
    node.stop().await.unwrap();
    let expected = [
        "admin drains ready=false",
        "admin done",
        "engine drains ready=false",
        "engine done",
        "gateway drains ready=false",
        "gateway done",
    ];
    assert_eq!(all(seen).await, expected);
}

#[tokio::test]
async fn a_service_that_fails_takes_the_node_down_and_the_others_drain() {
    for (ending, exit_code, message) in [
        (Ending::Failing(65), 65, "engine failed: broken"),
        (Ending::Panicking, 1, "engine panicked: surprised"),
        (Ending::Early, 1, "engine ended by itself"),
    ] {
        let (node, seen) = node_of(options("failing"), &[("gateway", Ending::Orderly), ("engine", ending)]).await;
        let error = node.end.await.unwrap().unwrap_err();
        assert_eq!((error.exit_code(), error.to_string()), (exit_code, message.to_owned()));
        assert!(node.shutdown.is_draining(), "whoever shares the signal hears of it");
        assert_eq!(all(seen).await, ["gateway drains ready=false", "gateway done"]);
    }
}

#[tokio::test]
async fn a_service_that_does_not_finish_is_abandoned_and_named() {
    let options = NodeOptions { drain_timeout: Duration::from_millis(1), ..options("stuck") };
    let (node, seen) = node_of(options, &[("gateway", Ending::Orderly), ("engine", Ending::Never)]).await;
    let error = node.stop().await.unwrap_err();
    assert!(matches!(error, NodeError::DrainTimeout { name: "engine" }), "{error}");
    assert_eq!(all(seen).await[0], "engine drains ready=false", "it is told that its time is over");
}

#[tokio::test]
async fn a_second_signal_does_not_wait() {
    let options = NodeOptions { drain_timeout: Duration::from_secs(3600), ..options("impatient") };
    let (node, _seen) = node_of(options, &[("engine", Ending::Never)]).await;
    node.shutdown.stop();
    let error = node.end.await.unwrap().unwrap_err();
    assert!(matches!(error, NodeError::DrainTimeout { name: "engine" }), "{error}");
}

#[tokio::test]
async fn a_node_that_is_dropped_leaves_nothing_running() {
    let (node, mut seen) = node_of(options("dropped"), &[("engine", Ending::Orderly)]).await;
    assert_eq!(support::get(node.at.admin, "/livez").await.status, 200);
    node.end.abort();
    assert!(node.end.await.unwrap_err().is_cancelled());
    let gone = async {
        assert_eq!(seen.recv().await, None, "the service was not drained");
        for at in [node.at.grpc, node.at.admin, node.at.metrics] {
            // The sockets close when the aborted tasks are collected.
            while tokio::net::TcpStream::connect(at).await.is_ok() {
                tokio::task::yield_now().await;
            }
        }
    };
    // Ends a test that would otherwise wait for ever.
    tokio::time::timeout(Duration::from_secs(30), gone).await.expect("nothing runs and nothing listens");
}

#[test]
fn a_data_directory_has_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("not/there/yet");
    let held = DataDir::lock(&path).unwrap();
    let refused = DataDir::lock(&path).unwrap_err().to_string();
    assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
    drop(held);
    DataDir::lock(&path).unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(DataDir::lock(&file).unwrap_err().to_string().contains("cannot use data directory"));
}
