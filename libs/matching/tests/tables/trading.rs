//! Price-time priority, order types and times in force.

use crate::check::check;

#[test]
fn the_best_price_trades_first_then_the_earliest_order() {
    check(
        "submit 1 a sell 5@101   => accept #1, rest #1 5@101 | New 0/5
         submit 2 b sell 5@100   => accept #2, rest #2 5@100 | New 0/5
         submit 3 c sell 5@100   => accept #3, rest #3 5@100 | New 0/5
         submit 4 d buy 12@101   => accept #4, trade #2 #4 5@100, trade #3 #4 5@100, trade #1 #4 2@101 | Filled 12/0 fills 3
         book                    => / 3@101*1",
    );
}

#[test]
fn what_is_left_of_a_limit_order_rests() {
    check(
        "submit 1 a sell 5@100   => accept #1, rest #1 5@100 | New 0/5
         submit 2 b buy 8@100    => accept #2, trade #1 #2 5@100, rest #2 3@100 | PartiallyFilled 5/3 fills 1
         submit 3 c sell 1@99    => accept #3, trade #2 #3 1@100 | Filled 1/0 fills 1
         order 2 b               => #2 buy 8@100 PartiallyFilled 6/2
         order 1 a               => #1 sell 5@100 Filled 5/0
         book                    => 2@100*1 /",
    );
}

#[test]
fn a_market_order_trades_up_to_its_protection_price() {
    check(
        "submit 1 a sell 5@100               => accept #1, rest #1 5@100 | New 0/5
         submit 1 b sell 5@102               => accept #2, rest #2 5@102 | New 0/5
         submit 2 c buy 9@101 market ioc     => accept #3, trade #1 #3 5@100, drop #3 4 MarketRemainder | Canceled 5/0 fills 1
         submit 2 d buy 9@102 market fok     => no NotEnoughLiquidity | Rejected 0/0
         submit 2 e buy 5@102 market fok     => accept #4, trade #2 #4 5@102 | Filled 5/0 fills 1
         submit 2 f buy 5@102 market ioc     => accept #5, drop #5 5 MarketRemainder | Canceled 0/0
         order 2 c                           => #3 buy 9@101 Canceled 5/0",
    );
}

#[test]
fn fill_or_kill_is_all_or_nothing() {
    check(
        "submit 1 a sell 5@100               => accept #1, rest #1 5@100 | New 0/5
         submit 1 b sell 5@101               => accept #2, rest #2 5@101 | New 0/5
         submit 2 c buy 11@101 fok           => no NotEnoughLiquidity | Rejected 0/0
         submit 2 d buy 6@100 fok            => no NotEnoughLiquidity | Rejected 0/0
         book                                => / 5@100*1 5@101*1
         submit 2 e buy 10@101 fok           => accept #3, trade #1 #3 5@100, trade #2 #3 5@101 | Filled 10/0 fills 2",
    );
}

#[test]
fn post_only_never_takes() {
    check(
        "submit 1 a sell 5@100               => accept #1, rest #1 5@100 | New 0/5
         submit 2 b buy 1@100 post           => no WouldTakeLiquidity | Rejected 0/0
         submit 1 c buy 1@100 post oldest    => no WouldTakeLiquidity | Rejected 0/0
         submit 2 d buy 1@99 post            => accept #2, rest #2 1@99 | New 0/1",
    );
}

#[test]
fn combinations_that_make_no_sense_are_refused() {
    check(
        "submit 1 a sell 5@100 market        => no UnsupportedCombination | Rejected 0/0
         submit 1 b sell 5@100 post ioc      => no UnsupportedCombination | Rejected 0/0
         submit 1 c sell 5@100 post fok      => no UnsupportedCombination | Rejected 0/0
         submit 1 d sell 5@100 post market ioc => no UnsupportedCombination | Rejected 0/0",
    );
}

#[test]
fn books_of_instruments_are_apart() {
    check(
        "define B                            => defined 1 | Done 0/0
         submit 1 a sell 5@100               => accept #1, rest #1 5@100 | New 0/5
         submit 2 b buy 5@100 on 1           => accept #2, rest #2 5@100 | New 0/5
         cancel 2 c b                        => no UnknownOrder | Rejected 0/0
         cancel 2 d b on 1                   => off #2 5 Requested | Canceled 0/0
         submit 2 e buy 5@100 on 2           => no UnknownInstrument | Rejected 0/0",
    );
}

#[test]
fn trades_and_levels_do_not_overflow() {
    check(
        "submit 1 a sell 18446744073709551615@9223372036854775807 => accept #1, rest #1 18446744073709551615@9223372036854775807 | New 0/18446744073709551615
         submit 1 b sell 18446744073709551615@9223372036854775807 => accept #2, rest #2 18446744073709551615@9223372036854775807 | New 0/18446744073709551615
         book => / 18446744073709551615@9223372036854775807*2
         submit 2 c buy 18446744073709551615@9223372036854775807 fok => accept #3, trade #1 #3 18446744073709551615@9223372036854775807 | Filled 18446744073709551615/0 fills 1
         cancel 1 d b => off #2 18446744073709551615 Requested | Canceled 0/0
         book => /",
    );
}
