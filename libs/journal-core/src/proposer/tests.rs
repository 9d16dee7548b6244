//! Scenarios of one leader.
//!
//! Inputs: `elect EPOCH [applied LOG SEQ]`, `grant V LOG [commit C] [dubious S] [base B] [epoch E]`, `refuse V EPOCH`,
//! `opened V`, `closed V`, `ok V SEQ [epoch E] [round R]`, `mismatch V LOG`, `fetched LOG FROM..TO`, `propose`,
//! `read N`, `tick`.

use std::collections::BTreeMap;

use bytes::Bytes;
use types::{Seq, ShardId, Timestamp};

use super::{Effect, Input, MAX_UNCOMMITTED_ENTRIES, Proposer, VoterId};
use crate::testing::{LOG, epoch, epochs, scenario, show, tail};
use crate::{
    AppendMismatch, AppendOk, AppendReply, Entry, EntryKind, FenceGranted, FenceReply, Tail, Voter, VoterConfig,
};

fn number(words: &[&str], name: &str) -> Option<u64> {
    words.iter().position(|word| *word == name).map(|at| words[at + 1].parse().expect("number"))
}

fn parse(proposer: &Proposer, config: &VoterConfig, logs: &BTreeMap<String, Vec<Entry>>, line: &str) -> Input {
    let words: Vec<&str> = line.split_whitespace().collect();
    let voter = || VoterId(words[1].trim_start_matches('v').parse().expect("voter"));
    let reply = |reply| Input::AppendReply { voter: voter(), reply };
    match words[0] {
        "elect" => {
            let applied = words.iter().position(|word| *word == "applied").map_or(Tail::default(), |at| {
                let seq: usize = words[at + 2].parse().expect("seq");
                tail(&logs[words[at + 1]][..seq])
            });
            Input::Elected { epoch: epoch(words[1]), config: config.clone(), applied, timestamp: Timestamp(1) }
        }
        "grant" => {
            let log = &logs[words[2]];
            let base =
                number(&words, "base").map_or(Tail::default(), |seq| tail(&log[..usize::try_from(seq).unwrap_or(0)]));
            let granted = FenceGranted {
                epoch: number(&words, "epoch").map_or(proposer.epoch(), |e| epoch(&e.to_string())),
                last: tail(log),
                epochs: epochs(log),
                base,
                commit: Seq(number(&words, "commit").unwrap_or(0)),
                config: config.clone(),
                dubious_from: number(&words, "dubious").map(Seq),
                log_id: number(&words, "log").map_or(LOG, |id| types::LogId(id.into())),
                voter: Voter { gateway: words[1].to_owned(), disk_id: 5 },
            };
            Input::FenceReply { voter: voter(), reply: FenceReply::Granted(granted) }
        }
        "refuse" if proposer.last().seq == Seq(0) => {
            Input::FenceReply { voter: voter(), reply: FenceReply::Refused { promised: epoch(words[2]) } }
        }
        "refuse" => reply(AppendReply::Refused { promised: epoch(words[2]) }),
        "opened" => Input::StreamOpened { voter: voter() },
        "closed" => Input::StreamClosed { voter: voter() },
        "ok" => {
            let epoch = number(&words, "epoch").map_or(proposer.epoch(), |e| epoch(&e.to_string()));
            let match_seq = Seq(words[2].parse().expect("seq"));
            let round = number(&words, "round").unwrap_or(0);
            reply(AppendReply::Ok(AppendOk { epoch, match_seq, synced: true, round }))
        }
        "mismatch" => {
            let log = &logs[words[2]];
            reply(AppendReply::Mismatch(AppendMismatch { last: tail(log), epochs: epochs(log) }))
        }
        "retired" => reply(AppendReply::LogRetired { active: types::LogId(1) }),
        "fetched" => {
            let (from, to) = words[2].split_once("..").expect("range");
            let (from, to): (usize, usize) = (from.parse().expect("from"), to.parse().expect("to"));
            Input::Fetched { entries: logs[words[1]][from - 1..to].to_vec() }
        }
        "propose" => {
            let timestamp = Timestamp(proposer.last_timestamp().0 + 1);
            Input::Propose { kind: EntryKind::Batch, timestamp, payload: Bytes::new() }
        }
        "read" => Input::Read { number: words[1].parse().expect("number") },
        "tick" => Input::Heartbeat,
        other => panic!("unknown input {other}"),
    }
}

