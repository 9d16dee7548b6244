//! What can go wrong, and how it is made to: each fault is inflicted, held, and mended.

use std::time::Duration;

use anyhow::{Context, Result};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use wire::pb::consensus::v1::consensus_service_client::ConsensusServiceClient;
use wire::pb::consensus::v1::{ForceElectionRequest, Order};

use crate::cluster::Cluster;
use crate::proxy::Flow;

/// How long a leader stands still.
const FREEZE: Duration = Duration::from_secs(8);

/// How long etcd is away altogether.
const OUTAGE: Duration = Duration::from_secs(20);

/// How long a link is cut or slow, milliseconds.
const CUT_MS: std::ops::Range<u64> = 3_000..6_000;

/// How long a killed process is away, milliseconds.
const AWAY_MS: std::ops::Range<u64> = 500..1_500;

/// How late chunks are on a slow link.
const SLOW: Duration = Duration::from_millis(5);

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// SIGKILL for a leader.
    KillLeader,
    /// SIGTERM for a leader.
    TerminateLeader,
    /// SIGSTOP for a leader, SIGCONT after 8 s.
    FreezeLeader,
    /// SIGKILL for an engine that may lead nothing.
    KillEngine,
    /// An operator moves a leadership.
    ForceElection,
    /// No way between a leader and all coordinators, one way or both.
    CutCoordinators,
    /// No way between a leader and all gateways, one way or both.
    CutGateways,
    /// Late packets between a leader and everybody else.
    SlowLinks,
    /// Every connection of a leader is reset.
    ResetLinks,
    /// SIGKILL for a gateway.
    KillGateway,
    /// SIGKILL for all coordinators, one after another or at once.
    RestartCoordinators,
    /// SIGKILL for the etcd member that leads.
    KillEtcdLeader,
    /// No etcd for 20 s.
    EtcdOutage,
    /// The database server crashes and starts again.
    RestartPostgres,
}

async fn hold(random: &mut ChaCha8Rng, range: std::ops::Range<u64>) {
    // Waits for nothing: this is how long the fault lasts.
    tokio::time::sleep(Duration::from_millis(random.random_range(range))).await;
}

impl Fault {
    /// Every kind, a tenth as often as in a long run: ten rounds have 200 leaders killed, 100 terminated, 50 frozen, 50
    /// cut off from the coordinators and 50 from the gateways, 20 leaders of etcd killed, 10 times no etcd, 20 restarts
    /// of the database.
    #[must_use]
    pub fn long_deck() -> Vec<Self> {
        let deck = [
            (Self::KillLeader, 20),
            (Self::TerminateLeader, 10),
            (Self::FreezeLeader, 5),
            (Self::CutCoordinators, 5),
            (Self::CutGateways, 5),
            (Self::KillEtcdLeader, 2),
            (Self::EtcdOutage, 1),
            (Self::RestartPostgres, 2),
            (Self::ForceElection, 10),
            (Self::KillEngine, 2),
            (Self::SlowLinks, 1),
            (Self::ResetLinks, 2),
            (Self::KillGateway, 2),
            (Self::RestartCoordinators, 2),
        ];
        deck.into_iter().flat_map(|(fault, count)| std::iter::repeat_n(fault, count)).collect()
    }

    /// Every kind at least once, in about three minutes.
    #[must_use]
    pub fn short_deck() -> Vec<Self> {
        let deck = [
            (Self::KillLeader, 6),
            (Self::TerminateLeader, 4),
            (Self::FreezeLeader, 1),
            (Self::CutCoordinators, 2),
            (Self::CutGateways, 2),
            (Self::KillEtcdLeader, 1),
            (Self::EtcdOutage, 1),
            (Self::RestartPostgres, 1),
            (Self::ForceElection, 4),
            (Self::KillEngine, 1),
            (Self::SlowLinks, 1),
            (Self::ResetLinks, 1),
            (Self::KillGateway, 1),
            (Self::RestartCoordinators, 2),
        ];
        deck.into_iter().flat_map(|(fault, count)| std::iter::repeat_n(fault, count)).collect()
    }

