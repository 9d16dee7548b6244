//! The chain holds through restarts and crashes, and every way to tamper with it is found.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::*;
use crate::{Caller, Components, Role};

fn act(action: &'static str) -> Act {
    let caller = Caller::new("ann", Role::Operator, Some([127, 0, 0, 1].into()));
    let (before, after) = (json!({"size": 1, "url": "postgres://u:canary@h/d"}), json!({"size": 2}));
    let (actor, reason, request_id) = ("ann".to_owned(), "a test".to_owned(), "r-1".to_owned());
    let target = "pool history".to_owned();
    let parameters = json!({"max": 7});
    Act { target, actor, reason, request_id, parameters, before, after, ..Act::new(action, caller) }
}

fn open(directory: &Path) -> (Audit, Components) {
    open_with(directory, &Config::default())
}

fn open_with(directory: &Path, config: &Config) -> (Audit, Components) {
    let components = Components::new();
    let component = components.register_optional("audit");
    (Audit::open(directory, "n1", config, component).expect("opened"), components)
}

/// Opens, records so many acts, and ends in order.
async fn written(directory: &Path, acts: usize) -> Verification {
    let (audit, _) = open(directory);
    for _ in 0..acts {
        audit.record(act("database.reset_pools"));
    }
    audit.verify(None).await.expect("readable")
}

fn only_file(directory: &Path) -> PathBuf {
    let mut files = segments::list(&directory.join(DIRECTORY)).expect("listed");
    assert_eq!(files.len(), 1);
    files.remove(0).1
}

fn problems(verification: &Verification) -> Vec<&str> {
    verification.findings.iter().map(|finding| finding.problem.as_str()).collect()
}

#[tokio::test]
async fn r61_an_act_is_a_line_with_who_where_why_before_and_after() {
    let directory = tempfile::tempdir().expect("a directory");
    let (audit, components) = open(directory.path());
    audit.record(act("database.reset_pools"));
    audit.flush().await;
    let found = audit.search(Query { limit: 1, ..Query::default() }).await.expect("readable");
    let record = &found[0];
    assert_eq!((record.action.as_str(), record.actor.as_str()), ("database.reset_pools", "ann"));
    assert_eq!((record.subject.as_str(), record.role.as_str()), ("ann", "operator"));
    assert_eq!(record.peer, Some([127, 0, 0, 1].into()));
    assert_eq!((record.reason.as_str(), record.request_id.as_str()), ("a test", "r-1"));
    assert_eq!(record.before, json!({"size": 1, "url": "postgres://u:***@h/d"}));
    assert_eq!((record.after.clone(), record.result.as_str()), (json!({"size": 2}), "ok"));
    let text = fs::read_to_string(only_file(directory.path())).expect("readable");
    assert!(!text.contains("canary"), "{text}");
    assert!(components.is_ready() && format!("{components:?}").contains("Ok"), "{components:?}");
}

#[tokio::test]
async fn r62_verbose_adds_parameters_denials_and_details() {
    let directory = tempfile::tempdir().expect("a directory");
    let (audit, _components) = open(directory.path());
    let give = |audit: &Audit| {
        audit.record(act("config.reload"));
        audit.record(Act { result: Outcome::Refused("no".to_owned()), ..act("config.reload") });
        audit.record(Act { result: Outcome::Failed("broken".to_owned()), ..act("config.reload") });
        audit.record_verbose(|| act("order.accepted"));
    };
    give(&audit);
    let verbose = Config { audit_level: Level::Verbose, ..Config::default() };
    audit.apply(&verbose);
    give(&audit);
    audit.apply(&Config { enable_audit_logging: false, ..verbose });
    give(&audit);
    audit.flush().await;
    let mut found = audit.search(Query { limit: 100, ..Query::default() }).await.expect("readable");
    found.reverse();
    let words = |r: &Record| format!("{} {}{}", r.action, r.result, if r.parameters.is_null() { "" } else { " with" });
    let words: Vec<String> = found.iter().map(words).collect();
    let expected = [
        "audit.opened ok",
        "config.reload ok",
        "config.reload failed",
        "audit.configured ok",
        "config.reload ok with",
        "config.reload refused with",
        "config.reload failed with",
        "order.accepted ok with",
        "audit.configured ok",
    ];
    assert_eq!(words, expected);
    assert_eq!((found[3].before.clone(), found[3].after.clone()), (json!("standard"), json!("verbose")));
}

#[tokio::test]
async fn r61_the_chain_goes_on_after_a_restart_and_after_a_torn_write() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = written(directory.path(), 3).await;
    assert_eq!((first.records, first.findings_total), (4, 0));
    // A crash in the middle of a write.
    let file = only_file(directory.path());
    let mut bytes = fs::read(&file).expect("readable");
    bytes.extend_from_slice(b"{\"seq\":5,\"at\":\"20");
    fs::write(&file, bytes).expect("written");
    let second = written(directory.path(), 1).await;
    assert_eq!(problems(&second), Vec::<&str>::new());
    assert_eq!(second.records, 6);
    let noted = Head { seq: first.last_seq, hash: first.last_hash };
    let again = verify_directory(directory.path(), Some(noted.clone())).expect("readable");
    assert_eq!(again.findings_total, 0, "{again:?}");
    assert_eq!(Head::parse(&format!("{}:{}", noted.seq, noted.hash)), Some(noted));
}

