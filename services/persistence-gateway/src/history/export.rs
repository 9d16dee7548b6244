//! All rows as they are at one moment, for a backup: one connection, one transaction that sees nothing of what is
//! written meanwhile and holds up no writer.
//!
//! The connection is the backup's own: it is busy for as long as the history is large, and questions of clients have
//! nothing to do with that. Deliberately absent: what becomes of the rows.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection};
use tokio::task::JoinHandle;
use types::{ShardId, Timestamp};

use super::archive::{Row, key};
use super::page::Key;
use super::postgres::{failed as refused, parameters};
use super::query::{self, Statement, Table};
use super::values::{Columns, Value, read_cursor, read_execution, read_instrument, read_order, read_trade};
use super::{Cursor, HistoryError, sqlite_path};
use crate::config::{Config, HistoryDatabase};

/// Rows read at once: some megabytes.
const PART: u32 = 10_000;
/// Later than every row: the largest time the databases hold.
const FOREVER: Timestamp = Timestamp(i64::MAX.cast_unsigned());
/// Before every row.
const FIRST: Key = Key { at_us: 0, shard: 0, index: 0, number: 0 };

/// The history at one moment.
pub(crate) struct Export {
    connection: Open,
    /// Longest run of a statement.
    limit: Duration,
}

enum Open {
    Sqlite(SqliteConnection),
    Postgres {
        client: tokio_postgres::Client,
        /// Moves the bytes, until the client is dropped and the server was told so.
        driver: JoinHandle<Result<(), tokio_postgres::Error>>,
    },
}

/// Where a pass over the rows of a shard is.
pub(crate) struct Pass {
    shard: ShardId,
    step: Option<Step>,
}

#[derive(Clone, Copy)]
enum Step {
    Instruments,
    Rows(Table, Key),
}

fn failed(error: sqlx::Error) -> HistoryError {
    match error {
        sqlx::Error::Database(error) => HistoryError::Refused(error.to_string()),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => HistoryError::Damaged(error.to_string()),
        error => HistoryError::Unavailable(error.to_string()),
    }
}

impl Pass {
    /// Over all rows of a shard, table by table, oldest first.
    pub(crate) fn over(shard: ShardId) -> Self {
        Self { shard, step: Some(Step::Instruments) }
    }
}

impl Export {
    /// Opens a connection and fixes the moment.
    ///
    /// # Errors
    /// What the database said.
    pub(crate) async fn begin(config: &Config, data_dir: &Path) -> Result<Self, HistoryError> {
        let limit = config.database.query_timeout.0;
        let connection = match config.history.database {
            HistoryDatabase::Sqlite => {
                let options = SqliteConnectOptions::new()
                    .filename(sqlite_path(config, data_dir))
                    .busy_timeout(Duration::from_secs(5))
                    .pragma("query_only", "ON")
                    .disable_statement_logging();
                let mut connection = options.connect().await.map_err(failed)?;
                sqlx::query("BEGIN").execute(&mut connection).await.map_err(failed)?;
                Open::Sqlite(connection)
            }
            HistoryDatabase::Postgres => {
                let server = config.database.server().map_err(HistoryError::Configuration)?;
                let wait = config.database.connection_timeout.0;
                let (client, driver) = tokio::time::timeout(wait, server.options.connect(server.tls))
                    .await
                    .map_err(|_| HistoryError::Unavailable(format!("no database connection within {wait:?}")))?
                    .map_err(|error| refused(&error))?;
                let driver = tokio::spawn(driver);
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                client.batch_execute(begin).await.map_err(|error| refused(&error))?;
                Open::Postgres { client, driver }
            }
        };
        Ok(Self { connection, limit })
    }

    /// How far the history of each shard goes. The first question: it fixes the moment.
    ///
    /// # Errors
    /// What the database said.
    pub(crate) async fn cursors(&mut self) -> Result<Vec<(ShardId, Cursor)>, HistoryError> {
        self.rows(&query::cursors(), read_cursor, read_cursor).await
    }

