//! A node with its database and its keys under a load, and the acts as an operator performs them: with the commands of
//! the binary.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use journal_store::testing::PostgresServer;
use serde_json::Value;
use service_kit::auth::new_entry;
use service_kit::{Accounts, Role};
use sim::checker::Verdict;
use sim::history::Operation;
use wire::api_key::{ApiKey, Credentials};

use super::{Act, Plan};
use crate::judge::{System, judge, keep_record};
use crate::load::{Load, Measured, Options, Recorder};
use crate::node::{Endpoint, Node, channel_showing, channel_with, server_binary};
use crate::scribe::Scribe;
use crate::tool;

/// After an act a fresh request must be acknowledged within this time.
const RECOVERY_LIMIT: Duration = Duration::from_secs(60);

/// Shards of the node.
const SHARDS: u32 = 1;

/// Id of the key that the clients show.
const CLIENTS: &str = "clients";

/// Exit code of a configuration that cannot be used.
const UNUSABLE: i32 = 3;

/// See the module.
pub(super) struct Stage {
    directory: PathBuf,
    node: Node,
    server: PostgresServer,
    credentials: Credentials,
    system: System,
    scribe: Scribe,
    load: Load,
}

/// What is left when the load has ended and everything was judged.
pub(super) struct Aftermath {
    pub(super) operations: Vec<Operation>,
    pub(super) measured: Vec<Measured>,
    pub(super) verdicts: Vec<Verdict>,
    pub(super) not_sent: u64,
}

impl Stage {
    /// Starts everything in `directory` and waits until the node has answered an order.
    pub(super) async fn start(directory: &Path, plan: &Plan) -> Result<Self> {
        let directory = directory.canonicalize().context("the directory of the run")?;
        let server = tokio::task::block_in_place(PostgresServer::start);
        let keys = directory.join("keys");
        fs::create_dir(&keys)?;
        let (clients, clients_entry) = new_entry(CLIENTS, Role::Trader, Accounts::All)?;
        // Whoever reads the log is a process of the cluster.
        let (judges, judges_entry) = new_entry("judge", Role::Node, Accounts::All)?;
        fs::write(keys.join("keys.toml"), clients_entry + &judges_entry)?;
        let configuration = format!(
            "[log]\nlevel = \"info\"\n\n[security]\nkeys_dir = {keys:?}\n\n[persistence_gateway]\n\
             journal.backend = \"postgres\"\nhistory.database = \"postgres\"\n\n[persistence_gateway.database]\n\
             url = \"{}\"\nmax_connections = 40\nenable_memory_only_mode = false\n",
            server.database()
        );
        let node = Node::start(&directory, "all", &configuration).await?;
        node.history_ready().await?;
        let credentials = Credentials::new(Some(&clients));
        let reached = |channel| Endpoint { name: "hive-mind".to_owned(), address: node.grpc.clone(), channel };
        let as_peer = reached(channel_with(&node.grpc, Some(&judges)));
        let scribe = Scribe::follow(0, vec![as_peer.channel.clone()]);
        let system = System { shards: SHARDS, engines: vec![as_peer.clone()], gateways: vec![as_peer] };
        let symbols = ["BTC-USD", "ETH-USD"].map(str::to_owned).into();
        let options = Options { rate: plan.rate, accounts: plan.accounts, seed: plan.seed, symbols };
        let load = Load::start(vec![reached(channel_showing(&node.grpc, credentials.clone()))], &options).await?;
        let stage = Self { directory, node, server, credentials, system, scribe, load };
        stage.acknowledged("the start").await?;
        Ok(stage)
    }

    /// The record of the clients.
    pub(super) const fn recorder(&self) -> &Arc<Recorder> {
        self.load.recorder()
    }

    /// Waits until something was acknowledged that was sent after now.
    pub(super) async fn acknowledged(&self, after: &str) -> Result<()> {
        self.recorder().acknowledges(SHARDS, RECOVERY_LIMIT, after).await
    }

