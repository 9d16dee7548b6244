//! The history in Postgres, or what speaks its protocol.
//!
//! The projector's path is binary COPY for new rows and one UPDATE over arrays for changed orders; questions use
//! prepared statements of a pool. Every wait has an end on our side: a server that is frozen, not dead, answers
//! nothing at all. Deliberately absent: retries, and parameters in logs.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use deadpool_postgres::{ObjectId, Transaction};
use journal_store::postgres::{describe, remedy};
use tokio_postgres::Row;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use types::{LogId, Seq, ShardId};

use super::migrate::migrate;
use super::query::Statement;
use super::values::{
    Columns, EXECUTION_COLUMNS, INSTRUMENT_COLUMNS, ORDER_COLUMNS, TRADE_COLUMNS, Value, cursor_values,
    execution_values, instrument_values, order_values, read_cursor, trade_values,
};
use super::{Cursor, HistoryError, OrderChange, Projected, RowBatch};
use crate::config::DatabaseConfig;
use crate::pools::PoolGauge;
use crate::pools::postgres::{Lease, PostgresPool, Purpose};

/// First half of the key of the lock that a shard's projector holds; the other half is the shard.
const PROJECTOR_LOCK: i32 = 0x6869_7670;

/// The server ends a session whose host says nothing for some seconds, and gives its lock to another one.
const NOTICE_A_LOST_HOST: &str =
    "SET tcp_keepalives_idle = 2; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 3";

/// The projector's connection: one, since batches follow one another.
#[derive(Debug)]
pub struct PostgresWriter {
    pool: PostgresPool,
    migrated: bool,
    /// The connection that holds the shard's lock.
    locked_on: Option<ObjectId>,
}

/// Connections for questions.
#[derive(Clone, Debug)]
pub(super) struct PostgresReader {
    pool: PostgresPool,
}

/// What an answer of the server, or the lack of one, means.
pub(crate) fn failed(error: &tokio_postgres::Error) -> HistoryError {
    let Some(answer) = error.as_db_error() else { return HistoryError::Unavailable(describe(error)) };
    let text = format!("{}: {}", answer.code().code(), answer.message());
    HistoryError::Refused(remedy(error).map_or_else(|| text.clone(), |remedy| format!("{text}; {remedy}")))
}

impl PostgresWriter {
    pub(super) fn new(config: &DatabaseConfig, gauge: Arc<PoolGauge>) -> Result<Self, HistoryError> {
        let pool = PostgresPool::new(config, 1, Purpose::Projector, gauge)?;
        Ok(Self { pool, migrated: false, locked_on: None })
    }

    /// Its connection, as a pool of one.
    pub(super) fn pool(&self) -> PostgresPool {
        self.pool.clone()
    }

