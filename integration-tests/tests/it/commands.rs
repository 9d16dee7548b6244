//! The commands of the binary as a new user calls them: output, exit codes, clear errors.

use anyhow::Result;
use integration_tests::node::Node;
use integration_tests::tool::{Said, hive};
use serde_json::Value;
use service_kit::auth::new_entry;
use service_kit::{Accounts, Role};

#[test]
fn demo_prints_one_document() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let report = hive(&["demo", "--output", "json", "--orders", "2000"], directory.path())?.json(0)?;
    for key in
        ["orders", "acknowledged", "rejected", "trades", "duration_s", "throughput_per_s", "latency_us", "state_hash"]
    {
        assert!(!report[key].is_null(), "{key} is missing in {report}");
    }
    for key in ["p50", "p99", "p999", "max"] {
        assert!(report["latency_us"][key].as_f64().unwrap() > 0.0, "{key} is missing in {report}");
    }
    assert!(report["trades"].as_u64().unwrap() > 0);
    assert_eq!(report["state_hash"].as_str().unwrap().len(), 32);
    Ok(())
}

#[test]
fn bench_finds_everything_that_was_acknowledged() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let said = hive(&["bench", "--rate", "200", "--duration", "3", "--output", "json"], directory.path())?;
    let report = said.json(0)?;
    assert!(report["acknowledged"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(report["lost"].as_u64(), Some(0), "{report}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r82_a_load_shows_the_key_that_a_node_asks_for() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let keys = directory.path().join("keys");
    std::fs::create_dir_all(&keys)?;
    let (key, entry) = new_entry("load", Role::Trader, Accounts::All)?;
    std::fs::write(keys.join("keys.toml"), entry)?;
    let configuration = format!("{}[security]\nkeys_dir = {keys:?}\n", crate::PLAIN);
    let node = Node::start(directory.path(), "all", &configuration).await?;
    let target = format!("http://{}", node.grpc);
    let load = ["bench", "--rate", "100", "--duration", "2", "--output", "json", "--target", &target];
    // Somewhere else: the key beside the node would open it.
    let elsewhere = tempfile::tempdir()?;
    let refused = hive(&load, elsewhere.path())?;
    assert!(refused.code != 0 && refused.err.contains("key"), "{}{}", refused.out, refused.err);
    let report = hive(&[&load[..], &["--key", key.reveal()]].concat(), elsewhere.path())?.json(0)?;
    assert_eq!((report["lost"].as_u64(), report["turned_away"].as_u64()), (Some(0), Some(0)), "{report}");
    assert!(report["acknowledged"].as_u64() > Some(0), "{report}");
    assert!(node.terminate().await?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_directory_serves_one_process() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let node = Node::start(directory.path(), "all", crate::PLAIN).await?;
    let data = node.data();
    let said = hive(&["run", "--data-dir", data.to_str().unwrap()], directory.path())?;
    assert_ne!(said.code, 0);
    assert!(
        format!("{}{}", said.out, said.err).contains(&node.pid().to_string()),
        "the holder is named: {}{}",
        said.out,
        said.err
    );
    let pid = node.pid();
    assert!(node.terminate().await?.success(), "node {pid}");
    Ok(())
}

#[test]
fn a_wrong_configuration_is_explained_before_anything_starts() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("production.toml");
    for (text, words) in [
        ("[listen]\ngrcp = \"127.0.0.1:1\"\n", &["grcp", "grpc", "2"][..]),
        ("[listen]\ngrpc = 5\n", &["grpc", "2"]),
        ("[listen]\ngrpc = \"0.0.0.0:8080\"\n", &["loopback"]),
        ("[listen\n", &["1"]),
        ("[log]\nlevel = \"loud\"\n", &["log.level", "loud", "info"]),
        ("[node]\nworker_threads = 10000000\n", &["worker_threads", "1024"]),
        ("[order_engine]\nrules.idempotency_capacity = 0\n", &["order_engine.rules.idempotency_capacity"]),
    ] {
        std::fs::write(&file, text)?;
        for command in [&["config", "validate", "--config"][..], &["run", "--config"]] {
            let mut arguments = command.to_vec();
            arguments.push(file.to_str().unwrap());
            let said = hive(&arguments, directory.path())?;
            assert_ne!(said.code, 0, "{arguments:?} accepted {text:?}");
            for word in words {
                assert!(said.err.contains(word), "{arguments:?} on {text:?} does not say {word:?}:\n{}", said.err);
            }
        }
    }
    std::fs::write(&file, "[node]\nname = \"left\"\n")?;
    let shown = hive(&["config", "show", "--config", file.to_str().unwrap()], directory.path())?;
    assert!(shown.code == 0 && shown.out.contains("left"), "{}{}", shown.out, shown.err);
    Ok(())
}

#[test]
fn version_and_wrong_usage() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let said = hive(&["version", "--output", "json"], directory.path())?;
    assert!(said.json(0)?["version"].is_string());
    assert_eq!(hive(&["no-such-command"], directory.path())?.code, 2, "wrong usage has an exit code of its own");
    Ok(())
}

/// Corrupts a byte of the first record of the journal in `data`.
fn damage_the_journal(data: &std::path::Path) -> Result<()> {
    let segment = data.join("journal/shard-0/00000000000000000001.segment");
    let mut bytes = std::fs::read(&segment)?;
    // Behind the header slots (1/256 of the file) lie the records, each with a header of 64 bytes.
    let at = bytes.len() / 256 + 70;
    bytes[at] ^= 4;
    std::fs::write(&segment, bytes)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_journal_has_an_exit_code_of_its_own() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let node = Node::start(directory.path(), "all", crate::PLAIN).await?;
    let data = node.data();
    assert!(node.terminate().await?.success());
    damage_the_journal(&data)?;
    for command in ["verify", "run"] {
        let said = hive(&[command, "--data-dir", data.to_str().unwrap()], directory.path())?;
        assert_eq!(said.code, 10, "{command}: {}{}", said.out, said.err);
        for word in ["00000000000000000001.segment", "offset 262144", "seq 1"] {
            assert_eq!(said.err.matches(word).count(), 1, "{command} says {word:?} once:\n{}", said.err);
        }
    }
    Ok(())
}

#[test]
fn a_role_without_its_peers_is_a_wrong_configuration() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let said = hive(&["run", "--roles", "order-engine"], directory.path())?;
    assert_eq!(said.code, 3, "{}", said.err);
    assert!(said.err.contains("peers.persistence_gateway"), "{}", said.err);
    std::fs::write(directory.path().join("production.toml"), "shards = 2000\n")?;
    let said = hive(&["run", "--config", "production.toml"], directory.path())?;
    assert_eq!(said.code, 3, "{}", said.err);
    assert!(said.err.contains("shards is 2000, allowed are 1 to 1024"), "{}", said.err);
    Ok(())
}

