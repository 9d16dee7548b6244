//! The four roles as four processes with etcd and Postgres give what the single process gives.

use std::path::Path;

use anyhow::Result;
use integration_tests::etcd::Etcd;
use integration_tests::node::Node;
use integration_tests::record::{all_orders, settle, wait_projected};
use integration_tests::requests::Requests;
use journal_store::testing::PostgresServer;
use wire::pb::marketdata::v1::GetBookRequest;
use wire::pb::marketdata::v1::market_data_service_client::MarketDataServiceClient;
use wire::pb::orders::v1::OrderReport;
use wire::transport::Channel;

/// Requests sent to both.
const REQUESTS: usize = 3_000;

/// Accounts they come from.
const ACCOUNTS: u64 = 5;

/// What does not depend on when and where the requests were executed.
#[derive(Debug, PartialEq)]
struct Outcome {
    answers: Vec<OrderReport>,
    books: Vec<String>,
    orders: Vec<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r98_four_processes_give_the_results_of_one() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let single = Node::start(&directory.path().join("single"), "all", crate::PLAIN).await?;
    let expected = trade(single.channel(), single.channel()).await?;
    drop(single);

    let etcd = Etcd::start(directory.path()).await?;
    let server = PostgresServer::shared();
    for backend in ["file", "postgres"] {
        let found = apart(&directory.path().join(backend), &etcd, &server.database(), backend).await?;
        assert!(
            found == expected,
            "with the {backend} journal the four processes differ: {}",
            difference(&expected, &found)
        );
    }
    Ok(())
}

async fn apart(directory: &Path, etcd: &Etcd, database: &str, backend: &str) -> Result<Outcome> {
    let gateway = Node::start(
        &directory.join("gateway"),
        "persistence-gateway",
        &format!(
            "[persistence_gateway]\njournal.backend = \"{backend}\"\nhistory.database = \"postgres\"\ndatabase.url = \"{database}\"\n"
        ),
    )
    .await?;
    let coordinator = Node::start(
        &directory.join("coordinator"),
        "consensus-coordinator",
        &format!(
            "[consensus_coordinator]\nstore = \"etcd\"\nendpoints = [\"{}\"]\nprefix = \"/hivemind-{backend}\"\n",
            etcd.endpoint
        ),
    )
    .await?;
    let engine = Node::start(
        &directory.join("engine"),
        "order-engine",
        &format!(
            "[peers]\npersistence_gateway = \"http://{}\"\nconsensus_coordinator = \"http://{}\"\n",
            gateway.grpc, coordinator.grpc
        ),
    )
    .await?;
    let admin = Node::start(
        &directory.join("admin"),
        "admin-api",
        &format!(
            "[peers]\npersistence_gateway = \"http://{}\"\nconsensus_coordinator = \"http://{}\"\norder_engine = \"http://{}\"\n",
            gateway.grpc, coordinator.grpc, engine.grpc
        ),
    )
    .await?;
    let found = trade(engine.channel(), gateway.channel()).await?;
    let health = integration_tests::http::get(&admin.admin, "/health").await?;
    assert_eq!(health.status, 200, "{}", health.body);
    let consensus = integration_tests::http::get(&admin.admin, "/health/consensus").await?;
    assert_eq!(consensus.status, 200, "{}", consensus.body);
    assert!(consensus.body.contains("etcd"), "{}", consensus.body);
    for node in [admin, engine, coordinator, gateway] {
        assert!(node.terminate().await?.success(), "SIGTERM ends with exit code 0");
    }
    Ok(found)
}

async fn trade(engine: Channel, gateway: Channel) -> Result<Outcome> {
    let mut streams: Vec<Requests> = (1..=ACCOUNTS).map(|account| Requests::new(7, account, "apart")).collect();
    let mut answers = Vec::new();
    let mut last = 0;
    for number in 0..REQUESTS {
        let stream = &mut streams[number % ACCOUNTS as usize];
        let mut report = settle(stream.next().unwrap(), || engine.clone()).await?.report;
        stream.learn(&report);
        last = report.place.take().map_or(last, |place| place.seq);
        report.transact_time_us = 0;
        // On a busy machine an answer may come too late and be asked for again.
        report.duplicate = false;
        answers.push(report);
    }
    let mut books = Vec::new();
    let mut market = MarketDataServiceClient::new(engine);
    for symbol in ["BTC-USD", "ETH-USD"] {
        let request = GetBookRequest { symbol: symbol.to_owned(), depth: 1_000, ..Default::default() };
        let book = market.get_book(request).await?.into_inner().book.expect("a book");
        books.push(format!("{:?} {:?}", book.bids, book.asks));
    }
    wait_projected(&gateway, last).await?;
    let mut orders: Vec<_> = all_orders(&gateway).await?.into_values().filter_map(|row| row.order).collect();
    orders.sort_by_key(|order| order.order_id);
    Ok(Outcome { answers, books, orders: orders.iter().map(|order| format!("{order:?}")).collect() })
}

fn difference(expected: &Outcome, found: &Outcome) -> String {
    if let Some((a, b)) = expected.answers.iter().zip(&found.answers).find(|(a, b)| a != b) {
        return format!("answers\n{a:?}\n{b:?}");
    }
    if let Some((a, b)) = expected.books.iter().zip(&found.books).find(|(a, b)| a != b) {
        return format!("books\n{a}\n{b}");
    }
    match expected.orders.iter().zip(&found.orders).find(|(a, b)| a != b) {
        Some((a, b)) => format!("history\n{a}\n{b}"),
        None => format!("{} and {} orders in history", expected.orders.len(), found.orders.len()),
    }
}
