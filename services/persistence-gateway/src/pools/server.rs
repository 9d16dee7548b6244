//! What a database server allows, who else uses it, and which sessions hold transactions open. Absent: what follows
//! from it.

use std::time::Duration;

use tokio_postgres::Client;
use wire::pb::admin::v1::{DatabaseServer, IdleTransaction};

/// A session that did nothing in an open transaction for so long is worth a look: none of ours ever does.
const LONG_IDLE: Duration = Duration::from_secs(5);
/// Sessions that are told of; more say no more.
const TOLD: i64 = 20;

/// Asks the server. `applications` are the names that our own sessions have.
pub(super) async fn look(
    client: &Client,
    applications: &[String],
    instances: u32,
) -> Result<DatabaseServer, tokio_postgres::Error> {
    const LIMITS: &str = "SELECT current_setting('max_connections')::int,
             current_setting('superuser_reserved_connections')::int,
             (SELECT count(*)::int FROM pg_stat_activity
              WHERE backend_type = 'client backend' AND application_name <> ALL ($1))";
    const IDLE: &str = "SELECT pid, coalesce(application_name, ''), coalesce(usename::text, ''),
             (extract(epoch FROM clock_timestamp() - state_change) * 1000)::bigint
         FROM pg_stat_activity
         WHERE state LIKE 'idle in transaction%' AND datname = current_database()
             AND clock_timestamp() - state_change >= make_interval(secs => $1)
         ORDER BY state_change LIMIT $2";
    let row = client.query_one(LIMITS, &[&applications]).await?;
    let number = |at: usize| row.try_get::<_, i32>(at).map(|number| u32::try_from(number).unwrap_or(0));
    let (max_connections, reserved, others) = (number(0)?, number(1)?, number(2)?);
    let rows = client.query(IDLE, &[&LONG_IDLE.as_secs_f64(), &TOLD]).await?;
    let idle = |row: &tokio_postgres::Row| {
        Ok(IdleTransaction {
            pid: row.try_get(0)?,
            application: row.try_get(1)?,
            user: row.try_get(2)?,
            idle_ms: row.try_get::<_, i64>(3)?.try_into().unwrap_or(0),
        })
    };
    let idle_in_transaction = rows.iter().map(idle).collect::<Result<_, tokio_postgres::Error>>()?;
    let share = max_connections.saturating_sub(reserved).saturating_sub(others) / instances.max(1);
    Ok(DatabaseServer { max_connections, reserved, others, instances, share, idle_in_transaction })
}
