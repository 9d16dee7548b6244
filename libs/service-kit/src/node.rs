//! A process and its three doors: gRPC, admin HTTP, metrics. Binds all sockets before anything starts, serves the
//! services it is given, and stops them in order.
//!
//! Addresses outside the machine are accepted only with keys and encryption (see [`crate::auth`]). The gRPC routes are
//! also served on the in-process listener, so that roles of one process meet as roles of four do.
//!
//! Services are given in the order of dependence: what others call comes first. They are drained from the last to the
//! first, so that whoever is being drained still has what it calls.
//!
//! Deliberately absent: which services there are, configuration files, signals (see [`Shutdown::on_signals`]).

mod admin;
mod config_service;
pub(crate) mod database_service;
mod grpc;
mod grpc_health;
mod key_service;
mod lifecycle;
mod node_activity;
mod node_audit;
mod node_memory;
mod node_service;
mod socket;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use wire::transport::InProcessListener;

pub use database_service::NodeDatabase;
pub use key_service::NodeKeys;
pub use node_audit::NodeAudit;

use crate::metrics::Exporter;
use crate::{NodeContext, Service, ServiceError, Shutdown};

pub use node_memory::NodeMemory;

/// Where a node listens. Port 0 takes any free port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// gRPC: all services, health, reflection.
    pub grpc: SocketAddr,
    /// Admin HTTP.
    pub admin: SocketAddr,
    /// Metrics for Prometheus.
    pub metrics: SocketAddr,
}

impl Default for Listen {
    /// 127.0.0.1, ports 8080, 8091 and 9090.
    fn default() -> Self {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self { grpc: at(8080), admin: at(8091), metrics: at(9090) }
    }
}

impl Listen {
    /// 127.0.0.1, any free ports.
    #[must_use]
    pub fn any_port() -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { grpc: any, admin: any, metrics: any }
    }
}

/// What a node is made of.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Where it listens.
    pub listen: Listen,
    /// What its services share.
    pub context: NodeContext,
    /// What its metrics door serves.
    pub exporter: Exporter,
    /// How long all services together may take to finish what they accepted. The default, 20 s, is below the 30 s
    /// after which orchestrators kill.
    pub drain_timeout: Duration,
    /// How long open connections are waited for after the services have ended. Streams that clients keep open for
    /// ever, such as a health watch, use all of it; default 1 s.
    pub close_timeout: Duration,
}

impl NodeOptions {
    /// Options with default timeouts.
    #[must_use]
    pub fn new(listen: Listen, context: NodeContext, exporter: Exporter) -> Self {
        let (drain_timeout, close_timeout) = (Duration::from_secs(20), Duration::from_secs(1));
        Self { listen, context, exporter, drain_timeout, close_timeout }
    }
}

/// A node whose sockets are bound and which serves nothing yet.
#[derive(Debug)]
pub struct Node {
    grpc: TcpListener,
    admin: TcpListener,
    metrics: TcpListener,
    listen: Listen,
    options: NodeOptions,
}

/// Why a node cannot start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// An address outside the machine.
    #[error(
        "refusing to listen on {address} for {door}: without API keys and TLS only loopback addresses are allowed; use \
         127.0.0.1 or [::1], or set security.keys_dir and security.tls"
    )]
    NotLoopback {
        /// Which door.
        door: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// A socket cannot be bound.
    #[error("cannot listen on {address} for {door}; is another process using the port?")]
    Bind {
        /// Which door.
        door: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The descriptors of the services cannot be served.
    #[error("cannot serve reflection")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// A service could not go on.
    #[error("{name} failed: {source}")]
    Service {
        /// The service.
        name: &'static str,
        /// Its reason.
        source: ServiceError,
    },
    /// A service returned without having been asked to.
    #[error("{name} ended by itself")]
    Ended {
        /// The service.
        name: &'static str,
    },
    /// A service or a door panicked.
    #[error("{name} panicked: {message}")]
    Panicked {
        /// Who.
        name: &'static str,
        /// The panic's message.
        message: String,
    },
    /// A service had not finished in time and was abandoned.
    #[error("{name} did not finish within the drain timeout and was abandoned")]
    DrainTimeout {
        /// The service.
        name: &'static str,
    },
    /// A door stopped working.
    #[error("the {door} door failed: {message}")]
    Door {
        /// Which door.
        door: &'static str,
        /// What happened.
        message: String,
    },
}

impl NodeError {
    /// Exit code for the process: the service's own if it has one, else 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Service { source, .. } => source.exit_code(),
            _ => ServiceError::EXIT_FAILURE,
        }
    }
}

impl Node {
    /// Binds all sockets, or none.
    ///
    /// # Errors
    /// [`NodeError::NotLoopback`] or [`NodeError::Bind`].
    pub async fn bind(options: NodeOptions) -> Result<Self, NodeError> {
        let wanted = options.listen;
        for (door, address) in [("grpc", wanted.grpc), ("admin", wanted.admin), ("metrics", wanted.metrics)] {
            if !address.ip().is_loopback() && !options.context.auth.may_listen_anywhere() {
                return Err(NodeError::NotLoopback { door, address });
            }
        }
        let (grpc, grpc_at) = bind("grpc", wanted.grpc).await?;
        let (admin, admin_at) = bind("admin", wanted.admin).await?;
        let (metrics, metrics_at) = bind("metrics", wanted.metrics).await?;
        let listen = Listen { grpc: grpc_at, admin: admin_at, metrics: metrics_at };
        Ok(Self { grpc, admin, metrics, listen, options })
    }

    /// Where it really listens: with the ports that were found for 0.
    #[must_use]
    pub fn addresses(&self) -> Listen {
        self.listen
    }

    /// What its services share.
    #[must_use]
    pub fn context(&self) -> &NodeContext {
        &self.options.context
    }

    /// Serves until `shutdown` drains or a service ends, then stops in order: readiness off, services drained from the
    /// last to the first, doors closed.
    ///
    /// # Errors
    /// The first thing that went wrong; the other services were drained all the same. `Ok` after an orderly stop.
    pub async fn serve(
        self,
        services: Vec<Box<dyn Service>>,
        in_process: Option<InProcessListener>,
        shutdown: Shutdown,
    ) -> Result<(), NodeError> {
        lifecycle::run(self, services, in_process, shutdown).await
    }
}

async fn bind(door: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), NodeError> {
    let failed = |source| NodeError::Bind { door, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}
