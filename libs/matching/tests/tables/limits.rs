//! Tick, lot, quantities, notional, static limits, band, cap on open orders, numbers left.

use crate::check::check;

#[test]
fn prices_and_quantities_are_checked_in_order() {
    check(
        "define B tick=5 lot=10 min=20 max=100 low=50 high=150 notional=10000 => defined 1 | Done 0/0
         submit 0 z sell 50@100 on 1    => no InvalidAccount | Rejected 0/0
         submit 1 a sell 50@101 on 1    => no PriceNotOnTick | Rejected 0/0
         submit 1 b sell 50@45 on 1     => no PriceOutsideLimits | Rejected 0/0
         submit 1 c sell 50@155 on 1    => no PriceOutsideLimits | Rejected 0/0
         submit 1 d sell 55@100 on 1    => no QuantityNotOnLot | Rejected 0/0
         submit 1 e sell 0@100 on 1     => no QuantityTooSmall | Rejected 0/0
         submit 1 f sell 10@100 on 1    => no QuantityTooSmall | Rejected 0/0
         submit 1 g sell 110@100 on 1   => no QuantityTooLarge | Rejected 0/0
         submit 1 h sell 100@105 on 1   => no NotionalTooLarge | Rejected 0/0
         submit 1 i sell 100@100 on 1   => accept #1, rest #1 100@100 | New 0/100
         submit 1 j sell 20@150 on 1    => accept #2, rest #2 20@150 | New 0/20
         submit 1 k buy 20@50 on 1      => accept #3, rest #3 20@50 | New 0/20",
    );
}

#[test]
fn prices_may_be_negative_when_the_limits_allow_it() {
    check(
        "define B tick=5 low=-20 high=20 notional=100 => defined 1 | Done 0/0
         submit 1 a sell 5@-20 on 1     => accept #1, rest #1 5@-20 | New 0/5
         submit 1 b sell 6@-20 on 1     => no NotionalTooLarge | Rejected 0/0
         submit 1 c sell 5@-21 on 1     => no PriceNotOnTick | Rejected 0/0
         submit 1 d sell 5@-25 on 1     => no PriceOutsideLimits | Rejected 0/0
         submit 2 e buy 5@-10 on 1      => accept #2, trade #1 #2 5@-20 | Filled 5/0 fills 1",
    );
}

#[test]
fn extreme_values_are_compared_exactly() {
    check(
        "define B notional=170141183460469231704017187605319778304 => defined 1 | Done 0/0
         submit 1 a sell 18446744073709551615@-9223372036854775807 on 1 => no NotionalTooLarge | Rejected 0/0
         submit 1 b sell 18446744073709551614@-9223372036854775807 on 1 => accept #1, rest #1 18446744073709551614@-9223372036854775807 | New 0/18446744073709551614
         define C tick=18446744073709551615 => defined 2 | Done 0/0
         submit 1 c sell 1@9223372036854775807 on 2 => no PriceNotOnTick | Rejected 0/0
         submit 1 d sell 1@-9223372036854775808 on 2 => no PriceNotOnTick | Rejected 0/0
         submit 1 e sell 1@0 on 2       => accept #2, rest #2 1@0 | New 0/1
         define D band=4294967295 reference=9223372036854775807 => defined 3 | Done 0/0
         submit 1 f sell 1@-9223372036854775808 on 3 => accept #3, rest #3 1@-9223372036854775808 | New 0/1
         define E band=1 reference=-9223372036854775808 => defined 4 | Done 0/0
         submit 1 g sell 1@9223372036854775807 on 4 => no PriceOutsideBand | Rejected 0/0
         submit 1 h sell 1@-9222449699651090330 on 4 => no PriceOutsideBand | Rejected 0/0
         submit 1 i sell 1@-9222449699651090331 on 4 => accept #4, rest #4 1@-9222449699651090331 | New 0/1",
    );
}

