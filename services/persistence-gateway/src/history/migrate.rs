//! Brings the tables of a Postgres history up to date: one transaction, one gateway at a time.
//!
//! What was applied stands in the table that sqlx has for it, in its form, as in SQLite. The statements go over the same
//! connections as all others, and so are protected like them. Deliberately absent: the way back.

use sqlx::migrate::Migrator;

use super::HistoryError;
use super::postgres::failed;
use crate::pools::postgres::Lease;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// Key of the lock that whoever migrates holds: gateways that start together do so one after another.
const LOCK: i64 = 0x6869_766d_6967_7261;

const EXISTS: &str = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
const CREATE: &str = "CREATE TABLE _sqlx_migrations (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMPTZ NOT NULL DEFAULT now(),
    success BOOLEAN NOT NULL,
    checksum BYTEA NOT NULL,
    execution_time BIGINT NOT NULL
)";
const APPLIED: &str = "SELECT version, checksum, success FROM _sqlx_migrations";
/// How long it took is for people who look, and nobody does.
const NOTE: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                    VALUES ($1, $2, true, $3, -1)";

/// Applies what is missing; all of it or nothing.
pub(super) async fn migrate(client: &mut Lease) -> Result<(), HistoryError> {
    let failed = |error: tokio_postgres::Error| failed(&error);
    let transaction = client.transaction().await.map_err(failed)?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await.map_err(failed)?;
    // Asked first: whoever only writes rows need not be allowed to make tables.
    if !transaction.query_one(EXISTS, &[]).await.map_err(failed)?.get::<_, bool>(0) {
        transaction.batch_execute(CREATE).await.map_err(failed)?;
    }
    let applied = transaction.query(APPLIED, &[]).await.map_err(failed)?;
    let applied = applied.iter().map(|row| (row.get::<_, i64>(0), row.get::<_, Vec<u8>>(1), row.get::<_, bool>(2)));
    let applied: Vec<_> = applied.collect();
    for (version, checksum, success) in &applied {
        let known = MIGRATIONS.iter().find(|known| known.version == *version);
        let problem = match known {
            None => "was applied, and this program does not know it",
            Some(known) if *known.checksum != **checksum => "was applied with other statements than this program has",
            Some(_) if !success => "was begun and not finished",
            Some(_) => continue,
        };
        return Err(HistoryError::Migration(format!("version {version} {problem}")));
    }
    for new in MIGRATIONS.iter().filter(|known| applied.iter().all(|(version, ..)| *version != known.version)) {
        transaction.batch_execute(new.sql.as_str()).await.map_err(failed)?;
        let note: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&new.version, &&*new.description, &&*new.checksum];
        transaction.execute(NOTE, &note).await.map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)
}
