//! Conversions between protobuf messages and the system's own types, both ways. What comes from outside is checked
//! completely here, and an error names the field by its name in the `.proto`; what passes may still be refused by
//! the exchange, by a journaled answer.
//!
//! Deliberately absent: anything that needs state, but for the number of an instrument ([`InstrumentLookup`]).

mod consensus;
mod enums;
mod field;
mod history;
mod instruments;
mod journal;
mod orders;
mod report;
mod shared;
#[cfg(test)]
mod tests;

pub use consensus::{Engine, engine, engine_to_pb, epoch, epoch_to_pb, voter_config, voter_config_to_pb};
pub use enums::Unspecified;
pub use history::{
    ExecutionFilter, OrderFilter, PAGE_SIZE, PAGE_SIZE_MAX, Page, Period, TradeFilter, list_executions, list_orders,
    list_trades,
};
pub use instruments::{
    BOOK_DEPTH, BOOK_DEPTH_MAX, book_request, define_instrument, instrument, instrument_to_pb, set_instrument_state,
    stream_book_request, stream_trades_request,
};
pub use journal::{
    append_reply, append_reply_to_pb, append_request, append_request_to_pb, entries, entry, entry_to_pb,
    entry_trace_to_pb, entry_traces, fence_reply, fence_reply_to_pb, fence_request, fence_request_to_pb, log_id,
    log_id_to_pb, log_of_shard, tail, tail_to_pb,
};
pub use orders::{
    InstrumentLookup, UNKNOWN_INSTRUMENT, cancel, mass_cancel, order_key, replace, session_command, submit,
};
pub use report::{closed_order, open_order, place, place_to_pb, report, trade};
pub use shared::{buffers_are_shared, share_buffers};
