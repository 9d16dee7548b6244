//! `admin database`: how connection pools are, and what is done with them. The JSON is that of the HTTP door.
//!
//! None of these commands asks before it acts: requests wait for a moment at most, and no connection is taken from one
//! that is under way.

use admin_api::view::AnswerView;
use admin_api::view::database::{OptimizationView, PoolOptimizationView, PoolResetView, ResetView};
use admin_api::view::pools::{PoolView, PoolsView};
use anyhow::Result;
use clap::Subcommand;
use service_kit::node::NodeDatabase;
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::admin_service_client::AdminServiceClient;
use wire::pb::admin::v1::database_service_client::DatabaseServiceClient;

use super::asked::{Asked, answered};
use super::ordered::Ordered;
use crate::cli::{EXIT_FAILURE, EXIT_OK};
use crate::output::line;

/// Of the time a command has, what is left to the instances: the rest is for the way there and back.
const SHARE_PERCENT: u64 = 80;

/// What can be asked and ordered.
#[derive(Debug, Subcommand)]
pub(crate) enum DatabaseCommand {
    /// Shows every connection pool of every instance.
    PoolStatus,
    /// Replaces every connection to the database server by a new one.
    ///
    /// Idle connections are closed at once, those in use when their statement has ended; whoever needs one meanwhile gets
    /// a new one. For connections that hang, sit on a server that is no longer the right one, or have grown too large.
    ResetPools {
        /// Only the instance of this name, or address as configured; may be given several times. All if not given.
        #[arg(long, value_name = "NAME")]
        instance: Vec<String>,
        #[command(flatten)]
        order: Ordered,
    },
    /// Fits the pools to their measured use, the server's limit and the number of instances.
    ///
    /// Ceilings are set so that all instances together stay below what the server allows; connections that are not
    /// needed, old or broken are closed; sessions that sit in open transactions are told. The second time it finds
    /// nothing to change. A ceiling holds until the configured one is changed, or the next start.
    OptimizeConnections {
        /// Only the instance of this name, or address as configured; may be given several times. All if not given.
        #[arg(long, value_name = "NAME")]
        instance: Vec<String>,
        #[command(flatten)]
        order: Ordered,
    },
}

pub(super) async fn run(command: DatabaseCommand, asked: &Asked) -> Result<u8> {
    let channel = asked.channel()?;
    let share = u64::try_from(asked.limit().as_millis()).unwrap_or(u64::MAX) / 100 * SHARE_PERCENT;
    let timeout_ms = u32::try_from(share.clamp(1, NodeDatabase::LIMIT_MAX_MS.into()))?;
    match command {
        DatabaseCommand::PoolStatus => {
            let request = asked.request(pb::GetPoolStatusRequest { timeout_ms: 0 })?;
            let answer = answered(AdminServiceClient::new(channel).get_pool_status(request).await)?;
            let view = PoolsView::new(answer);
            asked.report(&view, print_pools)?;
            Ok(code(&view.instances, false))
        }
        DatabaseCommand::ResetPools { instance, order } => {
            let request = pb::ResetPoolsRequest { order: Some(order.order()), targets: instance, timeout_ms };
            let request = asked.request(request)?;
            let answer = answered(DatabaseServiceClient::new(channel).reset_pools(request).await)?;
            let view = ResetView::new(answer);
            asked.report(&view, |view| print_reset(view, order.dry_run))?;
            Ok(code(&view.instances, view.pools.iter().any(|pool| pool.error.is_some())))
        }
        DatabaseCommand::OptimizeConnections { instance, order } => {
            let request = pb::OptimizeConnectionsRequest { order: Some(order.order()), targets: instance, timeout_ms };
            let request = asked.request(request)?;
            let answer = answered(DatabaseServiceClient::new(channel).optimize_connections(request).await)?;
            let view = OptimizationView::new(answer);
            asked.report(&view, |view| print_optimization(view, order.dry_run))?;
            Ok(code(&view.instances, view.pools.iter().any(|pool| pool.error.is_some())))
        }
    }
}

