//! Three engines, two coordinators, two gateways of one database or one with a disk of its own, etcd and clients in one
//! thread: the real cores of leadership, placement, leader and voter, with a seed that decides all that happens.
//!
//! One seed is one run. A failing test names it and
//! `HIVE_SEED=n cargo nextest run -p sim --test simulation one_seed --no-capture`
//! runs that one alone and prints what happened. `HIVE_SEEDS=n` sets how many runs a whole test makes.
//!
//! Deliberately absent: snapshots and trimming, several shards, several voters (journal-core's simulation has those).
#![allow(clippy::print_stdout, clippy::expect_used, reason = "tests: the trace of a run")]

mod client;
mod coordinator;
mod engine;
mod faults;
mod gateway;
mod message;
mod net;
mod observer;
mod state;
mod store;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use types::ShardId;

use world::World;

const SHARD: ShardId = ShardId(0);
const ENGINES: usize = 3;
const COORDINATORS: usize = 2;
const CLIENTS: usize = 3;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// What many runs did together.
#[derive(Default)]
struct Sum {
    leaderships: u64,
    acknowledged: u64,
    retried: u64,
    refused: u64,
    events: u64,
}

fn runs(first: u64, seeds: u64) {
    let mut sum = Sum::default();
    for seed in first..first + seeds {
        let mut world = World::new(seed, false);
        let done = catch_unwind(AssertUnwindSafe(|| world.run())).is_ok();
        assert!(
            done,
            "seed {seed} failed; see it by: HIVE_SEED={seed} cargo nextest run -p sim --test simulation one_seed"
        );
        sum.leaderships += world.observer.leaderships();
        sum.acknowledged += world.observer.acknowledged();
        sum.retried += world.observer.retried;
        sum.refused += world.observer.refused;
        sum.events += world.net.events;
    }
    let Sum { leaderships, acknowledged, retried, refused, events } = sum;
    println!(
        "{seeds} runs, {events} events: {leaderships} leaderships, {acknowledged} orders answered, {retried} again, {refused} refusals"
    );
    // Runs in which nothing happens prove nothing.
    assert!(leaderships > 2 * seeds && acknowledged > 50 * seeds && refused > 0 && retried > 0, "too little happened");
}

/// A quarter of the runs, so that machines with several cores make several at a time.
fn quarter(number: u64) {
    let seeds = self::number("HIVE_SEEDS").unwrap_or(2_000) / 4;
    runs(1 + number * seeds, seeds);
}

#[test]
fn seeds_first_quarter() {
    quarter(0);
}

#[test]
fn seeds_second_quarter() {
    quarter(1);
}

#[test]
fn seeds_third_quarter() {
    quarter(2);
}

#[test]
fn seeds_fourth_quarter() {
    quarter(3);
}

#[test]
fn one_seed() {
    let mut world = World::new(number("HIVE_SEED").unwrap_or(1), true);
    let result = catch_unwind(AssertUnwindSafe(|| world.run()));
    println!("{}", world.net.trace.take().unwrap_or_default());
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn one_seed_gives_one_run() {
    let run = |seed| {
        let mut world = World::new(seed, true);
        world.run();
        (world.net.fingerprint(), world.net.trace)
    };
    for seed in 1..=5 {
        assert!(run(seed) == run(seed), "seed {seed} gives two different runs");
    }
    assert_ne!(run(1).0, run(2).0);
}
