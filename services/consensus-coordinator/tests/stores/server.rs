//! A real etcd, of one member or more, on free ports and in a temporary directory, gone with its handle.

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

/// One member.
struct Member {
    directory: TempDir,
    client: u16,
    peer: u16,
    child: Child,
}

/// A cluster of one member or more.
pub(crate) struct Etcd(Vec<Member>);

impl Etcd {
    pub(crate) async fn start() -> Self {
        Self::start_with(1).await
    }

    pub(crate) async fn start_with(members: usize) -> Self {
        // All are held until all are known, so that they differ.
        let held: Vec<TcpListener> = (0..members * 2).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<u16> = held.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        drop(held);
        let cluster = cluster(&ports);
        let member = |(at, ports): (usize, &[u16])| {
            let directory = tempfile::tempdir().unwrap();
            let child = spawn(&directory, at, (ports[0], ports[1]), &cluster);
            Member { directory, client: ports[0], peer: ports[1], child }
        };
        let etcd = Self(ports.chunks(2).enumerate().map(member).collect());
        etcd.ready().await;
        etcd
    }

    fn urls(&self) -> Vec<String> {
        self.0.iter().map(|member| format!("http://127.0.0.1:{}", member.client)).collect()
    }

    async fn connect(&self, prefix: &str) -> EtcdStore {
        let options = EtcdOptions {
            endpoints: self.urls(),
            prefix: prefix.to_owned(),
            ttl: TTL,
            // Three members on a busy machine elect anew now and then; that is no answer of the store.
            request_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(2),
        };
        EtcdStore::connect(options).await.unwrap()
    }

    async fn ready(&self) {
        let store = self.connect("/ready").await;
        eventually("etcd is ready", || async {
            store.read().await.is_ok() && store.endpoints().await.iter().all(|endpoint| endpoint.answer.is_ok())
        })
        .await;
    }

    /// The member that leads the others.
    pub(crate) async fn leader(&self) -> usize {
        for url in self.urls() {
            let Ok(client) = etcd_client::Client::connect([&url], None).await else { continue };
            let Ok(status) = client.maintenance_client().status().await else { continue };
            let id = status.header().unwrap().member_id();
            if status.leader() == id {
                return self.urls().iter().position(|other| *other == url).unwrap();
            }
        }
        panic!("no member leads");
    }

    pub(crate) async fn put(&self, key: &str, value: &str) {
        let mut client = etcd_client::Client::connect(self.urls(), None).await.unwrap();
        client.put(key, value, None).await.unwrap();
    }

    /// Local ports of the connections that this process has with the first member.
    pub(crate) fn connections(&self) -> Vec<u16> {
        const ESTABLISHED: &str = "01";
        let port = |address: &str| u16::from_str_radix(address.rsplit_once(':').unwrap().1, 16).unwrap();
        let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
        let lines = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        let ours = lines.filter(|fields| fields[3] == ESTABLISHED && port(fields[2]) == self.0[0].client);
        ours.map(|fields| port(fields[1])).collect()
    }

    pub(crate) fn signal(&self, member: usize, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.0[member].child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    pub(crate) fn kill(&mut self, member: usize) {
        self.0[member].child.kill().unwrap();
        self.0[member].child.wait().unwrap();
    }

    /// Starts a member that was killed again, without waiting for it.
    pub(crate) fn start_again(&mut self, at: usize) {
        let ports: Vec<u16> = self.0.iter().flat_map(|member| [member.client, member.peer]).collect();
        let member = &mut self.0[at];
        member.child = spawn(&member.directory, at, (member.client, member.peer), &cluster(&ports));
    }

    pub(crate) async fn restart(&mut self) {
        self.start_again(0);
        self.ready().await;
    }
}

fn cluster(ports: &[u16]) -> String {
    let member = |(at, ports): (usize, &[u16])| format!("test-{at}=http://127.0.0.1:{}", ports[1]);
    ports.chunks(2).enumerate().map(member).collect::<Vec<_>>().join(",")
}

fn spawn(directory: &TempDir, at: usize, (client, peer): (u16, u16), cluster: &str) -> Child {
    let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    let mut command = Command::new("etcd");
    command.args(["--name", &format!("test-{at}"), "--logger", "zap", "--log-level", "error", "--data-dir"]);
    command.arg(directory.path());
    command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
    command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
    command.args(["--initial-cluster", cluster]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| panic!("cannot start etcd ({error}): {HOW_TO_GET_IT}"))
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in &mut self.0 {
            // A stopped process dies of this as well; if it is dead already, so much the better.
            let _ = member.child.kill();
            let _ = member.child.wait();
        }
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
