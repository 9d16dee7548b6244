//! The mistakes that matching engines are known for, one table each.

use crate::check::{Desk, check};
use types::Price;

#[test]
fn a_fill_is_at_the_makers_price() {
    check(
        "submit 1 a sell 5@100   => accept #1, rest #1 5@100 | New 0/5
         submit 2 b buy 5@110    => accept #2, trade #1 #2 5@100 | Filled 5/0 fills 1
         submit 1 c buy 5@90     => accept #3, rest #3 5@90 | New 0/5
         submit 2 d sell 5@80    => accept #4, trade #3 #4 5@90 | Filled 5/0 fills 1",
    );
}

#[test]
fn a_filled_maker_cannot_be_cancelled() {
    check(
        "submit 1 a sell 5@100   => accept #1, rest #1 5@100 | New 0/5
         submit 2 b buy 5@100    => accept #2, trade #1 #2 5@100 | Filled 5/0 fills 1
         cancel 1 c a            => no OrderClosed | Rejected 5/0
         cancel 1 d #1           => no OrderClosed | Rejected 5/0
         replace 1 e a 9@100     => no OrderClosed | Rejected 5/0
         mass 1 f                => | Canceled 0/0
         book                    => /",
    );
}

#[test]
fn a_partial_fill_keeps_its_place() {
    check(
        "submit 1 a sell 5@100   => accept #1, rest #1 5@100 | New 0/5
         submit 2 b sell 5@100   => accept #2, rest #2 5@100 | New 0/5
         submit 3 c buy 2@100    => accept #3, trade #1 #3 2@100 | Filled 2/0 fills 1
         submit 3 d buy 4@100    => accept #4, trade #1 #4 3@100, trade #2 #4 1@100 | Filled 4/0 fills 2",
    );
}

#[test]
fn a_replace_that_crosses_trades_and_does_not_rest_crossed() {
    check(
        "submit 1 a sell 5@100   => accept #1, rest #1 5@100 | New 0/5
         submit 2 b buy 8@99     => accept #2, rest #2 8@99 | New 0/8
         replace 2 c b 8@100     => move #2 8@100, trade #1 #2 5@100, rest #2 3@100 | PartiallyFilled 5/3 fills 1
         book                    => 3@100*1 /
         replace 2 d c 5@100     => no QuantityBelowFilled | Rejected 5/3",
    );
}

#[test]
fn the_best_price_is_never_stale() {
    check(
        "submit 1 a sell 5@100   => accept #1, rest #1 5@100 | New 0/5
         submit 1 b sell 5@101   => accept #2, rest #2 5@101 | New 0/5
         cancel 1 c a            => off #1 5 Requested | Canceled 0/0
         submit 2 d buy 1@100    => accept #3, rest #3 1@100 | New 0/1
         submit 2 e buy 1@101    => accept #4, trade #2 #4 1@101 | Filled 1/0 fills 1
         submit 1 f sell 1@99    => accept #5, trade #3 #5 1@100 | Filled 1/0 fills 1
         submit 1 g sell 1@99    => accept #6, rest #6 1@99 | New 0/1
         book                    => / 1@99*1 4@101*1",
    );
}

#[test]
fn an_order_in_the_middle_can_be_cancelled() {
    check(
        "submit 1 a sell 1@100   => accept #1, rest #1 1@100 | New 0/1
         submit 1 b sell 2@100   => accept #2, rest #2 2@100 | New 0/2
         submit 1 c sell 3@100   => accept #3, rest #3 3@100 | New 0/3
         cancel 1 d b            => off #2 2 Requested | Canceled 0/0
         book                    => / 4@100*2
         submit 2 e buy 4@100    => accept #4, trade #1 #4 1@100, trade #3 #4 3@100 | Filled 4/0 fills 2",
    );
}

#[test]
fn a_live_id_is_not_given_twice() {
    check(
        "rules window=10 capacity=1 => rules | Done 0/0
         submit 1 a sell 5@100   => accept #1, rest #1 5@100 | New 0/5
         wait 1000
         submit 2 x buy 1@1      => accept #2, rest #2 1@1 | New 0/1
         submit 1 a sell 6@100   => no DuplicateClientOrderId | Rejected 0/0
         submit 1 a sell 5@100   => again | New 0/5
         submit 2 a sell 6@100   => accept #3, rest #3 6@100 | New 0/6",
    );
}

