//! Markets of a few rows, written for one rule each; and random ones, which no true file would have.
#![allow(clippy::unwrap_used, reason = "tests")]

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use types::InstrumentState;

use super::super::compare::Cause;
use super::super::item::Item;
use super::super::messages::parse;
use super::super::plan::Planner;
use super::super::tally::MessageCounts;
use super::play;

/// Before the first message 20 stand at 101.00 and 5 at 102.00 for sale, 30 at 99.00 to buy. Of the 20 order 3 has 8
/// and order 5 has 4; nobody names the other 8. The two executions of second 8 are one incoming order.
pub(super) const MESSAGES: &str = "\
1.0,1,10,7,1000000,1
2.0,1,11,6,1010000,-1
3.0,4,3,8,1010000,-1
4.0,2,11,2,1010000,-1
5.0,3,5,4,1010000,-1
6.0,5,0,50,1005000,1
7.0,1,12,9,1005000,-1
8.0,4,12,9,1005000,-1
8.0,5,0,1,1007500,-1
8.0,4,11,4,1010000,-1
9.0,3,10,7,1000000,1";

/// Two levels of each side. 98.00 comes into view in the last row.
pub(super) const DEPTH: &str = "\
1010000,20,1000000,7,1020000,5,990000,30
1010000,26,1000000,7,1020000,5,990000,30
1010000,18,1000000,7,1020000,5,990000,30
1010000,16,1000000,7,1020000,5,990000,30
1010000,12,1000000,7,1020000,5,990000,30
1010000,12,1000000,7,1020000,5,990000,30
1005000,9,1000000,7,1010000,12,990000,30
1010000,12,1000000,7,1020000,5,990000,30
1010000,12,1000000,7,1020000,5,990000,30
1010000,8,1000000,7,1020000,5,990000,30
1010000,8,990000,30,1020000,5,980000,2";

#[test]
fn book_is_the_files_after_every_row() {
    let (tally, findings) = play(MESSAGES, Some(DEPTH));
    assert_eq!(findings.wrong_answers, []);
    assert_eq!((findings.best_mismatches, findings.level_mismatches, findings.unexplained), (0, 0, 0));
    assert_eq!((findings.rows, findings.trades, tally.incoming_orders), (11, 3, 2));
    assert_eq!((tally.entered_unseen, tally.requeued), (2, 1), "order 11 trades before the unnamed 8");
    assert_eq!(findings.causes.into_iter().collect::<Vec<_>>(), [(Cause::LevelRevealed, 1)]);
    let counts = MessageCounts {
        submissions: 3,
        partial_cancels: 1,
        deletions: 2,
        executions: 3,
        hidden_executions: 2,
        ..MessageCounts::default()
    };
    assert_eq!(tally.messages, counts);
}

#[test]
fn a_file_that_is_not_its_messages_is_noticed() {
    let second_level = DEPTH.replace("16,1000000,7,1020000,5", "16,1000000,7,1020000,4");
    let (_, findings) = play(MESSAGES, Some(&second_level));
    assert_eq!((findings.best_mismatches, findings.level_mismatches), (0, 2), "in that row and when it is back");
    assert_eq!(findings.unexplained, 2);
    // Order 12 is made as small as that row says, so the next one cannot be applied as it stands.
    let best = DEPTH.replace("1005000,9,", "1005000,8,");
    let (_, findings) = play(MESSAGES, Some(&best));
    assert_eq!((findings.best_mismatches, findings.unexplained), (2, 1));
    assert_eq!(findings.causes.get(&Cause::MessageNotApplied), Some(&1));
}

