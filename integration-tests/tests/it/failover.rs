//! Leaders come and go: clusters of real processes under an open-loop load, judged afterwards by the checker.
//! INV-ACK-DURABLE, INV-ONCE, INV-DETERMINISTIC, INV-HISTORY-PREFIX.

mod lost_packets;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::LOOK_AGAIN;
use integration_tests::chaos::{Aftermath, Fault, Plan, Scene, force_election, run};
use integration_tests::cluster::{Member, Shape};
use wire::pb::consensus::v1::ShardRole;
use wire::pb::marketdata::v1::market_data_service_client::MarketDataServiceClient;
use wire::pb::marketdata::v1::{GetStateDigestRequest, GetStateDigestResponse};

/// What a small production cluster looks like.
const SHAPE: Shape = Shape { engines: 3, coordinators: 2, gateways: 2, shards: 1, snapshot_every: 3_000 };

/// Requests a second: enough for some to be under way at any moment, few enough for two processors and twelve
/// processes without optimisation.
const RATE: u32 = 100;

/// Leaderships that are moved one after another.
const FORCED: usize = 100;

/// How long etcd is away.
const OUTAGE: Duration = Duration::from_secs(60);

fn plan(deck: Vec<Fault>) -> Plan {
    let seed = std::env::var("HIVE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_123);
    println!("HIVE_SEED={seed} repeats the order of the faults");
    Plan { shape: SHAPE, rate: RATE, accounts: 16, seed, deck }
}

/// A directory for one test; it stays when the test fails.
fn directory(name: &str) -> Result<PathBuf> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    println!("logs: {}", directory.display());
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}

async fn scene(name: &str) -> Result<(PathBuf, Scene)> {
    scene_of(name, SHAPE).await
}

async fn scene_of(name: &str, shape: Shape) -> Result<(PathBuf, Scene)> {
    let directory = directory(name)?;
    let scene = Scene::start(&directory, &Plan { shape, ..plan(Vec::new()) }).await?;
    Ok((directory, scene))
}

/// Judges, and removes the directory of a test that found nothing.
async fn finish(directory: PathBuf, scene: Scene, deck: &[Fault]) -> Result<Aftermath> {
    let aftermath = scene.finish(deck).await?;
    aftermath.must_be_clean()?;
    std::fs::remove_dir_all(directory)?;
    Ok(aftermath)
}

fn epochs(aftermath: &Aftermath) -> usize {
    aftermath.verdicts.iter().map(|verdict| verdict.epochs).sum()
}

