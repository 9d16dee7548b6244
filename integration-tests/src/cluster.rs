//! A cluster of real processes: engines, coordinators and gateways apart, three etcd members, a PostgreSQL server for
//! journal and history, and a proxy on every link between an engine and its peers.
//!
//! Deliberately absent: what is done to it, and what it must show.

mod member;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use journal_store::testing::PostgresServer;
use wire::pb::consensus::v1::GetConsensusStatusRequest;
use wire::pb::consensus::v1::consensus_service_client::ConsensusServiceClient;
use wire::pb::consensus::v1::{GetConsensusStatusResponse, ShardLeader};
use wire::pb::marketdata::v1::GetStateDigestRequest;
use wire::pb::marketdata::v1::market_data_service_client::MarketDataServiceClient;

use crate::etcd::EtcdCluster;
use crate::judge::System;
use crate::proxy::Proxy;
use crate::{LIMIT, LOOK_AGAIN};

pub use member::{LogLine, Member};

/// Entries that a warm standby may be behind: about a second of the load.
const BEHIND_MAX: u64 = 1_000;

/// Connections to the database server for all gateways together; the server allows 50.
const CONNECTIONS_MAX: usize = 44;

/// How many of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Shape {
    /// Order engines.
    pub engines: usize,
    /// Coordinators.
    pub coordinators: usize,
    /// Gateways, all on one journal in PostgreSQL.
    pub gateways: usize,
    /// Shards.
    pub shards: u32,
    /// Entries between two snapshots of a shard; the journal is trimmed below them.
    pub snapshot_every: u64,
}

/// A running cluster. Dropping it ends every process; its directory stays the caller's.
pub struct Cluster {
    /// As started.
    pub shape: Shape,
    /// Engines.
    pub engines: Vec<Member>,
    /// Coordinators.
    pub coordinators: Vec<Member>,
    /// Gateways.
    pub gateways: Vec<Member>,
    /// Proxies from each engine to each coordinator, and to each gateway.
    pub links: Vec<Links>,
    /// The store of the coordinators.
    pub etcd: EtcdCluster,
    postgres: PostgresServer,
}

/// The ways of one engine to its peers.
#[derive(Debug)]
pub struct Links {
    /// By number of the coordinator.
    pub coordinators: Vec<Proxy>,
    /// By number of the gateway.
    pub gateways: Vec<Proxy>,
}

/// A TOML list of addresses; one alone is written as a plain text.
fn addresses(given: impl Iterator<Item = String>) -> String {
    let all: Vec<String> = given.map(|address| format!("\"http://{address}\"")).collect();
    if let [one] = all.as_slice() { one.clone() } else { format!("[{}]", all.join(", ")) }
}

impl Cluster {
    /// Starts all processes below `directory` and waits until every shard has a leader.
    ///
    /// # Errors
    /// When something does not come up; the error says what, its log says why.
    pub async fn start(directory: &Path, shape: Shape) -> Result<Self> {
        let etcd = EtcdCluster::start(directory).await?;
        let postgres = tokio::task::block_in_place(PostgresServer::start);
        let common = |name: &str| {
            // One shard is the default.
            let shards = if shape.shards == 1 { String::new() } else { format!("shards = {}\n", shape.shards) };
            format!("{shards}[node]\nname = \"{name}\"\nworker_threads = 2\n")
        };
        let database = format!(
            "[persistence_gateway]\njournal.backend = \"postgres\"\njournal.snapshot_every_entries = {}\n\
             history.database = \"postgres\"\ndatabase.url = \"{}\"\ndatabase.max_connections = {}\n",
            shape.snapshot_every,
            postgres.database(),
            CONNECTIONS_MAX / shape.gateways.max(1)
        );
        let mut cluster = Self {
            shape,
            engines: Vec::new(),
            coordinators: Vec::new(),
            gateways: Vec::new(),
            links: Vec::new(),
            etcd,
            postgres,
        };
        for number in 1..=shape.gateways {
            let name = format!("gateway-{number}");
            let configuration = format!("{}{database}", common(&name));
            cluster.gateways.push(Member::new(directory, &name, "persistence-gateway", configuration)?);
        }
        let gateways = addresses(cluster.gateways.iter().map(|gateway| gateway.grpc().to_owned()));
        for number in 1..=shape.coordinators {
            let name = format!("coordinator-{number}");
            let configuration = format!(
                "{}{database}[peers]\npersistence_gateway = {gateways}\n[consensus_coordinator]\nstore = \"etcd\"\nendpoints = {:?}\n",
                common(&name),
                cluster.etcd.endpoints(),
            );
            cluster.coordinators.push(Member::new(directory, &name, "consensus-coordinator", configuration)?);
        }
        for number in 1..=shape.engines {
            let name = format!("engine-{number}");
            let links = Links::to(&cluster.coordinators, &cluster.gateways).await?;
            let configuration = format!(
                "{}{database}[peers]\npersistence_gateway = {}\nconsensus_coordinator = {}\n[order_engine]\n\
                 state_hash_interval = 500\n{}",
                common(&name),
                addresses(links.gateways.iter().map(|link| link.address.clone())),
                addresses(links.coordinators.iter().map(|link| link.address.clone())),
                instruments(shape.shards),
            );
            cluster.links.push(links);
            cluster.engines.push(Member::new(directory, &name, "order-engine", configuration)?);
        }
        for member in cluster.gateways.iter_mut().chain(&mut cluster.coordinators).chain(&mut cluster.engines) {
            member.start().await?;
        }
        cluster.led().await?;
        Ok(cluster)
    }

