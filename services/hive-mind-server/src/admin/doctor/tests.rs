//! What the doctor says of pictures that are well and pictures that are not.

use wire::pb::admin::v1 as pb;
use wire::pb::consensus::v1 as consensus;
use wire::pb::marketdata::v1::{Instrument, InstrumentState, InstrumentStatus};
use wire::status::ApiError;

use super::checks::of;
use super::{Check, Examination, Verdict};
use crate::admin::picture::Picture;

fn answer(name: &str) -> Option<pb::NodeAnswer> {
    Some(pb::NodeAnswer { target: name.to_owned(), node: name.to_owned(), ..Default::default() })
}

fn component(name: &str, status: pb::ComponentStatus, error: &str) -> pb::Component {
    let (name, error) = (name.to_owned(), error.to_owned());
    pb::Component { name, status: status.into(), error, required: true, ..Default::default() }
}

/// Everything works.
fn well() -> Picture {
    let health = pb::NodeHealth {
        node: "a".to_owned(),
        version: "1".to_owned(),
        components: vec![component("order_engine", pb::ComponentStatus::Ok, "")],
        ..Default::default()
    };
    let engine = |name: &str| {
        let engine = consensus::Engine { name: name.to_owned(), ..Default::default() };
        consensus::EngineStatus { engine: Some(engine), connected: true, ..Default::default() }
    };
    let leader = consensus::ShardLeader { engine: engine("a").engine, ..Default::default() };
    let (name, database) = ("history".to_owned(), "postgres".to_owned());
    let pool = pb::Pool { name, database, max_size: 8, size: 2, in_use: 1, ..Default::default() };
    let instrument =
        Instrument { symbol: "AAPL".to_owned(), state: InstrumentState::Continuous.into(), ..Default::default() };
    Picture {
        health: pb::GetHealthResponse {
            status: pb::ComponentStatus::Ok.into(),
            instances: vec![pb::InstanceHealth { answer: answer("a"), health: Some(health) }],
        },
        consensus: Ok(consensus::GetConsensusStatusResponse {
            store: "etcd".to_owned(),
            store_healthy: true,
            leaders: vec![leader],
            engines: vec![engine("a"), engine("b")],
            ..Default::default()
        }),
        pools: Ok(pb::GetPoolStatusResponse {
            instances: vec![pb::InstancePools { answer: answer("a"), pools: vec![pool] }],
        }),
        memory: Err(ApiError::not_ready("not asked")),
        activity: Ok(pb::GetActivityResponse {
            instances: vec![pb::InstanceActivity { answer: answer("a"), activity: Some(activity(300)) }],
        }),
        instruments: Ok(vec![InstrumentStatus { instrument: Some(instrument), ..Default::default() }]),
    }
}

/// All requests, and the journal in them, took between half of this and this.
fn activity(up_to_us: u64) -> pb::Activity {
    let buckets = [(up_to_us / 2, 0), (up_to_us, 100)];
    let buckets = buckets.map(|(up_to_us, count)| pb::LatencyBucket { up_to_us, count }).to_vec();
    let latencies = pb::Latencies { count: 100, sum_us: 0, buckets };
    let stages = [("journal".to_owned(), latencies.clone())].into();
    pb::Activity { requests: Some(latencies), stages, ..Default::default() }
}

/// The only check that is not ok.
fn found(picture: &Picture) -> Check {
    let mut found: Vec<Check> = of(picture).into_iter().filter(|check| check.verdict != Verdict::Ok).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.pop().expect("one")
}

#[test]
fn a_system_that_works_has_nothing_to_complain_about() {
    let examination = Examination::new(of(&well()), true);
    assert!(examination.healthy, "{:?}", examination.checks);
    for category in ["instances", "leadership", "database", "trading"] {
        assert!(examination.checks.iter().any(|check| check.category == category), "{category}");
    }
}

#[test]
fn each_trouble_is_one_finding_with_a_remedy() {
    type Harm = fn(&mut Picture);
    let harms: [(Harm, Verdict, &str, &str); 10] = [
        (|p| p.health.instances[0].health = None, Verdict::Failed, "does not answer", "process"),
        (
            |p| {
                let health = p.health.instances[0].health.as_mut().expect("health");
                health.components[0] = component("persistence", pb::ComponentStatus::Down, "disk full");
            },
            Verdict::Failed,
            "disk full",
            "journal",
        ),
        (
            |p| p.consensus.as_mut().expect("told").leaders[0].engine = None,
            Verdict::Failed,
            "nobody leads shard 0",
            "force-election",
        ),
        (|p| p.consensus.as_mut().expect("told").store_healthy = false, Verdict::Failed, "failsafe", "etcd"),
        (
            |p| {
                let policy = consensus::ElectionPolicy { paused: true, actor: "ann".to_owned(), ..Default::default() };
                p.consensus.as_mut().expect("told").policy = Some(policy);
            },
            Verdict::Warning,
            "paused by ann",
            "resume",
        ),
        (|p| p.consensus.as_mut().expect("told").engines.truncate(1), Verdict::Warning, "only one engine", "start"),
        (
            |p| {
                let pool = &mut p.pools.as_mut().expect("told").instances[0].pools[0];
                (pool.in_use, pool.waiters) = (8, 3);
            },
            Verdict::Failed,
            "8 of 8 connections in use, 3 waiting",
            "optimize-connections",
        ),
        (
            |p| {
                let pool = &mut p.pools.as_mut().expect("told").instances[0].pools[0];
                (pool.size, pool.last_error) = (0, "refused".to_owned());
            },
            Verdict::Failed,
            "refused",
            "reset-pools",
        ),
        (
            |p| {
                let instrument = p.instruments.as_mut().expect("told")[0].instrument.as_mut().expect("defined");
                instrument.set_state(InstrumentState::Halted);
            },
            Verdict::Warning,
            "halted: AAPL",
            "admin resume",
        ),
        (
            |p| p.activity.as_mut().expect("told").instances[0].activity = Some(activity(9_000)),
            Verdict::Warning,
            "99 of 100 requests",
            "slowest is journal",
        ),
    ];
    for (harm, verdict, said, hint) in harms {
        let mut picture = well();
        harm(&mut picture);
        let check = found(&picture);
        assert_eq!(check.verdict, verdict, "{check:?}");
        assert!(check.message.contains(said) || check.name.contains(said), "{said}: {check:?}");
        assert!(check.hint.as_ref().is_some_and(|told| told.contains(hint)), "{hint}: {check:?}");
    }
}

#[test]
fn warnings_fail_only_when_asked_to() {
    let warning = vec![Check::warning("trading", "x", "y", "z")];
    assert!(Examination::new(warning.clone(), false).healthy);
    assert!(!Examination::new(warning, true).healthy);
    assert!(!Examination::new(vec![Check::failed("trading", "x", "y", "z")], false).healthy);
}
