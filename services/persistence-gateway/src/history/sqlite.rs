//! The history in an SQLite file: nothing to install, good for one machine.
//!
//! The file is in WAL mode, so that readers never wait for the writer, and commits are not synced one by one, so that
//! they do not compete with the journal for the disk: after a power failure the last ones may be missing, and are
//! projected again from the journal, which is trimmed only behind a synced checkpoint. Deliberately absent: anything
//! that Postgres does differently.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row, SqliteConnection, SqlitePool};
use types::{LogId, Seq, ShardId};

use super::query::Statement;
use super::values::{
    Columns, EXECUTION_COLUMNS, INSTRUMENT_COLUMNS, ORDER_COLUMNS, TRADE_COLUMNS, Value, cursor_values,
    execution_values, instrument_values, order_values, read_cursor, trade_values,
};
use super::{Cursor, HistoryError, Projected, RowBatch};
use crate::pools::PoolGauge;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// Held while a file is opened and migrated: the projectors of several shards share one, and SQLite has no lock that
/// would make the second wait for the migration of the first.
static OPENING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// How long a statement waits for a lock. Only checkpoints and other processes ever hold one against us.
const BUSY: Duration = Duration::from_secs(5);
/// Rows of one INSERT: enough to amortize a statement, and 64 rows of 20 columns are far from SQLite's limit of
/// 32,766 parameters.
const ROWS_AT_ONCE: usize = 64;
/// Pages written to the WAL before it is folded into the file, 16 MB. What folding syncs stands before the journal's
/// writes in the queue of the disk that they share, 12 to 17 ms for so many: rarely, so that it is the
/// 99.9th percentile of orders that shows it; smaller folds moved it to the 99th (docs/performance.md).
const CHECKPOINT_PAGES: &str = "4000";
/// Page cache of the writer, KiB: the upper levels of all indexes.
const WRITER_CACHE: &str = "-32768";

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, SqliteArguments>;

/// The projector's connection.
#[derive(Debug)]
pub struct SqliteWriter {
    path: PathBuf,
    connection: Option<SqliteConnection>,
    gauge: Arc<PoolGauge>,
    in_use: Arc<std::sync::atomic::AtomicBool>,
}

/// Connections for questions.
#[derive(Clone, Debug)]
pub(super) struct SqliteReader {
    pool: SqlitePool,
    wait: Duration,
    gauge: Arc<PoolGauge>,
}

fn failed(error: sqlx::Error) -> HistoryError {
    match error {
        sqlx::Error::Database(error) => HistoryError::Refused(error.to_string()),
        sqlx::Error::Migrate(error) => HistoryError::from(*error),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => HistoryError::Damaged(error.to_string()),
        error => HistoryError::Unavailable(error.to_string()),
    }
}

fn bind<'q>(query: Query<'q>, value: &Value) -> Query<'q> {
    match value {
        Value::Int(number) => query.bind(*number),
        Value::Small(number) => query.bind(i64::from(*number)),
        Value::Text(text) => query.bind(text.as_str().to_owned()),
        Value::Id(id) => query.bind(id.to_vec()),
    }
}

fn bind_all<'q, 'v>(query: Query<'q>, values: impl IntoIterator<Item = &'v Value>) -> Query<'q> {
    values.into_iter().fold(query, bind)
}

impl SqliteWriter {
    pub(super) fn new(path: PathBuf, gauge: Arc<PoolGauge>) -> Self {
        let in_use = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let open = Arc::clone(&in_use);
        gauge.watch(move || (1, u32::from(open.load(std::sync::atomic::Ordering::Relaxed)), 0));
        Self { path, connection: None, gauge, in_use }
    }

