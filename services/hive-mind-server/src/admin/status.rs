//! `admin status` and `healthcheck`: the whole system on one screen, and one word for a probe.
//!
//! Absent: what to do about it; that is `doctor`.

use admin_api::quantile_us;
use anyhow::Result;
use clap::Args;
use serde::Serialize;
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::admin_service_client::AdminServiceClient;

use super::asked::{Asked, answered};
use super::picture::{self, Picture};
use crate::cli::{EXIT_DIFFERENCE, EXIT_OK};
use crate::output::{line, table};

/// Stages that every request passes; the others are behind them.
pub(super) const REQUEST_STAGES: [&str; 4] = ["queue", "journal", "apply", "egress"];

/// What counts as healthy.
#[derive(Args, Debug)]
pub(super) struct Healthcheck {
    /// Also fails when the system only works with a restriction.
    #[arg(long)]
    strict: bool,
    /// Only this component of the asked node: order_engine, consensus, persistence, history, admin.
    #[arg(long, value_name = "NAME")]
    component: Option<String>,
}

/// The system at a glance. The JSON is the schema: a field, once there, keeps name and meaning.
#[derive(Debug, Serialize)]
pub(super) struct Overview {
    status: &'static str,
    reasons: Vec<String>,
    instances: Vec<Instance>,
    shards: Vec<Shard>,
    elections_paused: Option<bool>,
    pools: Vec<Pool>,
    latency_us: Option<Latency>,
    /// Where the time of a request goes, the slowest first.
    stages: Vec<Stage>,
    instruments: Vec<States>,
}

#[derive(Debug, Serialize)]
struct Instance {
    name: String,
    status: &'static str,
    roles: String,
    version: Option<String>,
    uptime_ms: Option<u64>,
    rss_bytes: Option<u64>,
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Shard {
    shard: u32,
    leader: Option<String>,
    term: Option<u64>,
    lease_ttl_ms: u64,
    commit_index: u64,
    standbys: usize,
}

#[derive(Debug, Serialize)]
struct Pool {
    instance: String,
    name: String,
    database: String,
    max: u32,
    in_use: u32,
    waiters: u32,
    timeouts_total: u64,
    last_error: Option<String>,
}

/// Since the processes were started.
#[derive(Debug, Serialize)]
struct Latency {
    requests: u64,
    p50: f64,
    p99: f64,
    p999: f64,
}

/// A stage that every request passes.
#[derive(Debug, Serialize)]
struct Stage {
    instance: String,
    stage: String,
    p99_us: f64,
}

/// How many instruments are in a state.
#[derive(Debug, Serialize)]
struct States {
    state: String,
    instruments: usize,
}

pub(super) async fn status(asked: &Asked) -> Result<u8> {
    let picture = Picture::take(asked, &asked.channel()?).await?;
    asked.report(&Overview::new(&picture), Overview::print)?;
    Ok(if picture.health.status() == pb::ComponentStatus::Down { EXIT_DIFFERENCE } else { EXIT_OK })
}

#[derive(Debug, Serialize)]
struct Health {
    status: &'static str,
    healthy: bool,
    reasons: Vec<String>,
}

pub(super) async fn healthcheck(healthcheck: Healthcheck, asked: &Asked) -> Result<u8> {
    let request = asked.request(pb::GetHealthRequest { timeout_ms: 0 })?;
    let health = answered(AdminServiceClient::new(asked.channel()?).get_health(request).await)?;
    let (status, reasons) = match &healthcheck.component {
        None => (health.status(), reasons(&health)),
        Some(wanted) => component(&health, wanted),
    };
    let healthy = match status {
        pb::ComponentStatus::Ok => true,
        pb::ComponentStatus::Degraded => !healthcheck.strict,
        pb::ComponentStatus::Down | pb::ComponentStatus::Unspecified => false,
    };
    let told = Health { status: word(status), healthy, reasons };
    asked.report(&told, |told| {
        line(told.status);
        told.reasons.iter().for_each(|reason| line(&format!("  {reason}")));
    })?;
    Ok(if healthy { EXIT_OK } else { EXIT_DIFFERENCE })
}

/// The condition of a component of the instance that was asked.
fn component(health: &pb::GetHealthResponse, wanted: &str) -> (pb::ComponentStatus, Vec<String>) {
    let own = health.instances.first().and_then(|instance| instance.health.as_ref());
    let found = own.and_then(|own| own.components.iter().find(|component| component.name == wanted));
    match found {
        Some(found) if found.error.is_empty() => (found.status(), Vec::new()),
        Some(found) => (found.status(), vec![format!("{wanted}: {}", found.error)]),
        None => {
            let names: Vec<&str> =
                own.map(|own| own.components.iter().map(|one| one.name.as_str()).collect()).unwrap_or_default();
            let why = format!("the asked node has no component {wanted:?}; it has {}", names.join(", "));
            (pb::ComponentStatus::Unspecified, vec![why])
        }
    }
}

/// Why the system is not ok, instance by instance.
pub(super) fn reasons(health: &pb::GetHealthResponse) -> Vec<String> {
    let mut reasons = Vec::new();
    for instance in &health.instances {
        let name = picture::name(instance.answer.as_ref());
        let Some(told) = &instance.health else {
            let error = instance.answer.as_ref().map_or("", |answer| &answer.error);
            reasons.push(format!("{name} did not answer: {error}"));
            continue;
        };
        if told.draining {
            reasons.push(format!("{name} is being stopped"));
        }
        for component in told.components.iter().filter(|one| one.status() != pb::ComponentStatus::Ok) {
            let pb::Component { name: component_name, error, .. } = component;
            reasons.push(format!("{name}: {component_name} is {}: {error}", word(component.status())));
        }
    }
    reasons
}

pub(super) const fn word(status: pb::ComponentStatus) -> &'static str {
    match status {
        pb::ComponentStatus::Ok => "ok",
        pb::ComponentStatus::Degraded => "degraded",
        pb::ComponentStatus::Down => "down",
        pb::ComponentStatus::Unspecified => "unknown",
    }
}

