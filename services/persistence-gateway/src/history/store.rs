//! The two databases behind one face: a writer for the projector, readers for everybody else.
//!
//! Connecting is lazy everywhere: a gateway starts, votes and acknowledges with its database away. Deliberately
//! absent: retries; the projector decides about them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use journal_core::ChainHash;
use sqlx::migrate::MigrateError;
use thiserror::Error;
use types::{LogId, Seq, ShardId, Timestamp};

use super::page::Key;
use super::postgres::{PostgresReader, PostgresWriter};
use super::query::{self, Keyed, Table};
use super::sqlite::{SqliteReader, SqliteWriter};
use super::{
    ExecutionFilter, ExecutionRow, InstrumentRow, OrderFilter, OrderRow, Page, PageToken, RowBatch, TradeFilter,
    TradeRow,
};
use crate::config::{Config, DatabaseConfig, HistoryDatabase};
use crate::pools::PoolGauge;
use crate::pools::postgres::PostgresPool;

/// Why the history database did not answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// Not reachable, too slow, or refusing connections. Worth another try.
    #[error("the history database is not available: {0}")]
    Unavailable(String),
    /// It answered, with an error. Trying again is harmless and may help.
    #[error("the history database refused: {0}")]
    Refused(String),
    /// The schema could not be brought up to date.
    #[error("the history database could not be migrated: {0}; use a database of this or an older version")]
    Migration(String),
    /// A row makes no sense.
    #[error("the history database is damaged: {0}; restore it, or give an empty database and project again")]
    Damaged(String),
    /// The database belongs to another history.
    #[error("the history database follows log {found}, the journal is log {wanted}; give each its own database")]
    Foreign {
        /// Log of the journal.
        wanted: LogId,
        /// Log of the database.
        found: LogId,
    },
    /// The configuration cannot be used.
    #[error("{0}")]
    Configuration(String),
}

impl From<MigrateError> for HistoryError {
    fn from(error: MigrateError) -> Self {
        match error {
            // The statement failed, not the version: the server may have gone away in its middle.
            MigrateError::Execute(_) | MigrateError::ExecuteMigration(..) => Self::Unavailable(error.to_string()),
            error => Self::Migration(error.to_string()),
        }
    }
}

/// How far a shard's history goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// History it belongs to.
    pub log_id: LogId,
    /// Last projected entry; 0 before the first.
    pub seq: Seq,
    /// Its chain hash.
    pub chain: ChainHash,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Projected {
    /// Written.
    Done,
    /// The cursor is not where the batch starts: somebody else wrote, or an earlier attempt succeeded unseen.
    Moved,
}

/// The projector's connection. Used by one thread.
#[derive(Debug)]
pub enum HistoryWriter {
    /// A file.
    #[doc(hidden)]
    Sqlite(SqliteWriter),
    /// A server.
    #[doc(hidden)]
    Postgres(PostgresWriter),
}

/// Connections for questions. Clones share them.
#[derive(Clone, Debug)]
pub struct HistoryReader(Inner);

#[derive(Clone, Debug)]
enum Inner {
    Sqlite(SqliteReader),
    Postgres(PostgresReader),
}

/// Path of the SQLite file of a data directory.
pub(crate) fn sqlite_path(config: &Config, data_dir: &std::path::Path) -> PathBuf {
    config.history.file.clone().unwrap_or_else(|| data_dir.join("history.sqlite"))
}

impl HistoryWriter {
    /// A writer as configured; connects when it is used first, on the runtime it is used on. Registers nothing;
    /// `gauge` is told how its connection does.
    ///
    /// # Errors
    /// [`HistoryError::Configuration`] if the configuration names no usable database.
    pub fn new(config: &Config, data_dir: &std::path::Path, gauge: Arc<PoolGauge>) -> Result<Self, HistoryError> {
        Ok(match config.history.database {
            HistoryDatabase::Sqlite => Self::Sqlite(SqliteWriter::new(sqlite_path(config, data_dir), gauge)),
            HistoryDatabase::Postgres => Self::Postgres(PostgresWriter::new(&config.database, gauge)?),
        })
    }

