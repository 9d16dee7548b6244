//! The one configuration of all roles: a section for the node, one for each service.
//!
//! Deliberately absent: what the services' keys mean; each service documents and checks its own.

mod peers;
mod performance;

use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, bail};
use persistence_gateway::config::JournalBackend;
use serde::{Deserialize, Serialize};
use service_kit::auth::config as security;
use service_kit::config::{InForce, Loaded, Origin, Source};
use service_kit::node::Listen;
use service_kit::telemetry::LogConfig;
use service_kit::{audit, memory, trace};
use types::SHARDS_MAX;

pub(crate) use peers::{Addresses, Peers};
pub(crate) use performance::Performance;

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
    /// Where it listens; without keys and TLS on loopback only.
    pub(crate) listen: Listen,
    /// Keys, certificates, limits.
    pub(crate) security: security::Config,
    /// What it logs.
    pub(crate) log: LogConfig,
    /// What requests went through, and where that is shown.
    pub(crate) tracing: trace::Config,
    /// Who did what: what of it is recorded.
    pub(crate) audit: audit::Config,
    /// What is done about memory.
    pub(crate) memory: memory::Config,
    /// Ways of doing the same faster.
    pub(crate) performance: Performance,
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
    /// Who outside is told what.
    pub(crate) notifications: admin_api::notifications::Config,
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
            security: security::Config::default(),
            log: LogConfig::default(),
            tracing: trace::Config::default(),
            audit: audit::Config::default(),
            memory: memory::Config::default(),
            performance: Performance::default(),
            peers: Peers::default(),
            order_engine: order_engine::Config::default(),
            consensus_coordinator: consensus_coordinator::Config::default(),
            persistence_gateway: persistence_gateway::Config::default(),
            admin_api: admin_api::Config::default(),
            notifications: admin_api::notifications::Config::default(),
        }
    }
}

impl ServerConfig {
    /// Reads the file and the environment and checks every section.
    pub(crate) fn load(file: Option<&Path>) -> Result<Loaded<Self>> {
        Self::source(file.map(Path::to_owned), None).load(None).map_err(Error::msg)
    }

    /// Whether a node in this environment could use a file with this text.
    pub(crate) fn check_text(path: &Path, text: &str) -> Result<()> {
        Self::source(None, None).load(Some((path, text))).map(drop).map_err(Error::msg)
    }

    /// The same for a process that runs and may load it again; `data_dir` is the command line's.
    pub(crate) fn in_force(file: Option<PathBuf>, data_dir: Option<PathBuf>) -> Result<InForce<Self>> {
        InForce::load(Self::source(file, data_dir)).map_err(Error::msg)
    }

    fn source(file: Option<PathBuf>, data_dir: Option<PathBuf>) -> Source<Self> {
        // A file may be renamed into another's place while the process stands in another directory.
        let file = file.map(|file| std::path::absolute(&file).unwrap_or(file));
        Source {
            file,
            prefix: ENVIRONMENT_PREFIX,
            hot: Self::hot(),
            complete: Box::new(move |loaded: &mut Loaded<Self>| {
                loaded.value.tell_shards();
                if let Some(directory) = &data_dir {
                    loaded.value.node.data_dir.clone_from(directory);
                    loaded.origins.insert("node.data_dir".to_owned(), Origin::Argument("--data-dir"));
                }
            }),
            check: Box::new(|config: &Self| config.check().map_err(|error| format!("{error:#}"))),
        }
    }

    /// The keys that may change while the process runs, as each section names them.
    fn hot() -> Vec<String> {
        let sections: &[(&str, &[&str])] = &[
            ("security", security::Config::HOT),
            ("log", LogConfig::HOT),
            ("tracing", trace::Config::HOT),
            ("memory", memory::Config::HOT),
            ("audit", audit::Config::HOT),
            ("notifications", admin_api::notifications::Config::HOT),
            ("order_engine", order_engine::Config::HOT),
            ("consensus_coordinator", consensus_coordinator::Config::HOT),
            ("persistence_gateway", persistence_gateway::Config::HOT),
            ("admin_api", admin_api::Config::HOT),
        ];
        sections.iter().flat_map(|(section, keys)| keys.iter().map(move |key| format!("{section}.{key}"))).collect()
    }

    /// Every service works on all shards.
    fn tell_shards(&mut self) {
        let all: Vec<u32> = (0..self.shards).collect();
        self.order_engine.shards = self.shards;
        self.consensus_coordinator.shards.clone_from(&all);
        self.persistence_gateway.shards = all;
    }

    /// How this node is reached.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.security.tls.is_on() { "https" } else { "http" }
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
        self.security.check()?;
        self.tracing.validate()?;
        if self.tracing.endpoint.starts_with("https://") && !self.security.tls.is_on() {
            bail!("tracing.endpoint is https: name the authorities of its certificate in security.tls");
        }
        self.audit.validate()?;
        self.memory.validate()?;
        self.notifications.validate()?;
        for (key, address) in [
            ("listen.grpc", self.listen.grpc),
            ("listen.admin", self.listen.admin),
            ("listen.metrics", self.listen.metrics),
        ] {
            if !address.ip().is_loopback() && !self.security.may_listen_anywhere() {
                bail!(
                    "{key} is {address}: without security.keys_dir and security.tls only loopback addresses are allowed, \
                     use 127.0.0.1"
                );
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hot_key_is_a_key() {
        let tree = serde_json::to_value(ServerConfig::default()).expect("a tree of keys");
        for key in ServerConfig::hot() {
            let found = key.split('.').try_fold(&tree, |at, part| at.get(part));
            assert!(found.is_some(), "{key} is said to be hot, but there is no such key");
        }
    }
}