impl Overview {
    pub(super) fn new(picture: &Picture) -> Self {
        let consensus = picture.consensus.as_ref().ok();
        Self {
            status: word(picture.health.status()),
            reasons: reasons(&picture.health),
            instances: instances(picture),
            shards: shards(picture),
            elections_paused: consensus.and_then(|told| told.policy.as_ref()).map(|policy| policy.paused),
            pools: pools(picture),
            latency_us: latency(picture),
            stages: stages(picture),
            instruments: states(picture),
        }
    }

    fn print(&self) {
        line(&format!("the system is {}", self.status));
        self.reasons.iter().for_each(|reason| line(&format!("  {reason}")));
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let instance = |one: &Instance| {
            let uptime = one.uptime_ms.map_or_else(|| "-".to_owned(), |ms| duration(ms / 1_000));
            let memory = one.rss_bytes.map_or_else(|| "-".to_owned(), megabytes);
            vec![one.name.clone(), one.status.to_owned(), text(&one.version), uptime, memory, one.roles.clone()]
        };
        line("");
        let header = ["instance", "status", "version", "up", "memory", "roles"];
        table(&header, &self.instances.iter().map(instance).collect::<Vec<_>>());
        let shard = |one: &Shard| {
            let leader = one.leader.clone().unwrap_or_else(|| "NOBODY".to_owned());
            let term = one.term.map_or_else(|| "-".to_owned(), |term| term.to_string());
            vec![
                one.shard.to_string(),
                leader,
                term,
                format!("{} ms", one.lease_ttl_ms),
                one.commit_index.to_string(),
                one.standbys.to_string(),
            ]
        };
        line("");
        let header = ["shard", "leader", "term", "lease", "committed", "standbys"];
        table(&header, &self.shards.iter().map(shard).collect::<Vec<_>>());
        if self.elections_paused == Some(true) {
            line("elections are paused: `admin consensus resume` ends that");
        }
        let pool = |one: &Pool| {
            let timeouts = one.timeouts_total.to_string();
            let of = format!("{} of {}", one.in_use, one.max);
            let waiting = one.waiters.to_string();
            vec![
                one.instance.clone(),
                one.name.clone(),
                one.database.clone(),
                of,
                waiting,
                timeouts,
                text(&one.last_error),
            ]
        };
        line("");
        let header = ["instance", "pool", "database", "in use", "waiting", "timeouts", "last error"];
        table(&header, &self.pools.iter().map(pool).collect::<Vec<_>>());
        line("");
        match &self.latency_us {
            Some(Latency { requests, p50, p99, p999 }) => line(&format!(
                "{requests} requests since the start: p50 {p50:.0} us, p99 {p99:.0} us, p99.9 {p999:.0} us"
            )),
            None => line("no request since the start"),
        }
        if let Some(slowest) = self.stages.first() {
            let Stage { instance, stage, p99_us } = slowest;
            line(&format!("slowest stage: {stage} of {instance}, p99 {p99_us:.0} us"));
        }
        let states: Vec<String> =
            self.instruments.iter().map(|one| format!("{} {}", one.instruments, one.state)).collect();
        line(&format!("instruments: {}", if states.is_empty() { "none".to_owned() } else { states.join(", ") }));
        if self.status != "ok" {
            line("what to do about it: `admin doctor`");
        }
    }
}