fn render(effect: &Effect) -> String {
    match effect {
        Effect::Fence { voter, request } => format!("v{} fence {}", voter.0, show(request.epoch)),
        Effect::Adopted { tail } => format!("adopted {}", tail.seq),
        Effect::Fetch { voter, from, to } => format!("v{} fetch {from}..{to}", voter.0),
        Effect::OpenStream { voter } => format!("v{} open", voter.0),
        Effect::Append { voter, request } => {
            let (from, to) = (request.prev_seq.0 + 1, request.prev_seq.0 + request.entries.len() as u64);
            let round = if request.round == 0 { String::new() } else { format!(" round {}", request.round) };
            format!("v{} append {from}..{to} commit {}{round}", voter.0, request.commit)
        }
        Effect::Committed { seq } => format!("committed {seq}"),
        Effect::ReadsConfirmed { up_to } => format!("read {up_to}"),
        Effect::Opened => "opened".to_owned(),
        Effect::Deposed { promised } => format!("deposed {}", show(*promised)),
        Effect::Halt { reason } => {
            format!("halt {}", format!("{reason:?}").split(['{', '(']).next().unwrap_or("").trim())
        }
    }
}

fn check_with(voters: u8, config: &VoterConfig, script: &str) -> Proposer {
    let ids: Vec<VoterId> = (0..voters).map(VoterId).collect();
    let mut proposer = Proposer::new(ShardId(2), &ids);
    scenario(script, |logs, line| {
        let mut effects = Vec::new();
        let input = parse(&proposer, config, logs, line);
        proposer.step(input, &mut effects);
        effects.iter().map(render).collect()
    });
    proposer
}

pub(super) fn check(voters: u8, script: &str) -> Proposer {
    check_with(voters, &VoterConfig::default(), script)
}

pub(super) const OPEN_ALONE: &str = "
    let empty =
    elect 1 => v0 fence 1
    grant v0 empty => adopted 0; v0 open
    opened v0 => v0 append 1..0 commit 0
    # the log is the same up to before the first entry: now the epoch begins
    ok v0 0 => v0 append 1..1 commit 0
    ok v0 1 => committed 1; opened
";

mod streams;

#[test]
fn a_fresh_log_with_one_voter() {
    let script = format!(
        "{OPEN_ALONE}
         propose => v0 append 2..2 commit 1
         propose => v0 append 3..3 commit 1
         ok v0 2 => committed 2
         ok v0 2 =>
         ok v0 3 => committed 3
         # idle: a heartbeat tells what is final
         tick => v0 append 4..3 commit 3
         ok v0 3 =>"
    );
    let proposer = check(1, &script);
    assert!(proposer.is_open() && proposer.journal_reachable());
    assert_eq!((proposer.commit(), proposer.uncommitted()), (Seq(3), 0));
}

#[test]
fn what_was_not_applied_is_handed_over_before_it_opens() {
    check(
        1,
        "let a = 1 1 1 1
         elect 2 applied a 1 => v0 fence 2
         grant v0 a commit 2 => adopted 4; v0 fetch 2..4
         fetched a 2..4 => v0 open
         opened v0 => v0 append 5..4 commit 0
         # I9: that the old entries match commits nothing
         ok v0 4 => v0 append 5..5 commit 0
         ok v0 5 => committed 4; committed 5; opened",
    );
}

#[test]
fn who_lacks_nothing_reads_nothing_and_who_lacks_too_much_reads_after_the_epoch_has_begun() {
    check(
        1,
        "let a = 1 1 1 1
         elect 2 applied a 4 => v0 fence 2
         grant v0 a => adopted 4; v0 open",
    );
    check(
        1,
        "let a = 1 1 1 1
         elect 2 applied a 1 => v0 fence 2
         grant v0 a commit 2 => adopted 4; v0 fetch 2..4
         fetched a 2..3 => v0 fetch 4..4
         fetched a 4..4 => v0 open
         opened v0 => v0 append 5..4 commit 0
         ok v0 4 => v0 append 5..5 commit 0
         ok v0 5 => v0 fetch 2..4
         fetched a 2..3 => committed 3; v0 fetch 4..4
         fetched a 4..4 => committed 4; committed 5; opened",
    );
}

#[test]
fn a_failed_fetch_is_tried_again() {
    check(
        1,
        "let a = 1 1
         let other = 1 1x
         elect 2 applied a 1 => v0 fence 2
         grant v0 a => adopted 2; v0 fetch 2..2
         fetched a 1..0 =>
         tick => v0 fetch 2..2
         # not what was asked for
         fetched other 2..2 =>
         tick => v0 fetch 2..2
         fetched a 2..2 => v0 open",
    );
}

