//! Memory through both doors: a leak that is planted here is named, and what profiling costs to ask for. The leak is a
//! function of this test; no shipped program has it.

use std::time::{Duration, Instant};

use serde_json::Value;
use tonic::Code;
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::memory_service_client::MemoryServiceClient;
use wire::pb::consensus::v1::Order;

use crate::support::{Served, admin, channel, get, nobody, serve, silent};
use crate::{context, trading};

/// Sampling is possible, and off, as in the shipped program.
#[expect(unsafe_code, reason = "the name that jemalloc reads")]
#[unsafe(export_name = "malloc_conf")]
pub(crate) static MALLOC_CONF: &[u8; 46] = b"prof:true,prof_active:false,lg_prof_sample:19\0";

/// Within this a leak must be named.
const TWO_MINUTES: Duration = Duration::from_secs(120);
/// Between two leaks: one that goes on, as leaks do, is what the instance looks at every ten seconds.
const LEAK_AGAIN: Duration = Duration::from_millis(500);

#[inline(never)]
fn plant_a_leak(blocks: usize) {
    for _ in 0..blocks {
        std::hint::black_box(vec![1_u8; 256 << 10].leak());
    }
}

fn order() -> Option<Order> {
    Some(Order { actor: "tester".to_owned(), reason: "a test".to_owned(), ..Order::default() })
}

async fn switch(door: &Served, enabled: bool) -> pb::MemoryProfilingChange {
    let request = pb::SetMemoryProfilingRequest { order: order(), enabled, targets: vec![] };
    let mut client = MemoryServiceClient::new(door.channel());
    client.set_memory_profiling(request).await.unwrap().into_inner().instances.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn r44_a_planted_leak_is_named_within_two_minutes() {
    let own = trading("door");
    own.memory.set_allocator(service_kit::memory::jemalloc);
    let door = admin(own, vec![], nobody().await).await;
    let off = get(door.at.admin, "/admin/memory-profile").await.json;
    assert_eq!((&off["profiling_enabled"], off["top_sites"].as_array().unwrap().len()), (&Value::Bool(false), 0));
    assert!(off["hint"].as_str().unwrap().contains("admin memory start"));

    let before = Instant::now();
    let on = switch(&door, true).await;
    assert!(on.changed && on.enabled);
    let again = switch(&door, true).await;
    assert!(!again.changed && again.enabled);
    let named = loop {
        plant_a_leak(40);
        let profile = get(door.at.admin, "/admin/memory-profile").await.json;
        assert_eq!((profile["profiling_enabled"].as_bool(), &profile["hint"]), (Some(true), &Value::Null));
        let first = profile["top_sites"].get(0).cloned().unwrap_or_default();
        if first["function"].as_str().is_some_and(|name| name.ends_with("plant_a_leak")) {
            break first;
        }
        assert!(before.elapsed() < TWO_MINUTES, "not named: {profile:#}");
        tokio::time::sleep(LEAK_AGAIN).await;
    };
    let bytes = named["bytes"].as_u64().unwrap();
    assert!(bytes >= 5 << 20, "40 blocks of 256 KiB at least: {named:#}");
    assert!(named["location"].as_str().unwrap().starts_with("services/admin-api/tests/doors/memory.rs:"), "{named:#}");
    assert!(named["stack"].as_array().unwrap().len() > 1, "{named:#}");

    let mut client = MemoryServiceClient::new(door.channel());
    let dump = client.dump_heap(pb::DumpHeapRequest::default()).await.unwrap().into_inner();
    assert_eq!((dump.node.as_str(), &dump.pprof[..2]), ("door", &[0x1f, 0x8b][..]), "gzip");

    assert!(switch(&door, false).await.changed);
    let off = get(door.at.admin, "/admin/memory-profile").await.json;
    assert_eq!((&off["profiling_enabled"], off["top_sites"].as_array().unwrap().len()), (&Value::Bool(false), 0));
    let refused = client.dump_heap(pb::DumpHeapRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(refused.message().contains("switch it on"), "{refused}");
    door.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r45_profiling_is_switched_at_those_who_answer_and_the_rest_is_listed() {
    let engine = serve(trading("engine-1"), vec![]).await;
    let (_held, silent_channel) = silent().await;
    let nodes = vec![("engine", engine.channel()), ("frozen", silent_channel)];
    let door = admin(context("door", "admin-api"), nodes, nobody().await).await;
    let mut client = MemoryServiceClient::new(channel(door.at.grpc));
    let order_of = |targets: &[&str]| pb::SetMemoryProfilingRequest {
        order: order(),
        enabled: true,
        targets: targets.iter().map(|&name| name.to_owned()).collect(),
    };
    let all = client.set_memory_profiling(order_of(&[])).await.unwrap().into_inner().instances;
    let said: Vec<_> = all.iter().map(|one| one.answer.clone().unwrap()).collect();
    assert_eq!(said.iter().map(|answer| &*answer.target).collect::<Vec<_>>(), ["door", "engine", "frozen"]);
    assert!(said[0].error.is_empty() && said[1].error.is_empty() && said[2].error.contains("no answer"), "{said:?}");
    // Both run in this process: who came second found it done.
    assert_eq!(all.iter().filter(|one| one.changed).count(), 1);
    assert!(all[0].enabled && all[1].enabled && !all[2].enabled);

    let one = client.set_memory_profiling(order_of(&["engine"])).await.unwrap().into_inner().instances;
    assert_eq!((one.len(), one[0].answer.clone().unwrap().node), (1, "engine-1".to_owned()));
    let look = pb::LookAtMemoryRequest { targets: vec!["engine".to_owned()] };
    let looked = client.look_at_memory(look).await.unwrap().into_inner().instances.remove(0).memory.unwrap();
    assert!(looked.rss > 0 && looked.sites_at_us > 0);
    let unknown = client.set_memory_profiling(order_of(&["nobody"])).await.unwrap_err();
    assert_eq!(unknown.code(), Code::InvalidArgument);
    assert!(unknown.message().contains("there are door, engine, frozen"), "{unknown}");
    door.stop().await;
    engine.stop().await;
}