    /// As the judge looks at it.
    #[must_use]
    pub fn system(&self) -> System {
        System {
            shards: self.shape.shards,
            engines: self.engines.iter().map(Member::endpoint).collect(),
            gateways: self.gateways.iter().map(Member::endpoint).collect(),
        }
    }

    /// What the first coordinator that answers says.
    pub async fn status(&self) -> Option<GetConsensusStatusResponse> {
        for coordinator in &self.coordinators {
            let Some(node) = coordinator.node() else { continue };
            let mut client = ConsensusServiceClient::new(node.channel());
            let asked = client.get_consensus_status(GetConsensusStatusRequest {});
            let limit = std::time::Duration::from_secs(2);
            if let Ok(Ok(answer)) = tokio::time::timeout(limit, asked).await {
                return Some(answer.into_inner());
            }
        }
        None
    }

    /// Leaders of all shards that have one, as a coordinator sees them.
    pub async fn leaders(&self) -> Vec<ShardLeader> {
        let leaders = self.status().await.map(|status| status.leaders).unwrap_or_default();
        leaders.into_iter().filter(|leader| leader.engine.is_some()).collect()
    }

    /// Number of the engine that leads `shard`, if a coordinator says so.
    pub async fn leader(&self, shard: u32) -> Option<usize> {
        let leaders = self.leaders().await;
        let leader = leaders.iter().find(|leader| leader.shard == shard)?.engine.as_ref()?;
        self.engines.iter().position(|engine| engine.name == leader.name)
    }

    /// Waits until every shard has a leader.
    ///
    /// # Errors
    /// When one has none for a minute.
    pub async fn led(&self) -> Result<()> {
        let begin = std::time::Instant::now();
        loop {
            let leaders = self.leaders().await;
            if leaders.len() == self.shape.shards as usize {
                return Ok(());
            }
            anyhow::ensure!(begin.elapsed() < LIMIT, "only {} shards have a leader after {LIMIT:?}", leaders.len());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits until every engine has applied almost everything: whoever leads next is warm.
    ///
    /// # Errors
    /// When one is still behind after a minute.
    pub async fn rested(&self) -> Result<()> {
        let begin = std::time::Instant::now();
        for shard in 0..self.shape.shards {
            loop {
                let mut applied = Vec::new();
                for engine in &self.engines {
                    applied.push(applied_seq(engine, shard).await);
                }
                let highest = applied.iter().flatten().max().copied().unwrap_or(0);
                if applied.iter().all(|seq| seq.is_some_and(|seq| seq + BEHIND_MAX >= highest)) {
                    break;
                }
                anyhow::ensure!(begin.elapsed() < LIMIT, "shard {shard} is applied up to {applied:?} after {LIMIT:?}");
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
        Ok(())
    }

    /// Ends the database server as a crash would, and starts it again on the same data.
    pub fn restart_postgres(&mut self) {
        tokio::task::block_in_place(|| {
            self.postgres.kill();
            self.postgres.launch();
        });
    }

    /// Every process of ours.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.gateways.iter().chain(&self.coordinators).chain(&self.engines)
    }

    /// Everything that processes of ours said at WARN or above, and every line that is no log line.
    #[must_use]
    pub fn complaints(&self) -> Vec<LogLine> {
        self.members().flat_map(Member::complaints).collect()
    }

    /// Ends every process in order.
    ///
    /// # Errors
    /// When one does not end with exit code 0.
    pub async fn stop(mut self) -> Result<()> {
        for member in self.engines.iter_mut().chain(&mut self.coordinators).chain(&mut self.gateways) {
            member.terminate().await?;
        }
        Ok(())
    }

    /// Where the logs of `name` are.
    #[must_use]
    pub fn directory(&self, name: &str) -> Option<PathBuf> {
        self.members().find(|member| member.name == name).map(|member| member.directory().to_owned())
    }
}

impl Links {
    async fn to(coordinators: &[Member], gateways: &[Member]) -> Result<Self> {
        let mut links = Self { coordinators: Vec::new(), gateways: Vec::new() };
        for coordinator in coordinators {
            links.coordinators.push(Proxy::start(coordinator.grpc()).await.context("a proxy")?);
        }
        for gateway in gateways {
            links.gateways.push(Proxy::start(gateway.grpc()).await.context("a proxy")?);
        }
        Ok(links)
    }
}

/// How far an engine has applied a shard, if it answers.
async fn applied_seq(engine: &Member, shard: u32) -> Option<u64> {
    let mut client = MarketDataServiceClient::new(engine.channel());
    let asked = client.get_state_digest(GetStateDigestRequest { shard, allow_stale: true, min_seq: 0 });
    let limit = std::time::Duration::from_secs(2);
    Some(tokio::time::timeout(limit, asked).await.ok()?.ok()?.into_inner().as_of_seq)
}

/// Two symbols for each shard, so that each shard trades.
#[must_use]
pub fn symbols(shards: u32) -> Vec<String> {
    (0..2 * shards.max(1)).map(|number| format!("COIN-{number}")).collect()
}

fn instruments(shards: u32) -> String {
    let shards = shards.max(1);
    let mut all = String::new();
    for (number, symbol) in (0..).zip(symbols(shards)) {
        let shard = if shards == 1 { String::new() } else { format!("shard = {}\n", number % shards) };
        all.push_str(&format!("[[order_engine.instruments]]\nsymbol = \"{symbol}\"\nquantity_decimals = 6\n{shard}"));
    }
    all
}
