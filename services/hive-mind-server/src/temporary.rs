//! A node for one load: in a directory of its own that goes with it, on ports the kernel chose, or a running one
//! that the user named. Either way the load reaches it over TCP.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use service_kit::Shutdown;
use service_kit::config::InForce;
use service_kit::metrics::Exporter;
use service_kit::node::{Listen, NodeError};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use wire::client::Cluster;
use wire::transport::{Address, Channel, ClientOptions, connect};

use crate::cli::Target;
use crate::config::ServerConfig;
use crate::run::{Composed, Role};

/// A node to put load on.
pub(crate) enum LoadTarget {
    /// Ours.
    Temporary(TemporaryNode),
    /// The user's: engines of one cluster.
    Running(Vec<Address>, ClientOptions),
}

/// A running node of our own.
pub(crate) struct TemporaryNode {
    /// Where it listens.
    pub(crate) addresses: Listen,
    shutdown: Shutdown,
    task: JoinHandle<Result<(), NodeError>>,
    directory: TempDir,
}

impl LoadTarget {
    /// Connects to the target that is named, or starts a node below `directory`.
    pub(crate) async fn new(target: &Target, directory: Option<&Path>) -> Result<Self> {
        match &target.target {
            Some(text) => {
                let addresses = text.split(',').map(|address| Ok(address.trim().parse()?));
                Ok(Self::Running(addresses.collect::<Result<_>>()?, target.options()?))
            }
            None => Ok(Self::Temporary(TemporaryNode::start(Listen::any_port(), directory).await?)),
        }
    }

    /// A new connection to the gRPC services of the first node.
    pub(crate) fn channel(&self) -> Result<Channel> {
        match self {
            Self::Temporary(node) => node.channel(),
            Self::Running(addresses, options) => {
                let first = addresses.first().context("--target names no address")?;
                Ok(connect(first, options))
            }
        }
    }

    /// New connections to all nodes. One node alone gets everything; from several, requests go straight to leaders.
    pub(crate) fn cluster(&self) -> Result<Cluster> {
        match self {
            Self::Running(addresses, options) if addresses.len() > 1 => {
                let channels = addresses.iter().map(|address| connect(address, options));
                Ok(Cluster::roaming(channels.collect(), options)?)
            }
            _ => Ok(Cluster::fixed(self.channel()?)),
        }
    }

    /// Directory of its journal, if it is ours to look at.
    pub(crate) fn directory(&self) -> Option<PathBuf> {
        match self {
            Self::Temporary(node) => Some(node.directory.path().to_owned()),
            Self::Running(..) => None,
        }
    }

    /// Stops it, if it is ours.
    pub(crate) async fn stop(self) -> Result<()> {
        match self {
            Self::Temporary(node) => node.stop().await,
            Self::Running(..) => Ok(()),
        }
    }
}

impl TemporaryNode {
    /// Starts all roles with the default configuration and waits until orders are taken.
    pub(crate) async fn start(listen: Listen, directory: Option<&Path>) -> Result<Self> {
        let directory = match directory {
            Some(parent) => TempDir::with_prefix_in("hive-mind-", parent),
            None => TempDir::with_prefix("hive-mind-"),
        }
        .context("cannot make a temporary directory")?;
        let mut config = ServerConfig { listen, ..ServerConfig::default() };
        config.node.data_dir = directory.path().to_owned();
        // On the heap, since it holds what every service needs while it is built.
        let config = InForce::fixed(config).map_err(anyhow::Error::msg)?;
        let composed = Box::pin(Composed::new(&config, &Role::parse("all")?, Exporter::install()?, None)).await?;
        let addresses = composed.addresses();
        let ready = composed.ready();
        let shutdown = Shutdown::new();
        let mut task = tokio::spawn(Box::pin(composed.serve(shutdown.clone())));
        tokio::select! {
            () = ready => {}
            ended = &mut task => {
                ended?.context("the temporary node did not start")?;
                anyhow::bail!("the temporary node ended by itself");
            }
        }
        Ok(Self { addresses, shutdown, task, directory })
    }

    /// A new connection to its gRPC services.
    pub(crate) fn channel(&self) -> Result<Channel> {
        let address: Address = format!("http://{}", self.addresses.grpc).parse()?;
        Ok(connect(&address, &ClientOptions::default()))
    }

    /// Waits until it ends, by SIGTERM or Ctrl-C.
    pub(crate) async fn serve_until_signal(self) -> Result<()> {
        self.shutdown.on_signals()?;
        self.task.await??;
        Ok(())
    }

    /// Drains it and removes its directory.
    pub(crate) async fn stop(self) -> Result<()> {
        self.shutdown.drain();
        self.task.await??;
        Ok(())
    }
}
