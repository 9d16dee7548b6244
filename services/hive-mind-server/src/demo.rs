//! `demo`: a seeded market on a node, watched live, and what came of it: counts, latencies, a book.
//!
//! Deliberately absent: starting the node, and the ways into it (the composition knows the addresses).

mod picture;

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use wire::client::Cluster;
use wire::pb::marketdata::v1::market_data_service_client::MarketDataServiceClient;
use wire::pb::marketdata::v1::{BookSnapshot, GetBookRequest, Instrument, InstrumentStatus, ListInstrumentsRequest};
use wire::transport::Channel;

use crate::load::{self, Driven, LatencyUs, Market, Plan, Progress};

/// Between two drawings of the progress.
const REDRAW: Duration = Duration::from_millis(100);

/// Levels of each side in the picture.
const DEPTH: u32 = 6;

/// What to show.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Arguments {
    /// Requests to send: new orders, replaces and cancels.
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub(crate) orders: u64,
    /// Requests a second.
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: u32,
    /// Seed of the market: the same seed sends the same requests.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
}

/// What came of it. The JSON document has the fields down to `state_hash`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// Requests sent: new orders, replaces and cancels.
    pub(crate) orders: u64,
    /// Requests that were answered, durably, with anything but a refusal.
    pub(crate) acknowledged: u64,
    /// Requests that the exchange refused, durably.
    pub(crate) rejected: u64,
    /// Trades.
    pub(crate) trades: u64,
    /// From the first request to the last answer, seconds.
    pub(crate) duration_s: f64,
    /// Answered requests a second.
    pub(crate) throughput_per_s: f64,
    /// From the scheduled time of a request to its answer.
    pub(crate) latency_us: LatencyUs,
    /// Digest of the complete state afterwards, 32 hexadecimal digits.
    pub(crate) state_hash: String,
    /// Of the requests, new orders.
    #[serde(skip)]
    pub(crate) new_orders: u64,
    /// Refusals by reason.
    #[serde(skip)]
    pub(crate) reasons: Vec<(String, u64)>,
    /// Instruments.
    #[serde(skip)]
    pub(crate) instruments: Vec<InstrumentStatus>,
    /// Book of the first instrument.
    #[serde(skip)]
    pub(crate) book: BookSnapshot,
}

/// Runs the market. Fails if anything was not answered.
pub(crate) async fn run(arguments: Arguments, channel: Channel) -> Result<Report> {
    let instruments = list_instruments(&channel).await?;
    let market = Market::new(&instruments, arguments.seed, &load::run_mark())?;
    let plan = Plan { rate: arguments.rate.into(), warmup: 0, requests: arguments.orders, connections: 1 };
    let progress = Arc::new(Progress::default());
    let drawing = tokio::spawn(draw(Arc::clone(&progress), plan.requests));
    let driven = load::drive(&[Cluster::fixed(channel.clone())], plan, &market, &progress).await;
    drawing.abort();
    let Driven { tally, elapsed } = driven?;
    let unanswered = tally.turned_away + tally.unresolved;
    ensure!(
        unanswered == 0,
        "{unanswered} of {} requests were not executed: {}",
        tally.sent,
        tally.last_error.as_deref().unwrap_or("the sessions ended")
    );
    let answered = tally.acknowledged + tally.rejected;
    let reasons = tally.reasons.iter().map(|(reason, count)| (load::plain_reason(reason), *count)).collect();
    Ok(Report {
        orders: tally.sent,
        acknowledged: tally.acknowledged,
        rejected: tally.rejected,
        trades: tally.trades,
        duration_s: load::rounded(elapsed.as_secs_f64(), 3),
        throughput_per_s: load::rounded(answered as f64 / elapsed.as_secs_f64(), 1),
        latency_us: tally.latency.summary(),
        state_hash: load::state_hash(&channel, &instruments).await?,
        new_orders: tally.new_orders,
        reasons,
        book: book(&channel, market.first_symbol()).await?,
        instruments: list_instruments(&channel).await?,
    })
}

/// Prints what came of it, for people.
pub(crate) fn print_table(report: &Report) {
    picture::print(report);
}

impl Report {
    /// Definition of the instrument whose book is shown.
    fn shown(&self) -> Option<&Instrument> {
        let definitions = self.instruments.iter().filter_map(|status| status.instrument.as_ref());
        definitions.into_iter().find(|definition| definition.symbol == self.book.symbol)
    }
}

async fn list_instruments(channel: &Channel) -> Result<Vec<InstrumentStatus>> {
    let mut client = MarketDataServiceClient::new(channel.clone());
    let response =
        client.list_instruments(ListInstrumentsRequest::default()).await.context("cannot list the instruments")?;
    Ok(response.into_inner().instruments)
}

async fn book(channel: &Channel, symbol: &str) -> Result<BookSnapshot> {
    let mut client = MarketDataServiceClient::new(channel.clone());
    let request = GetBookRequest { symbol: symbol.to_owned(), depth: DEPTH, ..Default::default() };
    let response = client.get_book(request).await.context("cannot read a book")?;
    response.into_inner().book.context("the node sent no book")
}

/// Draws the progress on a terminal, and nowhere else, until it is aborted.
async fn draw(progress: Arc<Progress>, requests: u64) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    let style = ProgressStyle::with_template("{elapsed_precise} [{bar:40}] {human_pos}/{human_len} orders {msg}");
    let bar = ProgressBar::with_draw_target(Some(requests), ProgressDrawTarget::stderr());
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let _cleared = ClearOnDrop(bar.clone());
    let mut ticks = tokio::time::interval(REDRAW);
    loop {
        ticks.tick().await;
        bar.set_position(progress.answered.load(Ordering::Relaxed));
        bar.set_message(format!("{} trades", load::grouped(progress.trades.load(Ordering::Relaxed))));
    }
}

/// Takes the bar off the terminal when its task is aborted.
struct ClearOnDrop(ProgressBar);

impl Drop for ClearOnDrop {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