    /// Runs `work` on the connection, within the time a statement may take. After any error the connection is given
    /// up: what state it is in is unknown.
    async fn with<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Lease) -> Result<T, HistoryError>,
    ) -> Result<T, HistoryError> {
        let result = self.attempt(work).await;
        result.inspect_err(|error| self.pool.gauge().failed(&error.to_string()))
    }

    async fn attempt<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Lease) -> Result<T, HistoryError>,
    ) -> Result<T, HistoryError> {
        let limit = self.pool.query_timeout();
        if !self.migrated {
            self.within(self.pool.connection_timeout() + limit, migrate).await?;
            self.migrated = true;
            tracing::info!("history database opened (postgres)");
        }
        self.within(limit, work).await
    }

    async fn within<T>(
        &self,
        limit: Duration,
        work: impl AsyncFnOnce(&mut Lease) -> Result<T, HistoryError>,
    ) -> Result<T, HistoryError> {
        let mut client = self.pool.get().await?;
        match tokio::time::timeout(limit, work(&mut client)).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => {
                client.give_up();
                Err(error)
            }
            Err(_) => {
                client.give_up();
                self.pool.gauge().query_timed_out();
                Err(HistoryError::Unavailable(format!("the database took longer than {limit:?}")))
            }
        }
    }

    /// `None` while another session has the shard. The lock is this session's: it goes with the connection, whatever
    /// becomes of this process, and nothing of ours has to give it back.
    pub(super) async fn open(&mut self, shard: ShardId, log_id: LogId) -> Result<Option<Cursor>, HistoryError> {
        let number = i32::try_from(shard.0).unwrap_or(i32::MAX);
        let start = cursor_values(shard, &Cursor { log_id, seq: Seq(0), chain: journal_core::ChainHash::ZERO });
        let opened = self.with(async |client| {
            client.batch_execute(NOTICE_A_LOST_HOST).await.map_err(|e| failed(&e))?;
            let lock = client.prepare_cached("SELECT pg_try_advisory_lock($1, $2)").await.map_err(|e| failed(&e))?;
            let locked = client.query_one(&lock, &[&PROJECTOR_LOCK, &number]).await.map_err(|e| failed(&e))?;
            if !locked.get::<_, bool>(0) {
                return Ok((client.id(), None));
            }
            let insert = client
                .prepare_cached(
                    "INSERT INTO projection (shard, log_id, seq, chain) VALUES ($1, $2, $3, $4) \
                     ON CONFLICT DO NOTHING",
                )
                .await
                .map_err(|e| failed(&e))?;
            client.execute(&insert, &parameters(&start)).await.map_err(|e| failed(&e))?;
            let select = client
                .prepare_cached("SELECT shard, log_id, seq, chain FROM projection WHERE shard = $1")
                .await
                .map_err(|e| failed(&e))?;
            let row = client.query_one(&select, &parameters(&start[..1])).await.map_err(|e| failed(&e))?;
            Ok((client.id(), Some(read_cursor(&row)?.1)))
        });
        let (id, cursor) = opened.await?;
        self.locked_on = id;
        Ok(cursor)
    }

    pub(super) async fn write(
        &mut self,
        shard: ShardId,
        from: &Cursor,
        to: &Cursor,
        rows: &RowBatch,
    ) -> Result<Projected, HistoryError> {
        let locked_on = self.locked_on;
        self.with(async |client| {
            if client.id() != locked_on {
                // Another session, without the lock: where the cursor is has to be asked again, and the lock with it.
                return Ok(Projected::Moved);
            }
            let transaction = client.transaction().await.map_err(|e| failed(&e))?;
            let written = write(transaction, shard, from, to, rows).await;
            written.map_err(|e| failed(&e))
        })
        .await
    }

    pub(super) fn close(&mut self) {
        self.pool.close();
    }
}

