//! The journal voter over gRPC.

use std::time::Duration;

use journal_core::{AppendReply, FenceReply};
use journal_store::Storage;
use journal_store::memory::{MemoryDisk, MemoryFault, MemoryStorage};
use persistence_gateway::journal::{self, JournalVoter};
use service_kit::trace::Tracer;
use tokio_stream::StreamExt;
use tonic::{Code, Status};
use types::Seq;
use wire::pb::journal::v1 as pb;
use wire::pb::journal::v1::journal_service_server::JournalServiceServer;
use wire::status::ApiError;

use crate::support::{Gateway, Leader, START, commands, config, epoch, fence};

fn read(from_seq: u64) -> pb::ReadRequest {
    pb::ReadRequest { from_seq, ..pb::ReadRequest::default() }
}

async fn read_all(gateway: &Gateway, request: pb::ReadRequest) -> Result<Vec<pb::Entry>, Status> {
    let mut parts = gateway.journal().read(request).await?.into_inner();
    let mut entries = Vec::new();
    while let Some(part) = parts.next().await {
        entries.extend(part?.entries);
    }
    Ok(entries)
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(config(), dir.path()).await;
    let mut leader = Leader::elect(&gateway, 1, START).await;
    leader.apply(&commands(1, 400)).await;
    // What the leader said last may be noted after it was answered.
    let seen = loop {
        let seen = gateway.journal().leader_seen(pb::LeaderSeenRequest::default()).await.unwrap().into_inner();
        if seen.commit_seq >= leader.tail.seq.0 {
            break seen;
        }
        tokio::task::yield_now().await;
    };
    assert!(seen.stream_open);
    assert_eq!((seen.epoch.unwrap().number, seen.commit_seq), (1, leader.tail.seq.0));
    let before = read_all(&gateway, read(1)).await.unwrap();
    assert_eq!(before.len(), 51);
    gateway.stop().await;

    let gateway = Gateway::start(config(), dir.path()).await;
    assert_eq!(read_all(&gateway, read(1)).await.unwrap(), before);
    let part = read_all(&gateway, pb::ReadRequest { to_seq: 20, ..read(11) }).await.unwrap();
    assert_eq!(part, before[10..20]);
    let seen = gateway.journal().leader_seen(pb::LeaderSeenRequest::default()).await.unwrap().into_inner();
    assert!(!seen.stream_open, "the stream of the last run is gone");
    assert_eq!(seen.silent_ms, u64::MAX);
    gateway.stop().await;
}

#[tokio::test]
async fn a_second_leader_fences_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(config(), dir.path()).await;
    let mut first = Leader::elect(&gateway, 1, START).await;
    first.apply(&commands(2, 40)).await;
    let old_tail = first.tail;

    let FenceReply::Granted(granted) = fence(&gateway, epoch(2)).await else { panic!("not granted") };
    assert_eq!((granted.last, granted.commit), (old_tail, old_tail.seq));
    let entry = first.batch(&commands(2, 1));
    let AppendReply::Refused { promised } = first.try_append(vec![entry]).await else { panic!("not refused") };
    assert_eq!(promised, epoch(2));
    assert!(matches!(fence(&gateway, epoch(1)).await, FenceReply::Refused { promised } if promised == epoch(2)));
    gateway.stop().await;

    // The promise outlives the process.
    let gateway = Gateway::start(config(), dir.path()).await;
    assert!(matches!(fence(&gateway, epoch(1)).await, FenceReply::Refused { promised } if promised == epoch(2)));
    assert_eq!(read_all(&gateway, read(1)).await.unwrap().len() as u64, old_tail.seq.0);
    gateway.stop().await;
}

#[tokio::test]
async fn pipelined_appends_are_answered_each_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(config(), dir.path()).await;
    let mut leader = Leader::elect(&gateway, 1, START).await;
    let first = leader.tail;
    let entries: Vec<_> = commands(3, 60).iter().map(|command| leader.batch(&[*command])).collect();
    for entry in &entries {
        leader.send(Seq(entry.seq.0 - 1), entry.prev_chain, vec![entry.clone()]).await;
    }
    for entry in &entries {
        let AppendReply::Ok(ok) = leader.reply().await else { panic!("not appended") };
        assert_eq!(ok.match_seq, entry.seq);
        assert!(ok.synced);
    }
    // The same again is acknowledged again and changes nothing.
    leader.send(first.seq, first.chain, entries.clone()).await;
    let AppendReply::Ok(ok) = leader.reply().await else { panic!("not appended") };
    assert_eq!(ok.match_seq, leader.tail.seq);
    assert!(!ok.synced);
    assert_eq!(read_all(&gateway, read(1)).await.unwrap().len() as u64, leader.tail.seq.0);
    gateway.stop().await;
}

