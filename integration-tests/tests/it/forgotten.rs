//! An order that the engine no longer remembers is read from the history; while that is away, the answer is that it is
//! away and not that there is no such order.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use integration_tests::node::Node;
use integration_tests::{LIMIT, LOOK_AGAIN};
use journal_store::testing::PostgresServer;
use tonic::Code;
use wire::pb::orders::v1::order_service_client::OrderServiceClient;
use wire::pb::orders::v1::{
    GetOrderRequest, Order, OrderReport, OrderStatus, OrderType, Side, SubmitOrderRequest, TimeInForce,
    get_order_request,
};
use wire::transport::Channel;

const ACCOUNT: u64 = 7;

/// An order that is over at once: nobody trades with it.
async fn submit(channel: &Channel, number: usize) -> Result<OrderReport> {
    let request = SubmitOrderRequest {
        account_id: ACCOUNT,
        client_order_id: format!("forgotten-{number}"),
        symbol: "BTC-USD".to_owned(),
        side: Side::Buy.into(),
        order_type: OrderType::Limit.into(),
        time_in_force: TimeInForce::ImmediateOrCancel.into(),
        price: 4_000_000,
        quantity: 1_000,
        ..Default::default()
    };
    let answer = OrderServiceClient::new(channel.clone()).submit_order(request).await?.into_inner();
    answer.report.context("an answer has a report")
}

async fn get(channel: &Channel, order_id: u64) -> Result<Option<Order>, tonic::Status> {
    let key = Some(get_order_request::Key::OrderId(order_id));
    let request = GetOrderRequest { account_id: ACCOUNT, key, ..Default::default() };
    Ok(OrderServiceClient::new(channel.clone()).get_order(request).await?.into_inner().order)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_the_engine_has_forgotten_is_read_from_the_history() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut server = tokio::task::block_in_place(PostgresServer::start);
    let configuration = format!(
        "[persistence_gateway]\nhistory.database = \"postgres\"\ndatabase.url = \"{}\"\n\
         [order_engine]\nrules.idempotency_window_s = 1\n",
        server.database()
    );
    let node = Node::start(directory.path(), "all", &configuration).await?;
    let channel = node.channel();
    let first = submit(&channel, 0).await?;
    assert_eq!(first.status(), OrderStatus::Canceled, "{first:?}");
    let place = first.place.as_ref().context("an answer has a place")?;
    integration_tests::record::wait_projected(&channel, place.seq).await?;

    // Without the history it shows when the engine does not know it any more: then it has to ask.
    tokio::task::block_in_place(|| server.kill());
    let begin = Instant::now();
    let mut number = 1;
    let refused = loop {
        submit(&channel, number).await?;
        number += 1;
        match get(&channel, first.order_id).await {
            Ok(order) => ensure!(order.is_some_and(|order| order.order_id == first.order_id), "another order"),
            Err(status) => break status,
        }
        ensure!(begin.elapsed() < LIMIT, "the engine never forgot it");
        tokio::time::sleep(LOOK_AGAIN).await;
    };
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");

    tokio::task::block_in_place(|| server.launch());
    let begin = Instant::now();
    let found = loop {
        match get(&channel, first.order_id).await {
            Ok(order) => break order.context("an order")?,
            Err(status) if begin.elapsed() < LIMIT && status.code() != Code::NotFound => {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            Err(status) => return Err(status.into()),
        }
    };
    assert_eq!((found.client_order_id.as_str(), found.status()), ("forgotten-0", OrderStatus::Canceled), "{found:?}");
    let unknown = get(&channel, first.order_id + 1_000_000_000).await.expect_err("there is no such order");
    assert!(matches!(unknown.code(), Code::NotFound), "{unknown:?}");
    assert!(node.terminate().await?.success());
    Ok(())
}
