//! What an engine and its coordinators say to each other.

use crate::support::requests::buy;
use crate::support::{Coordinator, Rig};
use wire::pb::consensus::v1::HeartbeatRequest;

fn epoch(beat: &HeartbeatRequest) -> u64 {
    beat.shards[0].epoch.as_ref().map_or(0, |epoch| epoch.number)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_stream_speaks_before_while_and_after_it_leads() {
    let rig = Rig::new();
    rig.coordinator.give_to("engine-1");
    let engine = rig.launch().await;
    while rig.coordinator.beats().len() < 2 {
        tokio::task::yield_now().await;
    }
    rig.coordinator.free();
    engine.ready().await;
    rig.coordinator.give_to("engine-1");
    engine.closed().await;
    let after = rig.coordinator.beats().len();
    while rig.coordinator.beats().len() < after + 2 {
        tokio::task::yield_now().await;
    }
    let beats = rig.coordinator.beats();
    assert!(beats.iter().zip(1..).all(|(beat, number)| beat.number == number), "one stream, numbered from 1");
    let mut epochs: Vec<_> = beats.iter().map(epoch).collect();
    epochs.dedup();
    assert_eq!(epochs, [0, 2, 0]);
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_asked_to_resign_answers_everything_and_gives_the_shard_back() {
    let rig = Rig::new();
    let engine = rig.start().await;
    rig.voter.disk.hold(true);
    let mut orders = engine.orders();
    let caught = tokio::spawn(async move { orders.submit_order(buy(1, "caught", 1000, 1)).await });
    while rig.voter.appended() < 1 + engine.digest().await.as_of_seq {
        tokio::task::yield_now().await;
    }
    rig.coordinator.ask_to_resign(1);
    engine.closed().await;
    assert_eq!(rig.coordinator.released(), Vec::<u64>::new(), "it holds the shard until all is answered");
    rig.voter.disk.hold(false);
    let report = caught.await.unwrap().unwrap().into_inner().report.unwrap();
    assert!(!report.duplicate, "what was accepted is finished");
    engine.ready().await;
    assert_eq!(rig.coordinator.released(), [1]);
    let report = engine.orders().submit_order(buy(1, "after", 1000, 1)).await.unwrap().into_inner().report.unwrap();
    assert_eq!(report.place.unwrap().epoch, 2, "it was offered the free shard, and took it");
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_coordinator_is_left_for_the_next_and_the_leader_goes_on() {
    let silent = Coordinator::default();
    let rig = Rig { others: vec![silent.clone()], ..Rig::new() };
    let engine = rig.start().await;
    let held = engine.orders().submit_order(buy(1, "o", 1000, 1)).await.unwrap().into_inner().report.unwrap();
    assert_eq!(held.place.unwrap().epoch, 1);
    silent.fall_silent();
    // The store is one behind all coordinators; here the next one is told by hand.
    rig.coordinator.take_over_from(&silent);
    while rig.coordinator.beats().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(epoch(&rig.coordinator.beats()[0]), 1, "a new stream, the same leadership");
    let after = engine.orders().submit_order(buy(1, "p", 1000, 1)).await.unwrap().into_inner().report.unwrap();
    assert_eq!(after.place.unwrap().epoch, 1);
    engine.stop().await;
}
