//! Gathers what the checker needs from a cluster after a load: the log as each gateway has it, and the history rows.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use journal_core::Entry;
use sim::checker::{Copy, Evidence, OrderRow, Rows, TradeRow, Verdict, check};
use sim::history::{Call, Operation};
use types::ShardId;
use wire::pb::history::v1::history_service_client::HistoryServiceClient;
use wire::pb::history::v1::{GetHistoryStatusRequest, ListTradesRequest};
use wire::pb::journal::v1::journal_service_client::JournalServiceClient;
use wire::pb::journal::v1::{ReadRequest, ReadSnapshotRequest};
use wire::pb::marketdata::v1::GetStateDigestRequest;
use wire::pb::marketdata::v1::market_data_service_client::MarketDataServiceClient;
use wire::transport::{Channel, PEER_MESSAGE_LIMIT};

use crate::LOOK_AGAIN;
use crate::node::Endpoint;
use crate::record::all_orders;
use crate::scribe::Scribe;

/// How long a gateway may take to know, and to project, what was acknowledged.
const LIMIT: Duration = Duration::from_secs(120);

/// Longest time between a client's giving up and the execution: a frozen process may hold a request as long as it is
/// frozen, and clocks are read at both ends.
const IN_DOUBT_WINDOW_US: u64 = 15_000_000;

/// Numbers of orders and trades carry their shard above this bit.
const SHARD_BIT: u32 = 48;

/// What is judged.
#[derive(Clone, Debug)]
pub struct System {
    /// Shards.
    pub shards: u32,
    /// Processes that have a state to give a digest of.
    pub engines: Vec<Endpoint>,
    /// Processes that have the log, and history; the channels show a key that may read both.
    pub gateways: Vec<Endpoint>,
}

/// Judges everything that clients recorded against every shard's log.
///
/// # Errors
/// When a gateway does not answer or does not get as far as the acknowledgements.
pub async fn judge(
    system: &System,
    scribes: &[Scribe],
    mut operations: Vec<Operation>,
    clock: impl Fn() -> u64,
) -> Result<Vec<Verdict>> {
    operations.extend(digests(system, clock).await);
    let mut logs = Vec::new();
    for (shard, scribe) in (0..system.shards).zip(scribes) {
        let here = operations.iter().filter(|operation| operation.shard == shard);
        let last = here.filter_map(Operation::answer).map(|answer| answer.seq).max().unwrap_or(0);
        let written = scribe.up_to(last, LIMIT).await.with_context(|| format!("shard {shard}"))?;
        let mut copies = Vec::new();
        for gateway in &system.gateways {
            let entries = log(gateway.channel.clone(), shard, &written, last).await;
            let entries = entries.with_context(|| format!("read the log of shard {shard} from {}", gateway.name))?;
            copies.push(Copy { gateway: gateway.name.clone(), entries });
        }
        copies.push(Copy { gateway: "all gateways, as it became final".to_owned(), entries: written });
        logs.push(copies);
    }
    let mut verdicts = Vec::new();
    // After the logs, which may end with a digest that is younger than the last answer.
    let rows = rows(system, &logs).await?;
    for ((shard, rows), copies) in (0..system.shards).zip(rows).zip(logs) {
        let (here, others) = operations.into_iter().partition(|operation| operation.shard == shard);
        operations = others;
        let here: Vec<Operation> = here;
        let evidence = Evidence {
            shard: ShardId(shard),
            copies,
            operations: here,
            rows: Some(rows),
            in_doubt_window_us: IN_DOUBT_WINDOW_US,
        };
        // Minutes of load are replayed by the slow exchange: no thread of the runtime should wait for it.
        verdicts.push(tokio::task::spawn_blocking(move || check(&evidence)).await?);
    }
    Ok(verdicts)
}

/// Leaves the record of the clients in `directory` if anything was found.
///
/// # Errors
/// When it cannot be written.
pub fn keep_record(directory: &Path, operations: &[Operation], verdicts: &[Verdict]) -> Result<()> {
    if verdicts.iter().any(|verdict| !verdict.is_clean()) {
        let lines: Vec<String> = operations.iter().filter_map(|operation| operation.to_line().ok()).collect();
        std::fs::write(directory.join("history.jsonl"), lines.join("\n")).context("keep the record of the clients")?;
    }
    Ok(())
}

