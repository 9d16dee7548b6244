//! Enums as one byte, written out so that reordering a declaration changes nothing.

use types::{InstrumentState, OrderStatus, OrderType, RejectReason, SelfTradePrevention, Side, TimeInForce};

/// A value's byte, from 1.
pub(super) trait Word {
    fn word(self) -> u8;
}

impl Word for Side {
    fn word(self) -> u8 {
        match self {
            Self::Buy => 1,
            Self::Sell => 2,
        }
    }
}

impl Word for OrderType {
    fn word(self) -> u8 {
        match self {
            Self::Limit => 1,
            Self::Market => 2,
        }
    }
}

impl Word for TimeInForce {
    fn word(self) -> u8 {
        match self {
            Self::GoodTillCancel => 1,
            Self::ImmediateOrCancel => 2,
            Self::FillOrKill => 3,
        }
    }
}

impl Word for SelfTradePrevention {
    fn word(self) -> u8 {
        match self {
            Self::CancelNewest => 1,
            Self::CancelOldest => 2,
            Self::CancelBoth => 3,
            Self::Decrement => 4,
        }
    }
}

impl Word for InstrumentState {
    fn word(self) -> u8 {
        match self {
            Self::PreOpen => 1,
            Self::Continuous => 2,
            Self::Halted => 3,
            Self::CancelOnly => 4,
            Self::Closed => 5,
        }
    }
}

impl Word for OrderStatus {
    fn word(self) -> u8 {
        match self {
            Self::New => 1,
            Self::PartiallyFilled => 2,
            Self::Filled => 3,
            Self::Canceled => 4,
            Self::Rejected => 5,
            Self::Done => 6,
        }
    }
}

impl Word for RejectReason {
    fn word(self) -> u8 {
        match self {
            Self::DuplicateClientOrderId => 1,
            Self::UnknownInstrument => 2,
            Self::InstrumentNotTrading => 3,
            Self::UnknownOrder => 4,
            Self::OrderClosed => 5,
            Self::InvalidAccount => 6,
            Self::PriceNotOnTick => 7,
            Self::PriceOutsideLimits => 8,
            Self::PriceOutsideBand => 9,
            Self::QuantityNotOnLot => 10,
            Self::QuantityTooSmall => 11,
            Self::QuantityTooLarge => 12,
            Self::NotionalTooLarge => 13,
            Self::TooManyOpenOrders => 14,
            Self::WouldTakeLiquidity => 15,
            Self::NotEnoughLiquidity => 16,
            Self::UnsupportedCombination => 17,
            Self::QuantityBelowFilled => 18,
            Self::InstrumentExists => 19,
            Self::InvalidInstrument => 20,
            Self::InvalidRules => 21,
            Self::CapacityExhausted => 22,
        }
    }
}