    async fn connection(&mut self) -> Result<&mut SqliteConnection, HistoryError> {
        if self.connection.is_none() {
            let _alone = OPENING.lock().await;
            let options = SqliteConnectOptions::new()
                .filename(&self.path)
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Normal)
                .busy_timeout(BUSY)
                .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
                .pragma("cache_size", WRITER_CACHE)
                // What a statement of many rows needs to undo itself goes to memory, not to a file of its own.
                .pragma("temp_store", "MEMORY")
                .disable_statement_logging();
            let connected = self.gauge.acquire(BUSY * 2, SqliteConnection::connect_with(&options)).await;
            let connected = match connected {
                Some(result) => result.map_err(failed),
                None => Err(HistoryError::Unavailable("opening the file took too long".to_owned())),
            };
            let mut connection = self.noted(connected)?;
            let migrated = MIGRATIONS.run(&mut connection).await.map_err(HistoryError::from);
            self.noted(migrated)?;
            tracing::info!(path = %self.path.display(), "history database opened (sqlite)");
            self.in_use.store(true, std::sync::atomic::Ordering::Relaxed);
            self.connection = Some(connection);
        }
        // Just filled if it was empty.
        self.connection.as_mut().ok_or_else(|| HistoryError::Unavailable("not connected".to_owned()))
    }

    fn noted<T>(&mut self, result: Result<T, HistoryError>) -> Result<T, HistoryError> {
        result.inspect_err(|error| {
            self.gauge.failed(&error.to_string());
            self.in_use.store(false, std::sync::atomic::Ordering::Relaxed);
            // What state it is in is unknown: the next use opens another one.
            self.connection = None;
        })
    }

    pub(super) async fn open(&mut self, shard: ShardId, log_id: LogId) -> Result<Cursor, HistoryError> {
        let connection = self.connection().await?;
        let opened = open(connection, shard, log_id).await;
        self.noted(opened)
    }

    pub(super) async fn write(
        &mut self,
        shard: ShardId,
        from: &Cursor,
        to: &Cursor,
        rows: &RowBatch,
    ) -> Result<Projected, HistoryError> {
        let connection = self.connection().await?;
        let written = write(connection, shard, from, to, rows).await.map_err(failed);
        self.noted(written)
    }

    pub(super) async fn make_durable(&mut self) -> Result<bool, HistoryError> {
        let connection = self.connection().await?;
        // A full checkpoint ends with a sync of the file. It gives up (first column 1) when a reader holds it back.
        let row = sqlx::query("PRAGMA wal_checkpoint(FULL)").fetch_one(connection).await.map_err(failed);
        let busy = self.noted(row)?.try_get::<i64, _>(0).map_err(failed)?;
        Ok(busy == 0)
    }

    pub(super) async fn close(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.in_use.store(false, std::sync::atomic::Ordering::Relaxed);
            if let Err(error) = connection.close().await {
                tracing::warn!(%error, "history database not closed cleanly (sqlite)");
            }
        }
    }
}

async fn open(connection: &mut SqliteConnection, shard: ShardId, log_id: LogId) -> Result<Cursor, HistoryError> {
    let start = Cursor { log_id, seq: Seq(0), chain: journal_core::ChainHash::ZERO };
    bind_all(
        sqlx::query(
            "INSERT INTO projection (shard, log_id, seq, chain) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        ),
        &cursor_values(shard, &start),
    )
    .execute(&mut *connection)
    .await
    .map_err(failed)?;
    let row =
        bind(sqlx::query("SELECT shard, log_id, seq, chain FROM projection WHERE shard = $1"), &Value::from(shard.0))
            .fetch_one(connection)
            .await
            .map_err(failed)?;
    Ok(read_cursor(&row)?.1)
}

async fn write(
    connection: &mut SqliteConnection,
    shard: ShardId,
    from: &Cursor,
    to: &Cursor,
    rows: &RowBatch,
) -> Result<Projected, sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let mut moved = cursor_values(shard, to).to_vec();
    moved.extend_from_slice(&cursor_values(shard, from)[1..]);
    let cursor = bind_all(
        sqlx::query(
            "UPDATE projection SET log_id = $2, seq = $3, chain = $4 \
             WHERE shard = $1 AND log_id = $5 AND seq = $6 AND chain = $7",
        ),
        &moved,
    );
    if cursor.execute(&mut *transaction).await?.rows_affected() == 0 {
        transaction.rollback().await?;
        return Ok(Projected::Moved);
    }
    let orders = rows.final_orders();
    insert(&mut transaction, "orders", ORDER_COLUMNS, &orders.created, order_values).await?;
    insert(&mut transaction, "executions", EXECUTION_COLUMNS, rows.executions(), execution_values).await?;
    insert(&mut transaction, "trades", TRADE_COLUMNS, rows.trades(), trade_values).await?;
    for change in &orders.changed {
        let values = [
            change.order_id.0.into(),
            change.updated.0.into(),
            Value::Int(change.price.0),
            change.quantity.0.into(),
            change.cumulative.0.into(),
            change.leaves.0.into(),
            Value::Small(super::codes::Code::code(change.status)),
        ];
        let update = sqlx::query(
            "UPDATE orders SET updated_us = $2, price = $3, quantity = $4, cumulative = $5, leaves = $6, status = $7 \
             WHERE order_id = $1 AND order_id <> 0",
        );
        bind_all(update, &values).execute(&mut *transaction).await?;
    }
    let instruments = rows.final_instruments();
    insert(&mut transaction, "instruments", INSTRUMENT_COLUMNS, &instruments, instrument_values).await?;
    transaction.commit().await?;
    Ok(Projected::Done)
}

