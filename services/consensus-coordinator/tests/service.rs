//! The service as engines and operators see it, over gRPC in one process, with the embedded store and with an etcd that is away.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use consensus_coordinator::{Config, Deps, StoreKind, build};
use service_kit::{Condition, NodeContext, Service, Shutdown};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::{Code, Streaming};
use types::Incarnation;
use wire::convert::{Engine, engine_to_pb};
use wire::pb::consensus::v1 as pb;
use wire::pb::consensus::v1::consensus_service_client::ConsensusServiceClient;
use wire::status::{ApiError, ErrorCode};
use wire::transport::{Address, Channel, ClientOptions, connect, in_process};

struct Running {
    client: ConsensusServiceClient<Channel>,
    context: NodeContext,
    shutdown: Shutdown,
    _directory: tempfile::TempDir,
}

async fn start(config: Config) -> Running {
    let directory = tempfile::tempdir().unwrap();
    let context = NodeContext::new("node-1", vec!["consensus-coordinator".to_owned()], directory.path());
    let service = build(config, Deps::default(), &context).await.unwrap();
    let mut routes = Routes::builder();
    service.register(&mut routes);
    let (dial, listener) = in_process();
    tokio::spawn(listener.serve(routes.routes(), std::future::pending()));
    let shutdown = Shutdown::new();
    let service: Box<dyn Service> = Box::new(service);
    tokio::spawn(service.run(shutdown.clone()));
    let client = ConsensusServiceClient::new(connect(&Address::InProcess(dial), &ClientOptions::default()));
    Running { client, context, shutdown, _directory: directory }
}

fn engine(number: u128) -> pb::Engine {
    let (name, address) = (format!("engine-{number}"), format!("http://e{number}:8080"));
    engine_to_pb(&Engine { name, incarnation: Incarnation(number), address })
}

fn wish(number: u128) -> pb::AcquireLeadershipRequest {
    pb::AcquireLeadershipRequest { shard: 0, engine: Some(engine(number)), highest_promised: 0 }
}

/// A stream of signs of life of one engine, each answered before the next.
struct Beats {
    engine: pb::Engine,
    number: u64,
    send: mpsc::Sender<pb::HeartbeatRequest>,
    answers: Streaming<pb::HeartbeatResponse>,
}

impl Beats {
    async fn open(client: &mut ConsensusServiceClient<Channel>, number: u128) -> Self {
        let (send, queue) = mpsc::channel(1);
        let answers = client.heartbeat(ReceiverStream::new(queue)).await.unwrap().into_inner();
        Self { engine: engine(number), number: 0, send, answers }
    }

    async fn beat(&mut self, epoch: Option<wire::pb::journal::v1::Epoch>) -> pb::HeartbeatResponse {
        self.number += 1;
        let shard = pb::ShardBeat {
            shard: 0,
            epoch,
            commit_seq: 20,
            applied_seq: 19,
            journal_reachable: true,
            ..Default::default()
        };
        let beat = pb::HeartbeatRequest { engine: Some(self.engine.clone()), number: self.number, shards: vec![shard] };
        self.send.send(beat).await.unwrap();
        loop {
            let answer = self.answers.message().await.unwrap().unwrap();
            // 0 is what is said unasked.
            if answer.number > 0 {
                assert_eq!(answer.number, self.number);
                return answer;
            }
        }
    }
}

