//! Backups: made by a gateway that goes on, restored elsewhere, and damaged in every way a disk or a hand can.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use journal_core::{FenceReply, FenceRequest, VoterConfig};
use journal_store::testing::PostgresServer;
use persistence_gateway::backup::{BackupError, Location, Manifest, RestoreOptions, Restored};
use persistence_gateway::config::{HistoryDatabase, JournalBackend};
use persistence_gateway::{Config, VerifyOptions, verify};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tonic::Code;
use wire::convert;
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::backup_service_client::BackupServiceClient;
use wire::pb::consensus::v1::Order;

use crate::support::{Gateway, Leader, SHARD, START, commands, config, epoch, with_postgres};

/// Backups made until one begins with a snapshot.
const TRIES: usize = 50;
/// Damaged copies that are tried.
const DAMAGED: usize = 200;

/// Snapshots come often: a backup begins with one, and the journal is trimmed.
fn small() -> Config {
    let mut config = config();
    config.journal.snapshot_every_entries = 40;
    config
}

fn on_postgres(url: &str, backend: JournalBackend) -> Config {
    let mut config = with_postgres(url.to_owned());
    config.journal.snapshot_every_entries = 40;
    config.journal.backend = backend;
    config
}

async fn create(gateway: &Gateway, request_id: &str) -> pb::CreateBackupResponse {
    let order = Order { request_id: request_id.to_owned(), actor: "tester".to_owned(), ..Order::default() };
    let mut client = BackupServiceClient::new(gateway.channel.clone());
    client.create_backup(pb::CreateBackupRequest { order: Some(order) }).await.unwrap().into_inner()
}

/// A gateway with some trading behind it, and a leader that goes on.
async fn traded(config: &Config, dir: &Path) -> (Gateway, Leader) {
    let gateway = Gateway::start(config.clone(), dir).await;
    let mut leader = Leader::elect(&gateway, 3, START).await;
    leader.apply(&commands(31, 1_000)).await;
    (gateway, leader)
}

fn manifest(location: &Location, id: &str) -> Manifest {
    location.check(id).unwrap().manifest
}

/// Restores in a thread of its own, as the command does.
async fn restore(
    config: &Config,
    data_dir: &Path,
    location: &Location,
    dry_run: bool,
) -> Result<Restored, BackupError> {
    let options = RestoreOptions {
        config: config.clone(),
        data_dir: data_dir.to_owned(),
        location: location.clone(),
        id: "latest".to_owned(),
        dry_run,
    };
    tokio::task::spawn_blocking(move || options.run()).await.unwrap()
}

/// All files below, with their content.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

/// The history as a backup writes it: equal bytes are equal rows.
fn history(manifest: &Manifest) -> Vec<(u64, String)> {
    let of_history = manifest.files.iter().filter(|file| file.name.starts_with("history/"));
    of_history.map(|file| (file.bytes, file.blake3.clone())).collect()
}

