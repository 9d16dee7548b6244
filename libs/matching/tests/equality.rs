//! The fast exchange against the slow one: every event, every outcome, every fill, the state hash and the views, on
//! generated streams of more than a million commands.

use matching::reference::ReferenceExchange;
use matching::workload::{Profile, Workload};
use matching::{Exchange, Level};
use types::{InstrumentId, ShardId, Side, StateHash};

/// Runs `length` commands of a seed through both. The full walks are taken every `every` commands.
fn compare(seed: u64, profile: Profile, length: u32, every: u32) -> StateHash {
    let instruments = profile.instruments;
    let mut workload = Workload::new(seed, profile);
    let mut fast = Exchange::new(ShardId(3));
    let mut slow = ReferenceExchange::new(ShardId(3));
    let (mut events, mut fills) = (Vec::new(), Vec::new());
    let (mut slow_events, mut slow_fills) = (Vec::new(), Vec::new());
    for number in 0..length {
        let step = workload.next_step();
        events.clear();
        fills.clear();
        slow_events.clear();
        slow_fills.clear();
        let outcome = fast.apply(step.place, step.timestamp, &step.command, &mut events, &mut fills);
        let slow_outcome = slow.apply(step.place, step.timestamp, &step.command, &mut slow_events, &mut slow_fills);
        let at = format_args!("seed {seed}, command {number}: {:?}", step.command).to_string();
        assert_eq!(events, slow_events, "events differ at {at}");
        assert_eq!(outcome, slow_outcome, "outcomes differ at {at}");
        assert_eq!(fills, slow_fills, "fills differ at {at}");
        workload.observe(&events);
        if number % every == 0 {
            if fast.state_hash() != slow.state_hash() {
                assert_eq!(&fast.snapshot(), slow.snapshot(), "states differ at {at}");
                panic!("state hashes of equal states differ at {at}");
            }
            fast.check_invariants().unwrap_or_else(|broken| panic!("{broken} at {at}"));
            compare_views(&fast, &slow, instruments);
        }
    }
    assert_eq!(&fast.snapshot(), slow.snapshot());
    fast.state_hash()
}

fn compare_views(fast: &Exchange, slow: &ReferenceExchange, instruments: u32) {
    for instrument in (0..instruments).map(InstrumentId) {
        for side in [Side::Buy, Side::Sell] {
            let levels: Vec<Level> = fast.depth(instrument, side, usize::MAX).collect();
            assert_eq!(levels, slow.depth(instrument, side));
            for level in levels {
                assert_eq!(fast.level(instrument, side, level.price), level);
            }
        }
    }
    for entry in &slow.snapshot().idempotency {
        let (account, id) = (entry.account, entry.client_order_id);
        assert_eq!(fast.order_by_client_id(account, &id), slow.order_by_client_id(account, &id));
    }
}

#[test]
fn small_books_with_everything_happening_every_command_checked() {
    for seed in 0..16 {
        compare(seed, Profile::small(), 4_000, 1);
    }
}

#[test]
fn small_books_long_streams() {
    for seed in 100..104 {
        compare(seed, Profile::small(), 220_000, 101);
    }
}

#[test]
fn deep_queues() {
    for seed in 200..202 {
        compare(seed, Profile::deep(), 100_000, 499);
    }
}
