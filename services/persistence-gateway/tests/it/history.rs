//! HistoryService and the two databases below it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use journal_core::ChainHash;
use journal_store::testing::PostgresServer;
use persistence_gateway::Config;
use persistence_gateway::history::{
    Cursor, ExecutionFilter, ExecutionKind, ExecutionRow, HistoryReader, HistoryWriter, OrderFilter, OrderRow, Page,
    Projected, RowBatch, Stamp,
};
use persistence_gateway::pools::PoolGauge;
use service_kit::Condition;
use service_kit::config::HumanDuration;
use tonic::Code;
use types::{
    AccountId, ClientOrderId, LogId, OrderId, OrderStatus, OrderType, Place, Price, Qty, RejectReason, Seq, ShardId,
    Side, TimeInForce, Timestamp, TradeId,
};
use wire::pb::history::v1 as pb;
use wire::status::ApiError;

use crate::support::{Gateway, Leader, START, commands, config, with_postgres};

/// Else the statements of impatient clients pile up in a server that is slow already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_was_given_up_is_called_off_in_the_server() {
    let server = PostgresServer::shared();
    let mut config = with_postgres(server.database());
    let url = config.database.url.expose().to_owned();
    config.database.query_timeout = HumanDuration::from_secs(1);
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(config, dir.path()).await;
    gateway.component("history", Condition::Ok).await;
    let held = server.hold_a_transaction(&url, "LOCK TABLE trades IN ACCESS EXCLUSIVE MODE");
    let locks = |granted: bool| {
        let sql = format!("SELECT count(*) FROM pg_locks WHERE granted = {granted} AND relation = 'trades'::regclass");
        server.sql(&url, &sql)
    };
    let until = Instant::now() + Duration::from_secs(60);
    while locks(true) == "0" {
        assert!(Instant::now() < until, "the table is not locked");
    }
    let asked = gateway.history().list_trades(pb::ListTradesRequest::default()).await;
    assert_eq!(asked.unwrap_err().code(), Code::Unavailable);
    while locks(false) != "0" {
        assert!(Instant::now() < until, "the server still waits for the table");
    }
    drop(held);
    gateway.stop().await;
}

#[tokio::test]
async fn pages_stay_stable_while_rows_are_added() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(config(), dir.path()).await;
    let mut leader = Leader::elect(&gateway, 1, START).await;
    let commands = commands(11, 1_000);
    leader.apply(&commands[..500]).await;
    gateway.stop().await;

    let gateway = Gateway::start(config(), dir.path()).await;
    let everything = pb::ListExecutionsRequest { page_size: 1000, ..pb::ListExecutionsRequest::default() };
    let before = gateway.history().list_executions(everything.clone()).await.unwrap().into_inner();
    assert!(before.next_page_token.is_empty());
    assert!(before.executions.len() > 100);
    assert_eq!(before.as_of_seq, leader.tail.seq.0);

    let request = pb::ListExecutionsRequest { page_size: 37, ..pb::ListExecutionsRequest::default() };
    let mut page = gateway.history().list_executions(request.clone()).await.unwrap().into_inner();
    let mut seen = page.executions;
    gateway.stop().await;

    // More history comes between two pages.
    let gateway = Gateway::start(config(), dir.path()).await;
    let mut leader = Leader::elect(&gateway, 2, START + 10_000_000).await;
    leader.apply(&commands[500..]).await;
    gateway.stop().await;
    let gateway = Gateway::start(config(), dir.path()).await;
    while !page.next_page_token.is_empty() {
        let request = pb::ListExecutionsRequest { page_token: page.next_page_token, ..request.clone() };
        page = gateway.history().list_executions(request).await.unwrap().into_inner();
        assert!(page.as_of_seq > before.as_of_seq);
        seen.extend(page.executions);
    }
    assert_eq!(seen, before.executions);
    gateway.stop().await;
}

#[tokio::test]
async fn tokens_that_are_none_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(config(), dir.path()).await;
    let mut leader = Leader::elect(&gateway, 1, START).await;
    leader.apply(&commands(12, 200)).await;
    gateway.stop().await;
    let gateway = Gateway::start(config(), dir.path()).await;
    let mut history = gateway.history();
    let request = pb::ListOrdersRequest { page_size: 2, ..pb::ListOrdersRequest::default() };
    let token = history.list_orders(request.clone()).await.unwrap().into_inner().next_page_token;
    assert!(!token.is_empty());
    let bad = [
        pb::ListOrdersRequest { page_token: "nonsense".to_owned(), ..request.clone() },
        pb::ListOrdersRequest { page_token: token[2..].to_owned(), ..request.clone() },
        pb::ListOrdersRequest { page_token: token.clone(), account_id: 3, ..request.clone() },
    ];
    for request in bad {
        let error = history.list_orders(request).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert_eq!(ApiError::from_status(&error).field.as_deref(), Some("page_token"));
    }
    let trades = pb::ListTradesRequest { page_token: token.clone(), ..pb::ListTradesRequest::default() };
    assert_eq!(history.list_trades(trades).await.unwrap_err().code(), Code::InvalidArgument, "of another question");
    history.list_orders(pb::ListOrdersRequest { page_token: token, ..request }).await.unwrap();
    gateway.stop().await;
}

