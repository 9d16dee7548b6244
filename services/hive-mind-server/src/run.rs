//! Composes the services of a process: binds, connects them to each other, serves until it is told to stop.
//!
//! Deliberately absent: everything the services do.

mod neighbours;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context, Result, bail};
use persistence_gateway::config::JournalBackend;
use serde::Serialize;
use service_kit::audit::Audit;
use service_kit::audit::ship::ship;
use service_kit::auth::{Auth, config as security, local};
use service_kit::config::{InForce, Live};
use service_kit::metrics::Exporter;
use service_kit::node::{Listen, Node, NodeError, NodeOptions};
use service_kit::telemetry::LogLevel;
use service_kit::tls::Tls;
use service_kit::trace::{Resource, Tracer};
use service_kit::{DataDir, NodeContext, Service, Shutdown, SideThread};
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;
use wire::api_key::ApiKey;
use wire::transport::{InProcessListener, in_process};

use crate::config::{Misconfigured, ServerConfig};
use neighbours::Neighbours;

/// File in the data directory that says where the node listens.
pub(crate) const ADDRESSES_FILE: &str = "node.json";

/// The audit log among the components of a node's health.
const AUDIT: &str = "audit";

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
    signs_of_life: SideThread,
    _background: [AbortOnDropHandle<()>; 4],
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
    pub(crate) async fn new(
        in_force: &InForce<ServerConfig>,
        roles: &BTreeSet<Role>,
        exporter: Exporter,
        log_level: Option<LogLevel>,
    ) -> Result<Self> {
        let config = in_force.now();
        config.performance.apply();
        let data_dir = DataDir::lock(&config.node.data_dir)?;
        let local_key = local::ensure(data_dir.path())
            .with_context(|| format!("cannot write {}", data_dir.path().join(local::FILE).display()))?;
        let names = roles.iter().map(|role| role.name().to_owned()).collect();
        let mut context = NodeContext::new(&config.node.name, names, data_dir.path());
        let component = context.components.register_optional(AUDIT);
        context.audit = Audit::open(data_dir.path(), &config.node.name, &config.audit, component)?;
        let auditing = context.audit.clone().follow(in_force.part(|config| config.audit.clone()));
        secure(&mut context, &config.security, &local_key)?;
        let limits = in_force.part(|config| config.security.limits);
        let limits = follow_limits(limits, context.auth.clone());
        context.memory.set_allocator(service_kit::memory::jemalloc);
        context.memory.configure(in_force.part(|config| config.memory.clone()));
        context.log_level = log_level;
        let tls = context.to_peers.tls.clone();
        let (tracer, tracing) = Tracer::new(in_force.part(|config| config.tracing.clone()), resource(&context), tls);
        context.tracer = tracer;
        in_force.report_to(&mut context);
        check_advertised(&config, roles)?;
        let node = Node::bind(NodeOptions::new(config.listen, context, exporter)).await?;
        let addresses = node.addresses();
        write_addresses(data_dir.path(), &config.node.name, addresses)?;
        let (dial, listener) = in_process();
        let engine = in_force.part(move |config| engine_config(config, addresses));
        let signs_of_life = SideThread::start("signs-of-life").context("cannot start a thread")?;
        let itself = &engine.now().advertised_address;
        let (aside, to_peers) = (signs_of_life.handle(), &node.context().to_peers);
        let neighbours = Neighbours::new(&config, itself, roles, &dial, addresses, aside, to_peers)?;
        let copying = ship(node.context().audit.clone(), neighbours.all(Role::PersistenceGateway));
        let background = [tokio::spawn(auditing), tokio::spawn(copying), tokio::spawn(limits), tokio::spawn(tracing)]
            .map(AbortOnDropHandle::new);
        let services = build(in_force, engine, roles, node.context(), neighbours, aside).await?;
        Ok(Self { node, services, listener, addresses, signs_of_life, _background: background, _data_dir: data_dir })
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
        let Self { node, services, listener, addresses: _, signs_of_life, _background, _data_dir } = self;
        let served = node.serve(services, Some(listener), shutdown).await;
        // Not before: leaderships are given back while services end.
        drop(signs_of_life);
        served
    }
}

/// As whom the process shows what it recorded: a process with one role by its name.
fn resource(context: &NodeContext) -> Resource {
    let service = match &context.roles[..] {
        [only] => only.clone(),
        _ => "hive-mind-server".to_owned(),
    };
    Resource { service, instance: context.name.clone(), version: context.version }
}

