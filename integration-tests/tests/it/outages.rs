//! The roles apart, killed one after the other under load, and the database away: everything recovers by itself.
//! INV-ACK-DURABLE, INV-ONCE, INV-HISTORY-PREFIX, INV-NEVER-WAIT-FOR-HISTORY.

use std::time::Duration;

use anyhow::Result;
use integration_tests::etcd::Etcd;
use integration_tests::node::Node;
use integration_tests::record::{Answered, check_history, check_places, check_retries, settle, work};
use integration_tests::requests::Requests;
use integration_tests::tool;
use journal_store::testing::PostgresServer;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How often each role is killed.
const ROUNDS: usize = 3;

/// Clients that send at the same time.
const WORKERS: u64 = 6;

/// Requests that must be answered while the database is away.
const WITHOUT_DATABASE: usize = 100;

/// How long the clients are left alone between two kills.
const PAUSE: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_role_dies_under_load_and_the_journal_in_files_loses_nothing() -> Result<()> {
    outages("file").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r100_each_role_dies_under_load_and_the_journal_in_postgres_loses_nothing() -> Result<()> {
    outages("postgres").await
}

async fn outages(journal: &str) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let etcd = Etcd::start(directory.path()).await?;
    let mut server = PostgresServer::start();
    let for_gateway = format!(
        "[persistence_gateway]\njournal.backend = \"{journal}\"\njournal.snapshot_every_entries = 300\n\
         history.database = \"postgres\"\ndatabase.url = \"{}\"\n",
        server.database()
    );
    let for_coordinator =
        format!("[consensus_coordinator]\nstore = \"etcd\"\nlease_ttl = \"2s\"\nendpoints = [\"{}\"]\n", etcd.endpoint);
    let mut gateway = Node::start(&directory.path().join("gateway"), "persistence-gateway", &for_gateway).await?;
    let mut coordinator =
        Node::start(&directory.path().join("coordinator"), "consensus-coordinator", &for_coordinator).await?;
    let for_engine = format!(
        "[peers]\npersistence_gateway = \"http://{}\"\nconsensus_coordinator = \"http://{}\"\n",
        gateway.grpc, coordinator.grpc
    );
    let mut engine = Node::start(&directory.path().join("engine"), "order-engine", &for_engine).await?;

    let (_channel, channels) = watch::channel(engine.channel());
    let (stop, stopped) = watch::channel(false);
    let mut workers = JoinSet::new();
    for account in 1..=WORKERS {
        workers.spawn(work(Requests::new(11, account, "outages"), channels.clone(), stopped.clone()));
    }
    for _ in 0..ROUNDS {
        tokio::time::sleep(PAUSE).await;
        gateway = gateway.kill_and_start("persistence-gateway", &for_gateway).await?;
        engine.ready().await?;
        tokio::time::sleep(PAUSE).await;
        coordinator = coordinator.kill_and_start("consensus-coordinator", &for_coordinator).await?;
        tokio::time::sleep(PAUSE).await;
        engine = engine.kill_and_start("order-engine", &for_engine).await?;
    }
    server.kill();
    let mut answered: Vec<Answered> = Vec::new();
    if journal == "file" {
        // Only history needs the database now.
        let mut requests = Requests::new(11, WORKERS + 1, "without-database");
        for _ in 0..WITHOUT_DATABASE {
            let one = settle(requests.next().expect("an endless stream"), || engine.channel()).await?;
            requests.learn(&one.report);
            answered.push(one);
        }
    }
    server.launch();
    engine.ready().await?;
    tokio::time::sleep(PAUSE).await;
    stop.send(true)?;
    while let Some(worker) = workers.join_next().await {
        answered.extend(worker??);
    }
    let doubtful = answered.iter().filter(|one| one.in_doubt).count();
    println!("{} answered, {doubtful} of them in doubt at first", answered.len());
    assert!(doubtful > 0, "nothing was in doubt: the test proves nothing");

    check_places(&answered)?;
    check_retries(&answered, &engine.channel()).await?;
    check_history(&answered, &gateway.channel()).await?;
    let data = gateway.data();
    for node in [engine, coordinator, gateway] {
        assert!(node.terminate().await?.success(), "SIGTERM ends with exit code 0");
    }
    let file = directory.path().join("gateway/production.toml");
    let verify = ["verify", "--data-dir", data.to_str().unwrap(), "--config", file.to_str().unwrap()];
    let said = tool::hive(&verify, directory.path())?;
    assert_eq!(said.code, 0, "verify found a difference: {}{}", said.out, said.err);
    Ok(())
}
