//! Two engines and eight shards, led by both: a client that talks to one engine only, and one that knows both.

use anyhow::{Context, Result, ensure};
use integration_tests::cluster::{Cluster, Shape, symbols};
use integration_tests::{LIMIT, LOOK_AGAIN};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;
use wire::client::{Cluster as Engines, OrderClient, RetryPolicy, Session, SessionOptions, Sessions};
use wire::pb::marketdata::v1::market_data_service_client::MarketDataServiceClient;
use wire::pb::marketdata::v1::{GetStateDigestRequest, ListInstrumentsRequest};
use wire::pb::orders::v1::order_service_client::OrderServiceClient;
use wire::pb::orders::v1::order_session_request::Command;
use wire::pb::orders::v1::{
    GetOrderRequest, GetTopologyRequest, MassCancelRequest, OrderReport, OrderStatus, Side, SubmitOrderRequest,
    get_order_request::Key,
};
use wire::transport::{Channel, ClientOptions};

const SHARDS: u32 = 8;

/// Orders of the session.
const ORDERS: u64 = 400;

fn order(number: u64, symbol: &str) -> SubmitOrderRequest {
    SubmitOrderRequest {
        account_id: 7,
        client_order_id: format!("order-{number}"),
        symbol: symbol.to_owned(),
        side: Side::Buy.into(),
        order_type: wire::pb::orders::v1::OrderType::Limit.into(),
        price: 1_000,
        quantity: 1,
        ..Default::default()
    }
}

fn patient(engines: Engines) -> OrderClient {
    OrderClient::of(engines, RetryPolicy { deadline: LIMIT, ..RetryPolicy::default() })
}

/// Waits until the engine at the end of `channel` knows a leader for every shard, and both engines lead as many: nothing
/// is moved from one to the other any more.
async fn both_lead(channel: &Channel) -> Result<()> {
    let begin = Instant::now();
    let mut client = OrderServiceClient::new(channel.clone());
    loop {
        let topology = client.get_topology(GetTopologyRequest {}).await?.into_inner();
        let led = |name: &str| topology.leaders.iter().filter(|leader| leader.engine == name).count();
        let each = SHARDS as usize / 2;
        if topology.shards == SHARDS && led("engine-1") == each && led("engine-2") == each {
            return Ok(());
        }
        ensure!(begin.elapsed() < LIMIT, "after {LIMIT:?} the leaders are {:?}", topology.leaders);
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Sends orders for all shards over one session; each shard must answer in the order of the requests.
async fn pipelined(channel: Channel) -> Result<BTreeMap<u64, OrderReport>> {
    let session = Session::open(channel, SessionOptions::default()).await?;
    let symbols = symbols(SHARDS);
    let mut replies = Vec::new();
    for number in 0..ORDERS {
        let symbol = &symbols[number as usize % symbols.len()];
        replies.push((number, session.send(Command::Submit(order(number, symbol))).await?));
    }
    let mut last = BTreeMap::new();
    let mut reports = BTreeMap::new();
    for (number, reply) in replies {
        let report = reply.await.result.with_context(|| format!("order {number}"))?;
        let place = report.place.clone().context("an order without a place")?;
        let here = (place.seq, place.index);
        let before = last.insert(report.shard, here);
        ensure!(before < Some(here), "order {number} of shard {} stands at {here:?}, after {before:?}", report.shard);
        reports.insert(number, report);
    }
    session.close().await;
    Ok(reports)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_engine_is_as_good_as_all() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let shape = Shape { engines: 2, coordinators: 1, gateways: 1, shards: SHARDS, snapshot_every: 100_000 };
    let mut cluster = Cluster::start(directory.path(), shape).await?;
    let channel = cluster.engines[0].channel();
    both_lead(&channel).await?;

    let reports = pipelined(channel.clone()).await?;
    let used: BTreeSet<_> = reports.values().map(|report| report.shard).collect();
    assert_eq!(used, (0..SHARDS).collect(), "every shard trades");

    let one = patient(Engines::fixed(channel.clone()));
    for (number, report) in reports.iter().take(64) {
        let key = Some(Key::ClientOrderId(format!("order-{number}")));
        let found = one.get(&GetOrderRequest { account_id: 7, key, ..Default::default() }).await?;
        let found = found.and_then(|found| found.order).with_context(|| format!("order {number} is gone"))?;
        assert_eq!(found.order_id, report.order_id);
    }
    let mut market = MarketDataServiceClient::new(channel.clone());
    let listed = market.list_instruments(ListInstrumentsRequest::default()).await?.into_inner();
    assert_eq!(listed.instruments.len(), symbols(SHARDS).len(), "those of all shards");
    for shard in 0..SHARDS {
        let digest = market.get_state_digest(GetStateDigestRequest { shard, ..Default::default() }).await?.into_inner();
        assert_eq!((digest.instruments, digest.open_orders), (2, ORDERS / u64::from(SHARDS)), "shard {shard}");
    }

    // The other engine dies with what it led: the first one takes over, and clients notice a pause.
    let both =
        Engines::roaming(cluster.engines.iter().map(|engine| engine.channel()).collect(), &ClientOptions::default())?;
    let mut straight = Sessions::new(both.clone(), SessionOptions::default());
    let again = straight.send(Command::Submit(order(0, &symbols(SHARDS)[0]))).await?.await.result?;
    assert!(again.duplicate);
    cluster.engines[1].kill()?;
    let roaming = patient(both);
    for (number, symbol) in (ORDERS..).zip(symbols(SHARDS)) {
        let report = roaming.submit(&order(number, &symbol)).await?;
        assert_eq!(report.status(), OrderStatus::New, "{symbol}");
    }
    let all = MassCancelRequest { account_id: 7, client_order_id: "all".to_owned(), ..Default::default() };
    let report = one.mass_cancel(&all).await?;
    assert_eq!(u64::from(report.canceled_orders), ORDERS + symbols(SHARDS).len() as u64, "nothing was lost or doubled");
    let report = roaming.mass_cancel(&all).await?;
    assert!(report.duplicate, "the same request again");
    cluster.stop().await
}
