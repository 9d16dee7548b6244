//! The projector: exactly once, whatever happens to the database or to the process.

use std::path::Path;

use journal_core::codec::snapshot;
use journal_core::{EntryKind, codec::state_hash};
use journal_store::memory::{MemoryDisk, MemoryStorage};
use journal_store::{LogReader, Storage, testing::PostgresServer};
use matching::Exchange;
use persistence_gateway::history::HistoryWriter;
use persistence_gateway::pools::PoolGauge;
use persistence_gateway::projector::{self, HistoryHealth, ProjectorOptions};
use persistence_gateway::{Config, VerifyOptions, verify};
use service_kit::Condition;
use service_kit::trace::Tracer;
use sqlx::{Connection, SqliteConnection};
use tokio_stream::StreamExt;
use tonic::Code;
use types::{Command, Event, Place, Seq, Snapshot, StateHash, Timestamp};
use wire::pb::history::v1 as pb;
use wire::pb::journal::v1 as journal;
use wire::pb::orders::v1::OrderStatus;

use crate::support::{Gateway, Leader, SHARD, START, commands, config, with_postgres};

/// The whole history, page by page.
#[derive(Debug, PartialEq)]
struct Everything {
    orders: Vec<pb::HistoricalOrder>,
    executions: Vec<pb::Execution>,
    trades: Vec<pb::HistoricalTrade>,
}

