//! What `admin consensus` prints: the JSON is the schema (a field, once there, keeps name and meaning), the table is
//! for people.

use serde::Serialize;
use wire::pb::consensus::v1 as pb;

use crate::output::line;

/// Who leads a shard.
#[derive(Debug, Serialize)]
pub(super) struct Leader {
    shard: u32,
    leader: Option<String>,
    address: Option<String>,
    term: Option<u64>,
    lease_ttl_ms: Option<u64>,
    commit_index: Option<u64>,
}

/// Leaderships that were moved.
#[derive(Debug, Serialize)]
pub(super) struct Elected {
    dry_run: bool,
    elections: Vec<Election>,
}

#[derive(Debug, Serialize)]
struct Election {
    shard: u32,
    before: Option<Leader>,
    after: Option<Leader>,
    repeated_request: bool,
}

/// The subsystem was restarted.
#[derive(Debug, Serialize)]
pub(super) struct Restarted {
    dry_run: bool,
    pid: u32,
    took_ms: u64,
    leaders: Vec<Leader>,
}

/// What is ordered.
#[derive(Debug, Serialize)]
pub(super) struct Policy {
    dry_run: bool,
    changed: bool,
    paused: bool,
    reason: String,
    actor: String,
    drained_engines: Vec<String>,
}

/// An engine was drained, or may lead again.
#[derive(Debug, Serialize)]
pub(super) struct Drained {
    dry_run: bool,
    engine: String,
    drained: bool,
    changed: bool,
    pub(super) still_leading: Vec<u32>,
}

/// Everything.
#[derive(Debug, Serialize)]
pub(super) struct State {
    coordinator: String,
    store: String,
    store_healthy: bool,
    failsafe_since_us: u64,
    paused: bool,
    leaders: Vec<Leader>,
    engines: Vec<Engine>,
    endpoints: Vec<Endpoint>,
}

#[derive(Debug, Serialize)]
struct Engine {
    name: String,
    address: String,
    connected: bool,
    silent_ms: u64,
    drained: bool,
    shards: Vec<Beat>,
}

#[derive(Debug, Serialize)]
struct Beat {
    shard: u32,
    role: String,
    commit_index: u64,
    applied_index: u64,
    journal_reachable: bool,
    state_hash_seq: u64,
}

#[derive(Debug, Serialize)]
struct Endpoint {
    address: String,
    healthy: bool,
    latency_us: u64,
    error: String,
}

const fn would(dry_run: bool) -> &'static str {
    if dry_run { "would be: " } else { "" }
}

impl From<pb::ShardLeader> for Leader {
    fn from(leader: pb::ShardLeader) -> Self {
        let led = leader.engine.is_some();
        let (name, address) = leader.engine.map(|engine| (engine.name, engine.address)).unzip();
        Self {
            shard: leader.shard,
            leader: name,
            address,
            term: leader.epoch.map(|epoch| epoch.number),
            lease_ttl_ms: led.then_some(leader.ttl_ms),
            commit_index: led.then_some(leader.commit_seq),
        }
    }
}

impl Leader {
    fn words(&self) -> String {
        match (&self.leader, self.term) {
            (Some(leader), Some(term)) => format!("{leader}, term {term}"),
            (Some(leader), None) => leader.clone(),
            _ => "nobody".to_owned(),
        }
    }
}

impl Elected {
    pub(super) fn new(answers: Vec<pb::ForceElectionResponse>, dry_run: bool) -> Self {
        let election = |answer: pb::ForceElectionResponse| Election {
            shard: answer.after.as_ref().map_or(0, |leader| leader.shard),
            before: answer.before.map(Leader::from),
            after: answer.after.map(Leader::from),
            repeated_request: answer.repeated_request,
        };
        Self { dry_run, elections: answers.into_iter().map(election).collect() }
    }

    pub(super) fn print(&self) {
        if self.elections.is_empty() {
            line("no change: the engine leads every shard already");
        }
        for election in &self.elections {
            let words = |leader: &Option<Leader>| leader.as_ref().map_or("nobody".to_owned(), Leader::words);
            let (before, after) = (words(&election.before), words(&election.after));
            let again = if election.repeated_request { " (done before under this request id)" } else { "" };
            let would = would(self.dry_run);
            line(&format!("{would}shard {}: {before} -> {after}{again}", election.shard));
        }
    }
}

