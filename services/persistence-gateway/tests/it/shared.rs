//! Gateways in front of one journal in PostgreSQL.

use std::path::Path;
use std::time::Duration;

use journal_core::{AppendReply, FenceReply};
use journal_store::testing::PostgresServer;
use persistence_gateway::config::{DatabaseUrl, JournalBackend};
use persistence_gateway::{Config, VerifyOptions, verify};
use service_kit::Condition;
use types::Epoch;
use wire::convert;
use wire::pb::journal::v1::{LeaderSeenRequest, LeaderSeenResponse, ReadRequest};

use crate::support::{Gateway, Leader, START, commands, epoch, fence, with_postgres};

/// Between two looks at what a gateway does by itself.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

pub(crate) fn shared(url: &str) -> Config {
    let mut config = with_postgres(url.to_owned());
    config.journal.backend = JournalBackend::Postgres;
    config
}

async fn leader_seen(gateway: &Gateway) -> LeaderSeenResponse {
    gateway.journal().leader_seen(LeaderSeenRequest::default()).await.unwrap().into_inner()
}

pub(crate) fn assert_verified(config: &Config, data_dir: &Path, end: u64) {
    let report = verify(VerifyOptions { config: config.clone(), data_dir: data_dir.to_owned() }).unwrap();
    assert!(report.ok, "{report:#?}");
    assert_eq!((report.shards[0].journal_end, report.shards[0].projected), (end, end), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_behind_another_gateway_fences_by_the_database() {
    let url = PostgresServer::shared().database();
    let dir = tempfile::tempdir().unwrap();
    let one = Gateway::start(shared(&url), dir.path()).await;
    let two = Gateway::start(shared(&url), dir.path()).await;
    let mut old = Leader::elect(&one, 1, START).await;
    let commands = commands(41, 600);
    old.apply(&commands[..300]).await;

    // The second gateway knew nothing of these entries when it started.
    let mut new = Leader::elect(&two, 2, START + 100_000_000).await;
    assert_eq!(new.tail.seq, old.tail.seq.next());
    let late = old.batch(&commands[..8]);
    let AppendReply::Refused { promised } = old.try_append(vec![late]).await else { panic!("not refused") };
    assert_eq!(promised, epoch(2));
    new.apply(&commands[300..]).await;

    // And the first one serves the next leader, with all that the second one wrote.
    let FenceReply::Granted(granted) = fence(&one, epoch(3)).await else { panic!("not granted") };
    assert_eq!(granted.last, new.tail);
    one.stop().await;
    two.stop().await;
    assert_verified(&shared(&url), dir.path(), new.tail.seq.0);
}

/// I2: what one gateway granted, the other one knows before it answers anybody: entries, signs of life, LeaderSeen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promise_of_one_gateway_binds_the_other() {
    let url = PostgresServer::shared().database();
    let dir = tempfile::tempdir().unwrap();
    let one = Gateway::start(shared(&url), dir.path()).await;
    let two = Gateway::start(shared(&url), dir.path()).await;
    let mut old = Leader::elect(&one, 1, START).await;
    old.apply(&commands(43, 80)).await;
    let seen = leader_seen(&one).await;
    assert!(seen.stream_open && seen.silent_ms < 60_000, "{seen:?}");
    let seen = leader_seen(&two).await;
    assert_eq!((convert::epoch("epoch", seen.epoch.as_ref()).unwrap(), seen.commit_seq), (epoch(1), old.tail.seq.0));
    assert!(!seen.stream_open && seen.silent_ms == u64::MAX, "{seen:?}");

    let FenceReply::Granted(granted) = fence(&two, epoch(2)).await else { panic!("not granted") };
    assert_eq!((granted.last, granted.commit), (old.tail, old.tail.seq));
    // Nobody has told the first gateway; it asks its database.
    let seen = leader_seen(&one).await;
    assert_eq!(convert::epoch("epoch", seen.epoch.as_ref()).unwrap(), epoch(2));
    assert!(!seen.stream_open && seen.silent_ms == u64::MAX, "{seen:?}");
    // A sign of life is a question too: whoever was deposed must not be told that it leads (reads rest on that).
    let reply = old.try_append(Vec::new()).await;
    assert!(matches!(reply, AppendReply::Refused { promised } if promised == epoch(2)), "{reply:?}");
    assert!(matches!(fence(&one, epoch(1)).await, FenceReply::Refused { promised } if promised == epoch(2)));
    one.stop().await;
    two.stop().await;
}

/// A leader that loses its gateway goes on through another one, with what it does not know the fate of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_changes_its_gateway() {
    let url = PostgresServer::shared().database();
    let dir = tempfile::tempdir().unwrap();
    let gateways = [Gateway::start(shared(&url), dir.path()).await, Gateway::start(shared(&url), dir.path()).await];
    let mut leader = Leader::elect(&gateways[0], 1, START).await;
    let commands = commands(44, 640);
    for (round, part) in commands.chunks(64).enumerate() {
        let before = leader.tail;
        let entries: Vec<_> = part.chunks(8).map(|commands| leader.batch(commands)).collect();
        // Written through the one, perhaps; the answer is not waited for.
        leader.send(before.seq, before.chain, entries.clone()).await;
        leader.move_to(&gateways[(round + 1) % 2]).await;
        leader.append(entries).await;
    }
    for gateway in gateways {
        gateway.stop().await;
    }
    assert_verified(&shared(&url), dir.path(), leader.tail.seq.0);
}