    /// The next rows of a pass; none at its end.
    ///
    /// # Errors
    /// What the database said.
    pub(crate) async fn next(&mut self, pass: &mut Pass) -> Result<Option<Vec<Row>>, HistoryError> {
        let Some(step) = pass.step else { return Ok(None) };
        let (statement, table) = match step {
            Step::Instruments => (query::instruments(pass.shard), None),
            Step::Rows(table, after) => {
                (query::range(table, pass.shard, Timestamp(0), FOREVER, PART, after), Some(table))
            }
        };
        let rows = self.rows(&statement, |row| read(table, row), |row| read(table, row)).await?;
        let last = rows.len() < PART as usize;
        pass.step = match (step, rows.last().and_then(key)) {
            (Step::Instruments, _) => Some(Step::Rows(Table::Orders, FIRST)),
            (Step::Rows(table, _), Some(after)) if !last => Some(Step::Rows(table, after)),
            (Step::Rows(Table::Orders, _), _) => Some(Step::Rows(Table::Executions, FIRST)),
            (Step::Rows(Table::Executions, _), _) => Some(Step::Rows(Table::Trades, FIRST)),
            (Step::Rows(Table::Trades, _), _) => None,
        };
        Ok(Some(rows))
    }

    /// Ends the transaction. Dropping the connection does the same, less politely.
    pub(crate) async fn end(self) {
        let closed = match self.connection {
            Open::Sqlite(connection) => connection.close().await.map_err(failed),
            Open::Postgres { client, driver } => {
                drop(client);
                let late = |_| HistoryError::Unavailable("the server did not take leave".to_owned());
                match tokio::time::timeout(self.limit, driver).await.map_err(late) {
                    Ok(Ok(ended)) => ended.map_err(|error| refused(&error)),
                    // It can only have panicked, which the log has told.
                    Ok(Err(_)) => Ok(()),
                    Err(late) => Err(late),
                }
            }
        };
        if let Err(error) = closed {
            tracing::debug!(%error, "the connection of a backup was not closed cleanly");
        }
    }

    async fn rows<T>(
        &mut self,
        statement: &Statement,
        sqlite: impl Fn(&SqliteRow) -> Result<T, HistoryError>,
        postgres: impl Fn(&tokio_postgres::Row) -> Result<T, HistoryError>,
    ) -> Result<Vec<T>, HistoryError> {
        let limit = self.limit;
        let late = |_| HistoryError::Unavailable(format!("the database took longer than {limit:?}"));
        match &mut self.connection {
            Open::Sqlite(connection) => {
                let query = statement.values.iter().fold(
                    sqlx::query::<_>(AssertSqlSafe(statement.sql.clone())),
                    |query: sqlx::query::Query<'_, sqlx::Sqlite, SqliteArguments>, value| match value {
                        Value::Int(number) => query.bind(*number),
                        Value::Small(number) => query.bind(i64::from(*number)),
                        Value::Text(text) => query.bind(text.as_str().to_owned()),
                        Value::Id(id) => query.bind(id.to_vec()),
                    },
                );
                let rows = tokio::time::timeout(limit, query.fetch_all(connection)).await.map_err(late)?;
                rows.map_err(failed)?.iter().map(sqlite).collect()
            }
            Open::Postgres { client, .. } => {
                let values = parameters(&statement.values);
                let rows = tokio::time::timeout(limit, client.query(&statement.sql, &values)).await.map_err(late)?;
                rows.map_err(|error| refused(&error))?.iter().map(postgres).collect()
            }
        }
    }
}

fn read(table: Option<Table>, row: &impl Columns) -> Result<Row, HistoryError> {
    Ok(match table {
        None => Row::Instrument(read_instrument(row)?),
        Some(Table::Orders) => Row::Order(read_order(row)?),
        Some(Table::Executions) => Row::Execution(read_execution(row)?),
        Some(Table::Trades) => Row::Trade(read_trade(row)?),
    })
}
