//! The protocol of leadership, explored exhaustively over the real cores: acquire, fence, adopt, open, append,
//! acknowledge, depose, with every loss, delay and reordering of messages, and as many repetitions, crashes and
//! losses of the store as a configuration allows. Then the usual ways to get it wrong: each must be found.
//!
//! Deliberately absent: time, snapshots and trimming, changes of the voters, clients and their reads; tests/simulation
//! has clients and time.
#![allow(clippy::print_stdout, reason = "what was explored, and how a mutant was found")]

mod checker;
mod engine;
mod mutants;
mod truth;
mod voter;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use journal_core::{ChainHash, Entry, EntryKind};
use stateright::{Checker, Expectation, HasDiscoveries, Model, Path};
use types::{Epoch, Incarnation, LogId, Seq, ShardId, Timestamp};

use checker::Failover;
use mutants::Mutant;
use truth::{Rule, Truth};
use world::{Action, Left, World};

const SHARD: ShardId = ShardId(3);

/// Runs a core. An assertion of its own that fails is a rule that was broken.
fn guarded(truth: &mut Truth, step: impl FnOnce()) -> bool {
    let done = catch_unwind(AssertUnwindSafe(step)).is_ok();
    truth.require(done, Rule::CoresAgree);
    done
}

/// Worlds of three voters after a leader that brought its log to each of them as far as may be. Which voter is which
/// makes no difference.
fn after_a_leader(engines: usize, left: &Left) -> Vec<World> {
    let epoch = Epoch { number: 1, owner: Incarnation(1) };
    let kinds = [EntryKind::EpochStart, EntryKind::Batch, EntryKind::Batch];
    let mut log: Vec<Entry> = Vec::new();
    for (seq, kind) in (1..).zip(kinds) {
        let prev = log.last().map_or(ChainHash::ZERO, |entry| entry.chain);
        log.push(Entry::seal(LogId(7), epoch, Seq(seq), kind, Timestamp(seq), prev, Bytes::new()));
    }
    let world = |held: [usize; 3]| World::new(engines, 3, 1, left.clone()).after_a_leader(&log, &held);
    let mut worlds = Vec::new();
    for a in 0..=log.len() {
        for b in a..=log.len() {
            worlds.extend((b..=log.len()).map(|c| world([a, b, c])));
        }
    }
    worlds
}

/// Explores everything; each of `seen` must have happened somewhere, and nothing that must not.
fn explore(starts: Vec<World>, seen: &[&str]) {
    let checker = Failover { starts, mutant: None }.checker().spawn_dfs().join();
    println!("{} states, {} transitions", checker.unique_state_count(), checker.state_count());
    let discoveries = checker.discoveries();
    for (name, path) in &discoveries {
        let rule = checker.model().property(name);
        assert!(matches!(rule.expectation, Expectation::Sometimes), "{name}:\n{}", trace(path));
    }
    let missing: Vec<_> = seen.iter().filter(|name| !discoveries.contains_key(*name)).collect();
    assert!(missing.is_empty(), "never seen: {missing:?}");
}

fn trace(path: &Path<World, Action>) -> String {
    let steps = path.clone().into_vec();
    steps.iter().filter_map(|(world, action)| Some(format!("  {}\n", world.describe((*action)?)))).collect()
}

const NONE: Left =
    Left { epochs: 2, commands: 1, repeats: 0, engine_crashes: 0, voter_crashes: 0, store_losses: 0, lost_answers: 0 };
const ALL: [&str; 4] =
    ["a takeover", "an entry in doubt survived", "an entry in doubt was lost", "a deposed leader was refused"];

#[test]
fn three_engines_three_epochs() {
    explore(vec![World::new(3, 1, 1, Left { epochs: 3, ..NONE })], &ALL);
}

#[test]
fn two_commands() {
    explore(vec![World::new(2, 1, 1, Left { commands: 2, ..NONE })], &ALL);
}

