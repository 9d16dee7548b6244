//! The one configuration of all roles: a section for the node, one for each service.
//!
//! Deliberately absent: what the services' keys mean; each service documents and checks its own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use service_kit::config::{Loaded, load};
use service_kit::node::Listen;
use service_kit::telemetry::LogConfig;

/// Environment variables start with it: `HIVE__LISTEN__GRPC`.
const ENVIRONMENT_PREFIX: &str = "HIVE";

/// More threads than any machine has processors for; a slip of the keyboard must not ask the system for millions.
const WORKER_THREADS_MAX: usize = 1_024;

/// Marks errors of the configuration, which have an exit code of their own.
#[derive(Debug, thiserror::Error)]
#[error("the configuration cannot be used")]
pub(crate) struct Misconfigured;

/// Everything that can be set.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ServerConfig {
    /// The process.
    pub(crate) node: NodeSection,
    /// Where it listens; loopback only.
    pub(crate) listen: Listen,
    /// What it logs.
    pub(crate) log: LogConfig,
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

/// gRPC addresses, `http://host:port`, of services in other processes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Peers {
    /// Needed by the admin API.
    pub(crate) order_engine: Option<String>,
    /// Needed by the order engine and the admin API.
    pub(crate) consensus_coordinator: Option<String>,
    /// Needed by the order engine and the admin API.
    pub(crate) persistence_gateway: Option<String>,
}

impl Default for NodeSection {
    fn default() -> Self {
        Self { name: "hive-mind-0".to_owned(), data_dir: PathBuf::from("hive-mind-data"), worker_threads: 0 }
    }
}

impl ServerConfig {
    /// Reads the file and the environment and checks every section.
    pub(crate) fn load(file: Option<&Path>) -> Result<Loaded<Self>> {
        let loaded: Loaded<Self> = load(file, ENVIRONMENT_PREFIX)?;
        loaded.value.check()?;
        Ok(loaded)
    }

    /// What the types of the keys cannot check.
    pub(crate) fn check(&self) -> Result<()> {
        if self.node.name.is_empty() {
            bail!("node.name must not be empty");
        }
        if self.node.worker_threads > WORKER_THREADS_MAX {
            bail!("node.worker_threads is {}, allowed are 0 to {WORKER_THREADS_MAX}", self.node.worker_threads);
        }
        self.log.check()?;
        for (key, address) in [
            ("listen.grpc", self.listen.grpc),
            ("listen.admin", self.listen.admin),
            ("listen.metrics", self.listen.metrics),
        ] {
            if !address.ip().is_loopback() {
                bail!("{key} is {address}: without authentication only loopback addresses are allowed, use 127.0.0.1");
            }
        }
        for (key, address) in [
            ("peers.order_engine", &self.peers.order_engine),
            ("peers.consensus_coordinator", &self.peers.consensus_coordinator),
            ("peers.persistence_gateway", &self.peers.persistence_gateway),
        ] {
            if let Some(address) = address {
                address.parse::<wire::transport::Address>().with_context(|| key.to_owned())?;
            }
        }
        self.order_engine.validate()?;
        self.consensus_coordinator.validate().context("consensus_coordinator")?;
        self.admin_api.validate().context("admin_api")?;
        self.persistence_gateway.check().context("persistence_gateway")?;
        Ok(())
    }
}