/// What was not done, or not seen, is a failure.
fn code(instances: &[AnswerView], failed: bool) -> u8 {
    let silent = instances.iter().any(|instance| instance.error.is_some());
    if silent || failed { EXIT_FAILURE } else { EXIT_OK }
}

fn print_pools(view: &PoolsView) {
    line(&format!(
        "{:<16} {:<18} {:<9} {:>5} {:>5} {:>5} {:>6} {:>7} {:>9} {:>10}  last error",
        "instance", "pool", "database", "max", "open", "idle", "in use", "waiting", "timeouts", "p99 wait"
    ));
    for pool in &view.pools {
        let PoolView { instance, name, database, max, size, idle, in_use, waiters, timeouts_total, .. } = pool;
        line(&format!(
            "{instance:<16} {name:<18} {database:<9} {max:>5} {size:>5} {idle:>5} {in_use:>6} {waiters:>7} \
             {timeouts_total:>9} {:>7} us  {}",
            pool.acquire_p99_us,
            pool.last_error.as_deref().unwrap_or("-")
        ));
    }
    print_silent(&view.instances);
}

fn print_reset(view: &ResetView, dry_run: bool) {
    let verb = if dry_run { "would be closed" } else { "closed" };
    for PoolResetView { before, after, closed, opened, note, error } in &view.pools {
        let place = format!("{:<16} {:<18}", before.instance, before.name);
        match (note, error) {
            (_, Some(error)) => line(&format!("{place} {closed} {verb}, then: {error}")),
            (Some(note), None) => line(&format!("{place} no change: {note}")),
            (None, None) => line(&format!("{place} {closed} {verb}, {opened} opened anew, {} open now", after.size)),
        }
    }
    line(&format!("{} connections {verb}", view.closed));
    print_silent(&view.instances);
}

fn print_optimization(view: &OptimizationView, dry_run: bool) {
    line(&format!(
        "{:<16} {:<18} {:>13} {:>13} {:>8} {:>7}  what",
        "instance", "pool", "max", "open", "mean use", "target"
    ));
    for pool in &view.pools {
        let PoolOptimizationView { before, after, .. } = pool;
        let change = |before: u32, after: u32| format!("{before} -> {after}");
        line(&format!(
            "{:<16} {:<18} {:>13} {:>13} {:>8.3} {:>7}  {}",
            before.instance,
            before.name,
            change(before.max, after.max),
            change(before.size, after.size),
            f64::from(pool.mean_in_use_milli) / 1_000.0,
            pool.target_size.map_or_else(|| "-".to_owned(), |size| size.to_string()),
            what(pool, dry_run)
        ));
    }
    for session in &view.idle_in_transaction {
        let (pid, seconds) = (session.pid, session.idle_ms / 1_000);
        line(&format!(
            "session {pid} of {:?} ({}) has been idle in a transaction for {seconds} s: find out why, or end it with \
             SELECT pg_terminate_backend({pid})",
            session.application, session.user
        ));
    }
    if !view.changed {
        line("no change");
    }
    print_silent(&view.instances);
}

fn what(pool: &PoolOptimizationView, dry_run: bool) -> String {
    if let Some(error) = &pool.error {
        return format!("failed: {error}");
    }
    if let Some(note) = &pool.note {
        return note.clone();
    }
    if !pool.changed {
        return "as it should be".to_owned();
    }
    let verb = if dry_run { "would be closed" } else { "closed" };
    let mut text = format!("{} idle and {} stale {verb}", pool.closed_idle, pool.closed_stale);
    if let Some(server) = &pool.server
        && pool.before.max > pool.after.max
    {
        text = format!(
            "{text}; the server allows {} sessions, {} are reserved, {} are others', {} instances share the rest",
            server.max_connections, server.reserved, server.others, server.instances
        );
    }
    text
}

fn print_silent(instances: &[AnswerView]) {
    for instance in instances {
        if let Some(error) = &instance.error {
            line(&format!("{} does not answer: {error}", instance.target));
        }
    }
}
