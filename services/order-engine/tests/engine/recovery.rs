//! An engine that starts again has the state it had: from the log, and from a snapshot and the rest of the log.

use journal_core::{EntryKind, codec};
use order_engine::Config;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use types::Seq;
use wire::pb::orders::v1::Side;

use crate::support::requests::limit;
use crate::support::{Engine, Rig, replay};

async fn load(engine: &Engine, seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for n in 0..200 {
        let side = if random.random() { Side::Buy } else { Side::Sell };
        let price = 100 * random.random_range(95..106);
        let request = limit(random.random_range(1..5), &format!("{seed}-{n}"), side, price, random.random_range(1..9));
        engine.orders().submit_order(request).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_engine_comes_back_with_the_same_state() {
    let rig = Rig::new();
    let engine = rig.start().await;
    load(&engine, 1).await;
    let before = engine.digest().await;
    engine.kill().await;
    rig.coordinator.free();

    let engine = rig.start().await;
    let after = engine.digest().await;
    assert_eq!((&after.state_hash, &after.log_id), (&before.state_hash, &before.log_id));
    assert_eq!(after.as_of_seq, before.as_of_seq + 1, "only the epoch's first entry was added");
    load(&engine, 2).await;
    let last = engine.digest().await;
    engine.stop().await;
    let (_, replayed) = replay(&rig.voter, Seq(last.as_of_seq));
    assert_eq!(replayed.state_hash().to_string(), last.state_hash, "replicas come to the same state");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_starts_from_a_snapshot_when_the_log_before_it_is_gone() {
    let rig = Rig::new();
    let engine = rig.start().await;
    load(&engine, 1).await;
    let middle = Seq(engine.digest().await.as_of_seq);
    load(&engine, 2).await;
    let before = engine.digest().await;
    engine.kill().await;
    rig.coordinator.free();

    let (at, exchange) = replay(&rig.voter, middle);
    rig.voter.put_snapshot(&at, &codec::snapshot::encode(&exchange.snapshot()));
    let rig = Rig { voter: rig.voter.trimmed(at), ..rig };
    let engine = rig.start().await;
    let after = engine.digest().await;
    assert_eq!((&after.state_hash, &after.log_id), (&before.state_hash, &before.log_id));
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_state_is_digested_into_the_log_and_compared_when_it_is_replayed() {
    let rig = Rig::with(Config { state_hash_interval: 50, ..Config::default() });
    let engine = rig.start().await;
    load(&engine, 1).await;
    let before = engine.digest().await;
    engine.kill().await;
    rig.coordinator.free();
    let digests = rig.voter.entries().iter().filter(|entry| entry.kind == EntryKind::StateHash).count();
    assert!(digests >= 3, "{digests} digests in the log");
    let engine = rig.start().await;
    assert_eq!(engine.digest().await.state_hash, before.state_hash);
    engine.kill().await;
    rig.coordinator.free();

    // A snapshot that is not of this log: the next digest does not agree, and the engine must not go on.
    let (at, _) = replay(&rig.voter, Seq(20));
    let (_, other) = replay(&rig.voter, Seq(15));
    rig.voter.put_snapshot(&at, &codec::snapshot::encode(&other.snapshot()));
    let engine = rig.launch().await;
    let error = engine.fails().await.to_string();
    assert!(error.contains("state differs from the log at entry"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_log_gets_rules_and_instruments_once() {
    let rig = Rig::new();
    rig.start().await.stop().await;
    rig.start().await.stop().await;
    let entries = rig.voter.entries();
    let batches: Vec<usize> = entries
        .iter()
        .filter(|entry| entry.kind == EntryKind::Batch)
        .map(|entry| codec::batch::BatchView::parse(&entry.payload).unwrap().len())
        .collect();
    assert_eq!(batches, [4], "rules and three instruments");
    assert!(entries.windows(2).all(|pair| pair[0].timestamp < pair[1].timestamp), "log time ascends");
}
