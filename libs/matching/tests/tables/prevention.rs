//! Self-trade prevention: what an incoming order does when it meets one of its own account.

use crate::check::check;

#[test]
fn cancel_newest_ends_the_incoming_order() {
    check(
        "submit 1 a sell 5@100          => accept #1, rest #1 5@100 | New 0/5
         submit 2 b sell 5@101          => accept #2, rest #2 5@101 | New 0/5
         submit 2 c buy 9@101 newest    => accept #3, trade #1 #3 5@100, drop #3 4 SelfTrade | Canceled 5/0 fills 1
         book                           => / 5@101*1",
    );
}

#[test]
fn cancel_oldest_takes_the_resting_order_away_and_goes_on() {
    check(
        "submit 2 a sell 5@100          => accept #1, rest #1 5@100 | New 0/5
         submit 1 b sell 5@100          => accept #2, rest #2 5@100 | New 0/5
         submit 2 c buy 9@100 oldest    => accept #3, off #1 5 SelfTrade, trade #2 #3 5@100, rest #3 4@100 | PartiallyFilled 5/4 fills 1
         order 2 a                      => #1 sell 5@100 Canceled 0/0",
    );
}

#[test]
fn cancel_both_ends_both() {
    check(
        "submit 2 a sell 5@100          => accept #1, rest #1 5@100 | New 0/5
         submit 1 b sell 5@100          => accept #2, rest #2 5@100 | New 0/5
         submit 2 c buy 9@100 both      => accept #3, off #1 5 SelfTrade, drop #3 9 SelfTrade | Canceled 0/0
         book                           => / 5@100*1",
    );
}

#[test]
fn decrement_takes_the_smaller_quantity_from_both() {
    check(
        "submit 2 a sell 5@100          => accept #1, rest #1 5@100 | New 0/5
         submit 1 b sell 5@100          => accept #2, rest #2 5@100 | New 0/5
         submit 2 c buy 9@100 decrement => accept #3, shrink #1 by 5 to 0, shrink #3 by 5 to 4, trade #2 #3 4@100 | Filled 4/0 fills 1
         order 2 a                      => #1 sell 5@100 Filled 0/0
         submit 1 d buy 1@100 decrement => accept #4, shrink #2 by 1 to 0, shrink #4 by 1 to 0 | Filled 0/0
         book                           => /",
    );
}

#[test]
fn a_smaller_incoming_order_leaves_the_rest_where_it_stands() {
    check(
        "submit 2 a sell 5@100          => accept #1, rest #1 5@100 | New 0/5
         submit 1 b sell 5@100          => accept #2, rest #2 5@100 | New 0/5
         submit 2 c buy 2@100 decrement => accept #3, shrink #1 by 2 to 3, shrink #3 by 2 to 0 | Filled 0/0
         book                           => / 8@100*2
         order 2 a                      => #1 sell 5@100 New 0/3
         submit 3 d buy 4@100           => accept #4, trade #1 #4 3@100, trade #2 #4 1@100 | Filled 4/0 fills 2",
    );
}

/// A replace states a new total; more than what is open loses the place, even if it is less than the old total.
#[test]
fn a_replace_after_a_decrement_counts_from_what_is_open() {
    check(
        "submit 2 a sell 10@100         => accept #1, rest #1 10@100 | New 0/10
         submit 1 b sell 5@100          => accept #2, rest #2 5@100 | New 0/5
         submit 2 c buy 4@100 decrement => accept #3, shrink #1 by 4 to 6, shrink #3 by 4 to 0 | Filled 0/0
         replace 2 d a 6@100            => keep #1 6@100 | New 0/6
         replace 2 e a 8@100            => move #1 8@100, rest #1 8@100 | New 0/8
         submit 3 f buy 5@100           => accept #4, trade #2 #4 5@100 | Filled 5/0 fills 1",
    );
}

/// The mode of the order that comes in decides, also when it comes in by a replace.
#[test]
fn a_replace_that_meets_its_own_account() {
    check(
        "submit 2 a sell 5@100          => accept #1, rest #1 5@100 | New 0/5
         submit 2 b buy 5@99 oldest     => accept #2, rest #2 5@99 | New 0/5
         submit 2 c buy 5@98 newest     => accept #3, rest #3 5@98 | New 0/5
         submit 2 d buy 5@97 both       => accept #4, rest #4 5@97 | New 0/5
         replace 2 e c 5@100            => move #3 5@100, drop #3 5 SelfTrade | Canceled 0/0
         order 2 c                      => #3 buy 5@100 Canceled 0/0
         replace 2 f d 6@100            => move #4 6@100, off #1 5 SelfTrade, drop #4 6 SelfTrade | Canceled 0/0
         submit 2 g sell 5@100          => accept #5, rest #5 5@100 | New 0/5
         replace 2 h b 5@101            => move #2 5@101, off #5 5 SelfTrade, rest #2 5@101 | New 0/5
         mass 2 i                       => off #2 5 MassCancel | Canceled 0/0 x1",
    );
}
