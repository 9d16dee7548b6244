//! `replay`: real order flow in the LOBSTER format through gRPC and the durable path, the exchange's book compared
//! with the file's after every message.
//!
//! The files are read ahead, so that orders which stood before the first message are known when it is sent; what is
//! sent next never depends on an answer. Every answer is known before it comes: executions must trade with exactly the
//! orders that the file names, fill by fill.
//!
//! Deliberately absent: starting a node, and timing by the file's clock: messages go as fast as the exchange answers.

mod compare;
mod csv;
mod depth;
mod executions;
mod foresight;
mod instrument;
mod item;
mod levels;
mod messages;
mod mirror;
mod plan;
mod report;
mod requests;
mod session;
mod side;
mod tally;
#[cfg(test)]
mod tests;
mod unseen;
mod verify;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use types::Symbol;
use wire::pb::admin::v1::DefineInstrumentRequest;
use wire::pb::admin::v1::instrument_service_client::InstrumentServiceClient;
use wire::pb::marketdata::v1::market_data_service_client::MarketDataServiceClient;
use wire::pb::marketdata::v1::{InstrumentStatus, ListInstrumentsRequest};
use wire::pb::orders::v1::OrderStatus;
use wire::transport::Channel;

use crate::load::{rounded, run_mark, state_hash};
use messages::Message;
use plan::Planner;
use report::Run;
pub(crate) use report::{Report, print_table};
use requests::Writer;
use session::Desk;

/// Messages between two looks at the progress bar: often enough to move, seldom enough to cost nothing.
const PROGRESS_EVERY: usize = 256;

/// What to replay.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Message file in the LOBSTER format.
    #[arg(long, value_name = "MESSAGES.csv")]
    pub(crate) lobster: PathBuf,
    /// Order-book file with a row for every message; the book is compared with each.
    #[arg(long, value_name = "ORDERBOOK.csv")]
    pub(crate) orderbook: Option<PathBuf>,
    /// Symbol to trade as; defined if the node does not have it. Without it, the message file's name up to the first
    /// underscore.
    #[arg(long)]
    pub(crate) symbol: Option<Symbol>,
    /// Requests under way at the most.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) in_flight: u16,
}

/// What is replayed.
pub(crate) struct Input {
    messages: Vec<Message>,
    depth: Option<String>,
    symbol: Symbol,
    in_flight: usize,
}

/// Reads the files and checks them, before any node is troubled.
pub(crate) fn prepare(arguments: &Arguments) -> Result<Input> {
    let text = read(&arguments.lobster)?;
    let messages = messages::parse(&text).with_context(|| arguments.lobster.display().to_string())?;
    ensure!(!messages.is_empty(), "{} has no messages", arguments.lobster.display());
    let depth = arguments.orderbook.as_deref().map(read).transpose()?;
    if let Some(depth) = &depth {
        let rows = depth.trim_end().lines().count();
        ensure!(rows == messages.len(), "{} messages, but {rows} rows in the order-book file", messages.len());
    }
    let symbol = match arguments.symbol {
        Some(symbol) => symbol,
        None => symbol_of(&arguments.lobster)?,
    };
    Ok(Input { messages, depth, symbol, in_flight: arguments.in_flight.into() })
}

/// Replays `input` through a node whose book of the symbol is empty.
pub(crate) async fn run(input: Input, channel: Channel) -> Result<Report> {
    let Input { messages, depth, symbol, in_flight } = input;
    let instrument = traded(&channel, symbol, &messages).await?;
    let writer = Writer { symbol: symbol.to_string(), run: run_mark() };
    let mut desk = Desk::open(channel.clone(), writer, in_flight).await?;
    let mut planner = Planner::new(&messages, depth.as_deref()).context("order-book file")?;
    let progress = progress_bar(messages.len());
    let started = Instant::now();
    desk.work(&mut planner, |done| {
        if done.is_multiple_of(PROGRESS_EVERY) {
            progress.set_position(done as u64);
        }
    })
    .await?;
    let duration = started.elapsed().as_secs_f64();
    progress.finish_and_clear();
    let state_hash = state_hash(&channel, &[instrument]).await?;
    let (requests, books_compared) = (desk.requests, desk.books_compared);
    let (verifier, latency) = desk.close().await;
    let tally = planner.into_tally();
    ensure!(tally.messages.sum() == messages.len() as u64, "messages were lost count of");
    let (latency_us, duration_s) = (latency.summary(), rounded(duration, 3));
    let run = Run { requests, books_compared, in_flight, latency_us, duration_s, state_hash };
    Ok(Report::new(symbol.to_string(), tally, verifier.findings, run))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The file's name up to the first underscore, as the format has it.
fn symbol_of(path: &Path) -> Result<Symbol> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let symbol = name.split('_').next().unwrap_or_default();
    symbol.parse().with_context(|| format!("{symbol:?} from the file's name cannot be a symbol; give --symbol"))
}

/// The instrument, defined if the node does not have it.
async fn traded(channel: &Channel, symbol: Symbol, messages: &[Message]) -> Result<InstrumentStatus> {
    if let Some(found) = find(channel, symbol).await? {
        return Ok(found);
    }
    let request = DefineInstrumentRequest { instrument: Some(instrument::definition(symbol.as_str(), messages)) };
    let answer = InstrumentServiceClient::new(channel.clone()).define_instrument(request).await;
    let report = answer.context("cannot define the instrument")?.into_inner().report.unwrap_or_default();
    if report.status() != OrderStatus::Done {
        bail!("{symbol} was not defined: {}", report.reject_reason().as_str_name());
    }
    find(channel, symbol).await?.with_context(|| format!("{symbol} is not there after it was defined"))
}

async fn find(channel: &Channel, symbol: Symbol) -> Result<Option<InstrumentStatus>> {
    let answer =
        MarketDataServiceClient::new(channel.clone()).list_instruments(ListInstrumentsRequest::default()).await;
    let instruments = answer.context("cannot list the instruments")?.into_inner().instruments;
    let is_it = |status: &InstrumentStatus| status.instrument.as_ref().is_some_and(|i| i.symbol == symbol.as_str());
    Ok(instruments.into_iter().find(is_it))
}

/// On standard error, and only if that is a terminal.
fn progress_bar(messages: usize) -> ProgressBar {
    let bar = ProgressBar::new(messages as u64);
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} messages, {per_sec}, {eta} left");
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
