//! Retries and conflicts, and how long outcomes are kept.

use crate::check::check;

#[test]
fn a_retry_gets_the_original_outcome() {
    check(
        "submit 1 a sell 5@100   => accept #1, rest #1 5@100 | New 0/5
         submit 2 b buy 8@100    => accept #2, trade #1 #2 5@100, rest #2 3@100 | PartiallyFilled 5/3 fills 1
         cancel 2 c b            => off #2 3 Requested | Canceled 5/0
         submit 1 a sell 5@100   => again | New 0/5
         submit 2 b buy 8@100    => again | PartiallyFilled 5/3 fills 1
         cancel 2 c b            => again | Canceled 5/0
         submit 3 d buy 5@100 fok => no NotEnoughLiquidity | Rejected 0/0
         submit 1 e sell 5@100   => accept #3, rest #3 5@100 | New 0/5
         submit 3 d buy 5@100 fok => again | Rejected 0/0
         replace 1 f e 6@101     => move #3 6@101, rest #3 6@101 | New 0/6
         replace 1 f e 6@101     => again | New 0/6
         kept                    => 6",
    );
}

#[test]
fn another_content_under_the_same_id_is_a_conflict() {
    check(
        "submit 1 a sell 5@100   => accept #1, rest #1 5@100 | New 0/5
         submit 1 a sell 5@101   => no DuplicateClientOrderId | Rejected 0/0
         submit 1 a buy 5@100    => no DuplicateClientOrderId | Rejected 0/0
         submit 1 a sell 6@100   => no DuplicateClientOrderId | Rejected 0/0
         submit 1 a sell 5@100 ioc => no DuplicateClientOrderId | Rejected 0/0
         submit 1 a sell 5@100 post => no DuplicateClientOrderId | Rejected 0/0
         submit 1 a sell 5@100 both => no DuplicateClientOrderId | Rejected 0/0
         submit 1 a sell 5@100 on 1 => no DuplicateClientOrderId | Rejected 0/0
         submit 1 a sell 5@100 market ioc => no DuplicateClientOrderId | Rejected 0/0
         cancel 1 a a            => no DuplicateClientOrderId | Rejected 0/0
         mass 1 a                => no DuplicateClientOrderId | Rejected 0/0
         replace 1 a a 5@100     => no DuplicateClientOrderId | Rejected 0/0
         submit 1 a sell 5@100   => again | New 0/5
         submit 2 a sell 5@100   => accept #2, rest #2 5@100 | New 0/5
         mass 1 b                => off #1 5 MassCancel | Canceled 0/0 x1
         mass 1 b sell           => no DuplicateClientOrderId | Rejected 0/0
         mass 1 b on 0           => no DuplicateClientOrderId | Rejected 0/0
         cancel 1 c a            => no OrderClosed | Rejected 0/0
         cancel 1 c #1           => no DuplicateClientOrderId | Rejected 0/0
         cancel 1 c a            => again | Rejected 0/0
         kept                    => 4",
    );
}

/// A refusal that happened once is the answer for ever: its reason may be gone, the request was answered.
#[test]
fn refusals_are_kept_too() {
    check(
        "submit 1 a sell 5@100 on 1 => no UnknownInstrument | Rejected 0/0
         define B                => defined 1 | Done 0/0
         submit 1 a sell 5@100 on 1 => again | Rejected 0/0
         submit 0 b sell 5@100   => no InvalidAccount | Rejected 0/0
         submit 0 b sell 5@100   => again | Rejected 0/0
         kept                    => 2",
    );
}