async fn everything(gateway: &Gateway) -> Everything {
    let mut history = gateway.history();
    let mut all = Everything { orders: Vec::new(), executions: Vec::new(), trades: Vec::new() };
    let mut request = pb::ListOrdersRequest { page_size: 300, ..pb::ListOrdersRequest::default() };
    loop {
        let page = history.list_orders(request.clone()).await.unwrap().into_inner();
        all.orders.extend(page.orders);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    let mut request = pb::ListExecutionsRequest { page_size: 300, ..pb::ListExecutionsRequest::default() };
    loop {
        let page = history.list_executions(request.clone()).await.unwrap().into_inner();
        all.executions.extend(page.executions);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    let mut request = pb::ListTradesRequest { page_size: 300, ..pb::ListTradesRequest::default() };
    loop {
        let page = history.list_trades(request.clone()).await.unwrap().into_inner();
        all.trades.extend(page.trades);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return all;
        }
    }
}

fn assert_verified(config: &Config, data_dir: &Path) -> persistence_gateway::VerifyReport {
    let report = verify(VerifyOptions { config: config.clone(), data_dir: data_dir.to_owned() }).unwrap();
    assert!(report.ok, "{report:#?}");
    assert_eq!(report.shards[0].projected, report.shards[0].journal_end, "an orderly stop projects everything");
    report
}

/// What an exchange of its own makes of the commands as [`Leader::apply`] puts them in order: its state, refused
/// submits and trades.
fn replay(leader: &Leader, first: u64, commands: &[Command]) -> (Snapshot, StateHash, usize, usize) {
    let mut exchange = Exchange::new(SHARD);
    let (mut events, mut fills, mut refused, mut trades) = (Vec::new(), Vec::new(), 0, 0);
    for (batch, commands) in (0u64..).zip(commands.chunks(8)) {
        for (index, command) in (0..).zip(commands) {
            let seq = Seq(first + batch);
            let place = Place { log_id: leader.log_id, epoch: leader.epoch.number, seq, index };
            events.clear();
            exchange.apply(place, Timestamp(START + 1_000 * seq.0), command, &mut events, &mut fills);
            let is = |wanted: fn(&Event) -> bool| events.iter().filter(|event| wanted(event)).count();
            trades += is(|event| matches!(event, Event::Trade(_)));
            if matches!(command, Command::Submit(_)) {
                refused += is(|event| matches!(event, Event::Rejected { .. }));
            }
        }
    }
    (exchange.snapshot(), exchange.state_hash(), refused, trades)
}

fn assert_agrees(all: &Everything, state: &Snapshot, refused: usize, trades: usize) {
    assert_eq!(all.trades.len(), trades);
    let with = |status: OrderStatus| {
        all.orders.iter().filter(move |row| row.order.as_ref().is_some_and(|order| order.status() == status))
    };
    assert_eq!(with(OrderStatus::Rejected).count(), refused);
    let mut open: Vec<_> = with(OrderStatus::New)
        .chain(with(OrderStatus::PartiallyFilled))
        .map(|row| row.order.as_ref().unwrap())
        .map(|o| (o.order_id, o.account_id, o.price, o.quantity, o.cumulative_quantity, o.leaves_quantity))
        .collect();
    open.sort_unstable();
    let books: Vec<_> = state
        .orders
        .iter()
        .map(|o| (o.order_id.0, o.account.0, o.price.0, o.quantity.0, o.cumulative.0, o.leaves.0))
        .collect();
    assert_eq!(open, books);
    for order in &state.orders {
        let row = all.orders.iter().map(|row| row.order.as_ref().unwrap()).find(|o| o.order_id == order.order_id.0);
        assert_eq!(row.unwrap().client_order_id, order.client_order_id.as_str());
    }
}

#[tokio::test]
async fn both_databases_say_what_the_exchange_says() {
    let commands = commands(21, 3_000);
    let mut answers = Vec::new();
    for config in [config(), with_postgres(PostgresServer::shared().database())] {
        let dir = tempfile::tempdir().unwrap();
        let gateway = Gateway::start(config.clone(), dir.path()).await;
        let mut leader = Leader::elect(&gateway, 1, START).await;
        let first = leader.tail.seq.0 + 1;
        leader.apply(&commands).await;
        let (state, hash, refused, trades) = replay(&leader, first, &commands);
        // The projector compares its state with the leader's.
        let entry = leader.seal(EntryKind::StateHash, state_hash::encode(hash).into());
        leader.append(vec![entry]).await;
        gateway.stop().await;

        let gateway = Gateway::start(config.clone(), dir.path()).await;
        let mut all = everything(&gateway).await;
        assert_agrees(&all, &state, refused, trades);
        gateway.stop().await;
        let report = assert_verified(&config, dir.path());
        assert_eq!(report.shards[0].state_hash, hash.to_string());
        assert_eq!(report.shards[0].orders as usize, all.orders.len());
        assert_eq!(report.shards[0].executions as usize, all.executions.len());
        assert_eq!(report.shards[0].trades as usize, trades);
        // Every journal has its own name; nothing else may differ.
        all.orders.iter_mut().for_each(|row| row.place.as_mut().unwrap().log_id.clear());
        all.executions.iter_mut().for_each(|row| row.place.as_mut().unwrap().log_id.clear());
        all.trades.iter_mut().for_each(|row| row.place.as_mut().unwrap().log_id.clear());
        answers.push(all);
    }
    assert!(answers[0].trades.len() > 100, "a stream without trades tells nothing");
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn filters_select_what_they_say() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(config(), dir.path()).await;
    let mut leader = Leader::elect(&gateway, 1, START).await;
    leader.apply(&commands(22, 2_000)).await;
    gateway.stop().await;
    let gateway = Gateway::start(config(), dir.path()).await;
    let all = everything(&gateway).await;
    let mut history = gateway.history();

    let trade = &all.trades[all.trades.len() / 2];
    let request = pb::ListTradesRequest { account_id: trade.maker_account_id, page_size: 1000, ..Default::default() };
    let found = history.list_trades(request).await.unwrap().into_inner().trades;
    let of = |t: &&pb::HistoricalTrade| [t.maker_account_id, t.taker_account_id].contains(&trade.maker_account_id);
    assert_eq!(found, all.trades.iter().filter(of).cloned().collect::<Vec<_>>());
    // The same through small pages: the page boundary falls between the two executions of a trade too.
    let mut paged = Vec::new();
    let mut request = pb::ListTradesRequest { account_id: trade.maker_account_id, page_size: 3, ..Default::default() };
    loop {
        let page = history.list_trades(request.clone()).await.unwrap().into_inner();
        paged.extend(page.trades);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, found);

    let request = pb::ListTradesRequest { order_id: trade.maker_order_id, ..Default::default() };
    let found = history.list_trades(request).await.unwrap().into_inner().trades;
    let of = |t: &&pb::HistoricalTrade| [t.maker_order_id, t.taker_order_id].contains(&trade.maker_order_id);
    assert_eq!(found, all.trades.iter().filter(of).take(100).cloned().collect::<Vec<_>>());

    let order = all.orders[all.orders.len() / 3].order.clone().unwrap();
    let request = pb::ListOrdersRequest {
        account_id: order.account_id,
        client_order_id: order.client_order_id.clone(),
        ..Default::default()
    };
    let found = history.list_orders(request).await.unwrap().into_inner().orders;
    assert!(found.iter().any(|row| row.order.as_ref() == Some(&order)));
    let request = pb::ListOrdersRequest { symbol: order.symbol.clone(), page_size: 1000, ..Default::default() };
    let found = history.list_orders(request).await.unwrap().into_inner().orders;
    let of = |row: &&pb::HistoricalOrder| row.order.as_ref().unwrap().symbol == order.symbol;
    assert_eq!(found, all.orders.iter().filter(of).take(1000).cloned().collect::<Vec<_>>());
    gateway.stop().await;
}

async fn sqlite(data_dir: &Path) -> SqliteConnection {
    let path = data_dir.join("history.sqlite");
    SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap()
}

#[tokio::test]
async fn a_database_that_fails_delays_nothing_and_is_caught_up_exactly_once() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(config(), dir.path()).await;
    let mut leader = Leader::elect(&gateway, 1, START).await;
    let commands = commands(23, 1_000);
    gateway.component("history", Condition::Ok).await;
    let mut database = sqlite(dir.path()).await;
    let fail = "CREATE TRIGGER fail BEFORE INSERT ON executions WHEN NEW.idx = 5 BEGIN \
                SELECT RAISE(ABORT, 'injected'); END";
    sqlx::query(fail).execute(&mut database).await.unwrap();
    // Acknowledged although the transaction fails in its middle, again and again.
    leader.apply(&commands[..500]).await;
    gateway.component("history", Condition::Degraded).await;
    leader.apply(&commands[500..]).await;
    let request = pb::GetHistoryStatusRequest::default();
    let status = gateway.history().get_history_status(request).await.unwrap().into_inner();
    assert!(status.error.contains("injected"), "{status:?}");
    assert_eq!(status.commit_seq, leader.tail.seq.0);
    assert!(status.projected_seq < status.commit_seq);

    sqlx::query("DROP TRIGGER fail").execute(&mut database).await.unwrap();
    drop(database);
    gateway.component("history", Condition::Ok).await;
    gateway.stop().await;
    assert_verified(&config(), dir.path());
}

