//! Three nodes that run everything over real etcd and PostgreSQL, as a deployment may: what they say at their doors while
//! others hang, die or are cut off, and what operators order of all of them. Rows 32, 41 to 46, 51 to 56.

use std::fs::File;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use integration_tests::node::{Node, server_binary};
use integration_tests::pods::Pods;
use integration_tests::record::{send, settle};
use integration_tests::requests::Requests;
use integration_tests::{http, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use wire::pb::orders::v1::order_session_request::Command as OrderCommand;
use wire::status::{ApiError, ErrorCode};

const PODS: usize = 3;

fn name(number: usize) -> String {
    format!("pod-{}", number + 1)
}

/// Who is not the leader; there are two of them.
fn others(leader: usize) -> [usize; 2] {
    [(leader + 1) % PODS, (leader + 2) % PODS]
}

fn instances(view: &Value) -> Vec<(String, Option<String>)> {
    let all = view["instances"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    all.iter().map(|one| (text(&one["target"]).unwrap_or_default(), text(&one["error"]))).collect()
}

async fn health(node: &Node) -> Result<(u16, Value)> {
    let answer = http::get(&node.admin, "/health").await?;
    Ok((answer.status, serde_json::from_str(&answer.body)?))
}

/// A new order that a node must acknowledge, whoever leads.
async fn trade(pods: &Pods, number: usize, requests: &mut Requests) -> Result<()> {
    let one = settle(requests.next().context("endless")?, || pods.pod(number).expect("it runs").channel()).await?;
    requests.learn(&one.report);
    Ok(())
}

/// A command that goes on until it is told to stop, with what it says in files.
struct Background {
    child: std::process::Child,
    directory: std::path::PathBuf,
}

impl Background {
    fn start(node: &Node, directory: &std::path::Path, arguments: &[&str]) -> Result<Self> {
        let child = Command::new(server_binary()?)
            .args(["admin", "--data-dir"])
            .arg(node.data())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(File::create(directory.join("said.out"))?)
            .stderr(File::create(directory.join("said.err"))?)
            .spawn()?;
        Ok(Self { child, directory: directory.to_owned() })
    }

    fn said(&self, file: &str) -> String {
        std::fs::read_to_string(self.directory.join(file)).unwrap_or_default()
    }

    /// Ctrl-C, and how it ends.
    async fn interrupt(&mut self) -> Result<Option<i32>> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a pid")?;
        kill_process(pid, Signal::INT)?;
        let mut ended = None;
        let look = async || {
            ended = self.child.try_wait()?;
            Ok(ended.is_some())
        };
        until("the command ends after Ctrl-C", look).await?;
        Ok(ended.and_then(|status| status.code()))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One that hangs delays nobody and is listed with its error; one that dies is followed by another; whoever watches the
/// audit log is told whose records are missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r32_r41_r42_r44_r45_pods_agree_and_one_that_is_away_is_listed() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut pods = Pods::start(directory.path(), PODS).await?;
    let (leader, term) = pods.agree().await?;
    let [hanging, asked] = others(leader);
    for number in 0..PODS {
        let (status, said) = pods.consensus(number).await?;
        assert_eq!((status, &said["status"]), (200, &"ok".into()), "{said}");
        assert_eq!(said["node_id"], name(number).as_str(), "{said}");
        assert!(said["lease_ttl_ms"].as_u64().is_some_and(|left| left <= 2_000), "{said}");
        let endpoints = said["store"]["endpoints"].as_array().context("endpoints")?;
        assert!(endpoints.len() == 3 && endpoints.iter().all(|one| one["healthy"] == true), "{said}");
        let (status, said) = health(pods.pod(number)?).await?;
        assert!(status == 200 && instances(&said).iter().all(|(_, error)| error.is_none()), "{said}");
        assert_eq!(instances(&said).len(), PODS, "{said}");
    }

    let mut follower = Background::start(pods.pod(asked)?, directory.path(), &["audit", "tail", "--follow"])?;
    until("records are shown", async || Ok(follower.said("said.out").contains("leadership.acquired"))).await?;
    assert_eq!(follower.said("said.err"), "");

    let address = format!("http://{}", pods.member(hanging).grpc());
    pods.member(hanging).freeze()?;
    for path in ["/health", "/admin/database/pool-status", "/admin/memory-profile", "/admin/config"] {
        let said = pods.pod(asked)?.get(&format!("{path}?timeout_ms=400")).await?;
        let told = instances(&said);
        assert_eq!(told.len(), PODS, "{path}: {said}");
        for (target, error) in told {
            let expected = (target == address).then(|| "no answer within 400 ms".to_owned());
            assert_eq!(error, expected, "{path}: {target}");
        }
    }
    assert_eq!(health(pods.pod(asked)?).await?.1["status"], "degraded");
    until("the silent one is told", async || Ok(follower.said("said.err").contains("does not answer"))).await?;
    pods.member(hanging).thaw()?;
    pods.well().await?;
    until("it is told that it is back", async || Ok(follower.said("said.err").contains("answers again"))).await?;
    let told = follower.said("said.err");
    assert!(told.lines().count() == 2 && told.lines().all(|line| line.starts_with(&address)), "{told}");

    let opened = format!(" {} audit.opened", name(leader));
    let starts = |follower: &Background| follower.said("said.out").matches(&opened).count();
    let before = starts(&follower);
    pods.member(leader).kill()?;
    let (next, later) = pods.agree().await?;
    assert!(next != leader && later > term, "{next} after {leader}, term {later} after {term}");
    let (status, said) = health(pods.pod(asked)?).await?;
    assert_eq!((status, &said["status"]), (200, &"degraded".into()), "{said}");
    pods.member(leader).start().await?;
    pods.well().await?;
    pods.agree().await?;
    // What it recorded while the watcher did not hear it, too: that it was started.
    until("its records follow", async || Ok(starts(&follower) == before + 1)).await?;
    assert_eq!(follower.interrupt().await?, Some(0), "{}", follower.said("said.err"));
    pods.stop().await
}

/// Without etcd orders go on and nobody can be elected; without the database nothing can be acknowledged. The processes
/// live through both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r42_r43_r46_r51_doors_tell_what_is_away_and_errors_what_to_do() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut pods = Pods::start(directory.path(), PODS).await?;
    let (leader, term) = pods.agree().await?;
    let [standby, _] = others(leader);
    let mut requests = Requests::new(42, 1, "pods");
    let started: Vec<u32> = (0..PODS).map(|number| pods.pod(number).map(Node::pid)).collect::<Result<_>>()?;

    pods.etcd.kill_all()?;
    for number in 0..PODS {
        let failsafe = async || {
            let (status, said) = pods.consensus(number).await?;
            Ok((status, &said["status"]) == (503, &"failsafe".into()))
        };
        until("the loss of etcd is told", failsafe).await?;
        trade(&pods, number, &mut requests).await?;
        assert_eq!(http::get(&pods.pod(number)?.admin, "/livez").await?.status, 200);
        assert_eq!(http::get(&pods.pod(number)?.admin, "/readyz").await?.status, 200, "it trades");
        let (status, said) = health(pods.pod(number)?).await?;
        assert_eq!((status, &said["status"]), (200, &"degraded".into()), "{said}");
    }
    let refused = pods.pod(standby)?.admin(&["consensus", "force-election", "--shard", "0"])?;
    assert!(refused.code != 0 && refused.code != 2, "{refused:?}");
    pods.etcd.launch()?;
    pods.etcd.ready().await?;
    pods.well().await?;
    assert_eq!(pods.agree().await?, (leader, term), "nothing was changed");

    let again = requests.next().context("endless")?;
    let first = send(pods.pod(standby)?.channel(), again.clone()).await?;
    let second = send(pods.pod(leader)?.channel(), again).await?;
    assert!(!first.duplicate && second.duplicate && second.order_id == first.order_id, "{first:?} {second:?}");
    let OrderCommand::Submit(submit) =
        requests.find(|one| matches!(one, OrderCommand::Submit(_))).context("endless")?
    else {
        anyhow::bail!("an order was looked for");
    };
    let wrong =
        OrderCommand::Submit(wire::pb::orders::v1::SubmitOrderRequest { client_order_id: String::new(), ..submit });
    let error = ApiError::from_status(&send(pods.pod(standby)?.channel(), wrong).await.unwrap_err());
    assert_eq!((error.code, error.field.as_deref()), (ErrorCode::InvalidArgument, Some("client_order_id")), "{error}");

    tokio::task::block_in_place(|| pods.server.kill());
    for number in 0..PODS {
        let node = pods.pod(number)?;
        let unready = async || Ok(http::get(&node.admin, "/readyz").await?.status == 503);
        until("the loss of the database is told", unready).await?;
        let untradable = async || {
            let (status, said) = health(node).await?;
            Ok(status == 503 && said["components"]["persistence"]["status"] == "down")
        };
        until("nothing can be traded", untradable).await?;
        assert_eq!(http::get(&node.admin, "/livez").await?.status, 200);
        let pools = node.get("/admin/database/pool-status").await?;
        let failed = |pool: &Value| pool["last_error"].is_string();
        assert!(pools["pools"].as_array().context("pools")?.iter().any(failed), "{pools}");
    }
    let refused = send(pods.pod(leader)?.channel(), requests.next().context("endless")?).await.unwrap_err();
    let error = ApiError::from_status(&refused);
    ensure!(error.code.retryable(), "an answer that helps nobody: {error}");
    assert!(matches!(error.code.grpc(), tonic::Code::Unavailable | tonic::Code::Unknown), "{error}");

    tokio::task::block_in_place(|| pods.server.launch());
    pods.well().await?;
    for number in 0..PODS {
        trade(&pods, number, &mut requests).await?;
    }
    let now: Vec<u32> = (0..PODS).map(|number| pods.pod(number).map(Node::pid)).collect::<Result<_>>()?;
    assert_eq!(now, started, "no process was started anew");
    pods.stop().await
}

/// Orders of operators to a whole system, through any of its nodes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r52_r53_r54_r55_r56_any_node_takes_orders_for_all() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let pods = Pods::start(directory.path(), PODS).await?;
    let (leader, term) = pods.agree().await?;
    let [asked, _] = others(leader);
    let node = pods.pod(asked)?;
    // Where it was moved to it stays: nobody spreads shards again.
    node.json(&["consensus", "pause", "--reason", "a drill", "--actor", "ann"])?;

    let order = ["consensus", "force-election", "--shard", "0", "--reason", "a drill", "--request-id", "move"];
    let dry = node.json(&[&order[..], &["--dry-run"]].concat())?;
    assert_eq!((dry["dry_run"].as_bool(), pods.agree().await?), (Some(true), (leader, term)), "{dry}");
    let moved = node.json(&order)?;
    let (next, later) = pods.agree().await?;
    assert!(next != leader && later == term + 1, "{moved}: term {later} after {term}");
    node.json(&order)?;
    assert_eq!(pods.agree().await?, (next, later), "the same order again is not carried out again");
    let nobody = node.admin(&["consensus", "force-election", "--shard", "0", "--to", "nobody"])?;
    assert_eq!(nobody.code, 5, "{nobody:?}");

    let restarted = node.json(&["consensus", "restart", "--reason", "a drill"])?;
    assert_eq!(restarted["pid"], node.pid());
    assert_eq!(pods.agree().await?, (next, later), "leaders stay");
    // Its sessions and watches work: what is decided elsewhere arrives.
    pods.pod(next)?.json(&["consensus", "force-election", "--shard", "0", "--to", &name(leader)])?;
    assert_eq!(pods.agree().await?.0, leader);
    node.json(&["consensus", "resume"])?;

    let sessions = || {
        let sql = "SELECT string_agg(pid::text, ' ') FROM pg_stat_activity \
                   WHERE application_name IN ('hive-mind', 'hivemind-journal') AND datname = current_database()";
        let found = pods.server.sql(&pods.url, sql);
        found.split_whitespace().map(str::to_owned).collect::<std::collections::BTreeSet<_>>()
    };
    let before = sessions();
    let reset = node.json(&["database", "reset-pools", "--reason", "a drill"])?;
    assert_eq!(instances(&reset).len(), PODS, "{reset}");
    assert!(instances(&reset).iter().all(|(_, error)| error.is_none()), "{reset}");
    until("every session of every node is a new one", async || Ok(sessions().is_disjoint(&before))).await?;
    let fitted = node.json(&["database", "optimize-connections", "--reason", "a drill"])?;
    let pools = fitted["pools"].as_array().context("pools")?;
    let on_a_server: Vec<&Value> = pools.iter().filter(|pool| pool["server"].is_object()).collect();
    assert!(on_a_server.len() >= PODS, "{fitted}");
    assert!(on_a_server.iter().all(|pool| pool["server"]["instances"] == PODS), "{fitted}");
    let again = || node.admin(&["database", "optimize-connections"])?.with(0);
    until("nothing is left to change", async || Ok(again()?.out.contains("no change"))).await?;

    let found = node.json(&["audit", "search", "--action", "consensus.force_election", "--result", "ok"])?;
    let records = found["records"].as_array().context("records")?;
    assert_eq!(records.len(), 2, "a dry run and a repeated order are no acts: {found}");
    assert_eq!((&records[1]["reason"], &records[1]["request_id"]), (&"a drill".into(), &"move".into()), "{found}");
    pods.stop().await
}
