//! The history database: rows, the two databases that hold them, and the questions that can be asked.
//!
//! Deliberately absent: how rows come about (see [`crate::projector`]); any decision that trading depends on. The
//! history is a projection of the journal: it can be slow, away or lost without an acknowledgement noticing.

mod archive;
mod audit_copy;
mod codes;
mod compare;
mod export;
mod migrate;
mod page;
mod postgres;
mod query;
mod replica;
mod rows;
mod service;
mod sqlite;
mod store;
mod values;

pub(crate) use archive::Row;
pub use audit_copy::AuditCopies;
pub(crate) use compare::{compare, difference};
pub(crate) use export::{Export, Pass};
pub use page::PageToken;
pub(crate) use postgres::failed as postgres_error;
pub use query::{ExecutionFilter, OrderFilter, Page, TradeFilter};
pub(crate) use replica::Replica;
pub(crate) use rows::FinalOrders;
pub use rows::{ExecutionKind, ExecutionRow, InstrumentRow, OrderChange, OrderRow, RowBatch, Stamp, TradeRow};
pub use service::{HistoryQueries, ShardProgress};
pub(crate) use store::sqlite_path;
pub use store::{Cursor, HistoryError, HistoryReader, HistoryWriter, Projected, Rows};
