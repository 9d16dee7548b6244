//! Composes the services of a process: binds, connects them to each other, serves until it is told to stop.
//!
//! Deliberately absent: everything the services do.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde::Serialize;
use service_kit::metrics::Exporter;
use service_kit::node::{Listen, Node, NodeError, NodeOptions};
use service_kit::{DataDir, NodeContext, Service, Shutdown};
use tonic::transport::Channel;
use wire::transport::{Address, ClientOptions, InProcess, InProcessListener, connect, in_process};

use crate::config::{Misconfigured, ServerConfig};

/// File in the data directory that says where the node listens.
const ADDRESSES_FILE: &str = "node.json";

/// A service that a process can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Journal and history. First: others call it.
    PersistenceGateway,
    /// Leadership.
    ConsensusCoordinator,
    /// Orders.
    OrderEngine,
    /// The operator's door.
    AdminApi,
}

/// A node that is bound, locked and composed.
pub(crate) struct Composed {
    node: Node,
    services: Vec<Box<dyn Service>>,
    listener: InProcessListener,
    addresses: Listen,
    _data_dir: DataDir,
}

/// What `node.json` holds.
#[derive(Serialize)]
struct AddressesFile {
    pid: u32,
    name: String,
    grpc: String,
    admin: String,
    metrics: String,
}

impl Role {
    const ALL: [Self; 4] = [Self::PersistenceGateway, Self::ConsensusCoordinator, Self::OrderEngine, Self::AdminApi];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::PersistenceGateway => "persistence-gateway",
            Self::ConsensusCoordinator => "consensus-coordinator",
            Self::OrderEngine => "order-engine",
            Self::AdminApi => "admin-api",
        }
    }

    /// Reads `all`, or names separated by commas.
    pub(crate) fn parse(text: &str) -> Result<BTreeSet<Self>> {
        if text == "all" {
            return Ok(Self::ALL.into());
        }
        text.split(',')
            .map(str::trim)
            .map(|name| {
                let known = Self::ALL.into_iter().find(|role| role.name() == name);
                known.with_context(|| {
                    let names: Vec<_> = Self::ALL.iter().map(|role| role.name()).collect();
                    format!("there is no role {name:?}; there are {}, and all", names.join(", "))
                })
            })
            .collect()
    }
}

impl Composed {
    /// Locks the data directory, binds the sockets, builds the services. Nothing is served yet.
    pub(crate) async fn new(mut config: ServerConfig, roles: &BTreeSet<Role>, exporter: Exporter) -> Result<Self> {
        let data_dir = DataDir::lock(&config.node.data_dir)?;
        let names = roles.iter().map(|role| role.name().to_owned()).collect();
        let context = NodeContext::new(&config.node.name, names, data_dir.path());
        context.memory.set_allocator(service_kit::memory::jemalloc);
        let node = Node::bind(NodeOptions::new(config.listen, context, exporter)).await?;
        let addresses = node.addresses();
        // Unless set otherwise, the engine goes by the node's name and is reached where the node really listens.
        let usual = order_engine::Config::default();
        if config.order_engine.name == usual.name {
            config.order_engine.name.clone_from(&config.node.name);
        }
        if config.order_engine.advertised_address == usual.advertised_address {
            config.order_engine.advertised_address = format!("http://{}", addresses.grpc);
        }
        write_addresses(data_dir.path(), &config.node.name, addresses)?;
        let (dial, listener) = in_process();
        let services = build(config, roles, node.context(), dial).await?;
        Ok(Self { node, services, listener, addresses, _data_dir: data_dir })
    }

    /// Where it listens.
    pub(crate) const fn addresses(&self) -> Listen {
        self.addresses
    }

    /// Returns when orders are taken.
    pub(crate) fn ready(&self) -> impl Future<Output = ()> + use<> {
        let components = self.node.context().components.clone();
        async move {
            let mut changes = components.changes();
            while !components.is_ready() {
                // Ends only with the registry, which `components` keeps.
                if changes.changed().await.is_err() {
                    return;
                }
            }
        }
    }

    /// Serves until `shutdown`.
    pub(crate) async fn serve(self, shutdown: Shutdown) -> Result<(), NodeError> {
        let Self { node, services, listener, addresses: _, _data_dir } = self;
        node.serve(services, Some(listener), shutdown).await
    }
}

