//! Limits of the database's connections, changed while the node runs: rows 63, 64, and what the
//! log says when they are reached, row 75.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use integration_tests::{LIMIT, until};
use serde_json::Value;
use tonic::Code;
use wire::pb::history::v1::ListOrdersRequest;
use wire::pb::history::v1::history_service_client::HistoryServiceClient;

use crate::pools::Running;

/// Longest wait for an answer that should come at the connection timeout; a statement's own limit is longer.
const TOO_LATE: Duration = Duration::from_secs(25);
/// How long a statement is kept waiting that shall be told as slow, which is more than a second. There is nothing to wait
/// for but the time itself; the statement's own limit is four seconds.
const SLOW_FOR: Duration = Duration::from_millis(1_500);

fn configuration(url: &str, max_connections: u32, connection_timeout: &str) -> String {
    format!(
        "[persistence_gateway]\nhistory.database = \"postgres\"\ndatabase.url = \"{url}\"\n\
         database.max_connections = {max_connections}\ndatabase.connection_timeout = \"{connection_timeout}\"\n"
    )
}

async fn until_max(running: &Running, max: u64) -> Result<()> {
    until(&format!("{max} is the ceiling"), async || Ok(running.pool("history-read")?["max"] == max)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r63_max_connections_is_a_ceiling_and_follows_the_configuration() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let running = Running::start_with(directory.path(), |url| configuration(url, 12, "30s")).await?;
    assert_eq!(running.pool("history-read")?["max"], 11, "one is the projector's");
    running.crowd(8).await?;

    running.node.reload(&configuration(&running.url, 4, "30s"))?;
    until_max(&running, 3).await?;
    // More ask than there may be connections: all are answered, and the server never sees more.
    let (mut seen, begin) = (usize::MAX, Instant::now());
    while seen > 4 {
        ensure!(begin.elapsed() < LIMIT, "{seen} sessions although 4 are allowed");
        running.crowd(1).await?;
        seen = running.sessions().len();
    }
    for _ in 0..5 {
        let crowd = running.crowd(1);
        let look = async { Ok(tokio::task::block_in_place(|| running.sessions().len())) };
        let ((), seen) = tokio::try_join!(crowd, look)?;
        assert!(seen <= 4, "{seen} sessions although 4 are allowed");
    }

    running.node.reload(&configuration(&running.url, 9, "30s"))?;
    until_max(&running, 8).await?;
    running.crowd(5).await?;
    assert!(running.node.terminate().await?.success());
    Ok(())
}

/// Asks the history while its server hangs; the answer is how long that took.
async fn refused_after(running: &Running) -> Result<Duration> {
    let begin = Instant::now();
    let mut client = HistoryServiceClient::new(running.node.channel());
    let answer = tokio::time::timeout(TOO_LATE, client.list_orders(ListOrdersRequest::default())).await?;
    let Err(refused) = answer else { anyhow::bail!("a server that hangs has answered") };
    ensure!(refused.code() == Code::Unavailable, "{refused:?}");
    ensure!(refused.message().contains("no database connection within"), "{refused:?}");
    Ok(begin.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r64_a_server_that_hangs_is_given_up_at_the_connection_timeout() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let running = Running::start_with(directory.path(), |url| configuration(url, 12, "1s")).await?;
    running.server.freeze();
    let short = refused_after(&running).await?;
    // Nothing that was there is used up by it: the timeout is the same for the next one.
    running.node.reload(&configuration(&running.url, 10, "3s"))?;
    until_max(&running, 9).await?;
    let long = refused_after(&running).await?;
    println!("given up after {short:?} at 1s, {long:?} at 3s");
    assert!(short >= Duration::from_millis(900), "{short:?}");
    assert!(long >= Duration::from_millis(2_700), "{long:?}");
    let pool = running.pool("history-read")?;
    assert!(pool["timeouts_total"].as_u64() >= Some(2), "{pool}");
    running.server.thaw();
    running.node.history_ready().await?;
    assert!(running.node.terminate().await?.success());
    Ok(())
}

/// Lines of the log with this message, each read as JSON.
fn lines(running: &Running, message: &str) -> Vec<Value> {
    let log = running.node.log();
    let parsed = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    parsed.filter(|line| line.to_string().contains(message)).collect()
}

/// One line for each cause, with what an operator needs and no value of a query.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r71_r75_slow_queries_timeouts_and_exhaustion_are_counted_and_logged_without_values() -> Result<()> {
    const SECRET: u64 = 987_654_321;
    let directory = tempfile::tempdir()?;
    let limits = |url: &str| {
        // One connection for questions, and statements that may take four seconds.
        format!("{}database.query_timeout = \"4s\"\n", configuration(url, 2, "2s"))
    };
    let running = Running::start_with(directory.path(), limits).await?;
    let ask = || {
        let mut client = HistoryServiceClient::new(running.node.channel());
        let request = ListOrdersRequest { account_id: SECRET, ..Default::default() };
        async move { client.list_orders(request).await }
    };
    let lock = running.server.hold_a_transaction(&running.url, "LOCK TABLE orders IN ACCESS EXCLUSIVE MODE");
    let held = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted";
    until("the table is locked", async || Ok(running.server.sql(&running.url, held) != "0")).await?;
    // The first waits for the lock until its time is up; the second for the connection that the first has.
    let (first, second) = tokio::join!(ask(), ask());
    assert!(first.is_err() && second.is_err(), "{first:?} {second:?}");
    // Another one waits for the lock and gets it: more than a second, less than four.
    let waiting = tokio::spawn(ask());
    tokio::time::sleep(SLOW_FOR).await;
    drop(lock);
    waiting.await??;
    for (message, field) in
        [("sql query timed out", "limit_ms"), ("no database connection in time", "waited_ms"), ("slow sql query", "ms")]
    {
        let found = lines(&running, message);
        assert!(!found.is_empty(), "no line says {message:?}:\n{}", running.node.log_end());
        assert!(found.iter().all(|line| line.to_string().contains(&format!("\"{field}\":"))), "{found:?}");
    }
    assert!(!running.node.log().contains(&SECRET.to_string()), "a value of a query is in the log");
    for name in ["database_query_timeouts_total", "database_slow_queries_total"] {
        running.node.until_metric(&format!("{name}{{pool=\"history-read\"}}"), 1.0).await?;
    }
    // Whoever else waited then, as the copy of the audit log does, counts as well.
    let waited = running.pool("history-read")?["timeouts_total"].as_f64().unwrap_or_default();
    assert!(waited >= 1.0, "{waited}");
    running.node.until_metric("database_pool_timeouts_total{pool=\"history-read\"}", waited).await?;
    assert!(running.node.terminate().await?.success());
    Ok(())
}
