//! `admin top`: throughput, latencies and where the time goes, live, as the difference of one look and the next.
//!
//! On a terminal it redraws in the alternate screen until Ctrl-C; elsewhere it prints one frame after another, and with
//! `--output json` one document a line. Absent: keys; whoever wants a log redirects it.

use std::io::IsTerminal;
use std::time::Duration;

use admin_api::{quantile_us, since};
use anyhow::Result;
use clap::Args;
use serde::Serialize;
use wire::pb::admin::v1 as pb;

use super::asked::Asked;
use super::picture::{self, Picture};
use super::status::{duration, megabytes, word};
use crate::cli::{EXIT_OK, Output};
use crate::output::{self, line};

/// Width of the bar for a share.
const BAR: usize = 24;

/// How often, how long.
#[derive(Args, Debug)]
pub(super) struct Top {
    /// Between two frames, seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=60))]
    interval: u64,
    /// Frames to show; without it, until Ctrl-C, or one where there is no terminal.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    frames: Option<u64>,
}

/// What happened between two looks. The JSON is the schema.
#[derive(Debug, Serialize)]
struct Frame {
    status: &'static str,
    seconds: f64,
    instances: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    instance: String,
    status: &'static str,
    uptime_s: Option<u64>,
    rss_bytes: Option<u64>,
    requests_per_s: f64,
    orders_per_s: f64,
    trades_per_s: f64,
    rejected_per_s: f64,
    failed_per_s: f64,
    p50_us: Option<f64>,
    p99_us: Option<f64>,
    p999_us: Option<f64>,
    stages: Vec<Stage>,
    queued_commands: u64,
    history_lag_entries: u64,
    leads: Vec<u32>,
}

#[derive(Debug, Serialize)]
struct Stage {
    stage: String,
    per_s: f64,
    p50_us: Option<f64>,
    p99_us: Option<f64>,
    /// Of the time of this stage and the others, percent.
    share_percent: f64,
}