#[test]
fn repeated_messages_and_lost_answers() {
    explore(vec![World::new(2, 1, 1, Left { repeats: 1, lost_answers: 1, ..NONE })], &ALL);
}

#[test]
fn crashes_of_engines() {
    explore(vec![World::new(2, 1, 1, Left { epochs: 3, engine_crashes: 1, ..NONE })], &ALL);
}

#[test]
fn crashes_of_the_voter_and_a_store_without_memory() {
    let left = Left { voter_crashes: 1, store_losses: 1, lost_answers: 1, ..NONE };
    explore(vec![World::new(2, 1, 1, left)], &ALL);
}

#[test]
fn two_gateways_of_one_log() {
    explore(vec![World::new(2, 1, 2, NONE)], &ALL);
}

#[test]
fn three_voters_after_a_leader() {
    let left = Left { epochs: 1, commands: 0, ..NONE };
    explore(after_a_leader(1, &left), &["an entry in doubt survived", "an entry in doubt was lost"]);
}

/// Looks for a short way to a broken rule, and for the rule that the mutant is about.
fn killed(mutant: Mutant, starts: Vec<World>, rule: &str) {
    let builder = Failover { starts, mutant: Some(mutant) }.checker();
    let checker = builder.finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let mut found = checker.discoveries();
    found.retain(|name, _| !ALL.contains(name));
    for (name, path) in &found {
        println!("{mutant:?}, after {} states: {name}\n{}", checker.unique_state_count(), trace(path));
    }
    assert!(found.contains_key(rule), "{mutant:?} is found by {:?}, not by {rule}", found.keys());
}

const OWNER: &str = "I1 one owner per epoch";
const STAYS: &str = "I12 acknowledged stays";
const COMMIT: &str = "I11 nothing before commit";

fn two_engines(left: Left) -> Vec<World> {
    vec![World::new(2, 1, 1, left)]
}

#[test]
fn mutant_a_restarted_engine_goes_on_under_its_epoch() {
    killed(Mutant::EpochReuse, two_engines(Left { epochs: 1, engine_crashes: 1, ..NONE }), COMMIT);
}

#[test]
fn mutant_an_epoch_is_a_revision() {
    killed(Mutant::RevisionAsEpoch, two_engines(Left { epochs: 3, store_losses: 1, ..NONE }), OWNER);
}

#[test]
fn mutant_the_counter_is_raised_without_a_comparison() {
    killed(Mutant::UnguardedTransaction, two_engines(NONE), OWNER);
}

#[test]
fn mutant_the_adopted_log_is_served_before_the_epoch_starts() {
    let left = Left { epochs: 1, commands: 0, ..NONE };
    killed(Mutant::ServedOnAdoption, after_a_leader(1, &left), COMMIT);
}

#[test]
fn mutant_a_fence_reads_first_and_promises_later() {
    killed(Mutant::FenceThenRead, two_engines(NONE), STAYS);
}

#[test]
fn mutant_a_lease_is_trusted_for_writes() {
    killed(Mutant::LeaseTrusted, two_engines(NONE), STAYS);
}

#[test]
fn mutant_a_standby_exposes_what_is_not_final() {
    killed(Mutant::StandbyUncommitted, two_engines(NONE), COMMIT);
}

#[test]
fn mutant_an_append_is_answered_with_the_end_of_the_log() {
    let left = Left { epochs: 1, commands: 0, ..NONE };
    killed(Mutant::AckLogEnd, after_a_leader(1, &left), COMMIT);
}

#[test]
fn mutant_a_promise_is_answered_before_it_is_durable() {
    killed(Mutant::PromiseNotDurable, two_engines(Left { voter_crashes: 1, ..NONE }), STAYS);
}

#[test]
fn mutant_an_append_is_answered_before_it_is_durable() {
    killed(Mutant::AckNotDurable, two_engines(NONE), COMMIT);
}

#[test]
fn mutant_a_gateway_believes_its_memory_of_a_shared_log() {
    killed(Mutant::GatewayMemory, vec![World::new(2, 1, 2, NONE).unaware()], "the cores agree");
}