/// Made under way, restored from one configuration into another: same state, same history, another log.
async fn comes_back(from: Config, into: Config) {
    let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (gateway, mut leader) = traded(&from, source.path()).await;
    let old_log = leader.log_id;
    let location = Location::of(&from, source.path());
    // The projector stores its first snapshot a moment after its rows: until then a backup begins with the first entry.
    let mut first = None;
    for _ in 0..TRIES {
        let made = create(&gateway, "").await.backup.unwrap();
        let manifest = manifest(&location, &made.id);
        if manifest.shards[0].snapshot.is_some() {
            first = Some(manifest);
            break;
        }
    }
    let first = first.expect("a backup with a snapshot");
    assert!(first.rows > 1_000, "{first:#?}");
    leader.apply(&commands(32, 200)).await;
    gateway.stop().await;
    let dry = restore(&into, target.path(), &location, true).await.unwrap();
    assert!(dry.dry_run && files(target.path()).is_empty(), "a dry run writes nothing");
    let restored = restore(&into, target.path(), &location, false).await.unwrap();
    assert_eq!(restored.shards[0].state_hash, first.shards[0].state_hash);
    assert_ne!(restored.shards[0].log_id.as_deref(), Some(&*first.shards[0].log_id));

    let gateway = Gateway::start(into.clone(), target.path()).await;
    let old = FenceRequest { log_id: old_log, shard: SHARD, epoch: epoch(9), config: VoterConfig::default() };
    let reply = gateway.journal().fence(convert::fence_request_to_pb(&old)).await.unwrap();
    let reply = convert::fence_reply(reply.get_ref()).unwrap();
    assert!(!matches!(reply, FenceReply::Granted(_)), "the old history has no say here: {reply:?}");
    // A lower epoch than the old log's: the new one begins anew.
    let mut leader = Leader::elect(&gateway, 1, START + 1_000_000_000).await;
    let again = create(&gateway, "").await.backup.unwrap();
    let second = manifest(&Location::of(&into, target.path()), &again.id);
    assert_eq!(second.shards[0].state_hash, first.shards[0].state_hash);
    assert_eq!(history(&second), history(&first));
    leader.apply(&commands(33, 300)).await;
    gateway.stop().await;
    let options = VerifyOptions { config: into.clone(), data_dir: target.path().to_owned() };
    let report = tokio::task::spawn_blocking(move || verify(options)).await.unwrap().unwrap();
    assert!(report.ok, "{report:#?}");

    // What holds a history is not overwritten on a server, and is kept on a disk.
    let over = restore(&into, target.path(), &location, false).await;
    if into.history.database == HistoryDatabase::Postgres {
        let refused = over.unwrap_err();
        assert!(matches!(refused, BackupError::Target(_)) && refused.to_string().contains("empty"), "{refused}");
    } else {
        let kept = over.unwrap().kept;
        assert_eq!(kept.len(), 2, "journal and history: {kept:?}");
        assert!(kept.iter().all(|path| path.exists()));
    }
}

#[tokio::test]
async fn r80_what_is_restored_has_the_state_and_the_history_of_the_backup() {
    comes_back(small(), small()).await;
}

#[tokio::test]
async fn r80_a_backup_of_files_is_restored_into_a_database_server() {
    let server = PostgresServer::shared();
    comes_back(small(), on_postgres(&server.database(), JournalBackend::Postgres)).await;
}

#[tokio::test]
async fn r80_a_backup_of_a_database_server_is_restored_into_another_database() {
    let server = PostgresServer::shared();
    let from = on_postgres(&server.database(), JournalBackend::Postgres);
    comes_back(from, on_postgres(&server.database(), JournalBackend::File)).await;
}

/// A restore into a server that fails half way leaves what no later one may be mixed with: both say what to do.
#[tokio::test]
async fn r80_what_a_failed_restore_left_in_a_server_is_said_and_refused() {
    let server = PostgresServer::shared();
    let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (gateway, _leader) = traded(&small(), source.path()).await;
    let location = Location::of(&small(), source.path());
    create(&gateway, "").await;
    gateway.stop().await;

    // The journal is begun, then the tables of the history are not those that it needs.
    let both = on_postgres(&server.database(), JournalBackend::Postgres);
    server.sql(both.database.url.expose(), "CREATE TABLE trades ()");
    let failed = restore(&both, target.path(), &location, false).await.unwrap_err();
    assert!(matches!(failed, BackupError::Unfinished(_)) && failed.to_string().contains("anew"), "{failed}");
    server.sql(both.database.url.expose(), "DROP TABLE trades");
    // The connection was lost before the last rows and the cursor were written, say.
    let rows = on_postgres(&server.database(), JournalBackend::File);
    restore(&rows, target.path(), &location, false).await.unwrap();
    server.sql(rows.database.url.expose(), "UPDATE projection SET seq = 0");
    for into in [both, rows] {
        for dry_run in [true, false] {
            let refused = restore(&into, target.path(), &location, dry_run).await.unwrap_err();
            assert!(matches!(refused, BackupError::Target(_)), "{refused}");
        }
    }
}

#[tokio::test]
async fn r79_the_same_order_gives_the_same_backup() {
    let dir = tempfile::tempdir().unwrap();
    let (gateway, mut leader) = traded(&small(), dir.path()).await;
    let first = create(&gateway, "nightly").await;
    leader.apply(&commands(32, 100)).await;
    let again = create(&gateway, "nightly").await;
    assert!(!first.repeated_request && again.repeated_request);
    assert_eq!(first.backup, again.backup);
    let other = create(&gateway, "weekly").await.backup.unwrap();
    assert!(other.shards[0].seq > first.backup.unwrap().shards[0].seq);
    let mut client = BackupServiceClient::new(gateway.channel.clone());
    assert_eq!(client.list_backups(pb::ListBackupsRequest {}).await.unwrap().into_inner().backups.len(), 2);

    let order = Order { request_id: "x".repeat(65), ..Order::default() };
    let wrong = client.create_backup(pb::CreateBackupRequest { order: Some(order) }).await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument, "{wrong}");
    gateway.stop().await;
}