fn stamp(seq: u64, at: u64) -> Stamp {
    let place = Place { log_id: LogId(u128::MAX - 1), epoch: u64::MAX, seq: Seq(seq), index: u32::MAX };
    Stamp { shard: ShardId(65_535), place, at: Timestamp(at) }
}

fn extreme_order() -> OrderRow {
    OrderRow {
        stamp: stamp(1, START),
        updated: Timestamp(START + 1),
        order_id: OrderId(u64::MAX),
        account: AccountId(u64::MAX),
        client_order_id: ClientOrderId::new("'; DROP TABLE orders; --".replace(' ', "_").as_str()).unwrap(),
        symbol: None,
        side: Side::Sell,
        order_type: OrderType::Market,
        time_in_force: TimeInForce::FillOrKill,
        price: Price(i64::MIN),
        quantity: Qty(u64::MAX),
        cumulative: Qty(u64::MAX - 1),
        leaves: Qty(1 << 63),
        status: OrderStatus::Rejected,
        reject_reason: Some(RejectReason::CapacityExhausted),
    }
}

/// Every number at its end, through a database and back; and what a writer does when its cursor is not the one.
async fn extremes(config: Config, dir: &std::path::Path) {
    let gauge = Arc::new(PoolGauge::new("test", "test", 2));
    let mut writer = HistoryWriter::new(&config, dir, Arc::clone(&gauge)).unwrap();
    let (shard, log_id) = (ShardId(65_535), LogId(u128::MAX - 1));
    let from = writer.open(shard, log_id).await.unwrap().unwrap();
    assert_eq!((from.seq, from.log_id, from.chain), (Seq(0), log_id, ChainHash::ZERO));
    let order = extreme_order();
    let execution = ExecutionRow {
        stamp: stamp(1, START),
        number: u32::MAX,
        kind: ExecutionKind::Rejected,
        order_id: OrderId(u64::MAX),
        account: AccountId(u64::MAX),
        client_order_id: None,
        symbol: None,
        side: None,
        price: Price(i64::MAX),
        quantity: Qty(u64::MAX),
        cumulative: Qty(0),
        leaves: Qty(u64::MAX),
        trade_id: TradeId(u64::MAX),
        reject_reason: None,
    };
    let mut rows = RowBatch::default();
    rows.create(order);
    rows.execution(execution);
    let to = Cursor { log_id, seq: Seq(1), chain: ChainHash([255; 16]) };
    assert_eq!(writer.write(shard, &from, &to, &rows).await.unwrap(), Projected::Done);
    // The answer was lost and the batch comes again: nothing happens.
    assert_eq!(writer.write(shard, &from, &to, &rows).await.unwrap(), Projected::Moved);
    let other_chain = Cursor { chain: ChainHash([1; 16]), ..to };
    assert_eq!(writer.write(shard, &other_chain, &to, &rows).await.unwrap(), Projected::Moved);
    assert_eq!(writer.open(shard, log_id).await.unwrap(), Some(to));
    assert!(writer.open(shard, LogId(5)).await.unwrap_err().to_string().contains("follows log"));

    let reader = HistoryReader::new(&config, dir, 2, gauge).unwrap();
    let page = Page { size: 10, after: None };
    let filter = OrderFilter {
        order_id: Some(OrderId(u64::MAX)),
        account: Some(AccountId(u64::MAX)),
        client_order_id: Some(order.client_order_id),
        from: Some(Timestamp(START)),
        to: Some(Timestamp(u64::MAX)),
        ..OrderFilter::default()
    };
    assert_eq!(reader.orders(&filter, &page).await.unwrap().rows, [order]);
    let before = OrderFilter { to: Some(Timestamp(START)), ..filter };
    assert_eq!(reader.orders(&before, &page).await.unwrap().rows, []);
    let filter = ExecutionFilter { kind: Some(ExecutionKind::Rejected), ..ExecutionFilter::default() };
    assert_eq!(reader.executions(&filter, &page).await.unwrap().rows, [execution]);
    assert_eq!(reader.cursors().await.unwrap(), [(shard, to)]);
    writer.close().await;
}

#[tokio::test]
async fn numbers_at_their_ends_survive_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    extremes(config(), dir.path()).await;
}

#[tokio::test]
async fn numbers_at_their_ends_survive_postgres() {
    let dir = tempfile::tempdir().unwrap();
    extremes(with_postgres(PostgresServer::shared().database()), dir.path()).await;
}