async fn leading(scene: &Scene) -> Result<usize> {
    scene.cluster.leader(0).await.context("no coordinator names a leader")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_fault_and_nothing_acknowledged_is_lost_or_done_twice() -> Result<()> {
    let directory = directory("chaos")?;
    let report = run(&directory, &plan(Fault::short_deck()), |line| println!("{line}")).await?;
    println!("{report}");
    ensure!(report.is_clean(), "see above, and {}", directory.display());
    ensure!(report.tally.retries > 0, "no fault hit a request under way: the test proves nothing");
    std::fs::remove_dir_all(directory)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coordinators_restarted_in_turn_and_all_at_once_change_no_leader() -> Result<()> {
    let (directory, mut scene) = scene("coordinators").await?;
    for number in [0, 1, 0, 1] {
        scene.cluster.coordinators[number].terminate().await?;
        scene.cluster.coordinators[number].start().await?;
        scene.acknowledged("the restart of a coordinator").await?;
    }
    scene.cluster.coordinators.iter_mut().try_for_each(Member::kill)?;
    for coordinator in &mut scene.cluster.coordinators {
        coordinator.start().await?;
    }
    scene.cluster.led().await?;
    scene.acknowledged("the restart of all coordinators").await?;
    let aftermath = finish(directory, scene, &[Fault::RestartCoordinators]).await?;
    assert_eq!(epochs(&aftermath), 1, "a leader was changed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r101_without_etcd_the_leader_goes_on_and_a_dead_one_stays_dead() -> Result<()> {
    let (directory, mut scene) = scene("etcd").await?;
    let leader = leading(&scene).await?;
    scene.cluster.etcd.kill_all()?;
    let begin = std::time::Instant::now();
    while begin.elapsed() < OUTAGE {
        scene.acknowledged("the loss of etcd").await?;
        // Waits for nothing: how often is looked during the outage.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    scene.cluster.engines[leader].kill()?;
    // Answers that it had sent are read by then. If they were not, the comparison below would fail, not pass.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let dead = scene.recorder().last_acknowledged(1);
    // That nothing happens cannot be waited for, only watched, here for as long as a lease lasts; that only two epochs
    // were begun, checked at the end, holds for the whole time.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(scene.recorder().last_acknowledged(1), dead, "somebody acknowledges without a leadership");
    scene.cluster.etcd.launch()?;
    scene.cluster.etcd.ready().await?;
    scene.acknowledged("the return of etcd").await?;
    scene.cluster.engines[leader].start().await?;
    let aftermath = finish(directory, scene, &[Fault::EtcdOutage, Fault::KillLeader]).await?;
    assert_eq!(epochs(&aftermath), 2, "one leader before, one after");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r24_r31_three_engines_become_one_and_three_again_and_all_die_at_once() -> Result<()> {
    let (directory, mut scene) = scene("engines").await?;
    for _ in 0..2 {
        let leader = leading(&scene).await?;
        scene.cluster.engines[leader].terminate().await?;
        scene.acknowledged("one engine less").await?;
    }
    for engine in &mut scene.cluster.engines {
        engine.start().await?;
    }
    scene.acknowledged("all engines again").await?;
    scene.cluster.engines.iter_mut().try_for_each(Member::kill)?;
    for engine in &mut scene.cluster.engines {
        engine.start().await?;
    }
    scene.acknowledged("the death of all engines").await?;
    finish(directory, scene, &[Fault::TerminateLeader, Fault::KillLeader]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r99_a_leader_that_was_frozen_acknowledges_nothing_once_another_leads() -> Result<()> {
    let (directory, scene) = scene("frozen").await?;
    let frozen = leading(&scene).await?;
    scene.cluster.engines[frozen].freeze()?;
    scene.acknowledged("the freezing of the leader").await?;
    ensure!(leading(&scene).await? != frozen, "it is answered, but by whom?");
    scene.cluster.engines[frozen].thaw()?;
    scene.acknowledged("the thaw").await?;
    // Its own log says that it leads no longer; the checker, that whatever it still answered was in the log.
    let stepped_down = |log: String| log.lines().any(|line| line.contains("\"message\":\"not leading\""));
    let begin = std::time::Instant::now();
    while !stepped_down(scene.cluster.engines[frozen].log()) {
        ensure!(begin.elapsed() < Duration::from_secs(30), "the old leader has not noticed");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let aftermath = finish(directory, scene, &[Fault::FreezeLeader]).await?;
    assert_eq!(epochs(&aftermath), 2, "one leader before, one after");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r54_a_hundred_forced_elections_are_only_dips() -> Result<()> {
    let (directory, scene) = scene("forced").await?;
    let begin = std::time::Instant::now();
    for number in 1..=FORCED {
        force_election(&scene.cluster, 0, "").await.with_context(|| format!("election {number}"))?;
        scene.acknowledged("a forced election").await?;
    }
    println!("{FORCED} forced elections in {:.1} s", begin.elapsed().as_secs_f64());
    let aftermath = finish(directory, scene, &[Fault::ForceElection]).await?;
    assert!(epochs(&aftermath) > FORCED, "some elections elected nobody");
    Ok(())
}

/// The state of the only shard at `min_seq` or later, as an engine has it.
async fn applied(engine: &Member, min_seq: u64) -> Result<GetStateDigestResponse> {
    let request = GetStateDigestRequest { allow_stale: true, min_seq, ..Default::default() };
    let begin = std::time::Instant::now();
    loop {
        match MarketDataServiceClient::new(engine.channel()).get_state_digest(request).await {
            Ok(digest) => return Ok(digest.into_inner()),
            Err(status) if begin.elapsed() > Duration::from_secs(30) => return Err(status.into()),
            Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standbys_have_what_the_leader_has_and_one_takes_over_from_there() -> Result<()> {
    let (directory, mut scene) = scene("standby").await?;
    let leader = leading(&scene).await?;
    let seq = applied(&scene.cluster.engines[leader], 0).await?.as_of_seq;
    for engine in &scene.cluster.engines {
        let digest = applied(engine, seq).await?;
        ensure!(digest.as_of_seq >= seq && digest.stale, "{}: {digest:?}", engine.name);
    }
    // They say so to the coordinators, and have compared their states with the digests in the log.
    let begin = std::time::Instant::now();
    loop {
        let status = scene.cluster.status().await.context("no coordinator answers")?;
        let beats = status.engines.iter().flat_map(|engine| &engine.shards);
        let standbys = beats.filter(|beat| beat.role() == ShardRole::Standby && beat.state_hash_seq > 0).count();
        if standbys == SHAPE.engines - 1 {
            break;
        }
        ensure!(
            begin.elapsed() < Duration::from_secs(60),
            "{standbys} standbys have compared their states: {status:?}"
        );
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    scene.cluster.engines[leader].kill()?;
    scene.acknowledged("the death of the leader").await?;
    scene.cluster.engines[leader].start().await?;
    let aftermath = finish(directory, scene, &[Fault::KillLeader]).await?;
    assert_eq!(epochs(&aftermath), 2, "one leader before, one after");
    Ok(())
}

/// Waits until every shard is led and no engine of `names` leads more than one shard more than another.
async fn spread(scene: &Scene, names: &[&str]) -> Result<()> {
    let begin = std::time::Instant::now();
    loop {
        let leaders = scene.cluster.leaders().await;
        let led = |name: &&str| {
            leaders.iter().filter(|leader| leader.engine.as_ref().is_some_and(|engine| engine.name == **name)).count()
        };
        let counts: Vec<usize> = names.iter().map(led).collect();
        let (least, most) = (counts.iter().min().copied().unwrap_or(0), counts.iter().max().copied().unwrap_or(0));
        if counts.iter().sum::<usize>() == scene.cluster.shape.shards as usize && most - least <= 1 {
            return Ok(());
        }
        ensure!(begin.elapsed() < Duration::from_secs(120), "{names:?} lead {counts:?} shards");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_shards_are_spread_evenly_and_again_when_an_engine_leaves_or_joins() -> Result<()> {
    let (directory, mut scene) = scene_of("shards", Shape { shards: 8, ..SHAPE }).await?;
    let all = ["engine-1", "engine-2", "engine-3"];
    spread(&scene, &all).await?;
    scene.cluster.engines[0].terminate().await?;
    spread(&scene, &all[1..]).await?;
    scene.acknowledged("one engine less").await?;
    scene.cluster.engines[0].start().await?;
    spread(&scene, &all).await?;
    scene.acknowledged("one engine more").await?;
    finish(directory, scene, &[Fault::TerminateLeader]).await?;
    Ok(())
}