impl Restarted {
    pub(super) fn new(answer: pb::RestartConsensusResponse, dry_run: bool) -> Self {
        let leaders = answer.leaders.into_iter().map(Leader::from).collect();
        Self { dry_run, pid: answer.pid, took_ms: answer.took_ms, leaders }
    }

    pub(super) fn print(&self) {
        if self.dry_run {
            line(&format!("{}the coordinator of process {} restarts", would(true), self.pid));
        } else {
            line(&format!("restarted in {} ms, still process {}", self.took_ms, self.pid));
        }
        self.leaders.iter().for_each(|leader| line(&format!("shard {}: {}", leader.shard, leader.words())));
    }
}

impl Policy {
    pub(super) fn new(policy: Option<pb::ElectionPolicy>, changed: bool, dry_run: bool) -> Self {
        let pb::ElectionPolicy { paused, reason, actor, since_us: _, drained_engines } = policy.unwrap_or_default();
        Self { dry_run, changed, paused, reason, actor, drained_engines }
    }

    pub(super) fn print(&self) {
        let state = if self.paused { "paused" } else { "automatic" };
        line(&format!("{}elections are {state}", if self.changed { would(self.dry_run) } else { "no change: " }));
    }
}

impl Drained {
    pub(super) fn new(engine: String, drained: bool, answer: pb::DrainEngineResponse, dry_run: bool) -> Self {
        Self { dry_run, engine, drained, changed: answer.changed, still_leading: answer.still_leading }
    }

    pub(super) fn print(&self) {
        let state = if self.drained { "gets no leadership" } else { "may lead" };
        line(&format!("{}{} {state}", if self.changed { would(self.dry_run) } else { "no change: " }, self.engine));
        if !self.dry_run && self.drained && !self.still_leading.is_empty() {
            line(&format!("it still leads shards {:?}: see the status", self.still_leading));
        }
    }
}

impl From<pb::GetConsensusStatusResponse> for State {
    fn from(answer: pb::GetConsensusStatusResponse) -> Self {
        let beat = |beat: pb::ShardBeat| Beat {
            shard: beat.shard,
            role: beat.role().as_str_name().trim_start_matches("SHARD_ROLE_").to_lowercase(),
            commit_index: beat.commit_seq,
            applied_index: beat.applied_seq,
            journal_reachable: beat.journal_reachable,
            state_hash_seq: beat.state_hash_seq,
        };
        let engine = |status: pb::EngineStatus| {
            let pb::Engine { name, address, .. } = status.engine.unwrap_or_default();
            let shards = status.shards.into_iter().map(beat).collect();
            let (connected, silent_ms, drained) = (status.connected, status.silent_ms, status.draining);
            Engine { name, address, connected, silent_ms, drained, shards }
        };
        let endpoint = |endpoint: pb::StoreEndpoint| {
            let pb::StoreEndpoint { address, healthy, latency_us, error } = endpoint;
            Endpoint { address, healthy, latency_us, error }
        };
        Self {
            coordinator: answer.coordinator,
            store: answer.store,
            store_healthy: answer.store_healthy,
            failsafe_since_us: answer.failsafe_since_us,
            paused: answer.policy.is_some_and(|policy| policy.paused),
            leaders: answer.leaders.into_iter().map(Leader::from).collect(),
            engines: answer.engines.into_iter().map(engine).collect(),
            endpoints: answer.endpoints.into_iter().map(endpoint).collect(),
        }
    }
}

impl State {
    pub(super) fn print(&self) {
        let health = if self.store_healthy { "answers" } else { "does not answer (failsafe): leaders go on" };
        line(&format!("coordinator {}; the {} store {health}", self.coordinator, self.store));
        line(if self.paused { "elections are paused" } else { "elections are automatic" });
        for leader in &self.leaders {
            line(&format!("shard {}: {}", leader.shard, leader.words()));
        }
        for engine in &self.engines {
            let here = if engine.connected { "connected here" } else { "connected elsewhere, or away" };
            let drained = if engine.drained { ", drained" } else { "" };
            line(&format!("engine {} at {}: {here}{drained}", engine.name, engine.address));
            for beat in &engine.shards {
                let Beat { shard, role, applied_index, commit_index, .. } = beat;
                line(&format!("  shard {shard}: {role}, applied {applied_index} of {commit_index}"));
            }
        }
        for endpoint in &self.endpoints {
            let Endpoint { address, latency_us, error, .. } = endpoint;
            let answer = if endpoint.healthy { format!("answers in {latency_us} us") } else { error.clone() };
            line(&format!("store {address}: {answer}"));
        }
    }
}