/// Adds rows, several with one statement. Instruments replace the row they had.
async fn insert<T, const N: usize>(
    connection: &mut SqliteConnection,
    table: &str,
    columns: &[&str],
    rows: &[T],
    values: impl Fn(&T) -> [Value; N],
) -> Result<(), sqlx::Error> {
    let verb = if table == "instruments" { "INSERT OR REPLACE" } else { "INSERT" };
    for part in rows.chunks(ROWS_AT_ONCE) {
        let marks = vec!["?"; columns.len()].join(", ");
        let marks = vec![format!("({marks})"); part.len()].join(", ");
        let sql = format!("{verb} INTO {table} ({}) VALUES {marks}", columns.join(", "));
        // Only full parts come again with the same text.
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(part.len() == ROWS_AT_ONCE);
        for row in part {
            query = bind_all(query, &values(row));
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

impl SqliteReader {
    pub(super) fn new(path: &Path, connections: u32, wait: Duration, gauge: Arc<PoolGauge>) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(BUSY)
            .pragma("query_only", "ON")
            .log_slow_statements(tracing::log::LevelFilter::Warn, Duration::from_secs(1));
        let pool = SqlitePoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(wait)
            .idle_timeout(Duration::from_secs(60))
            .connect_lazy_with(options);
        let watched = pool.clone();
        gauge.watch(move || (connections, watched.size(), u32::try_from(watched.num_idle()).unwrap_or(u32::MAX)));
        Self { pool, wait, gauge }
    }

    pub(super) async fn rows<T>(
        &self,
        statement: &Statement,
        read: impl Fn(&SqliteRow) -> Result<T, HistoryError>,
    ) -> Result<Vec<T>, HistoryError> {
        let rows = self.fetch(statement).await.inspect_err(|error| self.gauge.failed(&error.to_string()))?;
        rows.iter().map(read).collect()
    }

    async fn fetch(&self, statement: &Statement) -> Result<Vec<SqliteRow>, HistoryError> {
        let mut connection = self
            .gauge
            .acquire(self.wait, self.pool.acquire())
            .await
            .ok_or_else(|| HistoryError::Unavailable(format!("no connection became free within {:?}", self.wait)))?
            .map_err(failed)?;
        let started = Instant::now();
        let query = bind_all(sqlx::query(AssertSqlSafe(statement.sql.clone())), &statement.values);
        let rows = query.fetch_all(&mut *connection).await.map_err(failed)?;
        self.gauge.answered(&statement.sql, started.elapsed());
        Ok(rows)
    }
}

impl Columns for SqliteRow {
    fn int(&self, at: usize) -> Result<i64, HistoryError> {
        self.try_get(at).map_err(failed)
    }

    fn small(&self, at: usize) -> Result<i16, HistoryError> {
        let number = self.int(at)?;
        i16::try_from(number).map_err(|_| HistoryError::Damaged(format!("{number} in column {at} is too large")))
    }

    fn text(&self, at: usize) -> Result<String, HistoryError> {
        self.try_get(at).map_err(failed)
    }

    fn id(&self, at: usize) -> Result<[u8; 16], HistoryError> {
        let bytes: Vec<u8> = self.try_get(at).map_err(failed)?;
        bytes.try_into().map_err(|_| HistoryError::Damaged(format!("column {at} does not hold 16 bytes")))
    }
}