#[tokio::test]
async fn followers_see_what_is_committed_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(config(), dir.path()).await;
    let mut leader = Leader::elect(&gateway, 1, START).await;
    let request = pb::ReadRequest { committed_only: true, follow: true, ..read(1) };
    let mut follower = gateway.journal().read(request).await.unwrap().into_inner();
    assert_eq!(follower.next().await.unwrap().unwrap().entries.len(), 1);

    let entry = leader.batch(&commands(4, 1));
    let commit = leader.commit;
    assert!(matches!(leader.try_append(vec![entry.clone()]).await, AppendReply::Ok(_)));
    let durable = read_all(&gateway, read(2)).await.unwrap();
    let committed = read_all(&gateway, pb::ReadRequest { committed_only: true, ..read(1) }).await.unwrap();
    assert_eq!((durable.len(), committed.len() as u64), (1, commit.0), "durable, but nobody said committed");

    leader.commit = entry.seq;
    assert!(matches!(leader.try_append(Vec::new()).await, AppendReply::Ok(_)));
    let news = follower.next().await.unwrap().unwrap();
    assert_eq!((news.entries.len(), news.entries[0].seq, news.commit_seq), (1, entry.seq.0, entry.seq.0));
    drop(follower);
    gateway.stop().await;
}

#[tokio::test]
async fn wrong_requests_name_their_field() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(config(), dir.path()).await;
    for (request, field) in [
        (read(0), "from_seq"),
        (pb::ReadRequest { to_seq: 3, ..read(4) }, "to_seq"),
        (pb::ReadRequest { log_id: vec![1; 3].into(), ..read(1) }, "log_id"),
        (pb::ReadRequest { shard: 70_000, ..read(1) }, "shard"),
    ] {
        let error = read_all(&gateway, request).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert_eq!(ApiError::from_status(&error).field.as_deref(), Some(field));
    }
    let error = read_all(&gateway, pb::ReadRequest { shard: 3, ..read(1) }).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    let foreign = pb::ReadRequest { log_id: vec![9; 16].into(), ..read(1) };
    assert_eq!(read_all(&gateway, foreign).await.unwrap_err().code(), Code::FailedPrecondition);

    let requests = tokio_stream::iter([pb::AppendRequest::default()]);
    let mut replies = gateway.journal().append(requests).await.unwrap().into_inner();
    let error = replies.next().await.unwrap().unwrap_err();
    assert_eq!(ApiError::from_status(&error).field.as_deref(), Some("epoch.number"));
    gateway.stop().await;
}

#[tokio::test]
async fn a_failed_write_is_told_and_ends_the_journal() {
    let disk = MemoryDisk::new();
    let mut storage = MemoryStorage::open(&disk);
    let recovered = storage.recover().unwrap();
    let spawned =
        journal::spawn(crate::support::SHARD, "g0", Box::new(storage), recovered, None, Tracer::off()).unwrap();
    let voter = JournalVoter::new([(crate::support::SHARD, spawned.handle)].into());
    let (dial, listener) = wire::transport::in_process();
    tokio::spawn(listener.serve(JournalServiceServer::new(voter), std::future::pending()));
    let address = wire::transport::Address::InProcess(dial);
    let channel = wire::transport::connect(&address, &wire::transport::ClientOptions::default());
    let gateway = Gateway::around(channel);

    let mut leader = Leader::elect(&gateway, 1, START).await;
    disk.fail_after(0, MemoryFault::WrittenUnknown);
    let entry = leader.batch(&commands(5, 1));
    let AppendReply::Failed { message } = leader.try_append(vec![entry]).await else { panic!("acknowledged") };
    assert!(message.contains("injected"), "{message}");
    let failure = tokio::time::timeout(Duration::from_secs(60), spawned.ended).await.unwrap().unwrap().unwrap_err();
    assert!(failure.reason.contains("injected"), "{failure}");
}

#[tokio::test]
async fn damage_stops_the_start_with_its_own_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(config(), dir.path()).await;
    let mut leader = Leader::elect(&gateway, 1, START).await;
    leader.apply(&commands(6, 80)).await;
    gateway.stop().await;
    crate::support::flip_journal_bit(dir.path());

    let context = service_kit::NodeContext::new("g0", Vec::new(), dir.path());
    let error = persistence_gateway::build(config(), &context).await.unwrap_err();
    assert_eq!(error.exit_code(), persistence_gateway::EXIT_JOURNAL_DAMAGED, "{error}");
    assert!(error.to_string().contains("corrupt"), "{error}");
}

/// A disk that was not mounted, say: what was acknowledged must not be forgotten.
#[tokio::test]
async fn an_empty_journal_beside_a_history_stops_the_start() {
    let url = journal_store::testing::PostgresServer::shared().database();
    for server in [false, true] {
        let config = if server { crate::support::with_postgres(url.clone()) } else { config() };
        let dir = tempfile::tempdir().unwrap();
        let gateway = Gateway::start(config.clone(), dir.path()).await;
        let mut leader = Leader::elect(&gateway, 1, START).await;
        leader.apply(&commands(7, 80)).await;
        gateway.stop().await;
        let context = service_kit::NodeContext::new("g0", Vec::new(), dir.path());
        drop(persistence_gateway::build(config.clone(), &context).await.unwrap());

        std::fs::remove_dir_all(dir.path().join("journal")).unwrap();
        let error = persistence_gateway::build(config, &context).await.unwrap_err();
        assert_eq!(error.exit_code(), persistence_gateway::EXIT_JOURNAL_DAMAGED, "{error}");
        assert!(error.to_string().contains("is empty, but the history"), "{error}");
    }
}