pub(super) async fn run(top: Top, asked: &Asked) -> Result<u8> {
    let screen = asked.output == Output::Table && std::io::stdout().is_terminal();
    let frames = top.frames.unwrap_or(if screen { u64::MAX } else { 1 });
    if screen {
        output::screen(true);
    }
    // Ctrl-C ends it, and the terminal is as before.
    let shown = tokio::select! {
        shown = show(&top, asked, frames, screen) => shown,
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    if screen {
        output::screen(false);
    }
    shown.map(|()| EXIT_OK)
}

async fn show(top: &Top, asked: &Asked, frames: u64, screen: bool) -> Result<()> {
    let channel = asked.channel()?;
    let mut before = Picture::take(asked, &channel).await?;
    for _ in 0..frames {
        // A rate needs time to pass.
        tokio::time::sleep(Duration::from_secs(top.interval)).await;
        let now = Picture::take(asked, &channel).await?;
        let frame = Frame::new(&now, &before);
        if screen {
            output::home();
        }
        asked.report(&frame, |frame| frame.print(&now))?;
        before = now;
    }
    Ok(())
}

impl Frame {
    fn new(now: &Picture, before: &Picture) -> Self {
        let rows: Vec<Row> = now.health.instances.iter().map(|instance| Row::new(instance, now, before)).collect();
        let seconds = now.activity.as_ref().ok().map_or(0.0, |all| {
            let first =
                |all: &pb::GetActivityResponse| all.instances.iter().find_map(|one| Some(one.activity.as_ref()?.at_us));
            let earlier = before.activity.as_ref().ok().and_then(first);
            seconds(first(all), earlier)
        });
        Self { status: word(now.health.status()), seconds, instances: rows }
    }

    fn print(&self, picture: &Picture) {
        let total = |of: fn(&Row) -> f64| self.instances.iter().map(of).sum::<f64>();
        line(&format!(
            "hive mind is {}   {:.0} requests/s   {:.0} orders/s   {:.0} trades/s   {:.0} refused/s   {:.0} failed/s",
            self.status,
            total(|row| row.requests_per_s),
            total(|row| row.orders_per_s),
            total(|row| row.trades_per_s),
            total(|row| row.rejected_per_s),
            total(|row| row.failed_per_s),
        ));
        line("");
        self.instances.iter().for_each(Row::print);
        let pools = picture.pools.as_ref().map(|pools| pools.instances.as_slice()).unwrap_or_default();
        for instance in pools {
            let name = picture::name(instance.answer.as_ref());
            for pool in &instance.pools {
                let pb::Pool { name: pool_name, in_use, max_size, waiters, .. } = pool;
                let share = f64::from(*in_use) / f64::from((*max_size).max(1));
                line(&format!("pool {name} {pool_name:<14} {} {in_use} of {max_size}, {waiters} waiting", bar(share)));
            }
        }
    }
}

impl Row {
    fn new(instance: &pb::InstanceHealth, now: &Picture, before: &Picture) -> Self {
        let name = picture::name(instance.answer.as_ref());
        let (after, earlier) = (activity(now, name), activity(before, name));
        let passed = seconds(after.as_ref().map(|one| one.at_us), earlier.as_ref().map(|one| one.at_us));
        let told = after.is_some();
        let (after, earlier) = (after.unwrap_or_default(), earlier.unwrap_or_default());
        let rate = |of: fn(&pb::Activity) -> u64| per(of(&after).saturating_sub(of(&earlier)), passed);
        let requests = difference(after.requests.as_ref(), earlier.requests.as_ref());
        let memory = now.memory.as_ref().ok().into_iter().flat_map(|all| &all.instances);
        let memory =
            memory.filter(|one| picture::name(one.answer.as_ref()) == name).find_map(|one| one.memory.as_ref());
        let quantile = |quantile| requests.as_ref().and_then(|requests| quantile_us(requests, quantile));
        Self {
            instance: name.to_owned(),
            status: instance.health.as_ref().map_or("unreachable", |health| word(health.status())),
            uptime_s: instance.health.as_ref().map(|health| health.uptime_ms / 1_000),
            rss_bytes: memory.map(|memory| memory.rss),
            requests_per_s: requests.as_ref().map_or(0.0, |requests| per(requests.count, passed)),
            orders_per_s: rate(|one| one.orders),
            trades_per_s: rate(|one| one.trades),
            rejected_per_s: rate(|one| one.rejected),
            failed_per_s: rate(|one| one.failed),
            p50_us: quantile(0.5),
            p99_us: quantile(0.99),
            p999_us: quantile(0.999),
            stages: if told { stages(&after, &earlier, passed) } else { Vec::new() },
            queued_commands: after.queued_commands,
            history_lag_entries: after.history_lag_entries,
            leads: leads(now, name),
        }
    }

    fn print(&self) {
        let uptime = self.uptime_s.map_or_else(|| "-".to_owned(), duration);
        let memory = self.rss_bytes.map_or_else(|| "-".to_owned(), megabytes);
        let leads = match self.leads.as_slice() {
            [] => String::new(),
            shards => format!("   leads {}", shards.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")),
        };
        line(&format!("{}   {}   up {uptime}   {memory}{leads}", self.instance, self.status));
        let time = |time: Option<f64>| time.map_or_else(|| "-".to_owned(), |us| format!("{us:.0} us"));
        line(&format!(
            "  {:>8.0} requests/s   p50 {}   p99 {}   p99.9 {}   queued {}   history behind {}",
            self.requests_per_s,
            time(self.p50_us),
            time(self.p99_us),
            time(self.p999_us),
            self.queued_commands,
            self.history_lag_entries,
        ));
        for stage in &self.stages {
            let Stage { stage, per_s, p50_us, p99_us, share_percent } = stage;
            let bar = bar(share_percent / 100.0);
            line(&format!(
                "  {stage:<11} {bar} {share_percent:>3.0} %   {per_s:>7.0}/s   p50 {}   p99 {}",
                time(*p50_us),
                time(*p99_us)
            ));
        }
        line("");
    }
}

fn activity(picture: &Picture, name: &str) -> Option<pb::Activity> {
    let all = picture.activity.as_ref().ok()?;
    all.instances.iter().find(|one| picture::name(one.answer.as_ref()) == name)?.activity.clone()
}

fn leads(picture: &Picture, name: &str) -> Vec<u32> {
    let leaders = picture.consensus.as_ref().map(|told| told.leaders.as_slice()).unwrap_or_default();
    let led = |leader: &&wire::pb::consensus::v1::ShardLeader| {
        leader.engine.as_ref().is_some_and(|engine| engine.name == name)
    };
    leaders.iter().filter(led).map(|leader| leader.shard).collect()
}

/// The stages of a moment, in the order in which a request passes them.
fn stages(now: &pb::Activity, before: &pb::Activity, passed: f64) -> Vec<Stage> {
    const ORDER: [&str; 7] = ["queue", "journal", "apply", "egress", "disk", "projector", "leadership"];
    let mut stages: Vec<(Stage, u64)> = Vec::new();
    for name in ORDER {
        let Some(latencies) = difference(now.stages.get(name), before.stages.get(name)) else { continue };
        let quantile = |quantile| quantile_us(&latencies, quantile);
        let stage = Stage {
            stage: name.to_owned(),
            per_s: per(latencies.count, passed),
            p50_us: quantile(0.5),
            p99_us: quantile(0.99),
            share_percent: 0.0,
        };
        stages.push((stage, latencies.sum_us));
    }
    let total: u64 = stages.iter().map(|(_, sum)| sum).sum();
    let share = |(stage, sum): (Stage, u64)| Stage { share_percent: sum as f64 * 100.0 / total.max(1) as f64, ..stage };
    stages.into_iter().map(share).collect()
}

fn difference(now: Option<&pb::Latencies>, before: Option<&pb::Latencies>) -> Option<pb::Latencies> {
    let now = now?;
    Some(since(now, before.unwrap_or(&pb::Latencies::default())))
}

fn seconds(now: Option<u64>, before: Option<u64>) -> f64 {
    match (now, before) {
        (Some(now), Some(before)) => now.saturating_sub(before) as f64 / 1e6,
        _ => 0.0,
    }
}

fn per(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share is 0 to 1")]
fn bar(share: f64) -> String {
    let full = ((share.clamp(0.0, 1.0) * BAR as f64).round() as usize).min(BAR);
    format!("[{}{}]", "#".repeat(full), ".".repeat(BAR - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latencies(count: u64, sum_us: u64) -> pb::Latencies {
        pb::Latencies { count, sum_us, buckets: vec![pb::LatencyBucket { up_to_us: 100, count }] }
    }

    #[test]
    fn a_frame_shows_what_happened_since_the_one_before() {
        let with = |count, sum| pb::Activity {
            stages: [("journal".to_owned(), latencies(count, sum)), ("apply".to_owned(), latencies(count, 0))].into(),
            ..Default::default()
        };
        let stages = stages(&with(300, 9_000), &with(100, 1_000), 2.0);
        assert_eq!(stages.iter().map(|one| one.stage.as_str()).collect::<Vec<_>>(), ["journal", "apply"]);
        assert_eq!((stages[0].per_s, stages[0].share_percent), (100.0, 100.0));
        assert_eq!(stages[0].p50_us, Some(50.0));
    }

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        assert_eq!(bar(0.0).matches('#').count(), 0);
        assert_eq!(bar(0.5).matches('#').count(), BAR / 2);
        assert_eq!(bar(7.0).matches('#').count(), BAR);
    }
}