    /// Its connection, if it leads to a server.
    pub(crate) fn pool(&self) -> Option<PostgresPool> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(writer) => Some(writer.pool()),
        }
    }

    /// Brings the schema up to date and reads how far `shard` is, starting its cursor if there is none. `None` while
    /// another process writes the history of this shard.
    ///
    /// # Errors
    /// [`HistoryError::Foreign`] if the cursor is one of another log; otherwise what the database said.
    pub async fn open(&mut self, shard: ShardId, log_id: LogId) -> Result<Option<Cursor>, HistoryError> {
        let cursor = match self {
            Self::Sqlite(writer) => Some(writer.open(shard, log_id).await?),
            Self::Postgres(writer) => writer.open(shard, log_id).await?,
        };
        match cursor {
            Some(cursor) if cursor.log_id != log_id => {
                Err(HistoryError::Foreign { wanted: log_id, found: cursor.log_id })
            }
            cursor => Ok(cursor),
        }
    }

    /// Writes a batch and moves the cursor from `from` to `to`, both or neither.
    ///
    /// # Errors
    /// What the database said; nothing is known then about whether the batch was written.
    pub async fn write(
        &mut self,
        shard: ShardId,
        from: &Cursor,
        to: &Cursor,
        rows: &RowBatch,
    ) -> Result<Projected, HistoryError> {
        match self {
            Self::Sqlite(writer) => writer.write(shard, from, to, rows).await,
            Self::Postgres(writer) => writer.write(shard, from, to, rows).await,
        }
    }

    /// Makes sure that what was written survives a power failure. The journal is trimmed only behind it. `false` if a
    /// reader that sees an older state, as a backup does, held that up.
    ///
    /// # Errors
    /// What the database said.
    pub async fn make_durable(&mut self) -> Result<bool, HistoryError> {
        match self {
            Self::Sqlite(writer) => writer.make_durable().await,
            // Every commit is durable already.
            Self::Postgres(_) => Ok(true),
        }
    }

    /// Closes the connection.
    pub async fn close(&mut self) {
        match self {
            Self::Sqlite(writer) => writer.close().await,
            Self::Postgres(writer) => writer.close(),
        }
    }
}

/// Runs the same statement on whichever database there is.
macro_rules! rows {
    ($self:expr, $statement:expr, $read:ident) => {
        match &$self.0 {
            Inner::Sqlite(reader) => reader.rows($statement, super::values::$read).await,
            Inner::Postgres(reader) => reader.rows($statement, super::values::$read).await,
        }
    };
}

/// Rows of a page, and where the next one starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows<T> {
    /// The rows, newest first.
    pub rows: Vec<T>,
    /// Where the next page starts; none on the last page.
    pub next: Option<PageToken>,
}

fn paged<T: Keyed>(mut rows: Vec<T>, page: &Page) -> Rows<T> {
    let size = usize::try_from(page.size).unwrap_or(usize::MAX);
    let more = rows.len() > size;
    rows.truncate(size);
    let next = rows.last().filter(|_| more).map(|row| PageToken(row.key()));
    Rows { rows, next }
}

impl HistoryReader {
    /// Connections as configured, opened when they are needed, at most `connections`.
    ///
    /// # Errors
    /// [`HistoryError::Configuration`] if the configuration names no usable database.
    pub fn new(
        config: &Config,
        data_dir: &std::path::Path,
        connections: u32,
        gauge: Arc<PoolGauge>,
    ) -> Result<Self, HistoryError> {
        let wait: Duration = config.database.connection_timeout.0;
        Ok(Self(match config.history.database {
            HistoryDatabase::Sqlite => {
                Inner::Sqlite(SqliteReader::new(&sqlite_path(config, data_dir), connections, wait, gauge))
            }
            HistoryDatabase::Postgres => {
                let beside = config.sessions_beside_questions();
                Inner::Postgres(PostgresReader::new(&config.database, connections, beside, gauge)?)
            }
        }))
    }

    /// Connections to the read replica, if there is one.
    pub(crate) fn of_replica(
        config: &Config,
        connections: u32,
        gauge: Arc<PoolGauge>,
    ) -> Option<Result<Self, HistoryError>> {
        let database = DatabaseConfig { url: config.database.replica_url.clone(), ..config.database.clone() };
        let configured = config.history.database == HistoryDatabase::Postgres && !database.url.expose().is_empty();
        let reader = || PostgresReader::new(&database, connections, 0, gauge);
        configured.then(|| Ok(Self(Inner::Postgres(reader()?))))
    }

    /// Of a replica: since the last transaction that it has was written on the primary, milliseconds.
    pub(crate) async fn replay_lag_ms(&self) -> Result<u64, HistoryError> {
        const LAG: &str = "SELECT coalesce(extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000, 0)::bigint";
        let statement = query::Statement { sql: LAG.to_owned(), values: Vec::new() };
        let lag = |row: &tokio_postgres::Row| super::values::Columns::int(row, 0);
        match &self.0 {
            Inner::Sqlite(_) => Ok(0),
            Inner::Postgres(reader) => {
                let rows = reader.rows(&statement, lag).await?;
                Ok(rows.first().copied().unwrap_or(0).try_into().unwrap_or(0))
            }
        }
    }

