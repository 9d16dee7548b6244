//! The client of the load: goes to whom it believes to lead, follows hints, tries the next engine otherwise, and tries
//! the same request under the same id until it is answered.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sim::history::{Answer, Call, Operation, Outcome};
use tonic::{Request, Status};
use wire::convert::session_command;
use wire::pb::marketdata::v1::market_data_service_client::MarketDataServiceClient;
use wire::pb::marketdata::v1::{BookLevel, GetBookRequest};
use wire::pb::orders::v1::order_service_client::OrderServiceClient;
use wire::pb::orders::v1::order_session_request::Command;
use wire::pb::orders::v1::{OrderReport, RejectReason};
use wire::status::{ApiError, Retry};
use wire::transport::Channel;

use super::{Instruments, Recorder};
use crate::node::Endpoint;
use crate::requests::{identity, in_session};

/// How long the first attempt may take: longer than any answer under load, short enough to find out about a stopped
/// process. Each further one may take twice as long, so that a cluster that is behind is not buried under retries.
const ATTEMPT_LIMIT: Duration = Duration::from_millis(1_000);
const ATTEMPT_LIMIT_MAX: Duration = Duration::from_secs(8);

/// How long a request is tried: longer than any fault lasts.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);

/// Between two attempts, at first and at the most.
const BACKOFF_MIN: Duration = Duration::from_millis(5);
const BACKOFF_MAX: Duration = Duration::from_millis(640);

/// Levels read of a book.
const DEPTH: u32 = 5;

/// First number of the clients that read; below are the accounts.
const READERS: u64 = 1_000_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Client {
    engines: Vec<Endpoint>,
    /// Number of the engine that is believed to lead, by shard.
    leaders: HashMap<u32, AtomicUsize>,
    instruments: Instruments,
    recorder: Arc<Recorder>,
}

impl Client {
    pub(super) fn new(engines: Vec<Endpoint>, instruments: Instruments, recorder: Arc<Recorder>) -> Self {
        let leaders = instruments.0.values().map(|(shard, _)| (*shard, AtomicUsize::new(0))).collect();
        Self { engines, leaders, instruments, recorder }
    }

    pub(super) const fn recorder(&self) -> &Arc<Recorder> {
        &self.recorder
    }

    pub(super) fn shard(&self, symbol: &str) -> u32 {
        self.instruments.shard(symbol)
    }

    fn believed(&self, shard: u32) -> usize {
        self.leaders.get(&shard).map_or(0, |leader| leader.load(Ordering::Relaxed))
    }

