//! The words of the system: identifiers, prices and quantities, what may stand in the journal (commands), what
//! the matching core says happened (events), and the full state of an exchange as plain data (snapshot).
//!
//! Deliberately absent: behaviour beyond construction and checked arithmetic, serialization (the binary layouts
//! are in `journal-core`, the protobuf ones in `wire`), and any dependency.

mod command;
mod event;
mod ids;
mod instrument;
mod quantity;
mod snapshot;
mod text;

pub use command::{
    AccountLimit, Cancel, Command, InstrumentStateChange, MassCancel, OrderTarget, OrderType, Replace, Rules,
    SelfTradePrevention, Submit, TimeInForce,
};
pub use event::{
    CancelCause, Event, Fill, OrderStatus, Original, Outcome, RejectReason, ReplaceEvent, RestedEvent, Trade,
};
pub use ids::{
    AccountId, Epoch, Incarnation, InstrumentId, LogId, OrderId, Place, SHARDS_MAX, Seq, ShardId, StateHash, Timestamp,
    TradeId, shard_of,
};
pub use instrument::{Instrument, InstrumentState};
pub use quantity::{Price, Qty, Side};
pub use snapshot::{AccountSnapshot, ClosedOrder, IdempotencyEntry, InstrumentSnapshot, OrderSnapshot, Snapshot};
pub use text::{ClientOrderId, InlineText, Symbol, TextError};
