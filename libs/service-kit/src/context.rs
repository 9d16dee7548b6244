//! What a node gives to every service it carries. Absent: configuration and channels; those are passed one by one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use wire::pb::admin::v1::{ComponentStatus, NodeHealth};
use wire::transport::ClientOptions;

use crate::audit::Audit;
use crate::auth::Auth;
use crate::config::ConfigDoor;
use crate::telemetry::LogLevel;
use crate::tls::Tls;
use crate::trace::Tracer;
use crate::{Components, MemoryAccounts, Pools};

/// What all services of a process share. Clones share their registries.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NodeContext {
    /// Configured name of the instance.
    pub name: String,
    /// Roles of the process, as configured.
    pub roles: Vec<String>,
    /// Where the process keeps its files. Each service has its own directory below.
    pub data_dir: PathBuf,
    /// Version of the program.
    pub version: &'static str,
    /// When the process was started.
    pub started: Instant,
    /// Who may do what here.
    pub auth: Auth,
    /// Certificates, if there are any.
    pub tls: Option<Tls>,
    /// How this process connects to others of the cluster.
    pub to_peers: ClientOptions,
    /// Conditions of the components.
    pub components: Components,
    /// Database connection pools.
    pub pools: Pools,
    /// Who uses how much memory.
    pub memory: MemoryAccounts,
    /// Who did what. Records nothing until it is opened.
    pub audit: Audit,
    /// The configuration in force; none for an instance that was composed by a program.
    pub config: Option<Arc<dyn ConfigDoor>>,
    /// What is logged; none where the instance does not decide it.
    pub log_level: Option<LogLevel>,
    /// Records what requests went through. Records nothing until it is given one that does.
    pub tracer: Tracer,
}

impl NodeContext {
    /// A context with empty registries, for an instance that starts now. Its doors trust whoever is on this machine.
    pub fn new(name: impl Into<String>, roles: Vec<String>, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            roles,
            data_dir: data_dir.into(),
            version: env!("CARGO_PKG_VERSION"),
            started: Instant::now(),
            auth: Auth::trusting(),
            tls: None,
            to_peers: ClientOptions::to_a_peer(),
            components: Components::new(),
            pools: Pools::default(),
            memory: MemoryAccounts::default(),
            audit: Audit::none(),
            config: None,
            log_level: None,
            tracer: Tracer::off(),
        }
    }

    /// What this instance says of its health.
    #[must_use]
    pub fn health(&self) -> NodeHealth {
        let snapshot = self.components.snapshot();
        NodeHealth {
            node: self.name.clone(),
            roles: self.roles.clone(),
            version: self.version.to_owned(),
            uptime_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            status: ComponentStatus::from(snapshot.condition()).into(),
            draining: snapshot.draining,
            components: snapshot.components.into_iter().map(Into::into).collect(),
        }
    }
}
