//! Backup and restore as operators do it: while the node trades, with the commands of the binary.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use integration_tests::node::Node;
use integration_tests::record::{Answered, check_history, check_retries, work};
use integration_tests::requests::Requests;
use integration_tests::tool;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Snapshots come often: a backup begins with one, and the journal is trimmed behind it.
const CONFIGURATION: &str = "[log]\nlevel = \"info\"\n[persistence_gateway.journal]\nsnapshot_every_entries = 300\n";
/// Clients that send at the same time.
const WORKERS: u64 = 4;
/// How long they trade between two backups. Nothing is waited for: without it the backups would be of the same state.
const TRADING: Duration = Duration::from_millis(500);
/// Backups made while they send.
const BACKUPS: usize = 3;

fn backup(directory: &Path, data: &Path, arguments: &[&str], code: i32) -> Result<Value> {
    let data = data.to_str().expect("a readable path");
    let all = [&["admin", "--data-dir", data, "--output", "json", "backup"][..], arguments].concat();
    tool::hive(&all, directory)?.json(code)
}

/// Hashes of the rows of history in a backup: equal hashes are equal rows.
fn history(verified: &Value) -> Vec<&Value> {
    let files = verified["manifest"]["files"].as_array().expect("files").iter();
    files.filter(|file| file["name"].as_str().is_some_and(|name| name.starts_with("history/"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r79_r80_a_backup_made_under_load_comes_back_with_its_state_and_history() -> Result<()> {
    let (here, there) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let node = Node::start(here.path(), "all", CONFIGURATION).await?;
    let (data, place) = (node.data(), node.data().join("backups"));
    let (_channel, channels) = watch::channel(node.channel());
    let (stop, stopped) = watch::channel(false);
    let mut workers = JoinSet::new();
    for account in 1..=WORKERS {
        workers.spawn(work(Requests::new(79, account, "backup"), channels.clone(), stopped.clone()));
    }
    for _ in 0..BACKUPS {
        tokio::time::sleep(TRADING).await;
        let made = backup(here.path(), &data, &["create", "--reason", "under load"], 0)?;
        assert!(made["rows"].as_u64() > Some(0), "{made}");
    }
    stop.send(true)?;
    let mut answered: Vec<Answered> = Vec::new();
    while let Some(worker) = workers.join_next().await {
        answered.extend(worker??);
    }
    assert!(answered.iter().all(|one| !one.in_doubt), "no order failed while backups were made");
    let last = backup(here.path(), &data, &["create", "--request-id", "last"], 0)?;
    let again = backup(here.path(), &data, &["create", "--request-id", "last"], 0)?;
    assert_eq!((&again["id"], again["repeated_request"].as_bool()), (&last["id"], Some(true)));
    let listed = backup(here.path(), &data, &["list"], 0)?;
    assert_eq!(listed["backups"].as_array().map(Vec::len), Some(BACKUPS + 1), "{listed}");
    for listed in listed["backups"].as_array().expect("backups") {
        let id = listed["id"].as_str().expect("an id");
        assert_eq!(backup(here.path(), &data, &["verify", id], 0)?["ok"], true);
    }
    let first = backup(here.path(), &data, &["verify", "latest"], 0)?;
    let running = backup(here.path(), &data, &["restore", "latest", "--yes"], 5)?;
    assert_eq!(running["error"]["code"], "REFUSED", "a node runs there");
    let unconfirmed = backup(here.path(), &data, &["restore", "latest"], 2)?;
    assert_eq!(unconfirmed["error"]["code"], "USAGE", "nobody was asked");
    assert!(node.terminate().await?.success());

    let (new, location) = (there.path().join("data"), place.to_str().expect("a readable path"));
    let dry = backup(there.path(), &new, &["restore", "latest", "--location", location, "--dry-run"], 0)?;
    assert!(dry["dry_run"] == true && !new.exists(), "{dry}");
    let restored = backup(there.path(), &new, &["restore", "latest", "--location", location, "--yes"], 0)?;
    assert_eq!(restored["shards"][0]["state_hash"], first["shards"][0]["state_hash"]);
    let node = Node::start(there.path(), "all", CONFIGURATION).await?;
    let same = backup(there.path(), &new, &["create"], 0)?;
    assert_eq!(same["shards"][0]["state_hash"], first["shards"][0]["state_hash"]);
    let second = backup(there.path(), &new, &["verify", "latest"], 0)?;
    assert_eq!(history(&second), history(&first));
    // Every answer is found again, as it was given, and a repeated order gets it once more.
    check_history(&answered, &node.channel()).await?;
    check_retries(&answered, &node.channel()).await?;
    assert!(node.terminate().await?.success());
    let verify = ["verify", "--output", "json", "--data-dir", new.to_str().expect("a readable path")];
    assert_eq!(tool::hive(&verify, there.path())?.json(0)?["ok"], true);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r80_a_damaged_or_unknown_backup_changes_nothing() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let node = Node::start(directory.path(), "all", CONFIGURATION).await?;
    let data = node.data();
    let id = backup(directory.path(), &data, &["create"], 0)?["id"].as_str().expect("an id").to_owned();
    assert!(node.terminate().await?.success());
    let journal = data.join("journal").join("shard-0").join("control");
    let before = std::fs::read(&journal)?;
    let unknown = backup(directory.path(), &data, &["restore", "20200101T000000Z-00000000", "--yes"], 5)?;
    assert!(unknown["error"]["message"].as_str().expect("text").contains("backup list"));
    let manifest = data.join("backups").join(&id).join("manifest.json");
    let mut bytes = std::fs::read(&manifest)?;
    bytes[40] ^= 1;
    std::fs::write(&manifest, bytes)?;
    let damaged = backup(directory.path(), &data, &["restore", "latest", "--yes"], 4)?;
    assert!(damaged["error"]["message"].as_str().expect("text").contains("damaged"), "{damaged}");
    let listed = backup(directory.path(), &data, &["list"], 4)?;
    assert!(listed["backups"][0]["damage"].is_string(), "{listed}");
    assert_eq!(std::fs::read(&journal)?, before);
    Ok(())
}
