//! Every enum that exists on both sides, matched exhaustively in both directions: a value added on either side does
//! not compile until it is given its other half.

use crate::pb::journal::v1 as journal;
use crate::pb::marketdata::v1 as marketdata;
use crate::pb::orders::v1 as orders;

/// The protobuf enum had its zero value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be set")]
pub struct Unspecified;

macro_rules! pairs {
    ($($proto:path = $own:path { $($value:ident),+ $(,)? })+) => {
        $(
            impl From<$own> for $proto {
                fn from(value: $own) -> Self {
                    match value {
                        $(<$own>::$value => Self::$value,)+
                    }
                }
            }

            impl TryFrom<$proto> for $own {
                type Error = Unspecified;

                fn try_from(value: $proto) -> Result<Self, Unspecified> {
                    match value {
                        <$proto>::Unspecified => Err(Unspecified),
                        $(<$proto>::$value => Ok(Self::$value),)+
                    }
                }
            }
        )+
    };
}

pairs! {
    orders::Side = types::Side { Buy, Sell }
    orders::OrderType = types::OrderType { Limit, Market }
    orders::TimeInForce = types::TimeInForce { GoodTillCancel, ImmediateOrCancel, FillOrKill }
    orders::SelfTradePrevention = types::SelfTradePrevention { CancelNewest, CancelOldest, CancelBoth, Decrement }
    orders::OrderStatus = types::OrderStatus { New, PartiallyFilled, Filled, Canceled, Rejected, Done }
    orders::RejectReason = types::RejectReason {
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
    }
    journal::EntryKind = journal_core::EntryKind {
        EpochStart, Batch, StateHash, LogicVersion, SnapshotMark, BackupMark
    }
    marketdata::InstrumentState = types::InstrumentState { PreOpen, Continuous, Halted, CancelOnly, Closed }
}
