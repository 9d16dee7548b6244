//! Limits of the database's connections, changed while the node runs: rows 63 and 64.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::process::Signal;
use tonic::Code;
use wire::pb::history::v1::ListOrdersRequest;
use wire::pb::history::v1::history_service_client::HistoryServiceClient;

use crate::pools::{LIMIT, LOOK_AGAIN, Running};

/// Longest wait for an answer that should come at the connection timeout; a statement's own limit is longer.
const TOO_LATE: Duration = Duration::from_secs(25);

fn configuration(url: &str, max_connections: u32, connection_timeout: &str) -> String {
    format!(
        "[persistence_gateway]\nhistory.database = \"postgres\"\ndatabase.url = \"{url}\"\n\
         database.max_connections = {max_connections}\ndatabase.connection_timeout = \"{connection_timeout}\"\n"
    )
}

/// Gives a running node another configuration.
fn reload(running: &Running, directory: &Path, configuration: &str) -> Result<()> {
    fs::write(directory.join("production.toml"), configuration)?;
    running.node.signal(Signal::HUP)
}

async fn until_max(running: &Running, max: u64) -> Result<()> {
    let begin = Instant::now();
    while running.pool("history-read")?["max"].as_u64() != Some(max) {
        ensure!(begin.elapsed() < LIMIT, "never {max}: {}", running.pool("history-read")?);
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r63_max_connections_is_a_ceiling_and_follows_the_configuration() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let running = Running::start_with(directory.path(), |url| configuration(url, 12, "30s")).await?;
    assert_eq!(running.pool("history-read")?["max"], 11, "one is the projector's");
    running.crowd(8).await?;

    reload(&running, directory.path(), &configuration(&running.url, 4, "30s"))?;
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

    reload(&running, directory.path(), &configuration(&running.url, 9, "30s"))?;
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
    running.crowd(2).await?;
    running.server.freeze();
    let short = refused_after(&running).await?;
    // Nothing that was there is used up by it: the timeout is the same for the next one.
    reload(&running, directory.path(), &configuration(&running.url, 10, "3s"))?;
    until_max(&running, 9).await?;
    let long = refused_after(&running).await?;
    println!("given up after {short:?} at 1s, {long:?} at 3s");
    assert!(short >= Duration::from_millis(900), "{short:?}");
    assert!(long >= Duration::from_millis(2_700), "{long:?}");
    let pool = running.pool("history-read")?;
    assert!(pool["timeouts_total"].as_u64() >= Some(2), "{pool}");
    running.server.thaw();
    running.crowd(1).await?;
    assert!(running.node.terminate().await?.success());
    Ok(())
}