#[test]
fn a_majority_of_the_configured_voters_is_needed() {
    check(
        3,
        "let empty =
         elect 1 => v0 fence 1; v1 fence 1; v2 fence 1
         grant v0 empty =>
         grant v0 empty =>
         grant v2 empty => adopted 0; v0 open; v1 open; v2 open
         opened v0 => v0 append 1..0 commit 0
         ok v0 0 => v0 append 1..1 commit 0
         ok v0 1 =>
         opened v2 => v2 append 1..0 commit 0
         ok v2 0 => v2 append 1..1 commit 0
         ok v2 1 => committed 1; opened
         propose => v0 append 2..2 commit 1; v2 append 2..2 commit 1
         ok v2 2 =>
         ok v0 2 => committed 2
         # a voter that comes late gets all of it
         opened v1 => v1 append 1..0 commit 2
         ok v1 0 => v1 append 1..2 commit 2
         ok v1 2 =>",
    );
}

#[test]
fn a_late_grant_of_an_earlier_epoch_is_no_vote() {
    check(
        3,
        "let empty =
         elect 1 => v0 fence 1; v1 fence 1; v2 fence 1
         grant v0 empty =>
         elect 2 => v0 fence 2; v1 fence 2; v2 fence 2
         grant v0 empty =>
         grant v1 empty epoch 1 =>
         grant v2 empty => adopted 0; v0 open; v1 open; v2 open",
    );
}

#[test]
fn a_listed_voter_counts_by_its_disk() {
    let voter = |name: &str, disk_id| Voter { gateway: name.to_owned(), disk_id };
    let current = vec![voter("v0", 5), voter("v1", 5), voter("v2", 6)];
    let config = VoterConfig { generation: 1, current, pending: Vec::new() };
    // The third one has another disk now: its grant and its acks are worth nothing (I14).
    check_with(
        3,
        &config,
        "let empty =
         elect 1 => v0 fence 1; v1 fence 1; v2 fence 1
         grant v0 empty =>
         grant v2 empty =>
         grant v1 empty => adopted 0; v0 open; v1 open; v2 open
         opened v0 => v0 append 1..0 commit 0
         ok v0 0 => v0 append 1..1 commit 0
         ok v0 1 =>
         ok v2 1 =>
         ok v1 1 => committed 1; opened",
    );
}

#[test]
fn the_log_of_the_newest_epoch_is_adopted_not_the_longest() {
    check(
        3,
        "let long = 1 1 1 1 1
         let newer = 1 1 2
         elect 3 applied newer 1 => v0 fence 3; v1 fence 3; v2 fence 3
         grant v0 long commit 1 =>
         grant v1 newer => adopted 3; v1 fetch 2..3
         fetched newer 2..3 => v0 open; v1 open; v2 open
         # where the other log may have parted is known from its epochs
         opened v0 => v1 fetch 3..3
         fetched newer 3..3 => v0 append 3..2 commit 0
         ok v0 2 => v0 append 3..4 commit 0
         opened v1 => v1 append 4..3 commit 0
         ok v1 3 => v1 append 4..4 commit 0
         ok v1 4 =>
         ok v0 4 => committed 3; committed 4; opened",
    );
}

#[test]
fn refused_by_enough_it_is_deposed() {
    let script = format!("{OPEN_ALONE}\n refuse v0 4 => deposed 4\n tick =>");
    assert!(!check(1, &script).is_open());
    let proposer = check(
        3,
        "let empty =
         elect 2 => v0 fence 2; v1 fence 2; v2 fence 2
         refuse v0 7 =>
         grant v1 empty =>
         grant v2 empty => adopted 0; v1 open; v2 open
         opened v1 => v1 append 1..0 commit 0
         ok v1 0 => v1 append 1..1 commit 0
         opened v2 => v2 append 1..0 commit 0
         ok v2 0 => v2 append 1..1 commit 0
         ok v1 1 =>
         ok v2 1 => committed 1; opened
         # late answers to an earlier leadership
         refuse v1 1 =>
         refuse v1 2 =>",
    );
    assert_eq!(proposer.lost_voters().collect::<Vec<_>>(), [(VoterId(0), epoch("7"))]);
    check(
        3,
        "elect 2 => v0 fence 2; v1 fence 2; v2 fence 2
         refuse v0 7 =>
         refuse v1 2@9 => deposed 7",
    );
}

#[test]
fn acks_of_another_epoch_or_beyond_the_log_do_not_count() {
    let script = format!(
        "{OPEN_ALONE}
         propose => v0 append 2..2 commit 1
         ok v0 2 epoch 9 =>
         ok v0 3 =>
         ok v0 2 => committed 2"
    );
    check(1, &script);
}