#[tokio::test]
async fn one_leads_the_other_is_told_who() {
    let mut node = start(Config::default()).await;
    let held = node.client.acquire_leadership(wish(1)).await.unwrap().into_inner();
    assert_eq!((held.epoch.as_ref().unwrap().number, held.ttl_ms), (1, 5_000));
    let refused = node.client.acquire_leadership(wish(2)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let refused = ApiError::from_status(&refused);
    assert_eq!(refused.code, ErrorCode::LeadershipHeld);
    let hint = refused.leader.unwrap();
    assert_eq!((&*hint.engine, &*hint.address, hint.epoch), ("engine-1", "http://e1:8080", 1));

    let mut beats = Beats::open(&mut node.client, 1).await;
    let answer = beats.beat(held.epoch.clone()).await;
    assert!(answer.deposed_shards.is_empty() && answer.ttl_ms > 4_000, "{answer:?}");
    assert_eq!(answer.leaders[0].engine, Some(engine(1)));
    let status = node.client.get_consensus_status(pb::GetConsensusStatusRequest {}).await.unwrap().into_inner();
    assert_eq!((&*status.coordinator, &*status.store, status.store_healthy), ("node-1", "embedded", true));
    assert_eq!((status.leaders[0].commit_seq, status.leaders[0].applied_seq), (20, 19));
    assert!(status.endpoints[0].healthy && status.failsafe_since_us == 0);

    // Given back, somebody else may have it; the one before is told when it speaks again.
    let back = pb::ReleaseLeadershipRequest { shard: 0, engine: Some(engine(1)), epoch: held.epoch.clone() };
    assert!(node.client.release_leadership(back.clone()).await.unwrap().into_inner().released);
    assert!(!node.client.release_leadership(back).await.unwrap().into_inner().released);
    let next = node.client.acquire_leadership(wish(2)).await.unwrap().into_inner();
    assert_eq!(next.epoch.as_ref().unwrap().number, 2);
    let answer = beats.beat(held.epoch).await;
    assert_eq!(answer.deposed_shards, [0]);
    assert_eq!(answer.leaders[0].engine, Some(engine(2)));
    assert!(beats.beat(None).await.deposed_shards.is_empty(), "who does not lead is not deposed");
    assert_eq!(node.context.components.snapshot().components[0].condition, Condition::Ok);
}

#[tokio::test]
async fn wrong_requests_name_the_field() {
    let mut node = start(Config::default()).await;
    let no_name = pb::Engine { name: String::new(), ..engine(1) };
    let short = pb::Engine { incarnation: vec![1; 15].into(), ..engine(1) };
    for (engine, field) in [(None, "engine"), (Some(no_name), "engine.name"), (Some(short), "engine.incarnation")] {
        let request = pb::AcquireLeadershipRequest { shard: 0, engine, highest_promised: 0 };
        let error = ApiError::from_status(&node.client.acquire_leadership(request).await.unwrap_err());
        assert_eq!((error.code, error.field.as_deref()), (ErrorCode::InvalidArgument, Some(field)));
    }
    let elsewhere = pb::AcquireLeadershipRequest { shard: 9, ..wish(1) };
    let error = ApiError::from_status(&node.client.acquire_leadership(elsewhere).await.unwrap_err());
    assert_eq!((error.code, error.field.as_deref()), (ErrorCode::InvalidArgument, Some("shard")));
    let held = node.client.acquire_leadership(wish(1)).await.unwrap().into_inner();
    let stolen = pb::ReleaseLeadershipRequest { shard: 0, engine: Some(engine(2)), epoch: held.epoch };
    let error = ApiError::from_status(&node.client.release_leadership(stolen).await.unwrap_err());
    assert_eq!(error.field.as_deref(), Some("epoch.owner"));
    let last = pb::AcquireLeadershipRequest { highest_promised: u64::MAX, ..wish(1) };
    let error = ApiError::from_status(&node.client.acquire_leadership(last).await.unwrap_err());
    assert_eq!(error.field.as_deref(), Some("highest_promised"));
}

#[tokio::test]
async fn streams_end_when_the_service_is_stopped() {
    let mut node = start(Config::default()).await;
    let mut beats = Beats::open(&mut node.client, 1).await;
    beats.beat(None).await;
    node.shutdown.stop();
    assert!(beats.answers.message().await.unwrap().is_none());
}

#[tokio::test]
async fn without_a_store_nobody_is_elected_and_nobody_deposed() {
    // Nothing listens on a port that was given back.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut node = start(Config {
        store: StoreKind::Etcd,
        endpoints: vec![format!("http://{free}")],
        request_timeout: "200ms".parse().unwrap(),
        connect_timeout: "200ms".parse().unwrap(),
        ..Config::default()
    })
    .await;
    let refused = node.client.acquire_leadership(wish(1)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("store does not answer"), "{refused}");
    let mut beats = Beats::open(&mut node.client, 1).await;
    let epoch = wire::convert::epoch_to_pb(types::Epoch { number: 3, owner: Incarnation(1) });
    let answer = tokio::time::timeout(Duration::from_secs(30), beats.beat(Some(epoch))).await.unwrap();
    assert!(answer.deposed_shards.is_empty(), "an outage deposes nobody");
    let status = node.client.get_consensus_status(pb::GetConsensusStatusRequest {}).await.unwrap().into_inner();
    assert!(!status.store_healthy && status.failsafe_since_us > 0 && !status.endpoints[0].healthy, "{status:?}");
    let component = &node.context.components.snapshot().components[0];
    assert_eq!(component.condition, Condition::Degraded);
    assert!(component.reason.contains("failsafe"), "{}", component.reason);
}
