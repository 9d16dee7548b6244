//! The ways to the other services: over memory to those of this process, over TCP to those of the configured peers.
//!
//! Deliberately absent: when a connection is made. Channels connect when they are first used.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use consensus_coordinator::StoreKind;
use persistence_gateway::config::JournalBackend;
use service_kit::node::Listen;
use wire::transport::{Address, Channel, ClientOptions, InProcess, connect};

use tokio::runtime::Handle;

use super::Role;
use crate::config::{Addresses, Misconfigured, ServerConfig};

/// The services that this process can call.
pub(super) struct Neighbours {
    own: Channel,
    /// For each of the three: is one in this process, and the others with their addresses.
    gateways: Ways,
    coordinators: Ways,
    engines: Ways,
}

struct Ways {
    own: Option<Channel>,
    peers: Vec<(String, Channel)>,
}

impl Neighbours {
    /// A process may be among its own peers, so that all can have the same configuration: it calls itself over memory.
    pub(super) fn new(
        config: &ServerConfig,
        advertised_address: &str,
        roles: &BTreeSet<Role>,
        dial: &InProcess,
        addresses: Listen,
        signs_of_life: &Handle,
        to_peers: &ClientOptions,
    ) -> Result<Self> {
        let own = connect(&Address::InProcess(dial.clone()), &ClientOptions::default());
        let itself = [format!("{}://{}", config.scheme(), addresses.grpc), advertised_address.to_owned()];
        let ways = |role: Role, peers: &Addresses| -> Result<Ways> {
            let own = roles.contains(&role).then(|| own.clone());
            let peers =
                peers.texts().zip(peers.read("peers")?).filter(|(text, _)| !itself.iter().any(|own| own == text));
            let connected = peers.map(|(text, address)| (text.to_owned(), connect(&address, to_peers)));
            Ok(Ways { own, peers: connected.collect() })
        };
        let mut gateways = ways(Role::PersistenceGateway, &config.peers.persistence_gateway)?;
        // Another gateway has another file.
        if gateways.own.is_some() && config.persistence_gateway.journal.backend == JournalBackend::File {
            gateways.peers.clear();
        }
        let mut coordinators = {
            // A connection is carried by the runtime in which it is set up.
            let _apart = signs_of_life.enter();
            ways(Role::ConsensusCoordinator, &config.peers.consensus_coordinator)?
        };
        // Likewise the file of the embedded store.
        if coordinators.own.is_some() && config.consensus_coordinator.store == StoreKind::Embedded {
            coordinators.peers.clear();
        }
        let engines = ways(Role::OrderEngine, &config.peers.order_engine)?;
        Ok(Self { own, gateways, coordinators, engines })
    }

    /// All ways to a service, the one in this process first.
    pub(super) fn all(&self, role: Role) -> Vec<Channel> {
        let ways = self.ways(role).0;
        ways.own.iter().cloned().chain(ways.peers.iter().map(|(_, channel)| channel.clone())).collect()
    }

    /// The same with what they go by: this process by its name, the others by their addresses.
    pub(super) fn named(&self, role: Role, name: &str) -> Vec<(String, Channel)> {
        let ways = self.ways(role).0;
        let own = ways.own.iter().map(|channel| (name.to_owned(), channel.clone()));
        own.chain(ways.peers.iter().cloned()).collect()
    }

    /// All ways to a service that `by` cannot do without, the one in this process first.
    pub(super) fn needed(&self, role: Role, by: Role) -> Result<Vec<Channel>> {
        let (all, key) = (self.all(role), self.ways(role).1);
        let missing = || format!("{} needs peers.{key}, or that role in this process", by.name());
        (!all.is_empty()).then_some(all).with_context(missing).context(Misconfigured)
    }

    fn ways(&self, role: Role) -> (&Ways, &'static str) {
        match role {
            Role::PersistenceGateway => (&self.gateways, "persistence_gateway"),
            Role::ConsensusCoordinator => (&self.coordinators, "consensus_coordinator"),
            Role::OrderEngine | Role::AdminApi => (&self.engines, "order_engine"),
        }
    }

    /// Every process once: this one by its name, the others by their addresses.
    pub(super) fn nodes(&self, name: &str) -> Vec<(String, Channel)> {
        let mut nodes = vec![(name.to_owned(), self.own.clone())];
        for (text, channel) in
            [&self.gateways, &self.coordinators, &self.engines].into_iter().flat_map(|ways| &ways.peers)
        {
            if nodes.iter().all(|(known, _)| known != text) {
                nodes.push((text.clone(), channel.clone()));
            }
        }
        nodes
    }
}
