//! SIGKILL at random moments under load: INV-ACK-DURABLE, INV-ONCE, INV-HISTORY-PREFIX.

use std::time::Duration;

use anyhow::Result;
use integration_tests::node::Node;
use integration_tests::record::{Answered, check_history, check_places, check_retries, work};
use integration_tests::requests::Requests;
use integration_tests::tool;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Kills of the whole run.
const KILLS: u32 = 50;

/// Clients that send at the same time.
const WORKERS: u64 = 8;

/// Longest time a node is left alone between being ready and being killed, milliseconds.
const LIFE_MS_MAX: u64 = 400;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_or_done_twice_over_fifty_kills() -> Result<()> {
    let seed = std::env::var("HIVE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_260_921);
    println!("HIVE_SEED={seed} repeats the moments of the kills");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let directory = tempfile::tempdir()?;
    // Small numbers, so that snapshots and trimming happen between the kills too.
    let configuration = "[persistence_gateway.journal]\nsnapshot_every_entries = 500\n";

    let mut node = Node::start(directory.path(), "all", configuration).await?;
    let (channel, channels) = watch::channel(node.channel());
    let (stop, stopped) = watch::channel(false);
    let mut workers = JoinSet::new();
    for account in 1..=WORKERS {
        let requests = Requests::new(seed, account, "crash");
        workers.spawn(work(requests, channels.clone(), stopped.clone()));
    }
    for _ in 0..KILLS {
        // Waits for nothing: this is the random moment of the kill.
        tokio::time::sleep(Duration::from_millis(random.random_range(0..LIFE_MS_MAX))).await;
        node = node.kill_and_start("all", configuration).await?;
        channel.send(node.channel())?;
    }
    stop.send(true)?;
    let mut answered: Vec<Answered> = Vec::new();
    while let Some(worker) = workers.join_next().await {
        answered.extend(worker??);
    }
    let doubtful = answered.iter().filter(|one| one.in_doubt).count();
    let retried = answered.iter().filter(|one| one.report.duplicate).count();
    println!(
        "{} answered, {doubtful} of them in doubt at first, {retried} had been executed before the kill",
        answered.len()
    );
    assert!(doubtful > 0, "no kill hit a request under way: the test proves nothing");

    check_places(&answered)?;
    check_retries(&answered, &node.channel()).await?;
    check_history(&answered, &node.channel()).await?;
    assert!(node.terminate().await?.success(), "SIGTERM ends with exit code 0");

    let data = directory.path().join("data");
    let verify = ["verify", "--output", "json", "--data-dir", data.to_str().expect("a readable path")];
    let said = tool::hive(&verify, directory.path())?;
    assert_eq!(said.code, 0, "verify found a difference: {}{}", said.out, said.err);
    Ok(())
}