#[test]
fn what_happens_out_of_view_is_made_up_for_when_it_comes_into_view() {
    // One level. 101.00 has 5, goes out of view behind 100.00, and is back with 9; then 102.00 is seen.
    let messages = "1.0,1,10,5,1010000,-1\n2.0,1,11,1,1000000,-1\n3.0,3,11,1,1000000,-1\n4.0,3,10,5,1010000,-1\n5.0,3,9,4,1010000,-1";
    let depth = "1010000,5,990000,1\n1000000,1,990000,1\n1010000,9,990000,1\n1010000,4,990000,1\n1020000,3,990000,1";
    let (tally, findings) = play(messages, Some(depth));
    assert_eq!((findings.wrong_answers.len(), findings.level_mismatches, findings.unexplained), (0, 0, 0));
    let causes: Vec<_> = findings.causes.into_iter().collect();
    assert_eq!(causes, [(Cause::LevelRevealed, 1), (Cause::ChangedOutOfView, 1)]);
    assert_eq!((tally.entered_unseen, tally.entered_unnamed), (1, 2), "order 9; the bid at 99.00, the ask at 102.00");
}

#[test]
fn an_order_named_late_was_part_of_what_the_file_showed() {
    // Of the unnamed 9 at 102.00, 4 turn out to be order 99.
    let messages = "1.0,1,10,5,1010000,-1\n2.0,3,99,4,1020000,-1";
    let (_, findings) =
        play(messages, Some("1010000,5,990000,1,1020000,9,980000,1\n1010000,5,990000,1,1020000,5,980000,1"));
    assert_eq!((findings.differences, findings.unexplained), (Vec::new(), 0));
}

#[test]
fn what_left_out_of_view_is_not_what_the_messages_name_later() {
    // Of the unnamed 9 at 101.00, which stand before order 10, 7 leave while order 11 hides them.
    let messages = "1.0,1,10,5,1010000,-1\n2.0,1,11,1,1000000,-1\n3.0,3,11,1,1000000,-1\n4.0,3,10,5,1010000,-1";
    let depth = "1010000,14,990000,1\n1000000,1,990000,1\n1010000,7,990000,1\n1010000,2,990000,1";
    let (tally, findings) = play(messages, Some(depth));
    assert_eq!((tally.messages.not_applied, findings.level_mismatches, findings.unexplained), (0, 0, 0));
    assert_eq!(findings.causes.into_iter().collect::<Vec<_>>(), [(Cause::ChangedOutOfView, 1)]);
}

#[test]
fn without_a_book_file_numbers_tell_when_an_unseen_order_was_entered() {
    // Order 3 stood before; order 15 was entered out of view after 14, before 16, and is the second in line.
    let messages = "\
1.0,1,10,5,1010000,-1
2.0,1,14,5,1020000,-1
3.0,1,16,5,1020000,-1
4.0,4,3,2,1010000,-1
4.0,4,10,5,1010000,-1
4.0,4,14,5,1020000,-1
4.0,4,15,7,1020000,-1
4.0,4,16,1,1020000,-1";
    let (tally, findings) = play(messages, None);
    assert_eq!(findings.wrong_answers, []);
    assert_eq!((tally.entered_unseen, tally.incoming_orders, tally.requeued, findings.trades), (2, 1, 0, 5));
}

#[test]
fn two_takers_at_one_time_are_told_apart() {
    // The second execution leaves 1 of order 10: whoever traded with it had enough, so the third is another's. The
    // fourth is on the other side.
    let messages = "\
1.0,1,9,5,1010000,-1
1.0,1,10,5,1010000,-1
1.0,1,11,5,1000000,1
2.0,4,9,5,1010000,-1
2.0,4,10,4,1010000,-1
2.0,4,10,1,1010000,-1
2.0,4,11,5,1000000,1";
    let (tally, findings) = play(messages, None);
    assert_eq!(findings.wrong_answers, []);
    assert_eq!((tally.incoming_orders, findings.trades), (3, 4));
}

#[test]
fn orders_that_stand_in_the_way_and_are_never_named_again_have_left() {
    let crossing = "1.0,1,9,5,1010000,-1\n2.0,1,10,5,1010000,1\n3.0,3,10,5,1010000,1";
    let behind = "1.0,1,9,5,1000000,-1\n2.0,1,10,5,1010000,-1\n3.0,4,10,5,1010000,-1";
    for messages in [crossing, behind] {
        let (tally, findings) = play(messages, None);
        assert_eq!((tally.vanished, tally.messages.not_applied, findings.wrong_answers.len()), (1, 0, 0));
    }
}