/// R54, R55, R56: with one engine an election is refused and changes nothing; a restart of the subsystem keeps process,
/// leader and term; a node that is gone is not a wrong command line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r54_r55_r56_operators_order_elections() -> Result<()> {
    let directory = tempfile::tempdir()?;
    // What was refused is audited at this level only.
    let configuration = format!("{}[audit]\naudit_level = \"verbose\"\n", crate::PLAIN);
    let node = Node::start(directory.path(), "all", &configuration).await?;
    let (data, target) = (node.data(), format!("http://{}", node.grpc));
    let data = data.to_str().unwrap();
    let consensus = |arguments: &[&str]| {
        let mut all = vec!["admin", "consensus"];
        all.extend(arguments);
        hive(&all, directory.path())
    };
    let leader = |said: Said| -> Result<Option<u64>> { Ok(said.json(0)?["leaders"][0]["term"].as_u64()) };
    let before = leader(consensus(&["status", "--data-dir", data, "--output", "json"])?)?;
    assert!(before.is_some());

    let refused = consensus(&["force-election", "--target", &target, "--reason", "drill", "--output", "json"])?;
    assert_eq!(refused.code, 5, "{}{}", refused.out, refused.err);
    let error: Value = serde_json::from_str(&refused.out)?;
    assert_eq!(error["error"]["code"], "PRECONDITION_FAILED", "{error}");
    assert_eq!(consensus(&["drain", "hive-mind-0", "--target", &target])?.code, 5, "it is the only engine");

    let restarted = consensus(&["restart", "--target", &target, "--output", "json"])?.json(0)?;
    assert_eq!(restarted["pid"].as_u64(), Some(node.pid().into()));
    assert_eq!(leader(consensus(&["status", "--target", &target, "--output", "json"])?)?, before);

    let dry = consensus(&["pause", "--target", &target, "--dry-run", "--output", "json"])?;
    assert_eq!(dry.json(0)?["changed"], true, "it would be");
    let paused = consensus(&["status", "--target", &target, "--output", "json"])?.json(0)?["paused"].clone();
    assert_eq!(paused, false, "nothing was changed");

    let order = ["pause", "--target", &target, "--request-id", "night", "--actor", "ann", "--reason", "patching"];
    assert_eq!(consensus(&order)?.code, 0);
    let again = consensus(&order)?;
    assert!(again.code == 0 && again.out.contains("elections are paused"), "{}", again.out);
    let view = node.get("/health/consensus").await?;
    assert_eq!((&view["policy"]["actor"], &view["policy"]["reason"]), (&"ann".into(), &"patching".into()), "{view}");
    assert_eq!(consensus(&["resume", "--target", &target])?.code, 0);
    let log = node.log();
    let audited: Vec<&str> = log.lines().filter(|line| line.contains("\"audit\"")).collect();
    assert_eq!(audited.iter().filter(|line| line.contains("\"action\":\"consensus.pause\"")).count(), 1, "{audited:?}");
    assert!(
        audited.iter().any(|line| line.contains("consensus.force_election") && line.contains("drill")),
        "{audited:?}"
    );

    assert!(node.terminate().await?.success());
    for (arguments, code, word) in [
        (&["status", "--target", &target, "--output", "json"][..], 6, "UNREACHABLE"),
        (&["force-election", "--shard", "x", "--output=json"], 2, "USAGE"),
        (&["status", "--data-dir", "nowhere", "--output", "json"], 1, "FAILURE"),
    ] {
        let said = consensus(arguments)?;
        let error: Value = serde_json::from_str(&said.out)?;
        assert_eq!((said.code, &error["error"]["code"]), (code, &word.into()), "{arguments:?}: {}", said.out);
        assert_eq!(error["error"]["exit_code"], code, "{arguments:?}");
        assert!(!said.err.is_empty(), "people are told too");
    }
    Ok(())
}
