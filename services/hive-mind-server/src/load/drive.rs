//! The open loop: request number i is due at start + i / rate, whether or not the earlier ones were answered. A thread
//! of its own keeps the time, since the runtime's timers tick in whole milliseconds.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::runtime::Handle;
use wire::client::{Cluster, SessionOptions};
use wire::pb::marketdata::v1::market_data_service_client::MarketDataServiceClient;
use wire::pb::marketdata::v1::{GetStateDigestRequest, InstrumentStatus};
use wire::transport::Channel;

use super::lane::{Lane, collect};
use super::market::{Flow, Market};
use super::tally::Tally;

/// Requests without an answer, over all connections; further ones wait and count with their wait. Half of what an
/// engine takes by default, so that a slow node shows as latency and not as refusals.
const IN_FLIGHT: usize = 4_096;

/// How late the kernel may wake the thread that keeps the time, nanoseconds. Its usual 50,000 would be a tenth of
/// the interval at 2,000 requests a second.
#[cfg(target_os = "linux")]
const TIMER_SLACK: std::num::NonZeroU64 = std::num::NonZeroU64::MIN;

/// What to send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Plan {
    /// Requests a second, over all connections.
    pub(crate) rate: f64,
    /// Requests that are sent first and not measured.
    pub(crate) warmup: u64,
    /// Requests that are measured.
    pub(crate) requests: u64,
    /// Connections, at least 1.
    pub(crate) connections: usize,
}

/// How far a run is.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Answered requests.
    pub(crate) answered: AtomicU64,
    /// Trades.
    pub(crate) trades: AtomicU64,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub(crate) struct Driven {
    /// Counts.
    pub(crate) tally: Tally,
    /// From the first scheduled request to the last answer.
    pub(crate) elapsed: Duration,
}

/// Sends what `plan` says, of what happens in `market`, and waits for all answers. Each connection is one of its own.
pub(crate) async fn drive(
    clusters: &[Cluster],
    plan: Plan,
    market: &Market,
    progress: &Arc<Progress>,
) -> Result<Driven> {
    let in_flight = (IN_FLIGHT / clusters.len().max(2)).max(1);
    let options = SessionOptions { in_flight, ..SessionOptions::default() };
    let mut lanes = Vec::new();
    let mut collectors = Vec::new();
    for (connection, cluster) in clusters.iter().enumerate().take(plan.connections.max(1)) {
        let (lane, answers) = Lane::new(cluster.clone(), options);
        lanes.push((lane, market.flow(connection)));
        collectors.push(tokio::spawn(collect(answers, cluster.clone(), Arc::clone(progress))));
    }
    let start = Instant::now();
    let handle = Handle::current();
    let lanes = tokio::task::spawn_blocking(move || keep_time(&handle, lanes, plan, start)).await??;
    for (lane, _) in lanes {
        lane.close().await;
    }
    let mut tally = Tally::new()?;
    for collector in collectors {
        tally.add(collector.await??)?;
    }
    Ok(Driven { tally, elapsed: start.elapsed() })
}

#[expect(clippy::disallowed_methods, reason = "this thread does nothing but wait for the next due time")]
fn keep_time(handle: &Handle, mut lanes: Vec<(Lane, Flow)>, plan: Plan, start: Instant) -> Result<Vec<(Lane, Flow)>> {
    #[cfg(target_os = "linux")]
    rustix::thread::set_current_timer_slack(Some(TIMER_SLACK)).context("cannot set the timer slack")?;
    let connections = lanes.len() as u64;
    for number in 0..plan.warmup + plan.requests {
        let due = start + Duration::from_secs_f64(number as f64 / plan.rate);
        let at = usize::try_from(number % connections).context("there are as many lanes as connections")?;
        let (lane, flow) = &mut lanes[at];
        let command = flow.next_request();
        let early = due.saturating_duration_since(Instant::now());
        if !early.is_zero() {
            std::thread::sleep(early);
        }
        let scheduled = (number >= plan.warmup).then_some(due);
        handle.block_on(lane.send(command, scheduled))?;
    }
    Ok(lanes)
}

/// The digest of the state of every shard that has one of `instruments`, joined by colons if there are several.
pub(crate) async fn state_hash(channel: &Channel, instruments: &[InstrumentStatus]) -> Result<String> {
    let shards: BTreeSet<u32> = instruments.iter().map(|status| status.shard).collect();
    let mut client = MarketDataServiceClient::new(channel.clone());
    let mut hashes = Vec::new();
    for shard in shards {
        let digest = client.get_state_digest(GetStateDigestRequest { shard, ..Default::default() }).await;
        hashes.push(digest.context("cannot read the digest of the state")?.into_inner().state_hash);
    }
    Ok(hashes.join(":"))
}
