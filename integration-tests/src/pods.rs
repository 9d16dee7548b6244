//! Nodes that each run everything, as the pods of a deployment may, over one etcd and one PostgreSQL server that holds
//! journal and history.
//!
//! Deliberately absent: a load, and links that can be cut; see [`crate::cluster`].

use std::path::Path;

use anyhow::{Context, Result};
use journal_store::testing::PostgresServer;
use serde_json::Value;

use crate::cluster::Member;
use crate::etcd::EtcdCluster;
use crate::node::Node;
use crate::{http, until};

/// See the module. Dropping it ends every process.
pub struct Pods {
    all: Vec<Member>,
    /// Where they find each other's leaderships.
    pub etcd: EtcdCluster,
    /// Where journal and history are.
    pub server: PostgresServer,
    /// The database.
    pub url: String,
}

impl Pods {
    /// Starts so many below `directory`, and waits until all of them know the same leader and find everything well.
    ///
    /// # Errors
    /// When something does not come up.
    pub async fn start(directory: &Path, number: usize) -> Result<Self> {
        let etcd = EtcdCluster::start(directory).await?;
        let server = tokio::task::block_in_place(PostgresServer::start);
        let url = server.database();
        let names: Vec<String> = (1..=number).map(|number| format!("pod-{number}")).collect();
        let made = names.iter().map(|name| Member::new(directory, name, "all", String::new()));
        let mut all = made.collect::<Result<Vec<Member>>>()?;
        let addresses: Vec<String> = all.iter().map(|pod| format!("http://{}", pod.grpc())).collect();
        for (pod, name) in all.iter_mut().zip(&names) {
            pod.configure(format!(
                "[node]\nname = \"{name}\"\nworker_threads = 2\n\
                 [peers]\norder_engine = {addresses:?}\nconsensus_coordinator = {addresses:?}\n\
                 persistence_gateway = {addresses:?}\n\
                 [consensus_coordinator]\nstore = \"etcd\"\nendpoints = {:?}\nlease_ttl = \"2s\"\n\
                 [persistence_gateway]\njournal.backend = \"postgres\"\nhistory.database = \"postgres\"\n\
                 database.url = \"{url}\"\ndatabase.max_connections = 12\ndatabase.connection_timeout = \"2s\"\n",
                etcd.endpoints(),
            ));
            pod.start().await?;
        }
        let pods = Self { all, etcd, server, url };
        pods.agree().await?;
        pods.well().await?;
        Ok(pods)
    }

    /// How many there are.
    #[must_use]
    pub fn number(&self) -> usize {
        self.all.len()
    }

    /// One of them, whether it runs or not.
    pub fn member(&mut self, number: usize) -> &mut Member {
        &mut self.all[number]
    }

    /// One that runs.
    ///
    /// # Errors
    /// When it does not.
    pub fn pod(&self, number: usize) -> Result<&Node> {
        let pod = &self.all[number];
        pod.node().with_context(|| format!("{} does not run", pod.name))
    }

    /// What one says of the leadership, whatever the status is.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn consensus(&self, number: usize) -> Result<(u16, Value)> {
        let answer = http::get(&self.pod(number)?.admin, "/health/consensus").await?;
        Ok((answer.status, serde_json::from_str(&answer.body)?))
    }

    /// Which one leads, and since which term, when all that run say the same and one of them says that it leads.
    ///
    /// # Errors
    /// When one that runs does not answer.
    pub async fn leader(&self) -> Result<Option<(usize, u64)>> {
        let mut seen = Vec::new();
        let mut leading = Vec::new();
        for (number, _) in self.all.iter().enumerate().filter(|(_, pod)| pod.node().is_some()) {
            let (_, said) = self.consensus(number).await?;
            if said["role"] == "leader" {
                leading.push(number);
            }
            seen.push((said["leader_id"].clone(), said["term"].as_u64()));
        }
        let same = seen.windows(2).all(|two| two[0] == two[1]);
        let [leader] = leading[..] else { return Ok(None) };
        let named = seen[0].0 == self.all[leader].name.as_str();
        Ok(seen[0].1.filter(|_| same && named).map(|term| (leader, term)))
    }

    /// Waits until all that run agree who leads, and says so.
    ///
    /// # Errors
    /// When they do not in time.
    pub async fn agree(&self) -> Result<(usize, u64)> {
        let mut found = None;
        let look = async || {
            found = self.leader().await?;
            Ok(found.is_some())
        };
        until("all pods name the same leader", look).await?;
        found.context("a leader")
    }

    /// Waits until everything is well, as the first one sees it.
    ///
    /// # Errors
    /// When it is not in time.
    pub async fn well(&self) -> Result<()> {
        let well = async || {
            let answer = http::get(&self.pod(0)?.admin, "/health").await?;
            Ok(serde_json::from_str::<Value>(&answer.body)?["status"] == "ok")
        };
        until("the system is well", well).await
    }

    /// Ends all of them in order.
    ///
    /// # Errors
    /// When one does not end with exit code 0.
    pub async fn stop(mut self) -> Result<()> {
        for pod in &mut self.all {
            pod.terminate().await?;
        }
        Ok(())
    }
}
