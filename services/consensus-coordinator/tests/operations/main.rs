//! Offers, depositions and the orders of operators, over gRPC in one process: engines that do as they are told, and a
//! gateway that says what it is told.
#![allow(clippy::unwrap_used, reason = "tests")]

mod engines;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use consensus_coordinator::{Config, Deps, build};
use service_kit::{NodeContext, Service, Shutdown};
use tonic::service::Routes;
use wire::pb::consensus::v1 as pb;
use wire::pb::consensus::v1::consensus_service_client::ConsensusServiceClient;
use wire::status::{ApiError, ErrorCode};
use wire::transport::{Address, Channel, ClientOptions, connect, in_process};

use engines::{Engine, Gateway};

/// Pause between two looks at what another process does: it cannot be awaited, only asked for again. Every loop that
/// does so has an end.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

type Client = ConsensusServiceClient<Channel>;

struct Running {
    client: Client,
    _shutdown: Shutdown,
    _directory: tempfile::TempDir,
}

/// A coordinator with a gateway that hears every leader while `hears` is set.
async fn start(shards: u32, hears: &Arc<AtomicBool>) -> Running {
    let directory = tempfile::tempdir().unwrap();
    let context = NodeContext::new("node-1", vec!["consensus-coordinator".to_owned()], directory.path());
    let config = Config { shards: (0..shards).collect(), ..Config::default() };
    let deps = Deps { gateways: vec![Gateway::serve(Arc::clone(hears))], shared_voter: true };
    let service = build(config, deps, &context).await.unwrap();
    let mut routes = Routes::builder();
    service.register(&mut routes);
    let (dial, listener) = in_process();
    tokio::spawn(listener.serve(routes.routes(), std::future::pending()));
    let shutdown = Shutdown::new();
    let service: Box<dyn Service> = Box::new(service);
    tokio::spawn(service.run(shutdown.clone()));
    let client = ConsensusServiceClient::new(connect(&Address::InProcess(dial), &ClientOptions::default()));
    Running { client, _shutdown: shutdown, _directory: directory }
}

async fn status(client: &mut Client) -> pb::GetConsensusStatusResponse {
    client.get_consensus_status(pb::GetConsensusStatusRequest {}).await.unwrap().into_inner()
}

/// Leaders by shard: name and term.
async fn leaders(client: &mut Client) -> Vec<(String, u64)> {
    let leader = |leader: pb::ShardLeader| {
        (leader.engine.map(|engine| engine.name).unwrap_or_default(), leader.epoch.map_or(0, |epoch| epoch.number))
    };
    status(client).await.leaders.into_iter().map(leader).collect()
}