fn instances(picture: &Picture) -> Vec<Instance> {
    let memory = picture.memory.as_ref().ok();
    let instance = |instance: &pb::InstanceHealth| {
        let answer = instance.answer.as_ref();
        let name = picture::name(answer);
        let told = instance.health.as_ref();
        let of = memory.and_then(|all| all.instances.iter().find(|one| picture::name(one.answer.as_ref()) == name));
        Instance {
            name: name.to_owned(),
            status: told.map_or("unreachable", |told| word(told.status())),
            roles: told.map(|told| told.roles.join(", ")).unwrap_or_default(),
            version: told.map(|told| told.version.clone()),
            uptime_ms: told.map(|told| told.uptime_ms),
            rss_bytes: of.and_then(|one| one.memory.as_ref()).map(|memory| memory.rss),
            error: answer.map(|answer| answer.error.clone()).filter(|error| !error.is_empty()),
        }
    };
    picture.health.instances.iter().map(instance).collect()
}

fn shards(picture: &Picture) -> Vec<Shard> {
    let Ok(consensus) = &picture.consensus else { return Vec::new() };
    let shard = |leader: &wire::pb::consensus::v1::ShardLeader| {
        let leads = leader.engine.as_ref().map(|engine| engine.name.as_str());
        let standby = |engine: &&wire::pb::consensus::v1::EngineStatus| {
            let name = engine.engine.as_ref().map(|engine| engine.name.as_str());
            name != leads && !engine.draining
        };
        Shard {
            shard: leader.shard,
            leader: leads.map(str::to_owned),
            term: leader.epoch.as_ref().map(|epoch| epoch.number),
            lease_ttl_ms: leader.ttl_ms,
            commit_index: leader.commit_seq,
            standbys: consensus.engines.iter().filter(standby).count(),
        }
    };
    consensus.leaders.iter().map(shard).collect()
}

fn pools(picture: &Picture) -> Vec<Pool> {
    let Ok(pools) = &picture.pools else { return Vec::new() };
    let of = |instance: &pb::InstancePools| -> Vec<Pool> {
        let name = picture::name(instance.answer.as_ref()).to_owned();
        let pool = |pool: &pb::Pool| Pool {
            instance: name.clone(),
            name: pool.name.clone(),
            database: pool.database.clone(),
            max: pool.max_size,
            in_use: pool.in_use,
            waiters: pool.waiters,
            timeouts_total: pool.timeouts_total,
            last_error: Some(pool.last_error.clone()).filter(|error| !error.is_empty()),
        };
        instance.pools.iter().map(pool).collect()
    };
    pools.instances.iter().flat_map(of).collect()
}

/// Of the instance that answered most requests: percentiles of several cannot be put together.
fn latency(picture: &Picture) -> Option<Latency> {
    let activity = picture.activity.as_ref().ok()?;
    let of = |instance: &pb::InstanceActivity| instance.activity.as_ref()?.requests.clone();
    let requests = activity.instances.iter().filter_map(of).max_by_key(|requests| requests.count)?;
    let quantile = |quantile| quantile_us(&requests, quantile);
    Some(Latency { requests: requests.count, p50: quantile(0.5)?, p99: quantile(0.99)?, p999: quantile(0.999)? })
}

fn stages(picture: &Picture) -> Vec<Stage> {
    let Ok(activity) = &picture.activity else { return Vec::new() };
    let mut stages = Vec::new();
    for instance in &activity.instances {
        let name = picture::name(instance.answer.as_ref());
        for (stage, latencies) in instance.activity.iter().flat_map(|activity| &activity.stages) {
            if REQUEST_STAGES.contains(&stage.as_str())
                && let Some(p99_us) = quantile_us(latencies, 0.99)
            {
                stages.push(Stage { instance: name.to_owned(), stage: stage.clone(), p99_us });
            }
        }
    }
    stages.sort_by(|one, other| other.p99_us.total_cmp(&one.p99_us));
    stages
}

fn states(picture: &Picture) -> Vec<States> {
    let Ok(instruments) = &picture.instruments else { return Vec::new() };
    let mut states: Vec<States> = Vec::new();
    for instrument in instruments.iter().filter_map(|status| status.instrument.as_ref()) {
        let state = admin_api::view::market::state_word(instrument.state());
        match states.iter_mut().find(|known| known.state == state) {
            Some(known) => known.instruments += 1,
            None => states.push(States { state, instruments: 1 }),
        }
    }
    states
}

/// Hours and minutes, or minutes and seconds.
pub(super) fn duration(seconds: u64) -> String {
    match seconds {
        86_400.. => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
        3_600.. => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        60.. => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{seconds} s"),
    }
}

pub(super) fn megabytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}
