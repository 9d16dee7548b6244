//! What is looked at in a picture of the system. Pure functions. Absent: what only the machine itself knows.

use admin_api::quantile_us;
use wire::pb::admin::v1 as pb;
use wire::pb::consensus::v1 as consensus;
use wire::pb::marketdata::v1::InstrumentState;

use super::Check;
use crate::admin::picture::{self, Picture};
use crate::admin::status::{REQUEST_STAGES, word};

/// The objective for orders, microseconds.
const OBJECTIVE_US: f64 = 1_000.0;
/// Committed entries that the history may be behind without anybody noticing.
const LAG_ENTRIES: u64 = 10_000;
/// Wait for a connection from which on a pool is short of them, microseconds.
const ACQUIRE_US: u64 = 50_000;

pub(super) fn of(picture: &Picture) -> Vec<Check> {
    let mut checks = instances(&picture.health);
    checks.extend(leadership(picture));
    checks.extend(database(picture));
    checks.extend(trading(picture));
    checks
}

fn instances(health: &pb::GetHealthResponse) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut versions: Vec<&str> = Vec::new();
    for instance in &health.instances {
        let name = picture::name(instance.answer.as_ref());
        let Some(told) = &instance.health else {
            let error = instance.answer.as_ref().map_or("", |answer| &answer.error);
            let hint = "is its process running and reachable from the asked node? see its log, and peers.* in the \
                        configuration";
            checks.push(Check::failed("instances", name, format!("does not answer: {error}"), hint));
            continue;
        };
        if !versions.contains(&told.version.as_str()) {
            versions.push(&told.version);
        }
        if told.draining {
            let hint = "wait for its successor; `admin status` shows who leads";
            checks.push(Check::warning("instances", name, "is being stopped", hint));
        }
        let mut well = true;
        for component in told.components.iter().filter(|one| one.status() != pb::ComponentStatus::Ok) {
            well = false;
            let said = format!("{}: {}", word(component.status()), component.error);
            let name = format!("{name} {}", component.name);
            let hint = remedy(&component.name);
            let down = component.status() == pb::ComponentStatus::Down && component.required;
            checks.push(if down {
                Check::failed("instances", name, said, hint)
            } else {
                Check::warning("instances", name, said, hint)
            });
        }
        if well && !told.draining {
            checks.push(Check::ok("instances", name, format!("{} components work", told.components.len())));
        }
    }
    if versions.len() > 1 {
        let hint = "finish the rollout, or roll it back";
        checks.push(Check::warning("instances", "versions", format!("several: {}", versions.join(", ")), hint));
    }
    checks
}

/// What helps against the trouble of a component.
fn remedy(component: &str) -> &'static str {
    match component {
        "order_engine" => {
            "`admin consensus status` shows who leads; `admin consensus force-election` moves a leadership"
        }
        "consensus" => {
            "is etcd reachable? leaders go on meanwhile; `admin consensus restart` makes the connections anew"
        }
        "persistence" => "the journal does not take writes: see the gateway's log, its disk, or its database",
        "history" => {
            "is the database reachable? orders are taken meanwhile; `admin database pool-status`, then \
                      `admin database reset-pools`"
        }
        "configuration" => "the file cannot be used and the last good one stays: `admin config validate` says where",
        _ => "the log of the instance says more",
    }
}

fn leadership(picture: &Picture) -> Vec<Check> {
    let told = match &picture.consensus {
        Ok(told) => told,
        Err(error) => {
            let hint = "name a node that runs a coordinator with --target";
            return vec![Check::warning("leadership", "coordinator", error.to_string(), hint)];
        }
    };
    let mut checks = Vec::new();
    let leaderless: Vec<String> =
        told.leaders.iter().filter(|one| one.engine.is_none()).map(|one| one.shard.to_string()).collect();
    checks.push(if leaderless.is_empty() {
        Check::ok("leadership", "leaders", format!("each of {} shards has one", told.leaders.len()))
    } else {
        let hint = "are engines running (see instances) and elections automatic (see below)? then `admin consensus \
                    force-election --shard N`";
        Check::failed("leadership", "leaders", format!("nobody leads shard {}", leaderless.join(", ")), hint)
    });
    checks.push(if told.store_healthy {
        Check::ok("leadership", "store", format!("{} answers", told.store))
    } else {
        let hint = "mend etcd: leaders go on, but a dead one is not replaced until it answers";
        Check::failed("leadership", "store", format!("{} does not answer (failsafe)", told.store), hint)
    });
    let policy = told.policy.clone().unwrap_or_default();
    if policy.paused {
        let said = format!("paused by {}: {}", policy.actor, policy.reason);
        checks.push(Check::warning("leadership", "elections", said, "`admin consensus resume` when that is over"));
    }
    if !policy.drained_engines.is_empty() {
        let said = format!("drained: {}", policy.drained_engines.join(", "));
        checks.push(Check::warning(
            "leadership",
            "engines",
            said,
            "`admin consensus undrain ENGINE` when that is over",
        ));
    }
    checks.extend(standbys(told));
    checks
}