#[test]
fn trading_stops_and_goes_on() {
    let halted = "1.0,1,9,5,1010000,-1\n2.0,7,0,0,-1,-1\n3.0,3,9,5,1010000,-1\n4.0,7,0,0,1,-1\n5.0,1,10,5,1010000,1";
    let entered_meanwhile = "1.0,7,0,0,-1,-1\n2.0,1,10,5,1010000,1\n3.0,7,0,0,0,-1\n4.0,7,0,0,1,-1";
    for (messages, halts) in [(halted, 2), (entered_meanwhile, 3)] {
        let (tally, findings) = play(messages, None);
        assert_eq!((tally.messages.halts, tally.messages.not_applied), (halts, 0));
        assert_eq!(findings.wrong_answers, []);
    }
    let messages = parse(halted).unwrap();
    let mut planner = Planner::new(&messages, None).unwrap();
    let items = std::iter::from_fn(|| planner.next().unwrap());
    let states: Vec<_> =
        items.filter_map(|item| if let Item::State(state) = item { Some(state) } else { None }).collect();
    assert_eq!(states, [InstrumentState::Halted, InstrumentState::Continuous]);
}

#[test]
fn what_cannot_be_applied_is_listed_with_its_reason() {
    let rest = "1.0,1,9,5,1010000,-1\n1.0,1,8,5,1000000,1\n";
    let wrong = [
        ("2.0,1,9,5,1010000,-1\n3.0,3,9,5,1010000,-1", "in the book already"),
        ("2.0,2,9,5,1010000,-1\n3.0,3,9,5,1010000,-1", "all that is open"),
        ("2.0,3,9,4,1010000,-1", "another quantity"),
        ("2.0,3,9,5,1010000,-1\n3.0,3,9,5,1010000,-1", "not in the book"),
        ("2.0,3,9,5,1010000,-1\n3.0,2,9,5,1010000,-1", "not in the book"),
        ("2.0,3,9,5,1010000,-1\n3.0,4,9,5,1010000,-1", "not in the book"),
        ("2.0,4,9,6,1010000,-1", "more than is open"),
        ("2.0,1,11,1,1010000,1\n3.0,3,9,5,1010000,-1", "would trade"),
        ("2.0,1,11,1,1020000,-1\n3.0,4,11,1,1020000,-1\n3.0,3,9,5,1010000,-1", "past a better price"),
    ];
    for (messages, reason) in wrong {
        let (tally, findings) = play(&format!("{rest}{messages}"), None);
        let reasons: Vec<_> = tally.not_applied.iter().map(|message| message.reason).collect();
        assert!(reasons.len() == 1 && reasons[0].contains(reason), "{messages}: {reasons:?}");
        assert_eq!(findings.wrong_answers, [], "{messages}");
    }
}

/// Rows that fit no market: the plan must still be what the exchange does, and every message be accounted for.
#[test]
fn any_rows_are_planned_right() {
    for seed in 0..300 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (mut messages, mut depth) = (String::new(), String::new());
        for second in 0..60 {
            let kind = [1, 1, 1, 2, 3, 4, 4, 5][random.random_range(0..8)];
            let (order, quantity) = (random.random_range(1..30), random.random_range(1..8));
            let price = random.random_range(95..105) * 100;
            let direction = if random.random::<bool>() { 1 } else { -1 };
            messages += &format!("{}.0,{kind},{order},{quantity},{price},{direction}\n", second / 4);
            let bid = random.random_range(95..103) * 100;
            let (ask, size) = (bid + 100 * random.random_range(1..3), random.random_range(1..20));
            depth += &format!("{ask},{size},{bid},{size},{},1,-9999999999,0\n", ask + 100);
        }
        let (tally, findings) = play(&messages, None);
        assert_eq!(findings.wrong_answers, [], "seed {seed}");
        assert!(tally.messages.submissions > 0);
        let (_, findings) = play(&messages, Some(&depth));
        assert_eq!((findings.wrong_answers, findings.rows), (Vec::new(), 60), "seed {seed}");
    }
}