#[tokio::test]
async fn a_server_that_is_killed_is_caught_up_exactly_once() {
    let mut server = PostgresServer::start();
    let config = with_postgres(server.database());
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(config.clone(), dir.path()).await;
    let mut leader = Leader::elect(&gateway, 1, START).await;
    let commands = commands(24, 2_000);
    gateway.component("history", Condition::Ok).await;
    leader.apply(&commands[..1_000]).await;
    // Somewhere in the middle of the projection.
    server.kill();
    leader.apply(&commands[1_000..]).await;
    gateway.component("history", Condition::Degraded).await;
    let pools = gateway.context.pools.snapshot();
    assert!(pools.iter().any(|pool| !pool.last_error.is_empty()), "{pools:?}");
    server.launch();
    gateway.component("history", Condition::Ok).await;
    gateway.stop().await;
    assert_verified(&config, dir.path());
}

#[tokio::test]
async fn two_projectors_of_one_history_write_each_entry_once() {
    for mut config in [config(), with_postgres(PostgresServer::shared().database())] {
        config.history.batch_entries = 3;
        let dir = tempfile::tempdir().unwrap();
        let disk = MemoryDisk::new();
        let mut storage = MemoryStorage::open(&disk);
        let recovered = storage.recover().unwrap();
        let spawned =
            persistence_gateway::journal::spawn(SHARD, "g0", Box::new(storage), recovered, None, Tracer::off())
                .unwrap();
        let components = service_kit::Components::new();
        let mut projectors = Vec::new();
        for name in ["a", "b"] {
            let gauge = std::sync::Arc::new(PoolGauge::new("test", "test", 1));
            projectors.push(
                projector::spawn(ProjectorOptions {
                    config: config.clone(),
                    journal: spawned.handle.clone(),
                    writer: HistoryWriter::new(&config, dir.path(), gauge).unwrap(),
                    health: HistoryHealth::new(components.register(name)),
                    audit: service_kit::audit::Audit::none(),
                })
                .unwrap(),
            );
        }
        let voter = persistence_gateway::journal::JournalVoter::new([(SHARD, spawned.handle)].into());
        let (dial, listener) = wire::transport::in_process();
        let service = journal::journal_service_server::JournalServiceServer::new(voter);
        tokio::spawn(listener.serve(service, std::future::pending()));
        let address = wire::transport::Address::InProcess(dial);
        let gateway = Gateway::around(wire::transport::connect(&address, &Default::default()));
        let mut leader = Leader::elect(&gateway, 1, START).await;
        let commands = commands(25, 1_500);
        let first = leader.tail.seq.0 + 1;
        for part in commands.chunks(160) {
            leader.apply(part).await;
        }
        for projector in projectors {
            assert_eq!(projector.standstill.reason().filter(|reason| !reason.contains("lock")), None);
            projector.stop().await;
        }
        // The replay cuts batches the same way: 160 is a multiple of 8.
        let (_, _, _, trades) = replay(&leader, first, &commands);
        let gauge = std::sync::Arc::new(PoolGauge::new("test", "test", 1));
        let reader = persistence_gateway::history::HistoryReader::new(&config, dir.path(), 1, gauge).unwrap();
        assert_eq!(reader.cursors().await.unwrap()[0].1.seq, leader.tail.seq);
        let page = persistence_gateway::history::Page { size: 100_000, after: None };
        assert_eq!(reader.trades(&Default::default(), &page).await.unwrap().rows.len(), trades);
        assert!(disk.read(Seq(1), leader.tail.seq, 1 << 20).is_ok());
    }
}