/// The services, in the order in which they depend on each other.
async fn build(
    config: ServerConfig,
    roles: &BTreeSet<Role>,
    context: &NodeContext,
    dial: InProcess,
) -> Result<Vec<Box<dyn Service>>> {
    let peer = |role: Role, address: &Option<String>| -> Result<Option<Channel>> {
        if roles.contains(&role) {
            return Ok(Some(connect(&Address::InProcess(dial.clone()), &ClientOptions::default())));
        }
        address.as_ref().map(|text| Ok(connect(&text.parse()?, &ClientOptions::default()))).transpose()
    };
    let (shard, held) = (config.order_engine.shard, &config.persistence_gateway.shards);
    if roles.contains(&Role::OrderEngine) && roles.contains(&Role::PersistenceGateway) && !held.contains(&shard) {
        return Err(anyhow!("order_engine.shard is {shard}, but persistence_gateway.shards are {held:?}"))
            .context(Misconfigured);
    }
    let gateway = peer(Role::PersistenceGateway, &config.peers.persistence_gateway)?;
    let coordinator = peer(Role::ConsensusCoordinator, &config.peers.consensus_coordinator)?;
    let engine = peer(Role::OrderEngine, &config.peers.order_engine)?;
    let needed = |channel: &Option<Channel>, key: &str, by: Role| {
        let missing = || format!("{} needs peers.{key}, or that role in this process", by.name());
        channel.clone().with_context(missing).context(Misconfigured)
    };

    let mut services: Vec<Box<dyn Service>> = Vec::new();
    for role in roles {
        services.push(match role {
            Role::PersistenceGateway => {
                Box::new(persistence_gateway::build(config.persistence_gateway.clone(), context).await?)
            }
            Role::ConsensusCoordinator => {
                Box::new(consensus_coordinator::build(config.consensus_coordinator.clone(), context).await?)
            }
            Role::OrderEngine => {
                let deps = order_engine::Deps {
                    journal: vec![needed(&gateway, "persistence_gateway", *role)?],
                    consensus: needed(&coordinator, "consensus_coordinator", *role)?,
                    history: gateway.clone(),
                };
                Box::new(order_engine::build(config.order_engine.clone(), deps, context).await?)
            }
            Role::AdminApi => {
                let deps = admin_api::Deps {
                    nodes: distinct_nodes(&config, roles, &dial)?,
                    consensus: needed(&coordinator, "consensus_coordinator", *role)?,
                };
                needed(&engine, "order_engine", *role)?;
                Box::new(admin_api::build(config.admin_api.clone(), deps, context).await?)
            }
        });
    }
    Ok(services)
}

/// Every process once: this one, and the configured others.
fn distinct_nodes(config: &ServerConfig, roles: &BTreeSet<Role>, dial: &InProcess) -> Result<Vec<(String, Channel)>> {
    let own = connect(&Address::InProcess(dial.clone()), &ClientOptions::default());
    let mut nodes = vec![(config.node.name.clone(), own)];
    let mut seen = BTreeSet::new();
    for (role, address) in [
        (Role::PersistenceGateway, &config.peers.persistence_gateway),
        (Role::ConsensusCoordinator, &config.peers.consensus_coordinator),
        (Role::OrderEngine, &config.peers.order_engine),
    ] {
        if let Some(text) = address
            && !roles.contains(&role)
            && seen.insert(text.clone())
        {
            nodes.push((text.clone(), connect(&text.parse()?, &ClientOptions::default())));
        }
    }
    Ok(nodes)
}

/// Written in one step, so that a reader sees all of it or nothing.
fn write_addresses(data_dir: &Path, name: &str, addresses: Listen) -> Result<()> {
    let file = AddressesFile {
        pid: std::process::id(),
        name: name.to_owned(),
        grpc: addresses.grpc.to_string(),
        admin: addresses.admin.to_string(),
        metrics: addresses.metrics.to_string(),
    };
    let target = data_dir.join(ADDRESSES_FILE);
    let temporary = data_dir.join("node.json.new");
    std::fs::write(&temporary, serde_json::to_vec_pretty(&file)?)
        .and_then(|()| std::fs::rename(&temporary, &target))
        .with_context(|| format!("cannot write {}", target.display()))
}
