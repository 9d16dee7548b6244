//! Numbers that stand for enumerations in the database: those of the published contracts, which never change.
//!
//! Deliberately absent: 0. It is "none" and is handled where a column may hold none.

use types::{InstrumentState, OrderStatus, OrderType, RejectReason, Side, TimeInForce};
use wire::pb::{history::v1 as history, marketdata::v1 as marketdata, orders::v1 as orders};

use super::ExecutionKind;

/// An enumeration that is stored as a number.
pub(super) trait Code: Sized + Copy {
    /// Its number, above 0.
    fn code(self) -> i16;
    /// Reads the number back; none for a number that means nothing.
    fn from_code(code: i16) -> Option<Self>;
}

/// Number of an optional value, 0 for none.
pub(super) fn optional<T: Code>(value: Option<T>) -> i16 {
    value.map_or(0, Code::code)
}

macro_rules! codes {
    ($ours:ty, $theirs:ty, [$($name:ident),+ $(,)?]) => {
        impl Code for $ours {
            fn code(self) -> i16 {
                match self {
                    $(Self::$name => const { <$theirs>::$name as i16 },)+
                }
            }

            fn from_code(code: i16) -> Option<Self> {
                match <$theirs>::try_from(i32::from(code)).ok()? {
                    $(<$theirs>::$name => Some(Self::$name),)+
                    _ => None,
                }
            }
        }
    };
}

codes!(Side, orders::Side, [Buy, Sell]);
codes!(OrderType, orders::OrderType, [Limit, Market]);
codes!(TimeInForce, orders::TimeInForce, [GoodTillCancel, ImmediateOrCancel, FillOrKill]);
codes!(OrderStatus, orders::OrderStatus, [New, PartiallyFilled, Filled, Canceled, Rejected, Done]);
codes!(InstrumentState, marketdata::InstrumentState, [PreOpen, Continuous, Halted, CancelOnly, Closed]);
codes!(ExecutionKind, history::ExecutionKind, [New, Trade, Canceled, Replaced, Decremented, Rejected]);
codes!(
    RejectReason,
    orders::RejectReason,
    [
        DuplicateClientOrderId,
        UnknownInstrument,
        InstrumentNotTrading,
        UnknownOrder,
        OrderClosed,
        InvalidAccount,
        PriceNotOnTick,
        PriceOutsideLimits,
        PriceOutsideBand,
        QuantityNotOnLot,
        QuantityTooSmall,
        QuantityTooLarge,
        NotionalTooLarge,
        TooManyOpenOrders,
        WouldTakeLiquidity,
        NotEnoughLiquidity,
        UnsupportedCombination,
        QuantityBelowFilled,
        InstrumentExists,
        InvalidInstrument,
        InvalidRules,
        CapacityExhausted,
    ]
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back_and_zero_is_nothing() {
        for status in [OrderStatus::New, OrderStatus::Filled, OrderStatus::Done] {
            assert_eq!(OrderStatus::from_code(status.code()), Some(status));
        }
        assert_eq!(Side::from_code(0), None);
        assert_eq!(Side::from_code(77), None);
        assert_eq!(Side::Sell.code(), 2, "stored numbers must not change");
        assert_eq!(RejectReason::CapacityExhausted.code(), 22, "stored numbers must not change");
    }
}