#[tokio::test]
async fn files_are_rotated_and_read_through() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = Config { segment_size: ByteSize(1024), ..Config::default() };
    let (audit, _components) = open_with(directory.path(), &config);
    for _ in 0..40 {
        audit.record(act("database.reset_pools"));
        audit.flush().await;
    }
    let verification = audit.verify(None).await.expect("readable");
    assert!(verification.files > 5, "{verification:?}");
    assert_eq!((verification.records, verification.findings_total), (41, 0));
    let mut lines = Lines::from(&directory.path().join(DIRECTORY), 7);
    let mut seen = Vec::new();
    loop {
        let some = lines.read(10).expect("readable");
        if some.is_empty() {
            break;
        }
        seen.extend(some.into_iter().map(|line| line.head.seq));
    }
    assert_eq!(seen, (7..=41).collect::<Vec<u64>>());
}

#[tokio::test]
async fn r61_every_edit_insertion_and_deletion_is_found() {
    let directory = tempfile::tempdir().expect("a directory");
    let good = written(directory.path(), 8).await;
    let file = only_file(directory.path());
    let text = fs::read_to_string(&file).expect("readable");
    let lines: Vec<String> = text.lines().map(|line| format!("{line}\n")).collect();
    let tampered = |lines: &[String]| {
        fs::write(&file, lines.concat()).expect("written");
        verify_directory(directory.path(), None).expect("readable")
    };
    assert_eq!(tampered(&lines).findings_total, 0);
    for at in 0..lines.len() {
        let mut edited = lines.clone();
        edited[at] = edited[at].replacen("n1", "n2", 1);
        assert_eq!(problems(&tampered(&edited)), ["the record was changed"], "line {at}");
        let mut deleted = lines.clone();
        deleted.remove(at);
        assert!(tampered(&deleted).findings_total > 0, "deleted line {at}");
        let mut doubled = lines.clone();
        doubled.insert(at, lines[at].clone());
        assert!(tampered(&doubled).findings_total > 0, "doubled line {at}");
        assert!(tampered(&lines[..at]).findings_total > 0, "cut before line {at}");
    }
    // Every single byte.
    let bytes = text.clone().into_bytes();
    for at in (0..bytes.len()).step_by(7) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        fs::write(&file, &flipped).expect("written");
        let found = verify_directory(directory.path(), None).expect("readable");
        assert!(found.findings_total > 0, "byte {at}");
    }
    let mut swapped = lines.clone();
    swapped.swap(2, 3);
    assert!(tampered(&swapped).findings_total > 0);
    // A forged end with right hashes, after which also the head was forged: found by what was noted down elsewhere.
    let elsewhere = tempfile::tempdir().expect("a directory");
    let forged = written(elsewhere.path(), 8).await;
    assert_eq!(forged.findings_total, 0);
    let noted = Head { seq: good.last_seq, hash: good.last_hash };
    let found = verify_directory(elsewhere.path(), Some(noted)).expect("readable");
    assert_eq!(problems(&found), ["record 9 is not the one that was noted down"]);
}

#[tokio::test]
async fn records_that_were_cut_off_while_the_process_was_down_stay_missed() {
    let directory = tempfile::tempdir().expect("a directory");
    written(directory.path(), 8).await;
    let file = only_file(directory.path());
    let text = fs::read_to_string(&file).expect("readable");
    let kept: String = text.lines().take(5).map(|line| format!("{line}\n")).collect();
    fs::write(&file, kept).expect("written");
    let (audit, components) = open(directory.path());
    let found = audit.verify(None).await.expect("readable");
    assert_eq!(problems(&found), ["record 6 was expected here"]);
    assert!(format!("{components:?}").contains("records 6 to 9 are missing"), "{components:?}");
    let damaged = Query { limit: 1, action: "audit.damaged".to_owned(), ..Query::default() };
    assert_eq!(audit.search(damaged).await.expect("readable").len(), 1);
    drop(audit);
    fs::remove_dir_all(directory.path().join(DIRECTORY)).expect("removed");
    let gone = verify_directory(directory.path(), None).expect("readable");
    assert_eq!(gone.findings_total, 1, "{gone:?}");
}

#[tokio::test]
async fn what_the_queue_cannot_take_is_counted_in_the_log() {
    let directory = tempfile::tempdir().expect("a directory");
    let (audit, _components) = open(directory.path());
    audit.0.lost.fetch_add(3, Ordering::Relaxed);
    audit.record(act("database.reset_pools"));
    audit.flush().await;
    let lost = Query { limit: 1, action: "audit.".to_owned(), text: "\"acts\":3".to_owned(), ..Query::default() };
    assert_eq!(audit.search(lost).await.expect("readable").len(), 1);
    assert_eq!(audit.verify(None).await.expect("readable").findings_total, 0);
}
