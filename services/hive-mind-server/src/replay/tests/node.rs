//! The whole way, over gRPC against a node of its own.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use wire::pb::marketdata::v1::InstrumentState;
use wire::transport::{Channel, ClientOptions, connect};

use super::super::{Arguments, Report, find, prepare, run};
use super::markets::{DEPTH, MESSAGES};
use crate::cli::Target;
use crate::temporary::LoadTarget;

/// Files as a user has them.
fn arguments(directory: &Path, symbol: &str, messages: &str, depth: Option<&str>, in_flight: u16) -> Arguments {
    let lobster = directory.join(format!("{symbol}_2012-06-21_message_2.csv"));
    fs::write(&lobster, messages).unwrap();
    let orderbook = depth.map(|text| {
        let path = directory.join(format!("{symbol}_2012-06-21_orderbook_2.csv"));
        fs::write(&path, text).unwrap();
        path
    });
    Arguments { lobster, orderbook, symbol: None, in_flight }
}

async fn replay(channel: &Channel, arguments: Arguments) -> anyhow::Result<Report> {
    Box::pin(run(prepare(&arguments)?, channel.clone())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_replayed_through_a_node() {
    let target = Box::pin(LoadTarget::new(&Target::default(), None)).await.unwrap();
    let channel = target.channel().unwrap();
    let directory = TempDir::new().unwrap();
    for (symbol, in_flight) in [("ONE", 1), ("MANY", 1024)] {
        let files = arguments(directory.path(), symbol, MESSAGES, Some(DEPTH), in_flight);
        let report = replay(&channel, files).await.unwrap();
        assert_eq!((report.messages, report.rows_compared, report.trades), (11, 11, 3));
        assert_eq!((report.best_mismatches, report.level_mismatches, report.unexplained), (0, 0, 0));
        assert_eq!((report.symbol.as_str(), report.run.books_compared), (symbol, 1));
        assert_eq!(report.run.state_hash.len(), 32);
        assert!(report.run.latency_us.max > 0);
    }

    let again = arguments(directory.path(), "ONE", MESSAGES, None, 64);
    let error = replay(&channel, again).await.unwrap_err().to_string();
    assert!(error.contains("the book of ONE is not empty"), "{error}");

    let stopped = "1.0,1,9,5,1010000,-1\n2.0,7,0,0,-1,-1\n3.0,3,9,5,1010000,-1";
    let resumed = format!("{stopped}\n4.0,7,0,0,1,-1");
    for (symbol, messages, state) in
        [("STOPPED", stopped, InstrumentState::Halted), ("RESUMED", &resumed, InstrumentState::Continuous)]
    {
        let report = replay(&channel, arguments(directory.path(), symbol, messages, None, 64)).await.unwrap();
        assert_eq!((report.unexplained, report.rows_compared), (0, 0));
        let status = find(&channel, symbol.parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(status.instrument.unwrap().state(), state, "{symbol}");
    }

    let other = DEPTH.replace("16,1000000,7,1020000,5", "16,1000000,7,1020000,4");
    let files = arguments(directory.path(), "OTHER", MESSAGES, Some(&other), 64);
    let report = replay(&channel, files).await.unwrap();
    assert_eq!((report.level_mismatches, report.unexplained), (2, 2));
    target.stop().await.unwrap();
}

#[tokio::test]
async fn files_that_cannot_be_replayed_are_refused_before_anything_is_sent() {
    // Nothing listens there: an error about the connection would say so.
    let channel = connect(&"http://127.0.0.1:1".parse().unwrap(), &ClientOptions::default());
    let directory = TempDir::new().unwrap();
    let wrong = [
        ("EMPTY", "\n", None, "no messages"),
        ("CELL", "1.0,1,9,5,1010000,-1\n2.0,9,9,5,1010000,-1", None, "line 2, type"),
        ("ROWS", "1.0,1,9,5,1010000,-1", Some("1,1,1,1\n1,1,1,1"), "1 messages, but 2 rows"),
    ];
    for (symbol, messages, depth, says) in wrong {
        let files = arguments(directory.path(), symbol, messages, depth, 64);
        let error = format!("{:#}", replay(&channel, files).await.unwrap_err());
        assert!(error.contains(says), "{error}");
    }
}