/// What is written through one gateway is read through the other, without anybody telling it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn committed_entries_are_followed_through_another_gateway() {
    let url = PostgresServer::shared().database();
    let dir = tempfile::tempdir().unwrap();
    let one = Gateway::start(shared(&url), dir.path()).await;
    let two = Gateway::start(shared(&url), dir.path()).await;
    let mut leader = Leader::elect(&one, 1, START).await;
    let request = ReadRequest { from_seq: 1, committed_only: true, follow: true, ..ReadRequest::default() };
    let mut parts = two.journal().read(request.clone()).await.unwrap().into_inner();
    let mut direct = one.journal().read(request).await.unwrap().into_inner();
    let (mut next, mut next_direct) = (1, 1);
    for part in commands(45, 400).chunks(40) {
        let entry = leader.batch(part);
        // Not told to be committed by the leader: with one voter, durable is committed.
        let reply = leader.try_append(vec![entry]).await;
        assert!(matches!(reply, AppendReply::Ok(_)), "{reply:?}");
        for (parts, next) in [(&mut parts, &mut next), (&mut direct, &mut next_direct)] {
            while *next <= leader.tail.seq.0 {
                let part = tokio::time::timeout(Duration::from_secs(60), parts.message()).await.unwrap();
                for entry in part.unwrap().unwrap().entries {
                    assert_eq!(entry.seq, *next);
                    *next += 1;
                }
            }
        }
    }
    // And a look at what there is, without waiting for more.
    let request = ReadRequest { from_seq: leader.tail.seq.0, committed_only: true, ..ReadRequest::default() };
    let reply = two.journal().read(request).await.unwrap().into_inner().message().await.unwrap().unwrap();
    assert_eq!((reply.entries.len(), reply.commit_seq), (1, leader.tail.seq.0));
    drop((parts, direct));
    one.stop().await;
    two.stop().await;
}

