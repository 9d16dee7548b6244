//! Cancel, replace, mass cancel.

use crate::check::check;

#[test]
fn a_cancel_takes_the_open_rest() {
    check(
        "submit 1 a sell 5@100   => accept #1, rest #1 5@100 | New 0/5
         submit 2 b buy 2@100    => accept #2, trade #1 #2 2@100 | Filled 2/0 fills 1
         cancel 1 c #1           => off #1 3 Requested | Canceled 2/0
         order 1 a               => #1 sell 5@100 Canceled 2/0
         order 1 c               => #1 sell 5@100 Canceled 2/0",
    );
}

#[test]
fn only_the_owner_on_the_right_instrument_can_name_an_order() {
    check(
        "define B                => defined 1 | Done 0/0
         submit 1 a sell 5@100   => accept #1, rest #1 5@100 | New 0/5
         cancel 2 b #1           => no UnknownOrder | Rejected 0/0
         cancel 2 c a            => no UnknownOrder | Rejected 0/0
         cancel 1 d #1 on 1      => no UnknownOrder | Rejected 0/0
         cancel 1 e #2           => no UnknownOrder | Rejected 0/0
         cancel 1 f #0           => no UnknownOrder | Rejected 0/0
         cancel 1 g g            => no UnknownOrder | Rejected 0/0
         cancel 1 h b            => no UnknownOrder | Rejected 0/0
         cancel 0 i #1           => no InvalidAccount | Rejected 0/0
         replace 0 j #1 1@1      => no InvalidAccount | Rejected 0/0
         cancel 1 k #1 on 2      => no UnknownInstrument | Rejected 0/0
         book                    => / 5@100*1",
    );
}

#[test]
fn less_at_the_same_price_keeps_the_place() {
    check(
        "submit 1 a sell 5@100   => accept #1, rest #1 5@100 | New 0/5
         submit 2 b sell 5@100   => accept #2, rest #2 5@100 | New 0/5
         replace 1 c a 3@100     => keep #1 3@100 | New 0/3
         replace 1 d a 3@100     => keep #1 3@100 | New 0/3
         submit 3 e buy 4@100    => accept #3, trade #1 #3 3@100, trade #2 #3 1@100 | Filled 4/0 fills 2",
    );
}

#[test]
fn more_or_another_price_loses_the_place() {
    check(
        "submit 1 a sell 5@100   => accept #1, rest #1 5@100 | New 0/5
         submit 2 b sell 5@100   => accept #2, rest #2 5@100 | New 0/5
         replace 1 c a 6@100     => move #1 6@100, rest #1 6@100 | New 0/6
         submit 3 d buy 1@100    => accept #3, trade #2 #3 1@100 | Filled 1/0 fills 1
         replace 2 e b 3@101     => move #2 2@101, rest #2 2@101 | PartiallyFilled 1/2
         replace 2 f b 3@100     => move #2 2@100, rest #2 2@100 | PartiallyFilled 1/2
         submit 3 g buy 7@100    => accept #4, trade #1 #4 6@100, trade #2 #4 1@100 | Filled 7/0 fills 2",
    );
}

#[test]
fn the_new_quantity_includes_what_is_filled() {
    check(
        "submit 1 a sell 5@100   => accept #1, rest #1 5@100 | New 0/5
         submit 2 b buy 2@100    => accept #2, trade #1 #2 2@100 | Filled 2/0 fills 1
         replace 1 c a 2@100     => no QuantityBelowFilled | Rejected 2/3
         replace 1 d a 0@100     => no QuantityBelowFilled | Rejected 2/3
         replace 1 e a 3@100     => keep #1 1@100 | PartiallyFilled 2/1
         order 1 e               => #1 sell 3@100 PartiallyFilled 2/1",
    );
}

#[test]
fn an_accepted_replace_names_the_order_as_well() {
    check(
        "submit 1 a sell 5@100   => accept #1, rest #1 5@100 | New 0/5
         replace 1 b a 5@101     => move #1 5@101, rest #1 5@101 | New 0/5
         replace 1 c b 5@102     => move #1 5@102, rest #1 5@102 | New 0/5
         replace 1 d c 0@102     => no QuantityBelowFilled | Rejected 0/5
         cancel 1 e d            => no UnknownOrder | Rejected 0/0
         order 1 d               => none
         cancel 1 f a            => off #1 5 Requested | Canceled 0/0
         order 1 b               => #1 sell 5@102 Canceled 0/0
         cancel 1 g b            => no OrderClosed | Rejected 0/0",
    );
}

