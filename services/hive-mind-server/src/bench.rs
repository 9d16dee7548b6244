//! `bench`: an open-loop load at a given rate, latencies from the scheduled time, and afterwards the check that every
//! acknowledged order can be found as it was acknowledged.
//!
//! Deliberately absent: starting the node.

mod table;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use journal_store::file::{Percentiles, probe_sync};
use serde::Serialize;
use wire::client::Cluster;
use wire::pb::marketdata::v1::ListInstrumentsRequest;
use wire::pb::marketdata::v1::market_data_service_client::MarketDataServiceClient;

use crate::load::{self, Driven, Findings, LatencyUs, Market, Plan, Progress};

/// Syncs that the disk is measured by; a p99.9 needs some thousands.
const PROBE_SAMPLES: usize = 4_000;

/// The disk is measured at the rate of the load, but not below this many syncs a second, so that it takes 4 s at most.
const PROBE_RATE_MIN: u32 = 1_000;

/// What load.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Arguments {
    /// Requests a second: new orders, replaces and cancels.
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: u32,
    /// How long, seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) duration: u32,
    /// Connections that the load is spread over.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) connections: u16,
    /// Load that is sent first and not measured, seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=3_600))]
    pub(crate) warmup: u32,
    /// Seed of the market: the same seed sends the same requests.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// Requests sent: new orders, replaces and cancels, those of the warm-up included.
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
    /// From the scheduled time of a request to its answer, without the warm-up.
    pub(crate) latency_us: LatencyUs,
    /// Digest of the complete state afterwards, 32 hexadecimal digits.
    pub(crate) state_hash: String,
    /// Requests a second that were asked for.
    pub(crate) rate: u32,
    /// Connections.
    pub(crate) connections: u16,
    /// Requests turned away before they reached the log, as from a full queue.
    pub(crate) turned_away: u64,
    /// Why the last of these was turned away.
    pub(crate) last_error: Option<String>,
    /// Requests in doubt when a session ended, whose outcome was found out under the same id.
    pub(crate) resolved: u64,
    /// Requests in doubt to the end. They were never acknowledged.
    pub(crate) unresolved: u64,
    /// Where the acknowledged orders were found, and those that were not.
    #[serde(flatten)]
    pub(crate) findings: Findings,
    /// The same as in the findings: what makes the command fail.
    #[serde(skip)]
    pub(crate) lost: u64,
    /// How long the disk of the journal takes for a write of 512 bytes and an fdatasync, measured after the load and
    /// at its rate; absent for a node that was running already.
    pub(crate) fdatasync_us: Option<LatencyUs>,
    /// What a journal with one write under way could give on that disk at that rate, from when a request was due until
    /// it was durable, with nothing else to do; measured with the former.
    pub(crate) commit_floor_us: Option<LatencyUs>,
}

/// Runs the load over connections that `connect` makes. `directory` is on the disk of the node's journal, if known.
pub(crate) async fn run(
    arguments: Arguments,
    connect: impl Fn() -> Result<Cluster>,
    directory: Option<PathBuf>,
) -> Result<Report> {
    let clusters = (0..arguments.connections.max(1)).map(|_| connect()).collect::<Result<Vec<_>>>()?;
    let cluster = &clusters[0];
    let mut market_data = MarketDataServiceClient::new(cluster.any().channel);
    let listed = market_data.list_instruments(ListInstrumentsRequest::default()).await;
    let instruments = listed.context("cannot list the instruments")?.into_inner().instruments;
    let market = Market::new(&instruments, arguments.seed, &load::run_mark())?;
    let count = |seconds: u32| u64::from(arguments.rate) * u64::from(seconds);
    let plan = Plan {
        rate: arguments.rate.into(),
        warmup: count(arguments.warmup),
        requests: count(arguments.duration),
        connections: clusters.len(),
    };
    let Driven { tally, elapsed } = load::drive(&clusters, plan, &market, &Arc::new(Progress::default())).await?;
    let findings = load::find_afterwards(cluster, &tally.expected, tally.last_seq).await?;
    let (fdatasync_us, commit_floor_us) = match directory {
        Some(directory) => disk(directory, arguments.rate).await.map(|(sync, commit)| (Some(sync), Some(commit)))?,
        None => (None, None),
    };
    let answered = tally.acknowledged + tally.rejected;
    Ok(Report {
        orders: tally.sent,
        acknowledged: tally.acknowledged,
        rejected: tally.rejected,
        trades: tally.trades,
        duration_s: load::rounded(elapsed.as_secs_f64(), 3),
        throughput_per_s: load::rounded(answered as f64 / elapsed.as_secs_f64(), 1),
        latency_us: tally.latency.summary(),
        state_hash: load::state_hash(&cluster.any().channel, &instruments).await?,
        rate: arguments.rate,
        connections: arguments.connections,
        turned_away: tally.turned_away,
        last_error: tally.last_error,
        resolved: tally.resolved,
        unresolved: tally.unresolved,
        lost: findings.lost,
        findings,
        fdatasync_us,
        commit_floor_us,
    })
}

/// What no answer can be faster than: the syncs of the disk, as often as the load asked for them, and what waiting for
/// them in turn makes of it.
async fn disk(directory: PathBuf, rate: u32) -> Result<(LatencyUs, LatencyUs)> {
    let interval = Duration::from_secs(1) / rate.max(PROBE_RATE_MIN);
    let measured = tokio::task::spawn_blocking(move || probe_sync(&directory, PROBE_SAMPLES, interval)).await??;
    let us = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let latency =
        |part: Percentiles| LatencyUs { p50: us(part.p50), p99: us(part.p99), p999: us(part.p999), max: us(part.max) };
    Ok((latency(measured.sync), latency(measured.commit)))
}

/// Prints what came of it, for people.
pub(crate) fn print_table(report: &Report) {
    table::print(report);
}