fn standbys(told: &consensus::GetConsensusStatusResponse) -> Option<Check> {
    // One process on one machine has none and needs none.
    if told.store == "embedded" {
        return None;
    }
    let live = told.engines.iter().filter(|engine| !engine.draining).count();
    Some(if live > 1 {
        Check::ok("leadership", "standbys", format!("{live} engines could lead"))
    } else {
        let hint = "start another engine: nobody takes over if this one ends";
        Check::warning("leadership", "standbys", "only one engine could lead", hint)
    })
}

fn database(picture: &Picture) -> Vec<Check> {
    let mut checks = Vec::new();
    let Ok(pools) = &picture.pools else {
        let hint = "name a node that runs the admin service with --target";
        return vec![Check::warning("database", "pools", "cannot be asked", hint)];
    };
    for instance in &pools.instances {
        let name = picture::name(instance.answer.as_ref());
        for pool in &instance.pools {
            checks.push(pool_check(name, pool));
        }
    }
    let lag = picture.activity.as_ref().ok().into_iter().flat_map(|all| &all.instances);
    let lag = lag.filter_map(|one| one.activity.as_ref()).map(|one| one.history_lag_entries).max().unwrap_or(0);
    checks.push(if lag <= LAG_ENTRIES {
        Check::ok("database", "history", format!("{lag} entries behind the journal"))
    } else {
        let hint = "orders do not wait for it; is the database slow or away? `admin database pool-status`";
        Check::warning("database", "history", format!("{lag} entries behind the journal"), hint)
    });
    checks
}

/// What helps where connections are waited for.
const WAITED_FOR: &str = "`admin database optimize-connections` fits the pools to what is needed and allowed; if it finds \
                          them as they should be, look on the server for what holds them (a lock, a slow query), or set \
                          database.max_connections higher, which is hot";

fn pool_check(instance: &str, pool: &pb::Pool) -> Check {
    let name = format!("{instance} {}", pool.name);
    let said = format!("{} of {} connections in use, {} waiting", pool.in_use, pool.max_size, pool.waiters);
    // A file has one writer: to wait for it is as it should be.
    let server = pool.database == "postgres";
    if server && pool.waiters > 0 && pool.in_use >= pool.max_size {
        return Check::failed("database", name, said, WAITED_FOR);
    }
    if !pool.last_error.is_empty() && pool.size == 0 {
        let hint = "is the database running? then `admin database reset-pools`";
        return Check::failed("database", name, format!("no connection: {}", pool.last_error), hint);
    }
    if server && pool.acquire_p99_us > ACQUIRE_US {
        let said = format!("{said}, 99 of 100 wait up to {} ms for one", pool.acquire_p99_us / 1_000);
        return Check::warning("database", name, said, WAITED_FOR);
    }
    Check::ok("database", name, said)
}

fn trading(picture: &Picture) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Ok(instruments) = &picture.instruments {
        let all: Vec<_> = instruments.iter().filter_map(|one| one.instrument.as_ref()).collect();
        let halted: Vec<&str> =
            all.iter().filter(|one| one.state() == InstrumentState::Halted).map(|one| one.symbol.as_str()).collect();
        checks.push(if all.is_empty() {
            let hint = "configure order_engine.instruments, or define one: nothing can be traded";
            Check::warning("trading", "instruments", "there are none", hint)
        } else if halted.is_empty() {
            Check::ok("trading", "instruments", format!("none of {} is halted", all.len()))
        } else {
            let hint = "`admin audit search --action trading.` tells who did it; `admin resume` ends it";
            Check::warning("trading", "instruments", format!("halted: {}", halted.join(", ")), hint)
        });
    }
    let Ok(activity) = &picture.activity else { return checks };
    for instance in &activity.instances {
        let name = picture::name(instance.answer.as_ref());
        let Some(done) = &instance.activity else { continue };
        let requests = done.requests.clone().unwrap_or_default();
        let Some(p99) = quantile_us(&requests, 0.99) else { continue };
        let said = format!("99 of 100 requests took at most {p99:.0} us since the start");
        checks.push(if p99 <= OBJECTIVE_US {
            Check::ok("trading", format!("{name} latency"), said)
        } else {
            Check::warning("trading", format!("{name} latency"), said, slowest(done))
        });
        if done.overloaded > 0 {
            let said = format!("{} requests were turned away since the start", done.overloaded);
            let hint = "more came than could be taken: fewer clients, or more shards and engines";
            checks.push(Check::warning("trading", format!("{name} load"), said, hint));
        }
    }
    checks
}

/// Names the stage that takes longest, and what helps there.
fn slowest(done: &pb::Activity) -> String {
    let p99 = |stage: &str| done.stages.get(stage).and_then(|latencies| quantile_us(latencies, 0.99)).unwrap_or(0.0);
    let stage = REQUEST_STAGES.into_iter().max_by(|one, other| p99(one).total_cmp(&p99(other))).unwrap_or("queue");
    let help = match stage {
        "journal" => "the disk of the journal, or the way to it, is slow",
        "queue" => "more comes than one journal entry after the other can take",
        "apply" => "matching takes long: large sweeps, or no processor left for it",
        _ => "answers wait: no processor left for the connections",
    };
    format!("slowest is {stage}, 99 of 100 within {:.0} us: {help}; `admin top` shows it live", p99(stage))
}
