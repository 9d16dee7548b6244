//! The checker against histories that are right, and against the same ones with one thing broken by hand: each must
//! fail by the right rule, and by no other.

mod breaks;
mod sample;

use super::{Rule, check};
use breaks::{BREAKS, Break};

#[test]
fn what_is_right_passes_and_every_rule_had_something_to_look_at() {
    for seed in 0..8 {
        let evidence = sample::sound(seed);
        let verdict = check(&evidence);
        assert!(verdict.is_clean(), "seed {seed}: {:#?}", verdict.violations);
        assert!(verdict.acknowledged > 300 && verdict.reads > 40 && verdict.state_hashes > 5, "{verdict:?}");
        assert!(verdict.epochs == 2 && verdict.rows > 200 && verdict.in_doubt_executed > 0, "{verdict:?}");
    }
}

#[test]
fn each_broken_history_fails_by_the_right_rule_only() {
    for Break { name, rule, hand } in BREAKS {
        let mut evidence = sample::sound(3);
        hand(&mut evidence);
        let verdict = check(&evidence);
        let rules: Vec<Rule> = verdict.counts.iter().map(|(rule, _)| *rule).collect();
        assert_eq!(rules, [*rule], "{name}: {:#?}", verdict.violations);
    }
}

#[test]
fn every_rule_has_been_seen_to_fail() {
    let mut rules: Vec<u8> = BREAKS.iter().map(|broken| broken.rule.number()).collect();
    rules.sort_unstable();
    rules.dedup();
    assert_eq!(rules, (1..=10).collect::<Vec<u8>>());
    assert!(BREAKS.len() >= 24);
}
