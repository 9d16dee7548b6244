//! Every message between engine and voter survives the way there and, where it is one of ours, comes back equal.

use bytes::Bytes;
use journal_core::{
    AppendMismatch, AppendOk, AppendReply, AppendRequest, ChainHash, Entry, EntryKind, EpochStart, FenceGranted,
    FenceReply, FenceRequest, Tail, Voter, VoterConfig,
};
use prost::Message;
use types::{Epoch, Incarnation, LogId, Seq, ShardId, Timestamp};

use super::Spoilt;
use crate::convert;
use crate::pb::journal::v1 as pb;
use crate::trace::{SpanId, TraceContext, TraceId};

fn epoch(number: u64) -> Epoch {
    Epoch { number, owner: Incarnation(u128::from(number) << 100 | 1) }
}

fn tail() -> Tail {
    Tail { epoch: epoch(3), seq: Seq(40), chain: ChainHash([7; 16]) }
}

fn config() -> VoterConfig {
    let voter = |name: &str, disk_id| Voter { gateway: name.to_owned(), disk_id };
    VoterConfig { generation: 2, current: vec![voter("a", 1), voter("b", u128::MAX)], pending: vec![voter("c", 3)] }
}

fn starts() -> Vec<EpochStart> {
    vec![EpochStart { epoch: 1, seq: Seq(1) }, EpochStart { epoch: 3, seq: Seq(30) }]
}

fn granted() -> FenceGranted {
    FenceGranted {
        epoch: epoch(3),
        last: tail(),
        epochs: starts(),
        base: Tail::default(),
        commit: Seq(39),
        config: config(),
        dubious_from: None,
        log_id: LogId(99),
        voter: Voter { gateway: "a".to_owned(), disk_id: 1 },
    }
}

fn append() -> AppendRequest {
    let payload = Bytes::from_static(b"batch");
    let first =
        Entry::seal(LogId(99), epoch(3), Seq(41), EntryKind::Batch, Timestamp(1_000), ChainHash([7; 16]), payload);
    AppendRequest {
        log_id: LogId(99),
        shard: ShardId(4),
        epoch: epoch(3),
        config_generation: 2,
        prev_seq: Seq(40),
        prev_chain: ChainHash([7; 16]),
        entries: vec![first],
        commit: Seq(39),
        head_trim: Seq(10),
        round: 123,
    }
}

/// Through the bytes that a socket would carry.
fn sent<M: Message + Default>(message: &M) -> M {
    M::decode(Bytes::from(message.encode_to_vec())).unwrap()
}

#[test]
fn fences_and_votes() {
    let request = FenceRequest { log_id: LogId(99), shard: ShardId(4), epoch: epoch(3), config: config() };
    assert_eq!(convert::fence_request(&sent(&convert::fence_request_to_pb(&request))), Ok(request));
    for reply in [
        FenceReply::Granted(granted()),
        FenceReply::Granted(FenceGranted { dubious_from: Some(Seq(8)), ..granted() }),
        FenceReply::Refused { promised: epoch(5) },
        FenceReply::ConfigNewer(config()),
        FenceReply::LogRetired { active: LogId(3) },
        FenceReply::NotVoter,
        FenceReply::Failed { message: "disk full".to_owned() },
    ] {
        assert_eq!(convert::fence_reply(&sent(&convert::fence_reply_to_pb(reply.clone()))), Ok(reply));
    }
}

#[test]
fn appends_and_their_answers() {
    let request = append();
    let back = convert::append_request(sent(&convert::append_request_to_pb(request.clone()))).unwrap();
    assert!(back.entries[0].verify());
    assert_eq!(back, request);
    let ok = AppendOk { epoch: epoch(3), match_seq: Seq(41), synced: true, round: 123 };
    for reply in [
        AppendReply::Ok(ok),
        AppendReply::Ok(AppendOk { synced: false, ..ok }),
        AppendReply::Refused { promised: epoch(5) },
        AppendReply::Mismatch(AppendMismatch { last: tail(), epochs: starts() }),
        AppendReply::ConfigNewer(config()),
        AppendReply::LogRetired { active: LogId(3) },
        AppendReply::Failed { message: "disk full".to_owned() },
    ] {
        assert_eq!(convert::append_reply(&sent(&convert::append_reply_to_pb(reply.clone(), 0, false))), Ok(reply));
    }
}

#[test]
fn traces_of_entries_come_through_and_are_no_part_of_the_append() {
    let place = TraceContext { trace: TraceId(7), span: SpanId(8), sampled: true };
    let mut request = convert::append_request_to_pb(append());
    request.traces = vec![
        convert::entry_trace_to_pb(Seq(41), &place),
        pb::EntryTrace { seq: 41, traceparent: "nonsense".to_owned() },
    ];
    let request = sent(&request);
    assert_eq!(convert::entry_traces(&request.traces), [(Seq(41), place)]);
    assert_eq!(convert::append_request(request), Ok(append()));
}

#[test]
fn each_wrong_field_of_an_append_is_named() {
    let wrong: [Spoilt<pb::AppendRequest>; 9] = [
        ("log_id", |r| r.log_id = Bytes::from_static(b"short")),
        ("shard", |r| r.shard = 65_536),
        ("epoch.number", |r| r.epoch = None),
        ("epoch.owner", |r| r.epoch.as_mut().unwrap().owner = Bytes::from_static(&[1; 17])),
        ("prev_chain", |r| r.prev_chain = Bytes::from_static(b"x")),
        ("entries.kind", |r| r.entries[0].kind = 0),
        ("entries.kind", |r| r.entries[0].kind = 7),
        ("entries.seq", |r| r.entries[0].seq = 0),
        ("entries.payload", |r| r.entries[0].payload = vec![0; (1 << 20) + 1].into()),
    ];
    for (field, spoil) in wrong {
        let mut request = convert::append_request_to_pb(append());
        spoil(&mut request);
        assert_eq!(convert::append_request(request).unwrap_err().field.as_deref(), Some(field));
    }
}

#[test]
fn a_vote_that_is_neither_clean_nor_says_where_it_is_not_is_doubted_from_the_start() {
    let mut sent = convert::fence_reply_to_pb(FenceReply::Granted(granted()));
    if let Some(pb::fence_response::Result::Granted(granted)) = &mut sent.result {
        granted.clean = false;
    }
    match convert::fence_reply(&sent).unwrap() {
        FenceReply::Granted(granted) => assert_eq!(granted.dubious_from, Some(Seq(1))),
        other => panic!("{other:?}"),
    }
}

#[test]
fn engines() {
    let engine = convert::Engine {
        name: "engine-1".to_owned(),
        incarnation: Incarnation(5),
        address: "http://127.0.0.1:8080".to_owned(),
    };
    let good = convert::engine_to_pb(&engine);
    assert_eq!(convert::engine("engine", Some(&good)), Ok(engine));
    let wrong: [Spoilt<crate::pb::consensus::v1::Engine>; 5] = [
        ("engine.name", |e| e.name.clear()),
        ("engine.name", |e| e.name = "n".repeat(65)),
        ("engine.incarnation", |e| e.incarnation = Bytes::new()),
        ("engine.incarnation", |e| e.incarnation = Bytes::from_static(b"short")),
        ("engine.address", |e| e.address = "a".repeat(301)),
    ];
    for (field, spoil) in wrong {
        let mut bad = good.clone();
        spoil(&mut bad);
        assert_eq!(convert::engine("engine", Some(&bad)).unwrap_err().field.as_deref(), Some(field));
    }
    assert_eq!(convert::engine("engine", None).unwrap_err().field.as_deref(), Some("engine"));
}
