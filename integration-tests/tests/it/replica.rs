//! Questions to the history that a read replica answers, and those that it never does: row 65.

use std::fs;

use anyhow::Result;
use integration_tests::node::Node;
use integration_tests::record::{Answered, settle, wait_projected};
use integration_tests::requests::Requests;
use integration_tests::{tool, until};
use journal_store::testing::PostgresServer;
use wire::pb::history::v1::history_service_client::HistoryServiceClient;
use wire::pb::history::v1::{GetHistoryStatusRequest, ListOrdersRequest, ReadReplica};

/// Requests in each part.
const SOME: usize = 30;

fn configuration(url: &str, replica: &str, in_use: bool) -> String {
    format!(
        "[persistence_gateway]\nhistory.database = \"postgres\"\ndatabase.url = \"{url}\"\n\
         database.replica_url = \"{replica}\"\ndatabase.use_read_replica = {in_use}\n"
    )
}

/// Trades, and waits until the primary has all of it. The last position.
async fn trade(node: &Node, requests: &mut Requests) -> Result<u64> {
    let mut answered: Vec<Answered> = Vec::new();
    for _ in 0..SOME {
        let one = settle(requests.next().expect("an endless stream"), || node.channel()).await?;
        requests.learn(&one.report);
        answered.push(one);
    }
    let last = answered.iter().filter_map(|one| Some(one.report.place.as_ref()?.seq)).max().unwrap_or(0);
    wait_projected(&node.channel(), last).await?;
    Ok(last)
}

/// How far the history goes that answers.
async fn as_of(node: &Node, from_primary: bool) -> Result<u64> {
    let mut client = HistoryServiceClient::new(node.channel());
    let request = ListOrdersRequest { from_primary, page_size: 1, ..Default::default() };
    Ok(client.list_orders(request).await?.into_inner().as_of_seq)
}

async fn replica_status(node: &Node) -> Result<ReadReplica> {
    let mut client = HistoryServiceClient::new(node.channel());
    let status = client.get_history_status(GetHistoryStatusRequest::default()).await?.into_inner();
    Ok(status.replica.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r65_a_replica_answers_what_may_be_old_and_nothing_else() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let primary = tokio::task::block_in_place(PostgresServer::start);
    let url = primary.database();
    let mut replica = tokio::task::block_in_place(|| primary.replica());
    let (there, at) = (replica.url_of(&url), directory.path());
    let node = Node::start(at, "all", &configuration(&url, &there, true)).await?;
    let mut requests = Requests::new(65, 1, "replica");
    let first = trade(&node, &mut requests).await?;
    until("the replica has all of it", async || Ok(as_of(&node, false).await? >= first)).await?;
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'hive-mind'";
    assert_ne!(replica.sql(&there, sessions), "0", "the replica is asked");

    // The replica stands still: whoever may read old rows does, and is told how old; the others read what was written.
    replica.sql(&there, "SELECT pg_wal_replay_pause()");
    until(
        "replay stands still",
        async || Ok(replica.sql(&there, "SELECT pg_get_wal_replay_pause_state()") == "paused"),
    )
    .await?;
    let old = as_of(&node, false).await?;
    let second = trade(&node, &mut requests).await?;
    assert_eq!(as_of(&node, false).await?, old, "the replica answers");
    assert!(as_of(&node, true).await? >= second, "the primary answers");
    let status = replica_status(&node).await?;
    assert!(status.in_use && status.lag_entries >= second - old && status.projected_seq == old, "{status:?}");

    // Off and on while the node runs.
    node.reload(&configuration(&url, &there, false))?;
    until("the primary answers everything", async || Ok(as_of(&node, false).await? >= second)).await?;
    assert!(!replica_status(&node).await?.in_use);
    node.reload(&configuration(&url, &there, true))?;
    until("the replica answers again", async || Ok(as_of(&node, false).await? == old)).await?;
    replica.sql(&there, "SELECT pg_wal_replay_resume()");
    until("the replica catches up", async || Ok(as_of(&node, false).await? >= second)).await?;

    // The replica dies: nobody notices but the log.
    tokio::task::block_in_place(|| replica.kill());
    assert!(as_of(&node, false).await? >= second);
    assert!(!replica_status(&node).await?.error.is_empty());
    assert!(node.log().contains("read replica of the database does not answer"), "{}", node.log_end());
    assert!(node.terminate().await?.success());

    // Without a replica there is nothing to use.
    fs::write(at.join("production.toml"), configuration(&url, "", true))?;
    let said = tool::hive(&["config", "validate", "--config", "production.toml"], at)?;
    assert_eq!(said.code, 3, "{}", said.err);
    assert!(said.err.contains("database.use_read_replica"), "{}", said.err);
    Ok(())
}