/// Values as tokio-postgres wants them.
pub(super) fn parameters(values: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

async fn write(
    transaction: Transaction<'_>,
    shard: ShardId,
    from: &Cursor,
    to: &Cursor,
    rows: &RowBatch,
) -> Result<Projected, tokio_postgres::Error> {
    let mut moved = cursor_values(shard, to).to_vec();
    moved.extend_from_slice(&cursor_values(shard, from)[1..]);
    let update = transaction
        .prepare_cached(
            "UPDATE projection SET log_id = $2, seq = $3, chain = $4 \
             WHERE shard = $1 AND log_id = $5 AND seq = $6 AND chain = $7",
        )
        .await?;
    // Takes the row's lock: of two projectors one waits here and then finds the cursor moved.
    if transaction.execute(&update, &parameters(&moved)).await? == 0 {
        transaction.rollback().await?;
        return Ok(Projected::Moved);
    }
    let orders = rows.final_orders();
    copy(&transaction, "orders", ORDER_COLUMNS, &orders.created, order_values).await?;
    copy(&transaction, "executions", EXECUTION_COLUMNS, rows.executions(), execution_values).await?;
    copy(&transaction, "trades", TRADE_COLUMNS, rows.trades(), trade_values).await?;
    change(&transaction, &orders.changed).await?;
    for row in rows.final_instruments() {
        instrument(&transaction, &instrument_values(&row)).await?;
    }
    transaction.commit().await?;
    Ok(Projected::Done)
}

/// Adds rows by binary COPY.
async fn copy<T, const N: usize>(
    transaction: &Transaction<'_>,
    table: &str,
    columns: &[&str],
    rows: &[T],
    values: impl Fn(&T) -> [Value; N],
) -> Result<(), tokio_postgres::Error> {
    let Some(first) = rows.first() else { return Ok(()) };
    let types: Vec<Type> = values(first).iter().map(Value::postgres_type).collect();
    let sql = format!("COPY {table} ({}) FROM STDIN BINARY", columns.join(", "));
    let sink = transaction.copy_in(&sql).await?;
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
    for row in rows {
        let values = values(row);
        let values: [&(dyn ToSql + Sync); N] = std::array::from_fn(|at| &values[at] as &(dyn ToSql + Sync));
        writer.as_mut().write(&values).await?;
    }
    writer.finish().await?;
    Ok(())
}

/// Changes orders that have rows, all with one statement.
async fn change(transaction: &Transaction<'_>, changes: &[OrderChange]) -> Result<(), tokio_postgres::Error> {
    if changes.is_empty() {
        return Ok(());
    }
    let column = |value: fn(&OrderChange) -> i64| changes.iter().map(value).collect::<Vec<i64>>();
    let columns = [
        column(|change| change.order_id.0.cast_signed()),
        column(|change| change.updated.0.cast_signed()),
        column(|change| change.price.0),
        column(|change| change.quantity.0.cast_signed()),
        column(|change| change.cumulative.0.cast_signed()),
        column(|change| change.leaves.0.cast_signed()),
        column(|change| i64::from(super::codes::Code::code(change.status))),
    ];
    let update = transaction
        .prepare_cached(
            "UPDATE orders SET updated_us = c.updated_us, price = c.price, quantity = c.quantity, \
             cumulative = c.cumulative, leaves = c.leaves, status = c.status \
             FROM unnest($1::BIGINT[], $2::BIGINT[], $3::BIGINT[], $4::BIGINT[], $5::BIGINT[], $6::BIGINT[], \
             $7::BIGINT[]) AS c (order_id, updated_us, price, quantity, cumulative, leaves, status) \
             WHERE orders.order_id = c.order_id AND orders.order_id <> 0",
        )
        .await?;
    let columns: Vec<&(dyn ToSql + Sync)> = columns.iter().map(|column| column as &(dyn ToSql + Sync)).collect();
    transaction.execute(&update, &columns).await?;
    Ok(())
}

/// Adds an instrument, or replaces the row it has.
async fn instrument(transaction: &Transaction<'_>, values: &[Value]) -> Result<(), tokio_postgres::Error> {
    let marks: Vec<String> = (1..=values.len()).map(|at| format!("${at}")).collect();
    let sets: Vec<String> = INSTRUMENT_COLUMNS.iter().map(|name| format!("{name} = EXCLUDED.{name}")).collect();
    let sql = format!(
        "INSERT INTO instruments ({}) VALUES ({}) ON CONFLICT (shard, instrument) DO UPDATE SET {}",
        INSTRUMENT_COLUMNS.join(", "),
        marks.join(", "),
        sets.join(", ")
    );
    let upsert = transaction.prepare_cached(&sql).await?;
    transaction.execute(&upsert, &parameters(values)).await?;
    Ok(())
}

impl PostgresReader {
    pub(super) fn new(
        config: &DatabaseConfig,
        connections: u32,
        beside: u32,
        gauge: Arc<PoolGauge>,
    ) -> Result<Self, HistoryError> {
        Ok(Self { pool: PostgresPool::new(config, connections, Purpose::Questions { beside }, gauge)? })
    }

    /// Its connections.
    pub(super) fn pool(&self) -> PostgresPool {
        self.pool.clone()
    }

    pub(super) async fn rows<T>(
        &self,
        statement: &Statement,
        read: impl Fn(&Row) -> Result<T, HistoryError>,
    ) -> Result<Vec<T>, HistoryError> {
        let rows = self.fetch(statement).await.inspect_err(|error| self.pool.gauge().failed(&error.to_string()))?;
        rows.iter().map(read).collect()
    }

    async fn fetch(&self, statement: &Statement) -> Result<Vec<Row>, HistoryError> {
        let client = self.pool.get().await?;
        let started = Instant::now();
        let limit = self.pool.query_timeout();
        let answer = tokio::time::timeout(limit, async {
            let prepared = client.prepare_cached(&statement.sql).await?;
            client.query(&prepared, &parameters(&statement.values)).await
        })
        .await;
        match answer {
            Ok(Ok(rows)) => {
                self.pool.gauge().answered(&statement.sql, started.elapsed());
                Ok(rows)
            }
            Ok(Err(error)) => Err(failed(&error)),
            Err(_) => {
                // The answer may still come: nobody may get this connection.
                client.give_up();
                self.pool.gauge().query_timed_out();
                let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
                tracing::warn!(database = "postgres", limit_ms, sql = statement.sql, "sql query timed out");
                Err(HistoryError::Unavailable(format!("the database took longer than {limit:?}")))
            }
        }
    }
}

/// Copies of audit logs, beside the history.
impl PostgresReader {
    pub(super) async fn audit_copied(&self, node: &str, log: &str) -> Result<u64, HistoryError> {
        let sql = "SELECT COALESCE(MAX(seq), 0) FROM audit WHERE node = $1 AND log = $2";
        let rows = self.audit(sql, &[&node, &log]).await?;
        let last: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0)).map_err(|error| damaged(&error))?;
        Ok(last.cast_unsigned())
    }

    pub(super) async fn copy_audit(&self, node: &str, log: &str, lines: &[String]) -> Result<u64, HistoryError> {
        // One statement, and so all of them or none.
        let sql = "INSERT INTO audit (node, log, seq, at_us, action, actor, result, hash, line) \
                   SELECT $1, $2, (line::json->>'seq')::bigint, (line::json->>'at_us')::bigint, \
                   line::json->>'action', line::json->>'actor', line::json->>'result', line::json->>'hash', line \
                   FROM unnest($3::text[]) AS line ON CONFLICT (node, log, seq) DO NOTHING";
        self.audit(sql, &[&node, &log, &lines]).await?;
        self.audit_copied(node, log).await
    }

    async fn audit(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, HistoryError> {
        let client = self.pool.get().await?;
        let limit = self.pool.query_timeout();
        let answer = tokio::time::timeout(limit, async {
            let prepared = client.prepare_cached(sql).await?;
            client.query(&prepared, values).await
        });
        let result = match answer.await {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(error)) => Err(failed(&error)),
            Err(_) => {
                // The answer may still come: nobody may get this connection.
                client.give_up();
                self.pool.gauge().query_timed_out();
                Err(HistoryError::Unavailable(format!("the database took longer than {limit:?}")))
            }
        };
        result.inspect_err(|error| self.pool.gauge().failed(&error.to_string()))
    }
}