#[tokio::test]
async fn a_snapshot_trims_the_journal_and_a_restart_goes_on_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config();
    config.journal.snapshot_every_entries = 20;
    config.history.batch_entries = 10;
    let commands = commands(26, 2_400);
    let mut first = 0;
    for run in 0..3u64 {
        let gateway = Gateway::start(config.clone(), dir.path()).await;
        let mut leader = Leader::elect(&gateway, run + 1, START + run * 100_000_000).await;
        if run == 0 {
            first = leader.tail.seq.0 + 1;
        }
        let part = 800 * usize::try_from(run).unwrap();
        leader.apply(&commands[part..part + 800]).await;
        gateway.stop().await;
        let report = assert_verified(&config, dir.path());
        assert!(report.shards[0].journal_base > first + 100 * run, "{report:?}");
        assert!(report.shards[0].replayed_from > report.shards[0].journal_base, "{report:?}");
    }

    let gateway = Gateway::start(config, dir.path()).await;
    let request = journal::ReadRequest { from_seq: 1, ..Default::default() };
    let error = gateway.journal().read(request).await.unwrap().into_inner().next().await.unwrap().unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition, "what was trimmed cannot be read: {error}");
    let mut parts =
        gateway.journal().read_snapshot(journal::ReadSnapshotRequest::default()).await.unwrap().into_inner();
    let (mut bytes, mut at) = (Vec::new(), 0);
    while let Some(part) = parts.next().await {
        let part = part.unwrap();
        at = part.at.unwrap().seq;
        bytes.extend_from_slice(&part.part);
    }
    let exchange = Exchange::restore(&snapshot::decode(&bytes).unwrap()).unwrap();
    assert!(at > 250 && exchange.open_orders() > 0);
    gateway.stop().await;
}
