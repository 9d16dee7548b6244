//! Both doors on real sockets: whole systems, instances that hang or are gone, coordinators in every condition, and
//! wrong requests.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "doors/memory.rs"]
mod memory;
mod support;

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;

use admin_api::{Config, Deps, build};
use serde_json::{Value, json};
use service_kit::config::HumanDuration;
use service_kit::{NodeContext, PoolStatus};
use tonic::Code;
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::admin_service_client::AdminServiceClient;
use wire::pb::consensus::v1 as consensus;
use wire::pb::journal::v1::Epoch;

use support::{Coordinator, admin, admin_of, context, get, nobody, request, serve, silent};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// An instance that has everything trading needs.
fn trading(name: &str) -> NodeContext {
    let context = context(name, "order-engine");
    for component in ["order_engine", "persistence", "consensus"] {
        context.components.register(component).ok();
    }
    context
}

/// A status with one shard, led by `leader` if there is one.
fn status(leader: Option<&str>, store_healthy: bool) -> consensus::GetConsensusStatusResponse {
    let engine = leader.map(|name| consensus::Engine { name: name.to_owned(), ..Default::default() });
    let epoch = Some(Epoch { number: 7, owner: vec![0; 16].into() });
    let leader = consensus::ShardLeader { shard: 0, engine, epoch, ttl_ms: 1900, commit_seq: 42, applied_seq: 41 };
    let endpoint = consensus::StoreEndpoint {
        address: "http://127.0.0.1:2379".to_owned(),
        healthy: store_healthy,
        latency_us: 300,
        error: if store_healthy { String::new() } else { "timed out".to_owned() },
    };
    consensus::GetConsensusStatusResponse {
        coordinator: "keeper".to_owned(),
        store: "etcd".to_owned(),
        leaders: vec![leader],
        endpoints: vec![endpoint],
        store_healthy,
        failsafe_since_us: if store_healthy { 0 } else { 1_000_000 },
        ..Default::default()
    }
}

#[tokio::test]
async fn r41_a_whole_system_is_healthy_and_every_part_is_named() {
    let engine_context = trading("engine-1");
    let book = engine_context.components.register("order_engine");
    book.detail("open_orders", 12);
    let engine = serve(engine_context, vec![]).await;
    let own = context("door", "admin-api");
    let door = admin(own, vec![("at-engine", engine.channel())], nobody().await).await;

    let health = get(door.at.admin, "/health").await;
    assert_eq!((health.status, &health.json["status"]), (200, &json!("ok")), "{health:?}");
    assert_eq!(health.json["role"], "admin-api");
    assert_eq!(health.json["version"], env!("CARGO_PKG_VERSION"));
    let component = &health.json["components"]["order_engine"];
    assert_eq!(
        (&component["status"], &component["service"], &component["instance"], &component["error"]),
        (&json!("ok"), &json!("order_engine"), &json!("engine-1"), &Value::Null)
    );
    assert_eq!(component["details"]["open_orders"], "12");
    assert!(component["since"].as_str().unwrap().ends_with('Z'));
    assert!(component["latency_us"].as_u64().unwrap() > 0, "it was asked over the wire");
    assert_eq!(health.json["components"]["admin"]["latency_us"], 0);
    let instances = &health.json["instances"];
    assert_eq!((&instances[0]["target"], &instances[0]["instance"]), (&json!("door"), &json!("door")));
    assert_eq!((&instances[1]["target"], &instances[1]["instance"]), (&json!("at-engine"), &json!("engine-1")));
    assert_eq!(instances[1]["components"]["persistence"]["instance"], "engine-1");

    book.down("the journal refused an append");
    let health = get(door.at.admin, "/health").await;
    assert_eq!((health.status, &health.json["status"]), (503, &json!("down")));
    assert_eq!(health.json["reasons"], json!(["order_engine is down at engine-1: the journal refused an append"]));
    assert_eq!(health.json["components"]["order_engine"]["error"], "the journal refused an append");
    door.stop().await;
    engine.stop().await;
}