/// Waits until a leader is told of a newer promise.
async fn deposed(leader: &mut Leader) -> Epoch {
    let wait = async {
        loop {
            // It leads on what is volatile; or the journal is out of service.
            match leader.try_append(Vec::new()).await {
                AppendReply::Refused { promised } => return promised,
                AppendReply::Ok(_) | AppendReply::Failed { .. } => tokio::time::sleep(LOOK_AGAIN).await,
                reply => panic!("{reply:?}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("deposed")
}

/// Two gateways, and the database is away for one of them only: what that one took meanwhile is superseded by the other
/// one's leader, and it serves the next leader all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r66_a_gateway_whose_volatile_entries_were_superseded_goes_on() {
    let server = PostgresServer::start();
    let url = server.database();
    server.sql(&url, "CREATE ROLE apart SUPERUSER LOGIN");
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut apart = shared(&url);
    apart.database.url = DatabaseUrl::from(url.replace("postgres@", "apart@"));
    apart.database.enable_memory_only_mode = true;
    let one = Gateway::start(apart, dirs[0].path()).await;
    let two = Gateway::start(shared(&url), dirs[1].path()).await;
    let mut old = Leader::elect(&one, 1, START).await;
    let commands = commands(66, 320);
    old.apply(&commands[..80]).await;

    server.sql(&url, "ALTER ROLE apart NOLOGIN");
    server.sql(&url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'apart'");
    old.apply(&commands[80..240]).await;
    let mut new = Leader::elect(&two, 2, START + 100_000_000).await;
    new.apply(&commands[80..88]).await;
    assert!(new.tail.seq < old.tail.seq);
    server.sql(&url, "ALTER ROLE apart LOGIN");

    assert_eq!(deposed(&mut old).await, epoch(2));
    let FenceReply::Granted(granted) = fence(&one, epoch(3)).await else { panic!("not granted") };
    assert_eq!((granted.last, granted.commit), (new.tail, new.tail.seq));
    // Who follows the log there hears of each entry, though there was a longer log once.
    let from_seq = new.tail.seq.0 + 1;
    let request = ReadRequest { from_seq, committed_only: true, follow: true, ..ReadRequest::default() };
    let mut parts = one.journal().read(request).await.unwrap().into_inner();
    assert!(parts.message().await.unwrap().unwrap().entries.is_empty());
    let mut next = Leader::elect(&one, 4, START + 200_000_000).await;
    next.apply(&commands[240..]).await;
    let part = tokio::time::timeout(Duration::from_secs(60), parts.message()).await.unwrap();
    assert_eq!(part.unwrap().unwrap().entries[0].seq, from_seq);
    drop(parts);
    one.stop().await;
    two.stop().await;
    assert_verified(&shared(&url), dirs[1].path(), next.tail.seq.0);
}

async fn role(gateway: &Gateway, wanted: &str) {
    let wait = async {
        while gateway.history_detail("projector-0").as_deref() != Some(wanted) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect(wanted);
}

/// One gateway writes the history of a shard, the other one takes over when that is gone, and nothing comes twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_projector_writes_and_another_takes_over() {
    let server = PostgresServer::shared();
    let url = server.database();
    let dir = tempfile::tempdir().unwrap();
    let mut config = shared(&url);
    config.journal.snapshot_every_entries = 20;
    let one = Gateway::start(config.clone(), dir.path()).await;
    role(&one, "writing").await;
    let two = Gateway::start(config.clone(), dir.path()).await;
    role(&two, "standby").await;
    let mut leader = Leader::elect(&two, 1, START).await;
    let commands = commands(46, 1_600);
    leader.apply(&commands[..800]).await;
    // Other tests have databases in the same server, and their locks are there too.
    let locks = "FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 \
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let held = &format!("SELECT count(*) {locks} AND granted");
    assert_eq!(server.sql(&url, held), "1");

    // The server ends the session, as it does when the process is gone: the lock is for whoever comes first, and the
    // other one waits.
    server.sql(&url, &format!("SELECT pg_terminate_backend(pid) {locks}"));
    leader.apply(&commands[800..1_200]).await;
    one.component("history", Condition::Ok).await;
    one.stop().await;
    role(&two, "writing").await;
    leader.apply(&commands[1_200..]).await;
    assert_eq!(server.sql(&url, held), "1");
    two.stop().await;
    assert_verified(&config, dir.path(), leader.tail.seq.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_whose_server_is_killed_loses_nothing_and_comes_back() {
    let mut server = PostgresServer::start();
    let config = shared(&server.database());
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(config.clone(), dir.path()).await;
    let mut leader = Leader::elect(&gateway, 1, START).await;
    let commands = commands(42, 400);
    leader.apply(&commands[..200]).await;
    let acknowledged = leader.tail;

    server.kill();
    let entry = leader.batch(&commands[..8]);
    let reply = leader.try_append(vec![entry]).await;
    assert!(matches!(reply, AppendReply::Failed { .. }), "{reply:?}");
    assert!(matches!(fence(&gateway, epoch(2)).await, FenceReply::Failed { .. }));
    server.launch();

    let granted = loop {
        // The storage looks for its server again a few times a second.
        match fence(&gateway, epoch(3)).await {
            FenceReply::Granted(granted) => break granted,
            FenceReply::Failed { .. } => tokio::task::yield_now().await,
            reply => panic!("{reply:?}"),
        }
    };
    // Nothing acknowledged is missing; the entry in doubt may be there.
    assert!(granted.last.seq >= acknowledged.seq && granted.last.seq <= acknowledged.seq.next());
    let mut next = Leader::elect(&gateway, 4, START + 100_000_000).await;
    next.apply(&commands[200..]).await;
    gateway.component("history", Condition::Ok).await;
    gateway.stop().await;
    assert_verified(&config, dir.path(), next.tail.seq.0);
}