#[test]
fn outcomes_are_dropped_when_the_window_has_passed() {
    check(
        "rules window=100        => rules | Done 0/0
         submit 1 a buy 5@100 ioc => accept #1, drop #1 5 ImmediateOrCancel | Canceled 0/0
         submit 1 b buy 5@100    => accept #2, rest #2 5@100 | New 0/5
         wait 97
         submit 1 a buy 5@100 ioc => again | Canceled 0/0
         kept                    => 2
         order 1 a               => #1 buy 5@100 Canceled 0/0
         submit 1 c buy 5@1 ioc  => accept #3, drop #3 5 ImmediateOrCancel | Canceled 0/0
         kept                    => 3
         limit 9 9               => limit 9 9 | Done 0/0
         kept                    => 2
         order 1 a               => none
         cancel 1 d #1           => no UnknownOrder | Rejected 0/0
         order 1 b               => #2 buy 5@100 New 0/5
         submit 1 a buy 5@100 ioc => accept #4, drop #4 5 ImmediateOrCancel | Canceled 0/0
         cancel 1 e #2           => off #2 5 Requested | Canceled 0/0",
    );
}

#[test]
fn outcomes_are_dropped_when_there_are_too_many_but_not_those_of_open_orders() {
    check(
        "rules capacity=2        => rules | Done 0/0
         submit 1 a buy 5@100    => accept #1, rest #1 5@100 | New 0/5
         submit 1 b buy 5@100    => accept #2, rest #2 5@100 | New 0/5
         submit 1 c buy 5@9 ioc  => accept #3, drop #3 5 ImmediateOrCancel | Canceled 0/0
         submit 1 d buy 5@9 ioc  => accept #4, drop #4 5 ImmediateOrCancel | Canceled 0/0
         kept                    => 4
         submit 1 e buy 5@9 ioc  => accept #5, drop #5 5 ImmediateOrCancel | Canceled 0/0
         kept                    => 4
         order 1 c               => none
         order 1 d               => #4 buy 5@9 Canceled 0/0
         order 1 a               => #1 buy 5@100 New 0/5
         cancel 1 f a            => off #1 5 Requested | Canceled 0/0
         kept                    => 3
         order 1 a               => #1 buy 5@100 Canceled 0/0
         order 1 d               => none
         order 1 e               => none
         submit 1 a buy 5@100    => again | New 0/5
         submit 1 b buy 5@100    => again | New 0/5",
    );
}

/// Replaces are dropped with age; the order keeps the name of its submit.
#[test]
fn the_names_given_by_replaces_go_with_their_outcomes() {
    check(
        "rules capacity=1        => rules | Done 0/0
         submit 1 a buy 5@100    => accept #1, rest #1 5@100 | New 0/5
         replace 1 b a 4@100     => keep #1 4@100 | New 0/4
         order 1 b               => #1 buy 4@100 New 0/4
         replace 1 c a 3@100     => keep #1 3@100 | New 0/3
         order 1 b               => none
         order 1 a               => #1 buy 3@100 New 0/3
         replace 1 b a 2@100     => keep #1 2@100 | New 0/2
         cancel 1 d b            => off #1 2 Requested | Canceled 0/0",
    );
}

/// After the limit was lowered, every command drops a few more than it adds.
#[test]
fn a_lowered_capacity_is_reached_step_by_step() {
    check(
        "submit 1 a buy 5@9 ioc  => accept #1, drop #1 5 ImmediateOrCancel | Canceled 0/0
         submit 1 b buy 5@9 ioc  => accept #2, drop #2 5 ImmediateOrCancel | Canceled 0/0
         submit 1 c buy 5@9 ioc  => accept #3, drop #3 5 ImmediateOrCancel | Canceled 0/0
         submit 1 d buy 5@9 ioc  => accept #4, drop #4 5 ImmediateOrCancel | Canceled 0/0
         submit 1 e buy 5@9 ioc  => accept #5, drop #5 5 ImmediateOrCancel | Canceled 0/0
         submit 1 f buy 5@9 ioc  => accept #6, drop #6 5 ImmediateOrCancel | Canceled 0/0
         rules capacity=1        => rules | Done 0/0
         kept                    => 2
         submit 1 g buy 5@9 ioc  => accept #7, drop #7 5 ImmediateOrCancel | Canceled 0/0
         kept                    => 1",
    );
}