#[tokio::test]
async fn r41_r45_instances_that_hang_or_are_gone_are_listed_with_their_error() {
    let engine = serve(trading("engine-1"), vec![]).await;
    let (_held, silent_channel) = silent().await;
    let nodes = vec![("engine", engine.channel()), ("frozen", silent_channel), ("gone", nobody().await)];
    let door = admin(context("door", "admin-api"), nodes, nobody().await).await;

    for path in ["/health", "/admin/database/pool-status", "/admin/memory-profile"] {
        let answer = get(door.at.admin, path).await;
        assert_eq!(answer.status, 200, "{path}");
        let instances = answer.json["instances"].as_array().unwrap();
        let targets: Vec<&str> = instances.iter().map(|instance| instance["target"].as_str().unwrap()).collect();
        assert_eq!(targets, ["door", "engine", "frozen", "gone"], "{path}");
        assert_eq!((&instances[0]["error"], &instances[1]["error"]), (&Value::Null, &Value::Null), "{path}");
        assert_eq!(instances[1]["instance"], "engine-1", "{path}");
        assert_eq!(instances[2]["error"], "no answer within 800 ms", "{path}");
        assert_eq!(instances[2]["instance"], Value::Null, "{path}");
        let gone = instances[3]["error"].as_str().unwrap().to_lowercase();
        assert!(gone.contains("unavailable") && gone.contains("refused"), "{path}: {gone}");
    }
    let health = get(door.at.admin, "/health?timeout_ms=700").await;
    assert_eq!(health.json["status"], "degraded");
    assert_eq!(health.json["instances"][2]["status"], "unreachable");
    let reasons: Vec<&str> = health.json["reasons"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(reasons[0], "frozen did not answer: no answer within 700 ms");
    assert!(reasons[1].starts_with("gone did not answer: "), "{reasons:?}");

    let metrics = support::get_text(door.at.metrics, "/metrics").await;
    assert!(metrics.contains("admin_fanout_failures_total{question=\"health\"} 4\n"), "{metrics}");
    door.stop().await;
    engine.stop().await;
}

#[tokio::test]
async fn r41_without_the_engine_nothing_can_be_traded() {
    let (_held, silent_channel) = silent().await;
    let door = admin(context("door", "admin-api"), vec![("engine", silent_channel)], nobody().await).await;
    let health = get(door.at.admin, "/health").await;
    assert_eq!((health.status, &health.json["status"]), (503, &json!("down")));
    let engine = &health.json["components"]["order_engine"];
    assert_eq!(
        (&engine["status"], &engine["error"], &engine["instance"]),
        (&json!("down"), &json!("no instance that answered has it"), &Value::Null)
    );
    door.stop().await;
}

#[tokio::test]
async fn this_instance_is_not_asked_over_its_own_channel() {
    let (_held, silent_channel) = silent().await;
    let door = admin(trading("all"), vec![("all", silent_channel)], nobody().await).await;
    let health = get(door.at.admin, "/health").await;
    assert_eq!((health.status, &health.json["status"]), (200, &json!("ok")), "{health:?}");
    assert_eq!(health.json["instances"].as_array().unwrap().len(), 1);
    door.stop().await;
}

#[tokio::test]
async fn r42_consensus_tells_leader_term_lease_and_store() {
    for (leader, store_healthy, code, word, role) in [
        (Some("door"), true, 200, "ok", "leader"),
        (Some("engine-2"), true, 200, "ok", "follower"),
        (None, true, 503, "no_leader", "none"),
        (Some("engine-2"), false, 503, "failsafe", "follower"),
        (None, false, 503, "failsafe", "none"),
    ] {
        let keeper = serve(context("keeper", "x"), vec![Box::new(Coordinator(status(leader, store_healthy)))]).await;
        let door = admin(context("door", "admin-api"), vec![], keeper.channel()).await;
        let Value::Object(view) = get(door.at.admin, "/health/consensus").await.json else { panic!("an object") };
        let case = format!("{leader:?}, {store_healthy}: {view:?}");
        assert_eq!(get(door.at.admin, "/health/consensus").await.status, code, "{case}");
        assert_eq!((&view["status"], &view["role"]), (&json!(word), &json!(role)), "{case}");
        assert_eq!(view["reason"].is_null(), word == "ok", "{case}");
        assert_eq!((&view["node_id"], &view["leader_id"]), (&json!("door"), &json!(leader)), "{case}");
        assert_eq!((&view["service"], &view["instance"]), (&json!("consensus"), &json!("keeper")), "{case}");
        if leader.is_some() {
            assert_eq!((&view["term"], &view["lease_ttl_ms"]), (&json!(7), &json!(1900)), "{case}");
            assert_eq!((&view["commit_index"], &view["applied_index"]), (&json!(42), &json!(41)), "{case}");
        } else {
            assert!(
                view["term"].is_null() && view["lease_ttl_ms"].is_null() && view["commit_index"].is_null(),
                "{case}"
            );
        }
        let store = &view["store"];
        assert_eq!((&store["kind"], &store["healthy"]), (&json!("etcd"), &json!(store_healthy)), "{case}");
        assert_eq!(store["endpoints"][0]["address"], "http://127.0.0.1:2379");
        assert_eq!(store["failsafe_since"].is_null(), store_healthy, "{case}");
        door.stop().await;
        keeper.stop().await;
    }
}

#[tokio::test]
async fn r42_a_coordinator_that_hangs_or_is_gone_is_a_reason() {
    let (_held, silent_channel) = silent().await;
    for (channel, expected) in [(silent_channel, "no answer within 800 ms"), (nobody().await, "refused")] {
        let door = admin(context("door", "admin-api"), vec![], channel).await;
        let view = get(door.at.admin, "/health/consensus").await;
        assert_eq!((view.status, &view.json["status"]), (503, &json!("unreachable")));
        assert!(view.json["reason"].as_str().unwrap().contains(expected), "{view:?}");
        assert_eq!((&view.json["store"], &view.json["role"]), (&Value::Null, &json!("none")));
        door.stop().await;
    }
}

/// Each coordinator hears some of the engines, and one of them has lost its store.
#[tokio::test]
async fn coordinators_are_put_together_and_one_that_is_silent_is_listed() {
    let engine = |name: &str, silent_ms, role: consensus::ShardRole, seq| {
        let engine = consensus::Engine { name: name.to_owned(), incarnation: vec![7; 16].into(), ..Default::default() };
        let beat = consensus::ShardBeat {
            role: role.into(),
            commit_seq: 50,
            applied_seq: seq,
            state_hash_seq: 30,
            journal_reachable: true,
            ..Default::default()
        };
        consensus::EngineStatus {
            engine: Some(engine),
            connected: true,
            silent_ms,
            shards: vec![beat],
            ..Default::default()
        }
    };
    let cut_off = consensus::GetConsensusStatusResponse {
        coordinator: "cut off".to_owned(),
        engines: vec![engine("engine-2", 10, consensus::ShardRole::Standby, 48)],
        ..status(Some("engine-1"), false)
    };
    let mut diverged = engine("engine-3", 20, consensus::ShardRole::Diverged, 40);
    diverged.shards[0].state_hash_seq = 0;
    let whole = consensus::GetConsensusStatusResponse {
        coordinator: "whole".to_owned(),
        engines: vec![diverged, engine("engine-2", 4_000, consensus::ShardRole::Loading, 3)],
        policy: Some(consensus::ElectionPolicy { paused: true, since_us: 1_000_000, ..Default::default() }),
        ..status(Some("engine-1"), true)
    };
    let one = serve(context("one", "x"), vec![Box::new(Coordinator(cut_off))]).await;
    let two = serve(context("two", "x"), vec![Box::new(Coordinator(whole))]).await;
    let (_held, silent_channel) = silent().await;
    let all = vec![("one", one.channel()), ("two", two.channel()), ("three", silent_channel)];
    let door = admin_of(all).await;
    let view = get(door.at.admin, "/health/consensus").await;
    assert_eq!((view.status, &view.json["instance"]), (200, &json!("whole")), "{view:?}");
    let standbys = &view.json["shards"][0]["standbys"];
    let said = |at: usize| {
        let standby = &standbys[at];
        (standby["engine"].as_str(), standby["role"].as_str(), standby["lag"].as_u64(), standby["state_hash"].as_str())
    };
    assert_eq!(said(0), (Some("engine-2"), Some("standby"), Some(0), Some("ok")), "who heard it last: {standbys}");
    assert_eq!(said(1), (Some("engine-3"), Some("diverged"), Some(2), Some("diverged")), "{standbys}");
    assert_eq!(view.json["policy"]["paused_since"], "1970-01-01T00:00:01.000000Z");
    let coordinators = &view.json["coordinators"];
    assert_eq!((&coordinators[0]["store_healthy"], &coordinators[1]["store_healthy"]), (&json!(false), &json!(true)));
    assert_eq!(coordinators[2]["error"], "no answer within 800 ms");
    assert!(coordinators[2]["instance"].is_null());
    door.stop().await;
    one.stop().await;
    two.stop().await;
}

struct FixedPool(&'static str, u32);

impl PoolStatus for FixedPool {
    fn status(&self) -> pb::Pool {
        pb::Pool {
            name: self.0.to_owned(),
            database: "postgres".to_owned(),
            max_size: 10,
            size: self.1,
            idle: 1,
            in_use: self.1 - 1,
            waiters: 2,
            timeouts_total: 3,
            acquire_p99_us: 450,
            last_error: if self.1 > 4 { "connection reset".to_owned() } else { String::new() },
            service: "persistence".to_owned(),
        }
    }
}

#[tokio::test]
async fn r43_pools_of_all_instances_are_listed_and_summed() {
    let gateway_context = context("gateway-1", "persistence-gateway");
    gateway_context.pools.register(Arc::new(FixedPool("projector", 5)));
    gateway_context.pools.register(Arc::new(FixedPool("history", 4)));
    let gateway = serve(gateway_context, vec![]).await;
    let door = admin(context("door", "admin-api"), vec![("gateway", gateway.channel())], nobody().await).await;
    let answer = get(door.at.admin, "/admin/database/pool-status").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json["pools"][1],
        json!({
            "service": "persistence", "instance": "gateway-1", "name": "projector", "database": "postgres", "max": 10,
            "size": 5, "idle": 1, "in_use": 4, "waiters": 2, "timeouts_total": 3, "acquire_p99_us": 450,
            "last_error": "connection reset",
        })
    );
    assert_eq!(
        (&answer.json["pools"][0]["name"], &answer.json["pools"][0]["last_error"]),
        (&json!("history"), &Value::Null)
    );
    assert_eq!(answer.json["total"], json!({"max": 20, "size": 9, "idle": 2, "in_use": 7, "waiters": 4}));
    door.stop().await;
    gateway.stop().await;
}

#[tokio::test]
async fn r44_memory_agrees_with_the_kernel_and_tells_whether_sites_are_sampled() {
    let own = context("door", "admin-api");
    own.memory.set_allocator(service_kit::memory::jemalloc);
    own.memory.register("book", || 4096);
    let block = std::hint::black_box(vec![1u8; 32 << 20]);
    let door = admin(own, vec![], nobody().await).await;
    let answer = get(door.at.admin, "/admin/memory-profile").await;
    let kernel = fs::read_to_string("/proc/self/status").unwrap();
    let kib = kernel.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap().trim().trim_end_matches(" kB");
    let (kernel, rss) = (kib.parse::<u64>().unwrap() * 1024, answer.json["rss"].as_u64().unwrap());
    assert!(rss.abs_diff(kernel) * 10 <= kernel, "{rss} should be {kernel} within a tenth");
    let allocator: HashMap<String, Value> = serde_json::from_value(answer.json["allocator"].clone()).unwrap();
    let bytes = |name: &str| allocator[name].as_u64().unwrap();
    assert_eq!(allocator["name"], "jemalloc");
    assert!(bytes("allocated") >= block.len() as u64);
    assert!(bytes("allocated") <= bytes("active") && bytes("active") <= bytes("mapped") && bytes("resident") > 0);
    assert!(allocator.contains_key("retained"));
    assert_eq!(answer.json["components"], json!({"book": 4096}));
    assert_eq!(answer.json["profiling_enabled"], false);
    assert!(answer.json["hint"].as_str().unwrap().contains("admin memory start"));
    assert_eq!(answer.json["instances"][0]["memory"]["components"]["book"], 4096);
    door.stop().await;
}

/// Scripts and dashboards read these names. Adding one is fine, and is added here; none may go.
#[tokio::test]
async fn the_fields_of_every_answer_keep_their_names() {
    let own = trading("door");
    own.memory.set_allocator(service_kit::memory::jemalloc);
    own.pools.register(Arc::new(FixedPool("history", 2)));
    let keeper = serve(context("keeper", "x"), vec![Box::new(Coordinator(status(Some("door"), true)))]).await;
    let door = admin(own, vec![], keeper.channel()).await;
    let health = get(door.at.admin, "/health").await.json;
    let consensus = get(door.at.admin, "/health/consensus").await.json;
    let pools = get(door.at.admin, "/admin/database/pool-status").await.json;
    let memory = get(door.at.admin, "/admin/memory-profile").await.json;
    let component = "details error instance latency_us service since status";
    let answer = "error instance latency_us services target";
    let shard = "applied_index commit_index leader_address leader_id lease_ttl_ms shard standbys term";
    let profile = "allocator components counted hint limit profiling_enabled profiling_since rss shedding sites_at \
                   top_sites";
    for (value, expected) in [
        (&health, "components instance instances reasons role status uptime_ms version"),
        (&health["components"]["persistence"], component),
        (&health["instances"][0]["components"]["persistence"], component),
        (&health["instances"][0], &*format!("components draining {answer} status version")),
        (
            &consensus,
            "applied_index commit_index coordinators instance latency_us leader_id lease_ttl_ms node_id policy reason \
             role service shards status store term",
        ),
        (&consensus["shards"][0], shard),
        (&consensus["coordinators"][0], "error failsafe_since instance latency_us store_healthy target"),
        (&consensus["policy"], "actor drained_engines paused paused_since reason"),
        (&consensus["store"], "endpoints failsafe_since healthy kind"),
        (&consensus["store"]["endpoints"][0], "address error healthy latency_us"),
        (&pools, "instances pools total"),
        (&pools["instances"][0], answer),
        (&memory, &*format!("{profile} instances")),
        (&memory["instances"][0], &*format!("{answer} memory")),
        (&memory["instances"][0]["memory"], profile),
        (&memory["allocator"], "active allocated mapped name resident retained"),
    ] {
        let mut names: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        let mut expected: Vec<&str> = expected.split(' ').collect();
        names.sort_unstable();
        expected.sort_unstable();
        assert_eq!(names, expected);
    }
    door.stop().await;
    keeper.stop().await;
}

#[tokio::test]
async fn r48_wrong_requests_are_the_callers_fault() {
    let door = admin(trading("door"), vec![], nobody().await).await;
    let at = door.at.admin;
    for path in ["/health", "/health/consensus", "/admin/database/pool-status", "/admin/memory-profile"] {
        let post = request(at, "POST", path).await;
        assert_eq!((post.status, &post.json["error"]), (405, &json!("method_not_allowed")), "{path}");
        for (query, field) in [
            ("timeout_ms=0", "timeout_ms"),
            ("timeout_ms=901", "timeout_ms"),
            ("timeout_ms=-5", "timeout_ms"),
            ("timeout_ms=99999999999999999999", "timeout_ms"),
            ("timeout_ms", "timeout_ms"),
            ("timeout_ms=10&verbose", "verbose"),
            ("%00=1", "%00"),
        ] {
            let bad = get(at, &format!("{path}?{query}")).await;
            assert_eq!((bad.status, &bad.json["field"]), (400, &json!(field)), "{path}?{query}");
        }
    }
    for path in ["/healthy", "/admin", "/admin/database", "/health/consensus/"] {
        assert_eq!((get(at, path).await.status, request(at, "POST", path).await.status), (404, 404), "{path}");
    }
    door.stop().await;
}

#[tokio::test]
async fn the_grpc_door_gives_the_same() {
    let engine = serve(trading("engine-1"), vec![]).await;
    let (_held, silent_channel) = silent().await;
    let nodes = vec![("engine", engine.channel()), ("frozen", silent_channel)];
    let door = admin(context("door", "admin-api"), nodes, nobody().await).await;
    let mut client = AdminServiceClient::new(door.channel());
    let health = client.get_health(pb::GetHealthRequest { timeout_ms: 700 }).await.unwrap().into_inner();
    assert_eq!(health.status(), pb::ComponentStatus::Degraded);
    let errors: Vec<String> = health.instances.iter().map(|i| i.answer.clone().unwrap().error).collect();
    assert_eq!(errors, ["", "", "no answer within 700 ms"]);
    assert!(health.instances[1].health.is_some() && health.instances[2].health.is_none());
    let memory = client.get_memory_profile(pb::GetMemoryProfileRequest { timeout_ms: 0 }).await.unwrap().into_inner();
    assert!(memory.instances[1].memory.clone().unwrap().rss > 0);
    let pools = client.get_pool_status(pb::GetPoolStatusRequest { timeout_ms: 900 }).await.unwrap().into_inner();
    assert_eq!(pools.instances[1].answer.clone().unwrap().node, "engine-1");

    let refused = client.get_pool_status(pb::GetPoolStatusRequest { timeout_ms: 901 }).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("timeout_ms"), "{refused}");
    door.stop().await;
    engine.stop().await;
}

#[tokio::test]
async fn a_timeout_that_breaks_the_promise_is_refused() {
    let own = context("door", "admin-api");
    for (timeout, good) in [("1ms", true), ("900ms", true), ("0s", false), ("901ms", false), ("1s", false)] {
        let config = Config { timeout: timeout.parse::<HumanDuration>().unwrap(), ..Config::default() };
        let deps = Deps::new(vec![], vec![]);
        let error = build(config, deps, &own).await.err().map(|error| error.to_string());
        assert_eq!(error.is_none(), good, "{timeout}");
        assert!(error.is_none_or(|error| error.contains(&format!("admin_api.timeout is {timeout}"))));
    }
}
