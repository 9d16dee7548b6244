//! The audit log of real nodes: what operators do is in it, it outlives the process, and tampering is found.

use std::path::Path;

use anyhow::{Context, Result};
use integration_tests::http;
use integration_tests::node::Node;
use integration_tests::tool::{self, Said};
use serde_json::Value;

pub(crate) fn actions(found: &Value) -> Vec<&str> {
    let records = found["records"].as_array().map(Vec::as_slice).unwrap_or_default();
    records.iter().filter_map(|record| record["action"].as_str()).collect()
}

fn segment(node: &Node) -> Result<std::path::PathBuf> {
    let directory = node.data().join("audit");
    let files: Vec<_> = std::fs::read_dir(&directory)?.collect::<Result<_, _>>()?;
    anyhow::ensure!(files.len() == 1, "{files:?}");
    Ok(files[0].path())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r56_r61_what_operators_do_is_recorded_once_and_outlives_the_process() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let node = Node::start(directory.path(), "all", crate::PLAIN).await?;
    let order = ["consensus", "pause", "--actor", "ann", "--reason", "a drill", "--request-id", "drill-1"];
    node.admin(&order)?.with(0)?;
    // The same order again is the same act.
    node.admin(&order)?.with(0)?;
    node.admin(&["consensus", "pause", "--dry-run", "--reason", "only a look"])?.with(0)?;
    let found = node.json(&["audit", "search", "--action", "consensus."])?;
    assert_eq!(actions(&found), ["consensus.pause"], "{found}");
    let record = &found["records"][0];
    assert_eq!((&record["actor"], &record["reason"]), (&"ann".into(), &"a drill".into()), "{record}");
    assert_eq!((&record["request_id"], &record["result"]), (&"drill-1".into(), &"ok".into()), "{record}");
    assert!(record["before"].as_str().is_some_and(|text| text.contains("paused false")), "{record}");
    assert!(record["after"].as_str().is_some_and(|text| text.contains("paused true")), "{record}");
    let leaders = node.json(&["audit", "search", "--action", "leadership.acquired"])?;
    assert_eq!(leaders["records"][0]["target"], "shard 0", "{leaders}");
    let said = node.admin(&["audit", "tail", "-n", "5"])?.with(0)?;
    assert!(said.out.contains("consensus.pause elections by ann: a drill -> ok"), "{}", said.out);
    let answer = http::get(&node.admin, "/admin/audit?action=consensus.&limit=3").await?;
    let over_http: Value = serde_json::from_str(&answer.body)?;
    assert_eq!((answer.status, actions(&over_http)), (200, vec!["consensus.pause"]));
    assert_eq!(http::get(&node.admin, "/admin/audit?wrong=1").await?.status, 400);
    // While elections are paused nobody would lead after a start.
    node.admin(&["consensus", "resume"])?.with(0)?;
    // A crash, not an orderly end.
    let node = node.kill_and_start("all", crate::PLAIN).await?;
    let found = node.json(&["audit", "search", "--request", "drill-1"])?;
    assert_eq!(actions(&found), ["consensus.pause"]);
    let checked = node.json(&["audit", "verify"])?;
    assert_eq!((&checked["intact"], &checked["instances"][0]["findings_total"]), (&true.into(), &0.into()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r61_tampering_is_found_while_the_node_runs_and_when_it_is_down() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let node = Node::start(directory.path(), "all", crate::PLAIN).await?;
    node.admin(&["consensus", "pause", "--actor", "mallory"])?.with(0)?;
    node.admin(&["consensus", "resume", "--actor", "ann"])?.with(0)?;
    let checked = node.json(&["audit", "verify"])?;
    let instance = &checked["instances"][0];
    let noted = format!("{}={}", instance["instance"].as_str().unwrap(), instance["head"].as_str().unwrap());
    let file = segment(&node)?;
    let good = std::fs::read_to_string(&file)?;
    // Somebody hides who it was, with the node running.
    std::fs::write(&file, good.replace("mallory", "nobody1"))?;
    let said = node.admin(&["audit", "verify"])?.with(4)?;
    assert!(said.out.contains("the record was changed"), "{}", said.out);
    std::fs::write(&file, &good)?;
    node.admin(&["audit", "verify", "--noted", &noted])?.with(0)?;
    let data = node.data();
    assert!(node.terminate().await?.success());
    let text = data.to_str().context("a path")?;
    let verify = |code: i32| -> Result<Said> {
        tool::hive(&["admin", "audit", "verify", "--offline", text], Path::new("."))?.with(code)
    };
    verify(0)?;
    // The last records are cut off.
    let kept: String = good.lines().take(2).map(|line| format!("{line}\n")).collect();
    std::fs::write(&file, kept)?;
    assert!(verify(4)?.out.contains("is missing"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r61_r62_failed_authentication_is_always_recorded_other_denials_at_the_verbose_level_only() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let refused = ["consensus", "force-election", "--shard", "0"];
    for (level, denied, failed) in [("standard", 0, 1), ("verbose", 1, 2)] {
        let configuration = format!("{}[audit]\naudit_level = \"{level}\"\n", crate::PLAIN);
        let node = Node::start(directory.path(), "all", &configuration).await?;
        // There is nobody else who could lead.
        node.admin(&refused)?.with(5)?;
        let found = node.json(&["audit", "search", "--action", "consensus.", "--result", "refused"])?;
        assert_eq!(actions(&found).len(), denied, "{level}: {found}");
        let nobody = http::request(&node.admin, "POST", "/admin/config/reload").await?;
        assert_eq!(nobody.status, 401, "an action without a key");
        let found = node.json(&["audit", "search", "--action", "auth.", "--result", "failed"])?;
        assert_eq!(actions(&found), vec!["auth.refuse"; failed], "{level}: {found}");
        let record = &found["records"][0];
        assert_eq!((&record["target"], &record["detail"]), (&"/admin/config/reload".into(), &"missing".into()));
        assert!(!record["peer"].is_null(), "{record}");
        assert!(node.terminate().await?.success());
    }
    let configuration = format!("{}[audit]\naudit_level = \"loud\"\n", crate::PLAIN);
    std::fs::write(directory.path().join("production.toml"), configuration)?;
    let said = tool::hive(&["config", "validate", "--config", "production.toml"], directory.path())?.with(3)?;
    assert!(said.err.contains("standard") && said.err.contains("verbose"), "{}", said.err);
    Ok(())
}