    /// What to believe after `tried` did not answer.
    fn learn(&self, shard: u32, tried: usize, error: Option<&ApiError>) {
        let Some(leader) = self.leaders.get(&shard) else { return };
        let hint = error.and_then(|error| error.leader.as_ref()).map(|hint| hint.address.trim_start_matches("http://"));
        let hinted = hint.and_then(|hint| self.engines.iter().position(|engine| engine.address == hint));
        let next = hinted.unwrap_or((tried + 1) % self.engines.len());
        // Somebody else may have learnt better meanwhile.
        let _ = leader.compare_exchange(tried, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Sends a request until it is answered, and records it; the answer, if there was one.
    pub(super) async fn settle(&self, command: Command) -> Option<OrderReport> {
        let shard = self.instruments.shard(symbol(&command));
        let payload = session_command(&in_session(0, command.clone()), &self.instruments);
        let payload = payload.map(|command| matching::payload_hash(&command)).unwrap_or_default();
        let (account, id) = identity(&command);
        let (account, id) = (account, id.to_owned());
        let (invoked, begin) = (self.recorder.stamp(), Instant::now());
        let (mut attempts, mut in_doubt, mut backoff, mut limit) = (0, false, BACKOFF_MIN, ATTEMPT_LIMIT);
        let outcome = loop {
            attempts += 1;
            let engine = self.believed(shard);
            let sent = send(self.engines[engine].channel.clone(), command.clone(), limit);
            let error = match tokio::time::timeout(limit, sent).await {
                Ok(Ok(report)) => break Ok(report),
                Ok(Err(status)) => Some(ApiError::from_status(&status)),
                Err(_) => {
                    limit = (limit * 2).min(ATTEMPT_LIMIT_MAX);
                    None
                }
            };
            let retry = error.as_ref().map_or(Retry::InDoubt, |error| error.code.retry());
            in_doubt |= retry == Retry::InDoubt;
            self.learn(shard, engine, error.as_ref());
            if retry == Retry::Never || begin.elapsed() > SETTLE_LIMIT {
                break Err(error.map_or_else(|| "no answer in time".to_owned(), |error| error.to_string()));
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        };
        let returned = self.recorder.stamp();
        let (outcome, report) = match outcome {
            Ok(report) => (Outcome::Acknowledged(answer(&report)), Some(report)),
            Err(_) if in_doubt => (Outcome::Unknown { gave_up_us: Recorder::wall_us() }, None),
            Err(error) => (Outcome::Refused { error }, None),
        };
        let call = Call::Request { account, id, payload, outcome };
        self.recorder.record(Operation { client: account, shard, invoked, returned, attempts, call });
        report
    }

    /// Reads the best levels as they are: the leader answers, whoever is asked.
    pub(super) async fn read_book(&self, symbol: &str) {
        let engine = self.believed(self.instruments.shard(symbol));
        let request = GetBookRequest { symbol: symbol.to_owned(), depth: DEPTH, ..GetBookRequest::default() };
        self.record_book(engine, READERS, request).await;
    }

    /// Reads the best levels that one engine has applied, `min_seq` at least; where that was.
    pub(super) async fn read_stale(&self, reader: u64, engine: usize, symbol: &str, min_seq: u64) -> Option<u64> {
        let (symbol, engine) = (symbol.to_owned(), engine % self.engines.len());
        let request = GetBookRequest { symbol, depth: DEPTH, allow_stale: true, min_seq };
        self.record_book(engine, READERS + 1 + reader, request).await
    }

    async fn record_book(&self, engine: usize, client: u64, request: GetBookRequest) -> Option<u64> {
        let (symbol, stale, min_seq) = (request.symbol.clone(), request.allow_stale, request.min_seq);
        let shard = self.instruments.shard(&symbol);
        let mut service = MarketDataServiceClient::new(self.engines[engine].channel.clone());
        let invoked = self.recorder.stamp();
        let asked = service.get_book(timed(request, ATTEMPT_LIMIT));
        let book = tokio::time::timeout(ATTEMPT_LIMIT, asked).await.ok()?.ok()?.into_inner().book?;
        let returned = self.recorder.stamp();
        let levels = |levels: &[BookLevel]| -> Vec<(i64, u64, u32)> {
            levels.iter().map(|level| (level.price, level.quantity, level.orders)).collect()
        };
        let (bids, asks) = (levels(&book.bids), levels(&book.asks));
        let as_of_seq = book.as_of_seq;
        let depth = usize::try_from(DEPTH).unwrap_or(usize::MAX);
        let call = Call::Book { symbol, depth, stale, min_seq, as_of_seq, bids, asks };
        self.recorder.record(Operation { client, shard, invoked, returned, attempts: 1, call });
        Some(as_of_seq)
    }
}

/// With a deadline, so that a process that was stopped does not execute it long after.
fn timed<T>(message: T, limit: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(limit);
    request
}

async fn send(channel: Channel, command: Command, limit: Duration) -> Result<OrderReport, Status> {
    let mut client = OrderServiceClient::new(channel);
    let report = match command {
        Command::Submit(c) => client.submit_order(timed(c, limit)).await?.into_inner().report,
        Command::Cancel(c) => client.cancel_order(timed(c, limit)).await?.into_inner().report,
        Command::Replace(c) => client.replace_order(timed(c, limit)).await?.into_inner().report,
        Command::MassCancel(c) => client.mass_cancel(timed(c, limit)).await?.into_inner().report,
    };
    report.ok_or_else(|| Status::internal("an answer without a report"))
}

fn symbol(command: &Command) -> &str {
    match command {
        Command::Submit(c) => &c.symbol,
        Command::Cancel(c) => &c.symbol,
        Command::Replace(c) => &c.symbol,
        Command::MassCancel(c) => &c.symbol,
    }
}

fn answer(report: &OrderReport) -> Answer {
    let place = report.place.clone().unwrap_or_default();
    let reason = match report.reject_reason() {
        RejectReason::Unspecified => String::new(),
        reason => format!("{reason:?}"),
    };
    Answer {
        log_id: place.log_id,
        epoch: place.epoch,
        seq: place.seq,
        index: place.index,
        status: format!("{:?}", report.status()),
        reason,
        order_id: report.order_id,
        cumulative: report.cumulative_quantity,
        leaves: report.leaves_quantity,
        canceled_orders: report.canceled_orders,
        fills: report
            .fills
            .iter()
            .map(|fill| (fill.trade_id, fill.price, fill.quantity, fill.maker_order_id))
            .collect(),
        time_us: report.transact_time_us,
    }
}