    /// Its connections, if they lead to a server.
    pub(crate) fn pool(&self) -> Option<PostgresPool> {
        match &self.0 {
            Inner::Sqlite(_) => None,
            Inner::Postgres(reader) => Some(reader.pool()),
        }
    }

    /// "sqlite" or "postgres".
    #[must_use]
    pub fn database(&self) -> &'static str {
        match &self.0 {
            Inner::Sqlite(_) => "sqlite",
            Inner::Postgres(_) => "postgres",
        }
    }

    /// How far the history of each shard goes, by shard.
    ///
    /// # Errors
    /// What the database said.
    pub async fn cursors(&self) -> Result<Vec<(ShardId, Cursor)>, HistoryError> {
        rows!(self, &query::cursors(), read_cursor)
    }

    /// How far the copy of an audit log goes; 0 if there is none.
    ///
    /// # Errors
    /// [`HistoryError::Configuration`] where there is no server; otherwise what the database said.
    pub(super) async fn audit_copied(&self, node: &str, log: &str) -> Result<u64, HistoryError> {
        self.server()?.audit_copied(node, log).await
    }

    /// Adds lines to the copy of an audit log, those that are there already once; returns how far it goes then.
    ///
    /// # Errors
    /// As [`Self::audit_copied`].
    pub(super) async fn copy_audit(&self, node: &str, log: &str, lines: &[String]) -> Result<u64, HistoryError> {
        self.server()?.copy_audit(node, log, lines).await
    }

    fn server(&self) -> Result<&PostgresReader, HistoryError> {
        match &self.0 {
            Inner::Postgres(reader) => Ok(reader),
            Inner::Sqlite(_) => Err(HistoryError::Configuration(
                "copies of audit logs need a database server: set persistence_gateway.history.database = \"postgres\""
                    .to_owned(),
            )),
        }
    }

    /// Orders, newest first.
    ///
    /// # Errors
    /// What the database said.
    pub async fn orders(&self, filter: &OrderFilter, page: &Page) -> Result<Rows<OrderRow>, HistoryError> {
        Ok(paged(rows!(self, &query::orders(filter, page), read_order)?, page))
    }

    /// Executions, newest first.
    ///
    /// # Errors
    /// What the database said.
    pub async fn executions(&self, filter: &ExecutionFilter, page: &Page) -> Result<Rows<ExecutionRow>, HistoryError> {
        Ok(paged(rows!(self, &query::executions(filter, page), read_execution)?, page))
    }

    /// Trades, newest first.
    ///
    /// # Errors
    /// What the database said.
    pub async fn trades(&self, filter: &TradeFilter, page: &Page) -> Result<Rows<TradeRow>, HistoryError> {
        Ok(paged(rows!(self, &query::trades(filter, page), read_trade)?, page))
    }

    /// All instruments of a shard, by number.
    ///
    /// # Errors
    /// What the database said.
    pub async fn instruments(&self, shard: ShardId) -> Result<Vec<InstrumentRow>, HistoryError> {
        rows!(self, &query::instruments(shard), read_instrument)
    }

    /// All orders of a shard submitted within a time range, oldest first.
    pub(crate) async fn orders_between(
        &self,
        shard: ShardId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<OrderRow>, HistoryError> {
        self.between(Table::Orders, shard, from, to, async |statement| rows!(self, statement, read_order)).await
    }

    /// All executions of a shard within a time range, oldest first.
    pub(crate) async fn executions_between(
        &self,
        shard: ShardId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<ExecutionRow>, HistoryError> {
        self.between(Table::Executions, shard, from, to, async |statement| rows!(self, statement, read_execution)).await
    }

    /// All trades of a shard within a time range, oldest first.
    pub(crate) async fn trades_between(
        &self,
        shard: ShardId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<TradeRow>, HistoryError> {
        self.between(Table::Trades, shard, from, to, async |statement| rows!(self, statement, read_trade)).await
    }

    async fn between<T: Keyed>(
        &self,
        table: Table,
        shard: ShardId,
        from: Timestamp,
        to: Timestamp,
        fetch: impl AsyncFn(&query::Statement) -> Result<Vec<T>, HistoryError>,
    ) -> Result<Vec<T>, HistoryError> {
        /// Rows fetched at once: some megabytes.
        const PART: u32 = 20_000;
        let mut after = Key { at_us: 0, shard: 0, index: 0, number: 0 };
        let mut all = Vec::new();
        loop {
            let mut part = fetch(&query::range(table, shard, from, to, PART, after)).await?;
            let last = part.len() < PART as usize;
            match part.last() {
                Some(row) => after = row.key(),
                None => return Ok(all),
            }
            all.append(&mut part);
            if last {
                return Ok(all);
            }
        }
    }
}