#[test]
fn the_rest_of_an_immediate_or_cancel_order_does_not_rest() {
    check(
        "submit 1 a sell 5@100   => accept #1, rest #1 5@100 | New 0/5
         submit 2 b buy 8@100 ioc => accept #2, trade #1 #2 5@100, drop #2 3 ImmediateOrCancel | Canceled 5/0 fills 1
         submit 2 c buy 8@100 ioc => accept #3, drop #3 8 ImmediateOrCancel | Canceled 0/0
         book                    => /
         cancel 2 d c            => no OrderClosed | Rejected 0/0",
    );
}

#[test]
fn fill_or_kill_does_not_count_what_stands_behind_its_own_account() {
    check(
        "submit 1 a sell 5@100   => accept #1, rest #1 5@100 | New 0/5
         submit 2 b sell 5@100   => accept #2, rest #2 5@100 | New 0/5
         submit 1 c sell 5@101   => accept #3, rest #3 5@101 | New 0/5
         submit 2 d buy 10@101 fok newest    => no NotEnoughLiquidity | Rejected 0/0
         submit 2 e buy 10@101 fok both      => no NotEnoughLiquidity | Rejected 0/0
         submit 2 f buy 10@101 fok decrement => no NotEnoughLiquidity | Rejected 0/0
         submit 2 g buy 11@101 fok oldest    => no NotEnoughLiquidity | Rejected 0/0
         submit 2 h buy 5@101 fok newest     => accept #4, trade #1 #4 5@100 | Filled 5/0 fills 1
         submit 2 i buy 5@101 fok oldest     => accept #5, off #2 5 SelfTrade, trade #3 #5 5@101 | Filled 5/0 fills 1",
    );
}

#[test]
fn a_levels_quantity_is_right_after_a_partial_fill() {
    check(
        "submit 1 a sell 5@100   => accept #1, rest #1 5@100 | New 0/5
         submit 1 b sell 7@100   => accept #2, rest #2 7@100 | New 0/7
         submit 2 c buy 2@100    => accept #3, trade #1 #3 2@100 | Filled 2/0 fills 1
         book                    => / 10@100*2
         replace 1 d b 4@100     => keep #2 4@100 | New 0/4
         book                    => / 7@100*2
         submit 2 e buy 4@100    => accept #4, trade #1 #4 3@100, trade #2 #4 1@100 | Filled 4/0 fills 2
         book                    => / 3@100*1
         cancel 1 f b            => off #2 3 Requested | Canceled 1/0
         book                    => /",
    );
}

#[test]
fn prices_far_outside_the_usual_range_are_prices_like_others() {
    check(
        "submit 1 a sell 1@100                     => accept #1, rest #1 1@100 | New 0/1
         submit 1 b sell 1@9223372036854775807     => accept #2, rest #2 1@9223372036854775807 | New 0/1
         submit 1 c buy 1@-9223372036854775808     => accept #3, rest #3 1@-9223372036854775808 | New 0/1
         submit 1 d buy 1@-5                       => accept #4, rest #4 1@-5 | New 0/1
         book                                      => 1@-5*1 1@-9223372036854775808*1 / 1@100*1 1@9223372036854775807*1
         submit 2 e buy 2@9223372036854775807      => accept #5, trade #1 #5 1@100, trade #2 #5 1@9223372036854775807 | Filled 2/0 fills 2
         submit 2 f sell 2@-9223372036854775808    => accept #6, trade #4 #6 1@-5, trade #3 #6 1@-9223372036854775808 | Filled 2/0 fills 2
         book                                      => /",
    );
}

/// Five thousand makers over two thousand prices, taken by one order, all in one go and in the right order.
#[test]
fn a_sweep_of_five_thousand_fills() {
    let mut desk = Desk::new();
    desk.line("define A");
    desk.line("rules open=5000");
    for number in 0..5_000 {
        desk.line(&format!("submit 1 m{number} sell 2@{}", 10_000 - number * 7 % 2_000));
    }
    let got = desk.line("submit 2 t buy 9999@10000");
    let prices: Vec<i64> = got
        .split(", ")
        .filter_map(|event| event.strip_prefix("trade "))
        .map(|trade| trade.split(['@', ' ']).nth(3).expect("a price").parse().expect("a number"))
        .collect();
    assert_eq!(prices.len(), 5_000);
    assert!(prices.is_sorted(), "the best price first");
    assert!(got.ends_with(" | Filled 9999/0 fills 5000"), "{got}");
    assert_eq!(desk.line("book"), "/ 1@10000*1");
    assert_eq!(desk.exchange.instrument(types::InstrumentId(0)).and_then(|found| found.2), Some(Price(10_000)));
    assert!(desk.line("submit 2 t buy 9999@10000").ends_with("again | Filled 9999/0 fills 5000"));
    desk.exchange.check_invariants().expect("the structures agree");
}
