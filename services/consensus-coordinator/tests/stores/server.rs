//! A real etcd of one member, on free ports and in a temporary directory, gone with its handle.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use consensus_coordinator::{EtcdOptions, EtcdStore, LeaseStore};
use tempfile::TempDir;

use super::suite::{Fixture, TTL, eventually};

const HOW_TO_GET_IT: &str = "these tests need the program etcd (3.4 or newer): install the package etcd-server, or put \
                             the release binary from https://github.com/etcd-io/etcd/releases into the PATH";

pub(crate) struct Etcd {
    directory: TempDir,
    client: u16,
    peer: u16,
    child: Child,
}

impl Etcd {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Both are held until both are known, so that they differ.
        let (one, two) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let (client, peer) = (one.local_addr().unwrap().port(), two.local_addr().unwrap().port());
        drop((one, two));
        let child = spawn(&directory, client, peer);
        let etcd = Self { directory, client, peer, child };
        etcd.ready().await;
        etcd
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.client)
    }

    async fn connect(&self, prefix: &str) -> EtcdStore {
        let options = EtcdOptions {
            endpoints: vec![self.url()],
            prefix: prefix.to_owned(),
            ttl: TTL,
            request_timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(2),
        };
        EtcdStore::connect(options).await.unwrap()
    }

    async fn ready(&self) {
        let store = self.connect("/ready").await;
        eventually("etcd is ready", || async { store.shards().await.is_ok() }).await;
    }

    pub(crate) async fn put(&self, key: &str, value: &str) {
        let mut client = etcd_client::Client::connect([self.url()], None).await.unwrap();
        client.put(key, value, None).await.unwrap();
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) async fn restart(&mut self) {
        self.child = spawn(&self.directory, self.client, self.peer);
        self.ready().await;
    }
}

fn spawn(directory: &TempDir, client: u16, peer: u16) -> Child {
    let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    let mut command = Command::new("etcd");
    command.args(["--name", "test", "--logger", "zap", "--log-level", "error", "--data-dir"]).arg(directory.path());
    command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
    command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
    command.args(["--initial-cluster", &format!("test={peer}")]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| panic!("cannot start etcd ({error}): {HOW_TO_GET_IT}"))
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // A stopped process dies of this as well; if it is dead already, so much the better.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[async_trait]
impl Fixture for Etcd {
    async fn store(&self, name: &str) -> Arc<dyn LeaseStore> {
        Arc::new(self.connect(name).await)
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}
