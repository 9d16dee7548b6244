//! The one configuration of all roles: a section for the node, one for each service.
//!
//! Deliberately absent: what the services' keys mean; each service documents and checks its own.

mod peers;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use persistence_gateway::config::JournalBackend;
use serde::{Deserialize, Serialize};
use service_kit::audit;
use service_kit::config::{Loaded, load};
use service_kit::node::Listen;
use service_kit::telemetry::LogConfig;
use types::SHARDS_MAX;

pub(crate) use peers::{Addresses, Peers};

/// Environment variables start with it: `HIVE__LISTEN__GRPC`.
const ENVIRONMENT_PREFIX: &str = "HIVE";

/// More threads than any machine has processors for; a slip of the keyboard must not ask the system for millions.
const WORKER_THREADS_MAX: usize = 1_024;

/// Marks errors of the configuration, which have an exit code of their own.
#[derive(Debug, thiserror::Error)]
#[error("the configuration cannot be used")]
pub(crate) struct Misconfigured;

/// Everything that can be set.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ServerConfig {
    /// Shards there are, 1 to 1,024: independent logs and book sets, each with its own leader. The same in all
    /// processes of a cluster; changing it moves instruments to other shards, so that it is fixed once there is a log.
    pub(crate) shards: u32,
    /// The process.
    pub(crate) node: NodeSection,
    /// Where it listens; loopback only.
    pub(crate) listen: Listen,
    /// What it logs.
    pub(crate) log: LogConfig,
    /// Who did what: what of it is recorded.
    pub(crate) audit: audit::Config,
    /// Where the services are that this process does not run itself.
    pub(crate) peers: Peers,
    /// The order engine.
    pub(crate) order_engine: order_engine::Config,
    /// The coordinator.
    pub(crate) consensus_coordinator: consensus_coordinator::Config,
    /// The gateway.
    pub(crate) persistence_gateway: persistence_gateway::Config,
    /// The operator's door.
    pub(crate) admin_api: admin_api::Config,
}

/// The process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct NodeSection {
    /// Its name among the others.
    pub(crate) name: String,
    /// Directory for everything it keeps.
    pub(crate) data_dir: PathBuf,
    /// Threads that work on requests; 0 for one per processor.
    pub(crate) worker_threads: usize,
}

impl Default for NodeSection {
    fn default() -> Self {
        Self { name: "hive-mind-0".to_owned(), data_dir: PathBuf::from("hive-mind-data"), worker_threads: 0 }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            shards: 1,
            node: NodeSection::default(),
            listen: Listen::default(),
            log: LogConfig::default(),
            audit: audit::Config::default(),
            peers: Peers::default(),
            order_engine: order_engine::Config::default(),
            consensus_coordinator: consensus_coordinator::Config::default(),
            persistence_gateway: persistence_gateway::Config::default(),
            admin_api: admin_api::Config::default(),
        }
    }
}

impl ServerConfig {
    /// Reads the file and the environment and checks every section.
    pub(crate) fn load(file: Option<&Path>) -> Result<Loaded<Self>> {
        let mut loaded: Loaded<Self> = load(file, ENVIRONMENT_PREFIX)?;
        loaded.value.tell_shards();
        loaded.value.check()?;
        Ok(loaded)
    }

    /// Every service works on all shards.
    fn tell_shards(&mut self) {
        let all: Vec<u32> = (0..self.shards).collect();
        self.order_engine.shards = self.shards;
        self.consensus_coordinator.shards.clone_from(&all);
        self.persistence_gateway.shards = all;
    }

    /// What the types of the keys cannot check.
    pub(crate) fn check(&self) -> Result<()> {
        if !(1..=SHARDS_MAX).contains(&self.shards) {
            bail!("shards is {}, allowed are 1 to {SHARDS_MAX}", self.shards);
        }
        if self.node.name.is_empty() {
            bail!("node.name must not be empty");
        }
        if self.node.worker_threads > WORKER_THREADS_MAX {
            bail!("node.worker_threads is {}, allowed are 0 to {WORKER_THREADS_MAX}", self.node.worker_threads);
        }
        self.log.check()?;
        self.audit.validate()?;
        for (key, address) in [
            ("listen.grpc", self.listen.grpc),
            ("listen.admin", self.listen.admin),
            ("listen.metrics", self.listen.metrics),
        ] {
            if !address.ip().is_loopback() {
                bail!("{key} is {address}: without authentication only loopback addresses are allowed, use 127.0.0.1");
            }
        }
        self.peers.order_engine.read("peers.order_engine")?;
        self.peers.consensus_coordinator.read("peers.consensus_coordinator")?;
        let gateways = self.peers.persistence_gateway.read("peers.persistence_gateway")?.len();
        if gateways > 1 && self.persistence_gateway.journal.backend == JournalBackend::File {
            bail!(
                "peers.persistence_gateway names {gateways} gateways, but with persistence_gateway.journal.backend = \
                 \"file\" one keeps the journal; name one, or set the backend to \"postgres\" in all processes"
            );
        }
        self.order_engine.validate()?;
        self.consensus_coordinator.validate().context("consensus_coordinator")?;
        self.admin_api.validate().context("admin_api")?;
        self.persistence_gateway.check().context("persistence_gateway")?;
        Ok(())
    }
}