#[test]
fn common_ground_is_found_from_epochs_then_step_by_step() {
    check(
        3,
        "let mine = 1 1 1 3 3
         let theirs = 1 1 1x 2 2
         elect 4 applied mine 5 => v0 fence 4; v1 fence 4; v2 fence 4
         grant v0 mine =>
         grant v1 mine => adopted 5; v0 open; v1 open; v2 open
         opened v2 => v2 append 6..5 commit 0
         mismatch v2 theirs => v0 fetch 4..5
         fetched mine 4..5 => v2 append 4..3 commit 0
         mismatch v2 theirs => v0 fetch 3..5
         fetched mine 3..5 => v2 append 3..2 commit 0
         ok v2 2 => v2 append 3..6 commit 0",
    );
}

#[test]
fn what_must_not_be_built_upon_halts() {
    let scripts = [
        "# I16: a voter knows of more
         let a = 1 1
         elect 2 => v0 fence 2
         grant v0 a commit 3 => halt CommittedMissing",
        "# I16: the engine knows of more
         let a = 1 1
         let b = 1
         elect 2 applied a 2 => v0 fence 2
         grant v0 b => halt CommittedMissing",
        "# another state
         let a = 1 1
         let b = 1 1x
         elect 2 applied b 2 => v0 fence 2
         grant v0 a => halt StateOffLog",
        "# too old a state
         let a = 1 1 1
         elect 2 applied a 1 => v0 fence 2
         grant v0 a base 2 => halt StateTooOld",
        "# a damaged log
         let a = 1 1 1
         elect 2 => v0 fence 2
         grant v0 a dubious 2 => halt NoCleanMajority",
    ];
    scripts.into_iter().for_each(|script| {
        check(1, script);
    });
    check(
        3,
        "let a = 1 1
         let b = 1 1x
         elect 2 => v0 fence 2; v1 fence 2; v2 fence 2
         grant v0 a =>
         grant v1 b => halt Contradiction",
    );
    check(
        3,
        "let a = 1 1
         elect 2 => v0 fence 2; v1 fence 2; v2 fence 2
         grant v0 a =>
         grant v1 a log 8 => halt OtherHistory",
    );
    check(
        1,
        "let a = 1 1 1
         let b = 1 1x
         elect 2 applied b 2 => v0 fence 2
         grant v0 a => adopted 3; v0 fetch 3..3
         fetched a 3..3 => halt StateOffLog",
    );
    check(
        1,
        "let a = 1 1 1 1
         let b = 1 1x
         elect 2 applied b 2 => v0 fence 2
         grant v0 a => adopted 4; v0 fetch 3..4
         # only the end of it
         fetched a 4..4 => v0 open
         opened v0 => v0 append 5..4 commit 0
         ok v0 4 => v0 append 5..5 commit 0
         ok v0 5 => v0 fetch 3..4
         fetched a 3..4 => halt StateOffLog",
    );
    check(1, &format!("{OPEN_ALONE}\n retired v0 => halt OtherHistory"));
}

#[test]
fn what_is_not_final_is_bounded() {
    let mut proposer = check(1, OPEN_ALONE);
    let mut effects = Vec::new();
    let mut proposed = 0;
    while proposer.can_propose() {
        let timestamp = Timestamp(proposer.last_timestamp().0 + 1);
        proposer.step(Input::Propose { kind: EntryKind::Batch, timestamp, payload: Bytes::new() }, &mut effects);
        proposed += 1;
    }
    assert_eq!(proposed, MAX_UNCOMMITTED_ENTRIES);
    assert_eq!(effects.len(), 64, "requests under way to one voter");
    let ok = AppendOk { epoch: epoch("1"), match_seq: Seq(65), synced: true, round: 0 };
    effects.clear();
    proposer.step(Input::AppendReply { voter: VoterId(0), reply: AppendReply::Ok(ok) }, &mut effects);
    assert!(proposer.can_propose());
    assert_eq!(effects.first(), Some(&Effect::Committed { seq: Seq(65) }));
    // What was just committed can be read until the next step, what is not committed yet as well.
    assert!((2..=1025).all(|seq| proposer.entry(Seq(seq)).is_some_and(|entry| entry.verify())));
    proposer.step(Input::Heartbeat, &mut effects);
    assert!(proposer.entry(Seq(65)).is_none() && proposer.entry(Seq(66)).is_some());
}

#[test]
fn large_payloads_are_bounded_too() {
    let mut proposer = check(1, OPEN_ALONE);
    let payload = Bytes::from(vec![0; crate::MAX_PAYLOAD_BYTES]);
    let mut effects = Vec::new();
    while proposer.can_propose() {
        let timestamp = Timestamp(proposer.last_timestamp().0 + 1);
        proposer.step(Input::Propose { kind: EntryKind::Batch, timestamp, payload: payload.clone() }, &mut effects);
    }
    assert_eq!(proposer.uncommitted(), 16);
}