/// Waits until the leaders are as wanted.
async fn until(client: &mut Client, what: &str, wanted: impl Fn(&[(String, u64)]) -> bool) -> Vec<(String, u64)> {
    for _ in 0..600 {
        let now = leaders(client).await;
        if wanted(&now) {
            return now;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    panic!("{what}: {:?}", leaders(client).await);
}

/// Waits until the store knows two engines.
async fn until_two_engines(client: &mut Client) {
    for _ in 0..600 {
        if status(client).await.engines.len() >= 2 {
            return;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    panic!("there are not two engines: {:?}", status(client).await.engines);
}

/// Looks at the leaders of shard 0 for a second. That something does not happen cannot be waited for, only watched; a
/// busy machine makes this miss a fault, never invent one.
async fn throughout(client: &mut Client, what: &str, holds: impl Fn(&str) -> bool) {
    for _ in 0..20 {
        tokio::time::sleep(LOOK_AGAIN).await;
        let leader = leaders(client).await[0].0.clone();
        assert!(holds(&leader), "{what}, but the leader is {leader:?}");
    }
}

fn all_led(leaders: &[(String, u64)]) -> bool {
    leaders.iter().all(|(name, _)| !name.is_empty())
}

fn order(id: &str) -> Option<pb::Order> {
    let (request_id, actor, reason) = (id.to_owned(), "test".to_owned(), "to see it".to_owned());
    Some(pb::Order { request_id, actor, reason, dry_run: false })
}

fn dry(id: &str) -> Option<pb::Order> {
    order(id).map(|order| pb::Order { dry_run: true, ..order })
}

fn force(id: &str, to: &str) -> pb::ForceElectionRequest {
    pb::ForceElectionRequest { order: order(id), shard: 0, to_engine: to.to_owned() }
}

#[tokio::test]
async fn shards_are_offered_and_spread_over_engines() {
    let node = start(4, &Arc::new(AtomicBool::new(true))).await;
    let _one = Engine::start(node.client.clone(), 1, 4);
    let mut client = node.client;
    until(&mut client, "the only engine leads all", |now| now.iter().all(|(name, _)| name == "engine-1")).await;
    let _two = Engine::start(client.clone(), 2, 4);
    let count = |now: &[(String, u64)]| now.iter().filter(|(name, _)| name == "engine-1").count();
    until(&mut client, "each leads half", |now| all_led(now) && count(now) == 2).await;
    let engines = status(&mut client).await.engines;
    assert_eq!(engines.len(), 2);
    assert!(engines.iter().all(|engine| engine.connected && engine.shards.len() == 4), "{engines:?}");
}

#[tokio::test]
async fn a_leader_whose_stream_ends_is_deposed_only_if_the_voters_do_not_hear_it() {
    let hears = Arc::new(AtomicBool::new(true));
    let mut node = start(1, &hears).await;
    let client = &mut node.client;
    let one = Engine::start(client.clone(), 1, 1);
    until(client, "it leads", all_led).await;
    let _two = Engine::start(client.clone(), 2, 1);
    until_two_engines(client).await;
    one.kill();
    // It is asked for again and again; a lease of 5 s is far from its end.
    throughout(client, "the voters hear it", |leader| leader == "engine-1").await;
    hears.store(false, Ordering::SeqCst);
    let now = until(client, "the other one leads", |now| now[0].0 == "engine-2").await;
    assert_eq!(now[0].1, 2);
}

#[tokio::test]
async fn r54_a_forced_election_moves_the_shard_once_for_each_request() {
    let mut node = start(1, &Arc::new(AtomicBool::new(true))).await;
    let client = &mut node.client;
    let refused = client.force_election(force("", "")).await.unwrap_err();
    assert_eq!(ApiError::from_status(&refused).code, ErrorCode::PreconditionFailed, "there is no engine at all");
    let _one = Engine::start(client.clone(), 1, 1);
    until(client, "it leads", all_led).await;
    let alone = ApiError::from_status(&client.force_election(force("a", "")).await.unwrap_err());
    assert_eq!(alone.code, ErrorCode::PreconditionFailed, "{alone}");
    assert_eq!(leaders(client).await, [("engine-1".to_owned(), 1)], "nothing was changed");
    let _two = Engine::start(client.clone(), 2, 1);
    until_two_engines(client).await;
    // What was refused under this id may be ordered again.
    let moved = client.force_election(force("a", "")).await.unwrap().into_inner();
    let name = |leader: &Option<pb::ShardLeader>| leader.clone().unwrap().engine.unwrap().name;
    assert_eq!((name(&moved.before), name(&moved.after)), ("engine-1".to_owned(), "engine-2".to_owned()));
    let again = client.force_election(force("a", "")).await.unwrap().into_inner();
    assert!(again.repeated_request && again.after == moved.after, "{again:?}");
    assert_eq!(leaders(client).await[0], ("engine-2".to_owned(), 2));
    for (to, code) in [("engine-2", ErrorCode::PreconditionFailed), ("engine-9", ErrorCode::PreconditionFailed)] {
        let refused = ApiError::from_status(&client.force_election(force("", to)).await.unwrap_err());
        assert_eq!(refused.code, code, "{to}");
    }
    let other = pb::DrainEngineRequest { order: order("a"), engine: "engine-1".to_owned(), drain: true };
    let refused = ApiError::from_status(&client.drain_engine(other).await.unwrap_err());
    assert_eq!(refused.field.as_deref(), Some("order.request_id"), "the id was used for something else");
    // Force works while elections are paused.
    let paused = pb::SetElectionsRequest { order: order("p"), paused: true };
    assert!(client.set_elections(paused).await.unwrap().into_inner().changed);
    client.force_election(force("b", "engine-1")).await.unwrap();
    assert_eq!(leaders(client).await[0], ("engine-1".to_owned(), 3));
}

/// What a dry run says is what then happens, and until then nothing has: the id is not used up either.
#[tokio::test]
async fn r56_a_dry_run_checks_everything_and_changes_nothing() {
    let mut node = start(1, &Arc::new(AtomicBool::new(true))).await;
    let client = &mut node.client;
    let _one = Engine::start(client.clone(), 1, 1);
    until(client, "it leads", all_led).await;
    let force = |to: &str| pb::ForceElectionRequest { order: dry("a"), shard: 0, to_engine: to.to_owned() };
    let alone = ApiError::from_status(&client.force_election(force("")).await.unwrap_err());
    assert_eq!(alone.code, ErrorCode::PreconditionFailed, "{alone}");
    let _two = Engine::start(client.clone(), 2, 1);
    until_two_engines(client).await;
    let before = leaders(client).await;
    let would = client.force_election(force("")).await.unwrap().into_inner().after.unwrap();
    assert_eq!((would.engine.unwrap().name, would.epoch), ("engine-2".to_owned(), None));
    let pause = |order| pb::SetElectionsRequest { order, paused: true };
    let paused = client.set_elections(pause(dry("a"))).await.unwrap().into_inner();
    assert!(paused.changed && paused.policy.unwrap().paused, "it would be");
    let drain = |order| pb::DrainEngineRequest { order, engine: "engine-1".to_owned(), drain: true };
    let drained = client.drain_engine(drain(dry("a"))).await.unwrap().into_inner();
    assert_eq!((drained.changed, drained.still_leading), (true, vec![0]));
    let restart = pb::RestartConsensusRequest { order: dry("a") };
    assert_eq!(client.restart_consensus(restart).await.unwrap().into_inner().took_ms, 0);
    let now = status(client).await.policy.unwrap();
    assert!(!now.paused && now.drained_engines.is_empty(), "{now:?}");
    assert_eq!(leaders(client).await, before);
    assert!(client.set_elections(pause(order("a"))).await.unwrap().into_inner().changed, "the id is still free");
}

#[tokio::test]
async fn a_leader_that_does_not_resign_is_deposed_when_it_is_forced() {
    let mut node = start(1, &Arc::new(AtomicBool::new(true))).await;
    let client = &mut node.client;
    let _stubborn = Engine::start_stubborn(client.clone(), 1, 1);
    until(client, "it leads", all_led).await;
    let _two = Engine::start(client.clone(), 2, 1);
    until_two_engines(client).await;
    let moved = client.force_election(force("", "engine-2")).await.unwrap().into_inner();
    assert_eq!(moved.after.unwrap().engine.unwrap().name, "engine-2");
}

#[tokio::test]
async fn while_paused_a_dead_leader_stays_dead_until_elections_resume() {
    let hears = Arc::new(AtomicBool::new(false));
    let mut node = start(1, &hears).await;
    let client = &mut node.client;
    let one = Engine::start(client.clone(), 1, 1);
    until(client, "it leads", all_led).await;
    let pause = |paused| pb::SetElectionsRequest { order: order(""), paused };
    let policy = client.set_elections(pause(true)).await.unwrap().into_inner().policy.unwrap();
    assert!(policy.paused && policy.reason == "to see it" && policy.since_us > 0);
    assert!(!client.set_elections(pause(true)).await.unwrap().into_inner().changed, "it was paused already");
    let _two = Engine::start(client.clone(), 2, 1);
    one.kill();
    until(client, "its lease ends", |now| now[0].0.is_empty()).await;
    throughout(client, "elections are paused", str::is_empty).await;
    client.set_elections(pause(false)).await.unwrap();
    until(client, "the other one leads", |now| now[0].0 == "engine-2").await;
}

#[tokio::test]
async fn a_drained_engine_leads_nothing_and_the_last_one_is_not_drained() {
    let mut node = start(3, &Arc::new(AtomicBool::new(true))).await;
    let client = &mut node.client;
    let _one = Engine::start(client.clone(), 1, 3);
    until(client, "it leads", all_led).await;
    let drain = |drain| pb::DrainEngineRequest { order: order(""), engine: "engine-1".to_owned(), drain };
    let refused = ApiError::from_status(&client.drain_engine(drain(true)).await.unwrap_err());
    assert_eq!(refused.code, ErrorCode::PreconditionFailed, "{refused}");
    let _two = Engine::start(client.clone(), 2, 3);
    until_two_engines(client).await;
    let drained = client.drain_engine(drain(true)).await.unwrap().into_inner();
    assert!(drained.changed && drained.policy.unwrap().drained_engines == ["engine-1"]);
    until(client, "the other leads all", |now| now.iter().all(|(name, _)| name == "engine-2")).await;
    assert!(client.drain_engine(drain(false)).await.unwrap().into_inner().changed);
    until(client, "it leads again", |now| all_led(now) && now.iter().any(|(name, _)| name == "engine-1")).await;
}

#[tokio::test]
async fn r55_a_restart_of_the_subsystem_changes_no_leader() {
    let mut node = start(2, &Arc::new(AtomicBool::new(false))).await;
    let client = &mut node.client;
    let one = Engine::start(client.clone(), 1, 2);
    let _two = Engine::start(client.clone(), 2, 2);
    let count = |now: &[(String, u64)]| now.iter().filter(|(name, _)| name == "engine-1").count();
    let before = until(client, "each leads one", |now| all_led(now) && count(now) == 1).await;
    let streams = one.streams();
    let restarted = client.restart_consensus(pb::RestartConsensusRequest { order: order("r") }).await.unwrap();
    assert_eq!(restarted.into_inner().pid, std::process::id());
    for _ in 0..600 {
        if one.streams() > streams && status(client).await.engines.iter().filter(|engine| engine.connected).count() == 2
        {
            break;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    assert!(one.streams() > streams, "its stream is a new one");
    assert_eq!(leaders(client).await, before);
}
