//! Gateways in front of one journal in PostgreSQL.

use std::path::Path;

use journal_core::{AppendReply, FenceReply};
use journal_store::testing::PostgresServer;
use persistence_gateway::config::JournalBackend;
use persistence_gateway::{Config, VerifyOptions, verify};
use service_kit::Condition;

use crate::support::{Gateway, Leader, START, commands, epoch, fence, with_postgres};

fn shared(url: &str) -> Config {
    let mut config = with_postgres(url.to_owned());
    config.journal.backend = JournalBackend::Postgres;
    config
}

fn assert_verified(config: &Config, data_dir: &Path, end: u64) {
    let report = verify(VerifyOptions { config: config.clone(), data_dir: data_dir.to_owned() }).unwrap();
    assert!(report.ok, "{report:#?}");
    assert_eq!((report.shards[0].journal_end, report.shards[0].projected), (end, end), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_behind_another_gateway_fences_by_the_database() {
    let url = PostgresServer::shared().database();
    let dir = tempfile::tempdir().unwrap();
    let one = Gateway::start(shared(&url), dir.path()).await;
    let two = Gateway::start(shared(&url), dir.path()).await;
    let mut old = Leader::elect(&one, 1, START).await;
    let commands = commands(41, 600);
    old.apply(&commands[..300]).await;

    // The second gateway knew nothing of these entries when it started.
    let mut new = Leader::elect(&two, 2, START + 100_000_000).await;
    assert_eq!(new.tail.seq, old.tail.seq.next());
    let late = old.batch(&commands[..8]);
    let AppendReply::Refused { promised } = old.try_append(vec![late]).await else { panic!("not refused") };
    assert_eq!(promised, epoch(2));
    new.apply(&commands[300..]).await;

    // And the first one serves the next leader, with all that the second one wrote.
    let FenceReply::Granted(granted) = fence(&one, epoch(3)).await else { panic!("not granted") };
    assert_eq!(granted.last, new.tail);
    one.stop().await;
    two.stop().await;
    assert_verified(&shared(&url), dir.path(), new.tail.seq.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_whose_server_is_killed_loses_nothing_and_comes_back() {
    let mut server = PostgresServer::start();
    let config = shared(&server.database());
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(config.clone(), dir.path()).await;
    let mut leader = Leader::elect(&gateway, 1, START).await;
    let commands = commands(42, 400);
    leader.apply(&commands[..200]).await;
    let acknowledged = leader.tail;

    server.kill();
    let entry = leader.batch(&commands[..8]);
    let reply = leader.try_append(vec![entry]).await;
    assert!(matches!(reply, AppendReply::Failed { .. }), "{reply:?}");
    assert!(matches!(fence(&gateway, epoch(2)).await, FenceReply::Failed { .. }));
    server.launch();

    let granted = loop {
        // The storage looks for its server again a few times a second.
        match fence(&gateway, epoch(3)).await {
            FenceReply::Granted(granted) => break granted,
            FenceReply::Failed { .. } => tokio::task::yield_now().await,
            reply => panic!("{reply:?}"),
        }
    };
    // Nothing acknowledged is missing; the entry in doubt may be there.
    assert!(granted.last.seq >= acknowledged.seq && granted.last.seq <= acknowledged.seq.next());
    let mut next = Leader::elect(&gateway, 4, START + 100_000_000).await;
    next.apply(&commands[200..]).await;
    gateway.component("history", Condition::Ok).await;
    gateway.stop().await;
    assert_verified(&config, dir.path(), next.tail.seq.0);
}

#[tokio::test]
async fn a_database_that_wants_tls_is_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let config = with_postgres("postgres://postgres@127.0.0.1:1/x?sslmode=require".to_owned());
    let context = service_kit::NodeContext::new("g0", Vec::new(), dir.path());
    let error = persistence_gateway::build(config, &context).await.unwrap_err();
    assert!(error.to_string().contains("sslmode"), "{error}");
}
