//! Every value of every shared enum goes both ways.

use std::fmt::Debug;

use crate::convert::Unspecified;
use crate::pb::journal::v1 as journal;
use crate::pb::marketdata::v1 as marketdata;
use crate::pb::orders::v1 as orders;

/// Numbers 1 to `count` are values with a counterpart that leads back; 0 is none, the rest are unknown.
fn both_ways<P, T>(count: i32)
where
    P: TryFrom<i32> + From<T> + Into<i32> + Copy + Debug + PartialEq,
    T: TryFrom<P, Error = Unspecified> + Debug,
{
    for number in -1..=count + 1 {
        let known = P::try_from(number).ok();
        assert_eq!(known.is_some(), (0..=count).contains(&number), "{number}");
        let Some(proto) = known else { continue };
        match T::try_from(proto) {
            Ok(own) => assert_eq!(P::from(own).into(), number),
            Err(Unspecified) => assert_eq!(number, 0),
        }
    }
}

#[test]
fn all_values_go_both_ways() {
    both_ways::<orders::Side, types::Side>(2);
    both_ways::<orders::OrderType, types::OrderType>(2);
    both_ways::<orders::TimeInForce, types::TimeInForce>(3);
    both_ways::<orders::SelfTradePrevention, types::SelfTradePrevention>(4);
    both_ways::<orders::OrderStatus, types::OrderStatus>(6);
    both_ways::<orders::RejectReason, types::RejectReason>(22);
    both_ways::<marketdata::InstrumentState, types::InstrumentState>(5);
    both_ways::<journal::EntryKind, journal_core::EntryKind>(6);
}

#[test]
fn kinds_of_entries_have_the_numbers_of_the_journal() {
    for code in 1..=6_u8 {
        let own = journal_core::EntryKind::from_code(code).unwrap();
        assert_eq!(journal::EntryKind::from(own) as i32, i32::from(code));
    }
}