#[tokio::test]
async fn r79_nothing_is_left_of_a_backup_that_could_not_be_made() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = small();
    let place = dir.path().join("a-file");
    std::fs::write(&place, "").unwrap();
    config.backup.location = Some(place);
    let (gateway, _leader) = traded(&config, dir.path()).await;
    let mut client = BackupServiceClient::new(gateway.channel.clone());
    let failed = client.create_backup(pb::CreateBackupRequest::default()).await.unwrap_err();
    assert_eq!(failed.code(), Code::FailedPrecondition, "{failed}");
    assert!(failed.message().contains("a-file"), "{failed}");
    gateway.stop().await;
}

/// Damages one file of a copy of a backup; says how.
fn damage(backup: &Path, random: &mut StdRng) -> String {
    let mut all: Vec<PathBuf> =
        files(backup).into_iter().filter(|(_, bytes)| !bytes.is_empty()).map(|(p, _)| p).collect();
    all.sort();
    let path = &all[random.random_range(0..all.len())];
    let mut bytes = std::fs::read(path).unwrap();
    let at = random.random_range(0..bytes.len());
    let what = match random.random_range(0..4) {
        0 => {
            std::fs::remove_file(path).unwrap();
            return format!("{} removed", path.display());
        }
        1 => {
            bytes.truncate(at);
            "cut"
        }
        2 => {
            bytes.push(0);
            "lengthened"
        }
        _ => {
            bytes[at] ^= 1 << random.random_range(0..8);
            "flipped"
        }
    };
    std::fs::write(path, bytes).unwrap();
    format!("{} {what} at {at}", path.display())
}

#[tokio::test]
async fn r80_two_hundred_damaged_backups_are_refused_and_nothing_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let (gateway, _leader) = traded(&small(), dir.path()).await;
    let id = create(&gateway, "").await.backup.unwrap().id;
    gateway.stop().await;
    let good = files(&dir.path().join("backups").join(&id));
    let place = tempfile::tempdir().unwrap();
    let location = Location::new(place.path());
    let before = files(dir.path());
    let mut random = StdRng::seed_from_u64(80);
    for _ in 0..DAMAGED {
        let copy = place.path().join(&id);
        for (path, bytes) in &good {
            let to = copy.join(path.strip_prefix(dir.path().join("backups").join(&id)).unwrap());
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::write(to, bytes).unwrap();
        }
        let how = damage(&copy, &mut random);
        let listed = location.list().unwrap();
        let options = RestoreOptions {
            config: small(),
            data_dir: dir.path().to_owned(),
            location: location.clone(),
            id: id.clone(),
            dry_run: false,
        };
        let refused = tokio::task::spawn_blocking(move || options.run()).await.unwrap();
        assert!(matches!(refused, Err(BackupError::Damaged { .. })), "{how}: {refused:?}, listed {listed:?}");
        std::fs::remove_dir_all(&copy).unwrap();
    }
    assert!(files(dir.path()) == before, "the node's files are as they were");
}

#[tokio::test]
async fn r80_an_unknown_backup_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let location = Location::new(dir.path().join("none"));
    for id in ["latest", "20260101T000000Z-00000000", "..", "", "a/b", "."] {
        let refused = location.check(id).unwrap_err();
        assert!(matches!(refused, BackupError::Unknown { .. }), "{id}: {refused}");
    }
}

#[tokio::test]
async fn r80_another_number_of_shards_is_refused() {
    let (dir, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (gateway, _leader) = traded(&small(), dir.path()).await;
    create(&gateway, "").await;
    gateway.stop().await;
    let into = Config { shards: vec![0, 1], ..small() };
    let refused = restore(&into, target.path(), &Location::of(&small(), dir.path()), false).await.unwrap_err();
    assert!(matches!(refused, BackupError::Target(_)) && refused.to_string().contains("[0, 1]"), "{refused}");
    assert!(files(target.path()).is_empty());
}