/// Before the first trade around the reference price, then around the last trade.
#[test]
fn the_band_goes_with_the_last_trade() {
    check(
        "define B band=1000 reference=100 => defined 1 | Done 0/0
         submit 1 a sell 5@111 on 1     => no PriceOutsideBand | Rejected 0/0
         submit 1 b buy 5@89 on 1       => no PriceOutsideBand | Rejected 0/0
         submit 1 c sell 5@110 on 1     => accept #1, rest #1 5@110 | New 0/5
         submit 2 d buy 1@110 on 1      => accept #2, trade #1 #2 1@110 | Filled 1/0 fills 1
         submit 1 e buy 5@98 on 1       => no PriceOutsideBand | Rejected 0/0
         submit 1 f buy 5@99 on 1       => accept #3, rest #3 5@99 | New 0/5
         submit 1 g sell 5@121 on 1     => accept #4, rest #4 5@121 | New 0/5
         submit 1 h sell 5@122 on 1 market ioc => no PriceOutsideBand | Rejected 0/0",
    );
}

/// The cap is looked at before anything trades, for orders that may rest; others are free.
#[test]
fn an_account_may_have_so_many_orders_open() {
    check(
        "limit 1 2                      => limit 1 2 | Done 0/0
         submit 1 a sell 5@100          => accept #1, rest #1 5@100 | New 0/5
         submit 1 b sell 5@101          => accept #2, rest #2 5@101 | New 0/5
         submit 1 c sell 5@102          => no TooManyOpenOrders | Rejected 0/0
         submit 2 d buy 5@99            => accept #3, rest #3 5@99 | New 0/5
         submit 1 e sell 1@99           => no TooManyOpenOrders | Rejected 0/0
         submit 1 f sell 1@99 ioc       => accept #4, trade #3 #4 1@99 | Filled 1/0 fills 1
         replace 1 g b 9@103            => move #2 9@103, rest #2 9@103 | New 0/9
         submit 2 h buy 5@100           => accept #5, trade #1 #5 5@100 | Filled 5/0 fills 1
         submit 1 i sell 5@102          => accept #6, rest #6 5@102 | New 0/5
         limit 1 0                      => limit 1 0 | Done 0/0
         cancel 1 j i                   => off #6 5 Requested | Canceled 0/0
         mass 1 k                       => off #2 9 MassCancel | Canceled 0/0 x1
         submit 1 l sell 5@102          => no TooManyOpenOrders | Rejected 0/0
         rules open=1                   => rules | Done 0/0
         submit 2 m buy 5@98            => no TooManyOpenOrders | Rejected 0/0
         limit 2 2                      => limit 2 2 | Done 0/0
         submit 2 n buy 5@98            => accept #7, rest #7 5@98 | New 0/5",
    );
}

#[test]
fn numbers_end() {
    check(
        "submit 1 a sell 1@100          => accept #1, rest #1 1@100 | New 0/1
         submit 1 b sell 1@100          => accept #2, rest #2 1@100 | New 0/1
         next order 281474976710655
         submit 2 c buy 1@99            => accept #281474976710655, rest #281474976710655 1@99 | New 0/1
         submit 2 d buy 1@99            => no CapacityExhausted | Rejected 0/0
         replace 2 e c 3@100            => move #281474976710655 3@100, trade #1 #281474976710655 1@100, trade #2 #281474976710655 1@100, rest #281474976710655 1@100 | PartiallyFilled 2/1 fills 2
         cancel 2 f c                   => off #281474976710655 1 Requested | Canceled 2/0",
    );
    check(
        "submit 1 a sell 1@100          => accept #1, rest #1 1@100 | New 0/1
         submit 1 b sell 1@100          => accept #2, rest #2 1@100 | New 0/1
         submit 2 c buy 1@99            => accept #3, rest #3 1@99 | New 0/1
         next trade 281474976710654
         submit 2 d buy 2@100           => no CapacityExhausted | Rejected 0/0
         replace 2 e c 2@100            => no CapacityExhausted | Rejected 0/1
         cancel 1 f b                   => off #2 1 Requested | Canceled 0/0
         submit 2 g buy 2@100           => accept #4, trade #1 #4 1@100, rest #4 1@100 | PartiallyFilled 1/1 fills 1",
    );
}