/// The committed log of a shard as a gateway has it, at least up to `last`. Below its newest snapshot it may be
/// trimmed; there it is what was written down.
async fn log(channel: Channel, shard: u32, written: &[Entry], last: u64) -> Result<Vec<Entry>> {
    let begin = Instant::now();
    let mut client = JournalServiceClient::new(channel).max_decoding_message_size(PEER_MESSAGE_LIMIT);
    let request = ReadSnapshotRequest { log_id: vec![0; 16].into(), shard };
    let snapshot = client.read_snapshot(request).await?.into_inner().message().await?;
    let at = snapshot.and_then(|part| part.at).map_or(0, |at| usize::try_from(at.seq).unwrap_or(usize::MAX));
    let below = written.get(..at).with_context(|| format!("its snapshot is of seq {at}, more than was final"))?;
    let mut entries = below.to_vec();
    loop {
        let request = ReadRequest {
            log_id: vec![0; 16].into(),
            shard,
            from_seq: entries.len() as u64 + 1,
            to_seq: 0,
            committed_only: true,
            follow: false,
        };
        let mut parts = client.read(request).await?.into_inner();
        while let Some(part) = parts.message().await? {
            let log_id = wire::convert::log_id("log_id", &part.log_id)?;
            entries.extend(wire::convert::entries(log_id, part.entries)?);
        }
        if entries.len() as u64 >= last {
            return Ok(entries);
        }
        ensure!(begin.elapsed() < LIMIT, "it ends at seq {}, but seq {last} was acknowledged", entries.len());
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// The state digest of every engine that gives one.
async fn digests(system: &System, clock: impl Fn() -> u64) -> Vec<Operation> {
    let mut found = Vec::new();
    for (number, engine) in (0..).zip(&system.engines) {
        for shard in 0..system.shards {
            let mut client = MarketDataServiceClient::new(engine.channel.clone());
            let invoked = clock();
            let request = GetStateDigestRequest { shard, allow_stale: true, min_seq: 0 };
            let Ok(answer) = client.get_state_digest(request).await else { continue };
            let answer = answer.into_inner();
            let (as_of_seq, hash) = (answer.as_of_seq, answer.state_hash);
            let call = Call::Digest { engine: engine.name.clone(), stale: true, as_of_seq, hash };
            found.push(Operation { client: 2_000_000 + number, shard, invoked, returned: clock(), attempts: 1, call });
        }
    }
    found
}

/// History of each shard, once it is complete.
async fn rows(system: &System, logs: &[Vec<Copy>]) -> Result<Vec<Rows>> {
    let channel = system.gateways.first().context("there is a gateway")?.channel.clone();
    let mut rows = vec![Rows::default(); system.shards as usize];
    for ((shard, rows), copies) in (0..).zip(&mut rows).zip(logs) {
        let end = copies.iter().map(|copy| copy.entries.len() as u64).max().unwrap_or(0);
        rows.projected_seq = projected(&channel, shard, end).await?;
    }
    for (order_id, row) in all_orders(&channel).await? {
        let (order, place) = (row.order.context("an order")?, row.place.context("a place")?);
        let Some(rows) = rows.get_mut(usize::try_from(order_id >> SHARD_BIT)?) else { continue };
        rows.orders.push(OrderRow {
            order_id,
            account: order.account_id,
            id: order.client_order_id,
            seq: place.seq,
            index: place.index,
            cumulative: order.cumulative_quantity,
        });
    }
    let mut client = HistoryServiceClient::new(channel);
    let mut page_token = String::new();
    loop {
        let request = ListTradesRequest { page_size: 1_000, page_token, ..ListTradesRequest::default() };
        let page = client.list_trades(request).await?.into_inner();
        for trade in page.trades {
            let Some(rows) = rows.get_mut(usize::try_from(trade.trade_id >> SHARD_BIT)?) else { continue };
            rows.trades.push(TradeRow {
                trade_id: trade.trade_id,
                price: trade.price,
                quantity: trade.quantity,
                maker: trade.maker_order_id,
                taker: trade.taker_order_id,
            });
        }
        if page.next_page_token.is_empty() {
            return Ok(rows);
        }
        page_token = page.next_page_token;
    }
}

/// Waits until history holds all of a shard up to `last`, and all that is committed now.
async fn projected(channel: &Channel, shard: u32, last: u64) -> Result<u64> {
    let begin = Instant::now();
    let mut client = HistoryServiceClient::new(channel.clone());
    loop {
        let status = client.get_history_status(GetHistoryStatusRequest { shard: Some(shard) }).await?.into_inner();
        if status.projected_seq >= last.max(status.commit_seq) {
            return Ok(status.projected_seq);
        }
        ensure!(begin.elapsed() < LIMIT, "history is at seq {}, but {last} was acknowledged", status.projected_seq);
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
