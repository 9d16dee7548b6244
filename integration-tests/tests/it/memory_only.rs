//! Memory-only mode of a running node: it trades while the database is away, says that its answers are volatile, and
//! brings everything there once it is back, after a crash too. Row 66.

use anyhow::Result;
use integration_tests::record::{Answered, check_history, check_places, check_retries, settle};
use integration_tests::requests::Requests;

use crate::pools::Running;

/// Requests in each part.
const SOME: usize = 40;

fn configuration(url: &str, memory_only: bool) -> String {
    format!(
        "[persistence_gateway]\njournal.backend = \"postgres\"\nhistory.database = \"postgres\"\n\
         database.url = \"{url}\"\ndatabase.max_connections = 10\ndatabase.enable_memory_only_mode = {memory_only}\n"
    )
}

async fn trade(running: &Running, requests: &mut Requests) -> Result<Vec<Answered>> {
    let mut answered = Vec::new();
    for _ in 0..SOME {
        let one = settle(requests.next().expect("an endless stream"), || running.node.channel()).await?;
        requests.learn(&one.report);
        answered.push(one);
    }
    Ok(answered)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r66_trading_goes_on_without_the_database_and_nothing_is_lost_in_a_crash() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut running = Running::start_with(directory.path(), |url| configuration(url, false)).await?;
    let mut requests = Requests::new(66, 1, "memory-only");
    let mut answered = trade(&running, &mut requests).await?;
    assert!(answered.iter().all(|one| !one.report.volatile), "the database is there");

    // The database goes first, then an operator switches the mode on: what waits is answered.
    tokio::task::block_in_place(|| running.server.kill());
    running.node.reload(&configuration(&running.url, true))?;
    running.node.until_metric("memory_only_mode", 1.0).await?;
    let without = trade(&running, &mut requests).await?;
    assert!(without.iter().all(|one| one.report.volatile), "the database is away: {:?}", without.last());
    answered.extend(without);
    running.node.until_metric("journal_volatile{shard=\"0\"}", 1.0).await?;
    let health = running.node.get("/health").await?;
    assert_eq!(health["status"], "degraded", "{health}");
    assert!(health.to_string().contains("memory-only mode"), "{health}");

    // The node dies; with the database it comes back, and brings what it had taken.
    let Running { node, mut server, url } = running;
    tokio::task::block_in_place(|| server.launch());
    let node = node.kill_and_start("all", &configuration(&url, true)).await?;
    let mut running = Running { node, server, url };
    running.node.until_metric("journal_volatile{shard=\"0\"}", 0.0).await?;
    assert_eq!(running.node.metric("journal_backlog_superseded_total").await?, Some(0.0));
    let with = trade(&running, &mut requests).await?;
    assert!(with.iter().all(|one| !one.report.volatile), "the database is back");
    answered.extend(with);

    // Once more, without a crash; and off.
    tokio::task::block_in_place(|| running.server.kill());
    answered.extend(trade(&running, &mut requests).await?);
    assert!(answered.last().is_some_and(|one| one.report.volatile));
    tokio::task::block_in_place(|| running.server.launch());
    running.node.until_metric("journal_volatile{shard=\"0\"}", 0.0).await?;
    running.node.reload(&configuration(&running.url, false))?;
    running.node.until_metric("memory_only_mode", 0.0).await?;
    answered.extend(trade(&running, &mut requests).await?);
    assert!(answered.last().is_some_and(|one| !one.report.volatile));

    let log = running.node.log();
    for (action, times) in [("journal.went_volatile", 2), ("journal.became_durable", 1)] {
        let said = log.lines().filter(|line| line.contains("\"audit\"") && line.contains(action)).count();
        assert_eq!(said, times, "{action} in the audit; the process that died could not say that it was over");
    }
    check_places(&answered)?;
    check_retries(&answered, &running.node.channel()).await?;
    check_history(&answered, &running.node.channel()).await?;
    let twice = "SELECT count(*) FROM (SELECT account_id, client_order_id FROM orders
                 GROUP BY 1, 2 HAVING count(*) > 1) AS twice";
    assert_eq!(running.server.sql(&running.url, twice), "0");
    assert!(running.node.terminate().await?.success());
    Ok(())
}