impl Value {
    fn postgres_type(&self) -> Type {
        match self {
            Self::Int(_) => Type::INT8,
            Self::Small(_) => Type::INT2,
            Self::Text(_) => Type::TEXT,
            Self::Id(_) => Type::BYTEA,
        }
    }
}

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Int(number) => number.to_sql(ty, out),
            Self::Small(number) => number.to_sql(ty, out),
            Self::Text(text) => text.as_str().to_sql(ty, out),
            Self::Id(id) => id.as_slice().to_sql(ty, out),
        }
    }

    fn accepts(ty: &Type) -> bool {
        [Type::INT8, Type::INT2, Type::TEXT, Type::BYTEA].contains(ty)
    }

    to_sql_checked!();
}

impl Columns for Row {
    fn int(&self, at: usize) -> Result<i64, HistoryError> {
        self.try_get(at).map_err(|error| damaged(&error))
    }

    fn small(&self, at: usize) -> Result<i16, HistoryError> {
        self.try_get(at).map_err(|error| damaged(&error))
    }

    fn text(&self, at: usize) -> Result<String, HistoryError> {
        self.try_get(at).map_err(|error| damaged(&error))
    }

    fn id(&self, at: usize) -> Result<[u8; 16], HistoryError> {
        let bytes: &[u8] = self.try_get(at).map_err(|error| damaged(&error))?;
        bytes.try_into().map_err(|_| HistoryError::Damaged(format!("column {at} does not hold 16 bytes")))
    }
}

fn damaged(error: &tokio_postgres::Error) -> HistoryError {
    HistoryError::Damaged(describe(error))
}
