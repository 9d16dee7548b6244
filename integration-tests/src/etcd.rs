//! Real etcd processes on loopback, in directories of their own: a single one, or a [`EtcdCluster`].

mod cluster;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::LOOK_AGAIN;
use crate::ports;

pub use cluster::EtcdCluster;

/// How long etcd may take to answer.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A running etcd with one member.
#[derive(Debug)]
pub struct Etcd {
    child: Child,
    /// Its client endpoint.
    pub endpoint: String,
}

impl Etcd {
    /// Starts etcd and waits until it serves.
    ///
    /// # Errors
    /// When there is no etcd (Debian: `apt-get install etcd-server`) or it does not come up.
    pub async fn start(directory: &Path) -> Result<Self> {
        let client = ports::take()?;
        let peer = ports::take()?;
        let endpoint = format!("http://127.0.0.1:{client}");
        let peers = format!("http://127.0.0.1:{peer}");
        let child = Command::new("etcd")
            .args(["--name", "test", "--data-dir"])
            .arg(directory.join("etcd"))
            .args(["--listen-client-urls", &endpoint, "--advertise-client-urls", &endpoint])
            .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", &format!("test={peers}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(directory.join("etcd.log"))?)
            .spawn()
            .context("etcd is missing: apt-get install etcd-server")?;
        let etcd = Self { child, endpoint };
        let begin = Instant::now();
        let address = format!("127.0.0.1:{client}");
        loop {
            if let Ok(answer) = crate::http::get(&address, "/health").await
                && answer.body.contains("true")
            {
                return Ok(etcd);
            }
            ensure!(begin.elapsed() < START_LIMIT, "etcd did not come up");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