#[test]
fn a_replace_that_fills_completely_ends_the_order() {
    check(
        "submit 1 a sell 5@100   => accept #1, rest #1 5@100 | New 0/5
         submit 2 b buy 5@99     => accept #2, rest #2 5@99 | New 0/5
         replace 2 c b 4@100     => move #2 4@100, trade #1 #2 4@100 | Filled 4/0 fills 1
         order 2 b               => #2 buy 4@100 Filled 4/0
         mass 2 d                => | Canceled 0/0
         book                    => / 1@100*1",
    );
}

#[test]
fn post_only_is_kept_through_a_replace() {
    check(
        "submit 1 a sell 5@100      => accept #1, rest #1 5@100 | New 0/5
         submit 2 b buy 5@98 post   => accept #2, rest #2 5@98 | New 0/5
         replace 2 c b 5@100        => no WouldTakeLiquidity | Rejected 0/5
         book                       => 5@98*1 / 5@100*1
         replace 2 d b 5@99         => move #2 5@99, rest #2 5@99 | New 0/5",
    );
}

#[test]
fn a_replace_is_checked_like_a_new_order() {
    check(
        "define B tick=5 lot=10 min=20 max=100 low=50 high=150 notional=10000 => defined 1 | Done 0/0
         submit 1 a sell 50@100 on 1      => accept #1, rest #1 50@100 | New 0/50
         replace 1 b a 50@101 on 1        => no PriceNotOnTick | Rejected 0/50
         replace 1 c a 50@45 on 1         => no PriceOutsideLimits | Rejected 0/50
         replace 1 d a 55@100 on 1        => no QuantityNotOnLot | Rejected 0/50
         replace 1 e a 10@100 on 1        => no QuantityTooSmall | Rejected 0/50
         replace 1 f a 110@100 on 1       => no QuantityTooLarge | Rejected 0/50
         replace 1 g a 100@105 on 1       => no NotionalTooLarge | Rejected 0/50
         replace 1 h a 100@100 on 1       => move #1 100@100, rest #1 100@100 | New 0/100",
    );
}

/// The band moved away from a resting order: it may become smaller, but only go to where orders may be.
#[test]
fn a_band_does_not_hold_an_order_back_from_shrinking() {
    check(
        "define B band=1000 reference=100  => defined 1 | Done 0/0
         submit 1 a sell 9@110 on 1       => accept #1, rest #1 9@110 | New 0/9
         submit 1 b sell 1@91 on 1        => accept #2, rest #2 1@91 | New 0/1
         submit 2 c buy 1@91 on 1         => accept #3, trade #2 #3 1@91 | Filled 1/0 fills 1
         submit 1 d sell 9@110 on 1       => no PriceOutsideBand | Rejected 0/0
         replace 1 e a 5@110 on 1         => keep #1 5@110 | New 0/5
         replace 1 f a 5@109 on 1         => no PriceOutsideBand | Rejected 0/5
         replace 1 g a 5@100 on 1         => move #1 5@100, rest #1 5@100 | New 0/5",
    );
}

#[test]
fn mass_cancel_goes_by_account_instrument_and_side_in_the_order_of_ids() {
    check(
        "define B                => defined 1 | Done 0/0
         submit 1 a sell 5@109   => accept #1, rest #1 5@109 | New 0/5
         submit 1 b buy 5@90     => accept #2, rest #2 5@90 | New 0/5
         submit 2 c sell 5@100   => accept #3, rest #3 5@100 | New 0/5
         submit 1 d sell 5@107 on 1 => accept #4, rest #4 5@107 | New 0/5
         submit 1 e sell 5@101   => accept #5, rest #5 5@101 | New 0/5
         submit 1 f buy 5@91     => accept #6, rest #6 5@91 | New 0/5
         replace 1 g a 5@102     => move #1 5@102, rest #1 5@102 | New 0/5
         mass 1 h buy on 1       => | Canceled 0/0
         mass 1 i buy            => off #2 5 MassCancel, off #6 5 MassCancel | Canceled 0/0 x2
         mass 1 j on 0           => off #1 5 MassCancel, off #5 5 MassCancel | Canceled 0/0 x2
         mass 1 k on 2           => no UnknownInstrument | Rejected 0/0
         mass 0 l                => no InvalidAccount | Rejected 0/0
         mass 1 m                => off #4 5 MassCancel | Canceled 0/0 x1
         mass 1 i buy            => again | Canceled 0/0 x2
         book                    => / 5@100*1",
    );
}