/// Others cannot reach an engine by the address that stands for all addresses of its machine.
fn check_advertised(config: &ServerConfig, roles: &BTreeSet<Role>) -> Result<()> {
    let (grpc, usual) = (config.listen.grpc, order_engine::Config::default().advertised_address);
    let others = config.peers.order_engine.texts().chain(config.peers.consensus_coordinator.texts()).next().is_some();
    if roles.contains(&Role::OrderEngine)
        && grpc.ip().is_unspecified()
        && others
        && config.order_engine.advertised_address == usual
    {
        bail!(
            "listen.grpc is {grpc}: set order_engine.advertised_address to the address by which other processes reach \
             this one"
        );
    }
    Ok(())
}

/// Unless set otherwise, the engine goes by the node's name and is reached where the node really listens.
fn engine_config(config: &ServerConfig, addresses: Listen) -> order_engine::Config {
    let (mut engine, usual) = (config.order_engine.clone(), order_engine::Config::default());
    if engine.name == usual.name {
        engine.name.clone_from(&config.node.name);
    }
    if engine.advertised_address == usual.advertised_address {
        engine.advertised_address = format!("{}://{}", config.scheme(), reached_from_here(addresses.grpc));
    }
    engine
}

/// Applies limits as they change.
async fn follow_limits(mut limits: Live<security::Limits>, auth: Auth) {
    loop {
        auth.set_limits(*limits.changed().await);
    }
}

/// Who may do what at the node, and what it shows to others.
fn secure(context: &mut NodeContext, config: &security::Config, local_key: &ApiKey) -> Result<()> {
    let audit = context.audit.clone();
    context.auth = Auth::new(config, local_key, &context.data_dir, audit).context("cannot tell which keys are good")?;
    context.tls = Tls::load(&config.tls).context(Misconfigured)?;
    context.to_peers.credentials = context.auth.credentials();
    context.to_peers.tls = context.tls.as_ref().and_then(Tls::client);
    Ok(())
}

/// The services, in the order in which they depend on each other.
async fn build(
    in_force: &InForce<ServerConfig>,
    engine: Live<order_engine::Config>,
    roles: &BTreeSet<Role>,
    context: &NodeContext,
    neighbours: Neighbours,
    signs_of_life: &Handle,
) -> Result<Vec<Box<dyn Service>>> {
    let now = in_force.now();
    let mut services: Vec<Box<dyn Service>> = Vec::new();
    for role in roles {
        services.push(match role {
            Role::PersistenceGateway => {
                let config = in_force.part(|config| config.persistence_gateway.clone());
                Box::new(persistence_gateway::build(config, context).await?)
            }
            Role::ConsensusCoordinator => {
                let config = in_force.part(|config| config.consensus_coordinator.clone());
                let deps = consensus_coordinator::Deps {
                    gateways: neighbours.all(Role::PersistenceGateway),
                    shared_voter: now.persistence_gateway.journal.backend == JournalBackend::Postgres,
                };
                Box::new(consensus_coordinator::build(config, deps, context).await?)
            }
            Role::OrderEngine => {
                let gateways = neighbours.needed(Role::PersistenceGateway, *role)?;
                let deps = order_engine::Deps {
                    history: gateways.first().cloned(),
                    // One voter: a file behind one gateway, or one database behind all of them.
                    journal: vec![gateways],
                    consensus: neighbours.needed(Role::ConsensusCoordinator, *role)?,
                    signs_of_life: signs_of_life.clone(),
                };
                Box::new(order_engine::build(engine.clone(), deps, context).await?)
            }
            Role::AdminApi => {
                let engines = neighbours.needed(Role::OrderEngine, *role)?;
                neighbours.needed(Role::ConsensusCoordinator, *role)?;
                let config = in_force.part(|config| config.admin_api.clone());
                let consensus = neighbours.named(Role::ConsensusCoordinator, &now.node.name);
                let deps = admin_api::Deps {
                    nodes: neighbours.nodes(&now.node.name),
                    consensus,
                    engines,
                    history: neighbours.all(Role::PersistenceGateway),
                    notifications: in_force.part(|config| config.notifications.clone()),
                };
                Box::new(admin_api::build(config, deps, context).await?)
            }
        });
    }
    Ok(services)
}

/// Where this machine reaches what listens there: who listens on all addresses is reached over loopback.
fn reached_from_here(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// Written in one step, so that a reader sees all of it or nothing.
fn write_addresses(data_dir: &Path, name: &str, addresses: Listen) -> Result<()> {
    let file = AddressesFile {
        pid: std::process::id(),
        name: name.to_owned(),
        grpc: reached_from_here(addresses.grpc).to_string(),
        admin: reached_from_here(addresses.admin).to_string(),
        metrics: reached_from_here(addresses.metrics).to_string(),
    };
    let target = data_dir.join(ADDRESSES_FILE);
    let temporary = data_dir.join("node.json.new");
    std::fs::write(&temporary, serde_json::to_vec_pretty(&file)?)
        .and_then(|()| std::fs::rename(&temporary, &target))
        .with_context(|| format!("cannot write {}", target.display()))
}