    /// Does it and mends it.
    ///
    /// # Errors
    /// When a process does not do what it is told, or does not come back.
    pub async fn inflict(self, cluster: &mut Cluster, random: &mut ChaCha8Rng) -> Result<()> {
        let shard = random.random_range(0..cluster.shape.shards);
        let leader = some_leader(cluster, shard).await?;
        match self {
            Self::KillLeader => kill_engine(cluster, leader, random).await,
            Self::KillEngine => {
                let engine = random.random_range(0..cluster.engines.len());
                kill_engine(cluster, engine, random).await
            }
            Self::TerminateLeader => {
                cluster.engines[leader].terminate().await?;
                cluster.engines[leader].start().await
            }
            Self::FreezeLeader => {
                cluster.engines[leader].freeze()?;
                tokio::time::sleep(FREEZE).await;
                cluster.engines[leader].thaw()
            }
            Self::ForceElection => force_election(cluster, shard, "").await,
            Self::CutCoordinators | Self::CutGateways | Self::SlowLinks | Self::ResetLinks => {
                self.links(cluster, leader, random).await;
                Ok(())
            }
            Self::KillGateway => {
                let gateway = random.random_range(0..cluster.gateways.len());
                cluster.gateways[gateway].kill()?;
                hold(random, AWAY_MS).await;
                cluster.gateways[gateway].start().await
            }
            Self::RestartCoordinators => restart_coordinators(cluster, random).await,
            Self::KillEtcdLeader => {
                let leader = cluster.etcd.leader().await.context("no member of etcd says that it leads")?;
                cluster.etcd.kill(leader)?;
                hold(random, AWAY_MS).await;
                cluster.etcd.launch()?;
                cluster.etcd.ready().await
            }
            Self::EtcdOutage => {
                cluster.etcd.kill_all()?;
                tokio::time::sleep(OUTAGE).await;
                cluster.etcd.launch()?;
                cluster.etcd.ready().await?;
                cluster.led().await
            }
            Self::RestartPostgres => {
                cluster.restart_postgres();
                Ok(())
            }
        }
    }

    async fn links(self, cluster: &Cluster, leader: usize, random: &mut ChaCha8Rng) {
        let links = &cluster.links[leader];
        let all = || links.coordinators.iter().chain(&links.gateways);
        let cut = [(Flow::Cut, Flow::Cut), (Flow::Cut, Flow::Pass), (Flow::Pass, Flow::Cut)];
        let (there, back) = cut[random.random_range(0..cut.len())];
        match self {
            Self::CutCoordinators => links.coordinators.iter().for_each(|link| link.set(there, back)),
            Self::CutGateways => links.gateways.iter().for_each(|link| link.set(there, back)),
            Self::SlowLinks => all().for_each(|link| link.set(Flow::Delay(SLOW), Flow::Delay(SLOW))),
            _ => return all().for_each(crate::proxy::Proxy::reset),
        }
        hold(random, CUT_MS).await;
        all().for_each(crate::proxy::Proxy::mend);
    }
}

/// The leader of a shard, or while none is known the first engine that runs.
async fn some_leader(cluster: &Cluster, shard: u32) -> Result<usize> {
    if let Some(leader) = cluster.leader(shard).await.filter(|leader| cluster.engines[*leader].node().is_some()) {
        return Ok(leader);
    }
    cluster.engines.iter().position(|engine| engine.node().is_some()).context("no engine runs")
}

async fn kill_engine(cluster: &mut Cluster, engine: usize, random: &mut ChaCha8Rng) -> Result<()> {
    cluster.engines[engine].kill()?;
    hold(random, AWAY_MS).await;
    cluster.engines[engine].start().await
}

async fn restart_coordinators(cluster: &mut Cluster, random: &mut ChaCha8Rng) -> Result<()> {
    let at_once = random.random_bool(0.5);
    if at_once {
        cluster.coordinators.iter_mut().try_for_each(crate::cluster::Member::kill)?;
    }
    for coordinator in &mut cluster.coordinators {
        coordinator.kill()?;
        coordinator.start().await?;
    }
    Ok(())
}

/// Moves a leadership, to any other engine if `to_engine` is empty.
///
/// # Errors
/// When no coordinator does it.
pub async fn force_election(cluster: &Cluster, shard: u32, to_engine: &str) -> Result<()> {
    let coordinator = cluster.coordinators.iter().find(|one| one.node().is_some()).context("a coordinator runs")?;
    let mut client = ConsensusServiceClient::new(coordinator.channel());
    let order = Order { actor: "chaos".to_owned(), reason: "a test".to_owned(), ..Order::default() };
    let mut request =
        tonic::Request::new(ForceElectionRequest { order: Some(order), shard, to_engine: to_engine.to_owned() });
    request.set_timeout(Duration::from_secs(20));
    client.force_election(request).await.context("force an election")?;
    Ok(())
}
