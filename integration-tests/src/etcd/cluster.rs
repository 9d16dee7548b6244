//! Three members of one etcd cluster as three processes, each of which can be killed and started again.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::START_LIMIT;
use crate::LOOK_AGAIN;
use crate::ports;

/// Members of a cluster: one may be lost.
const MEMBERS: usize = 3;

/// Three members.
#[derive(Debug)]
pub struct EtcdCluster {
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    name: String,
    directory: PathBuf,
    client: u16,
    peer: u16,
    peers: String,
    process: Option<Child>,
}

impl EtcdCluster {
    /// Starts all members and waits until they serve.
    ///
    /// # Errors
    /// When there is no etcd (Debian: `apt-get install etcd-server`) or it does not come up.
    pub async fn start(directory: &Path) -> Result<Self> {
        let mut places = Vec::new();
        for number in 1..=MEMBERS {
            places.push((format!("etcd-{number}"), ports::take()?, ports::take()?));
        }
        let peers: Vec<String> =
            places.iter().map(|(name, _, peer)| format!("{name}=http://127.0.0.1:{peer}")).collect();
        let peers = peers.join(",");
        let members = places.into_iter().map(|(name, client, peer)| {
            let (directory, peers) = (directory.join(&name), peers.clone());
            Member { name, directory, client, peer, peers, process: None }
        });
        let mut cluster = Self { members: members.collect() };
        cluster.launch()?;
        cluster.ready().await?;
        Ok(cluster)
    }

    /// Client endpoints of all members.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|member| format!("http://127.0.0.1:{}", member.client)).collect()
    }

    /// Starts every member that is not running.
    ///
    /// # Errors
    /// When a process cannot be started.
    pub fn launch(&mut self) -> Result<()> {
        self.members.iter_mut().try_for_each(Member::launch)
    }

    /// SIGKILL for one member.
    ///
    /// # Errors
    /// When it cannot be reaped.
    pub fn kill(&mut self, number: usize) -> Result<()> {
        self.members[number].kill()
    }

    /// SIGKILL for all.
    ///
    /// # Errors
    /// When one cannot be reaped.
    pub fn kill_all(&mut self) -> Result<()> {
        self.members.iter_mut().try_for_each(Member::kill)
    }

    /// Number of the member that leads, if one says so.
    pub async fn leader(&self) -> Option<usize> {
        for (number, member) in self.members.iter().enumerate() {
            let address = format!("127.0.0.1:{}", member.client);
            if member.process.is_some()
                && let Ok(answer) = crate::http::get(&address, "/metrics").await
                && answer.body.lines().any(|line| line == "etcd_server_is_leader 1")
            {
                return Some(number);
            }
        }
        None
    }

    /// Waits until every member that runs serves, in one cluster with a leader.
    ///
    /// # Errors
    /// When they do not in time.
    pub async fn ready(&self) -> Result<()> {
        let begin = Instant::now();
        for member in self.members.iter().filter(|member| member.process.is_some()) {
            let address = format!("127.0.0.1:{}", member.client);
            while !crate::http::get(&address, "/health").await.is_ok_and(|answer| answer.body.contains("true")) {
                ensure!(begin.elapsed() < START_LIMIT, "{} did not come up: see its log", member.name);
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
        Ok(())
    }
}

impl Member {
    fn launch(&mut self) -> Result<()> {
        if self.process.is_some() {
            return Ok(());
        }
        std::fs::create_dir_all(&self.directory)?;
        let log = std::fs::File::options().create(true).append(true).open(self.directory.join("etcd.log"))?;
        let client = format!("http://127.0.0.1:{}", self.client);
        let peer = format!("http://127.0.0.1:{}", self.peer);
        let child = Command::new("etcd")
            .args(["--name", &self.name, "--data-dir"])
            .arg(self.directory.join("data"))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &self.peers])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("etcd is missing: apt-get install etcd-server")?;
        self.process = Some(child);
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