    /// Does it, and waits until it is done.
    pub(super) async fn perform(&mut self, act: Act) -> Result<()> {
        match act {
            Act::ResetPools => {
                let done = self.admin(&["database", "reset-pools"], 0).await?;
                ensure!(done["closed"].as_u64() > Some(0), "no connection was replaced: {done}");
            }
            Act::OptimizeConnections => {
                let done = self.admin(&["database", "optimize-connections"], 0).await?;
                ensure!(done["pools"].as_array().is_some_and(|pools| !pools.is_empty()), "no pool: {done}");
            }
            Act::RotateKey => self.rotate_key().await?,
            Act::ReloadGood => self.set("max_connections=30").await?,
            Act::ReloadBroken => self.reload_broken().await?,
            Act::ProfilingOn => self.profiling("start", true).await?,
            Act::ProfilingOff => self.profiling("stop", false).await?,
            Act::MemoryOnlyOn => {
                self.set("enable_memory_only_mode=true").await?;
                self.node.until_metric("memory_only_mode", 1.0).await?;
            }
            Act::DatabaseAway => {
                tokio::task::block_in_place(|| self.server.kill());
                self.volatile(true).await?;
            }
            Act::DatabaseBack => {
                tokio::task::block_in_place(|| self.server.launch());
                self.volatile(false).await?;
            }
            Act::MemoryOnlyOff => {
                self.set("enable_memory_only_mode=false").await?;
                self.node.until_metric("memory_only_mode", 0.0).await?;
            }
            Act::Backup => {
                let made = self.admin(&["backup", "create"], 0).await?;
                ensure!(made["rows"].as_u64() > Some(0), "a backup without history: {made}");
            }
        }
        Ok(())
    }

    /// Ends the load, judges, ends the node.
    pub(super) async fn finish(self) -> Result<Aftermath> {
        let recorder = self.load.stop().await?;
        let (operations, measured) = (recorder.take(), recorder.take_measured());
        let scribes = std::slice::from_ref(&self.scribe);
        let verdicts = judge(&self.system, scribes, operations.clone(), || recorder.stamp()).await?;
        keep_record(&self.directory, &operations, &verdicts)?;
        let status = self.node.terminate().await?;
        ensure!(status.success(), "the node ended with {status} after SIGTERM");
        Ok(Aftermath { operations, measured, verdicts, not_sent: recorder.skipped_requests() })
    }

    /// Calls `admin` beside the node, wants this exit code, and gives the document that is printed.
    async fn admin(&self, arguments: &[&str], code: i32) -> Result<Value> {
        let (directory, program) = (self.directory.clone(), server_binary()?);
        let first = ["admin", "--config", "production.toml", "--data-dir", "data", "--output", "json"];
        // Whoever profiles an unoptimised program waits for its line tables.
        let all: Vec<String> =
            first.iter().chain(&["--timeout", "60"]).chain(arguments).map(|word| (*word).to_owned()).collect();
        let said = tokio::task::spawn_blocking(move || {
            let words: Vec<&str> = all.iter().map(String::as_str).collect();
            tool::run(&program, &words, &directory)
        });
        let said = said.await??;
        ensure!(said.code == code, "{arguments:?} ended with {}: {}{}", said.code, said.out, said.err);
        serde_json::from_str(&said.out).with_context(|| format!("{arguments:?} printed {}", said.out))
    }

    /// Sets a key of the configuration and has the node read it.
    async fn set(&self, pair: &str) -> Result<()> {
        self.admin(&["config", "set", pair, "--reload"], 0).await.map(drop)
    }

    /// A new key beside the former one; the clients go over to it; the former one is revoked.
    async fn rotate_key(&self) -> Result<()> {
        let listed = self.admin(&["keys", "list"], 0).await?;
        let keys = listed["instances"][0]["keys"].as_array().context("a list of keys")?;
        let former = keys.iter().find(|key| key["id"] == CLIENTS).context("the key of the clients")?;
        let former = former["fingerprint"].as_str().context("a key has a fingerprint")?;
        let rotated = self.admin(&["keys", "rotate", CLIENTS, "--keep-former"], 0).await?;
        let key: ApiKey = rotated["key"].as_str().context("the new key is shown")?.parse()?;
        self.credentials.replace(Some(&key));
        self.acknowledged("the new key").await?;
        let revoked = self.admin(&["keys", "revoke", CLIENTS, "--fingerprint", former, "--yes"], 0).await?;
        ensure!(revoked["revoked"] == 1, "the former key, and no other: {revoked}");
        Ok(())
    }

    /// What cannot be used is refused; what can be is taken again.
    async fn reload_broken(&self) -> Result<()> {
        let file = self.directory.join("production.toml");
        let good = fs::read_to_string(&file)?;
        fs::write(&file, format!("{good}connection_timeout = \"soon\"\n"))?;
        self.admin(&["config", "reload"], UNUSABLE).await?;
        fs::write(&file, good)?;
        self.admin(&["config", "reload"], 0).await.map(drop)
    }

    async fn profiling(&self, command: &str, on: bool) -> Result<()> {
        let done = self.admin(&["memory", command], 0).await?;
        let instance = &done["instances"][0];
        ensure!(instance["changed"] == true && instance["enabled"] == on, "memory {command}: {done}");
        Ok(())
    }

    /// Waits until the journal keeps what it takes to itself, or nothing of that is left.
    async fn volatile(&self, wanted: bool) -> Result<()> {
        self.node.until_metric("journal_volatile{shard=\"0\"}", f64::from(u8::from(wanted))).await
    }
}
