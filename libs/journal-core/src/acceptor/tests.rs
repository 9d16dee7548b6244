//! Scenarios of one voter.
//!
//! Inputs: `fence CLIENT EPOCH [gen G] [log L]`, `append CLIENT EPOCH LOG FROM..TO [commit C]` (entries FROM to TO of
//! a log; FROM..FROM-1 is a heartbeat), `persisted`, `failed`, `fenced EPOCH`, `moved`, `reload LOG EPOCH`,
//! `superseded LOG EPOCH`, `unread`, `trim LOG SEQ`.

use std::collections::BTreeMap;

use types::{LogId, Seq, ShardId};

use super::{Acceptor, ClientId, Effect, Input, PersistError, Reply};
use crate::testing::{LOG, chain_before, epoch, epochs, scenario, show, tail};
use crate::{
    AppendReply, AppendRequest, Control, Entry, FenceReply, FenceRequest, Recovered, Tail, Voter, VoterConfig,
};

const SHARD: ShardId = ShardId(2);

fn client(text: &str) -> ClientId {
    ClientId(text.parse().expect("client"))
}

fn option<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    words.iter().position(|word| *word == name).map(|at| words[at + 1])
}

fn parse(logs: &BTreeMap<String, Vec<Entry>>, token: u64, line: &str) -> Input {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |name: &str| option(&words, name).map_or(0, |text| text.parse::<u64>().expect("number"));
    match words[0] {
        "fence" => {
            let current = option(&words, "voters").unwrap_or_default().split(',').filter(|name| !name.is_empty());
            let current = current.map(|name| Voter { gateway: name.to_owned(), disk_id: 5 }).collect();
            let request = FenceRequest {
                log_id: LogId(number("log").into()),
                shard: SHARD,
                epoch: epoch(words[2]),
                config: VoterConfig { generation: number("gen"), current, pending: Vec::new() },
            };
            Input::Fence { client: client(words[1]), request }
        }
        "append" => {
            let log = &logs[words[3]];
            let (from, to) = words[4].split_once("..").expect("range");
            let (from, to): (usize, usize) = (from.parse().expect("from"), to.parse().expect("to"));
            let request = AppendRequest {
                log_id: option(&words, "log").map_or(LOG, |text| LogId(text.parse().expect("log"))),
                shard: SHARD,
                epoch: epoch(words[2]),
                config_generation: number("gen"),
                prev_seq: Seq(from as u64 - 1),
                prev_chain: chain_before(log, from),
                entries: log[from - 1..to].to_vec(),
                commit: Seq(number("commit")),
                head_trim: Seq(0),
                round: 0,
            };
            Input::Append { client: client(words[1]), request }
        }
        "persisted" => Input::Persisted { token },
        "failed" => Input::Failed { token, error: PersistError::Storage("input/output error".to_owned()) },
        "fenced" => Input::Failed { token, error: PersistError::Fenced { promised: epoch(words[1]) } },
        "moved" => Input::Failed { token, error: PersistError::Moved },
        "unread" => Input::ReloadFailed { reason: "no connection".to_owned() },
        "reload" => Input::Reloaded(recovered(&logs[words[1]], epoch(words[2]).number)),
        "superseded" => Input::Superseded(recovered(&logs[words[1]], epoch(words[2]).number)),
        "trim" => {
            let seq: usize = words[2].parse().expect("seq");
            Input::Trim { base: logs[words[1]][seq - 1].tail() }
        }
        other => panic!("unknown input {other}"),
    }
}

fn recovered(log: &[Entry], promised: u64) -> Recovered {
    let control = Control { log_id: LOG, disk_id: 5, promised: epoch(&promised.to_string()), ..Control::default() };
    let chains = log.iter().map(|entry| entry.chain).collect();
    Recovered { control, tail: tail(log), epochs: epochs(log), chains, dubious_from: None }
}

fn render(effect: Effect, token: &mut u64) -> String {
    match effect {
        Effect::PersistControl { token: new, control } => {
            *token = new;
            format!("promise {}", show(control.promised))
        }
        Effect::Write { token: new, unit } => {
            *token = new;
            let cut = unit.truncate_to.map_or(String::new(), |to| format!("cut {to} "));
            let (first, last) = (&unit.entries[0], &unit.entries[unit.entries.len() - 1]);
            format!("{cut}write {}..{}", first.seq, last.seq)
        }
        Effect::Confirm { token: new, epoch } => {
            *token = new;
            format!("confirm {}", show(epoch))
        }
        Effect::Committed { seq } => format!("committed {seq}"),
        Effect::Reload => "reload".to_owned(),
        Effect::Quarantine { reason } => format!("quarantine {}", reason.split(':').next().unwrap_or_default()),
        Effect::Reply { client: ClientId(client), reply } => format!("{client} {}", render_reply(reply)),
    }
}

fn render_reply(reply: Reply) -> String {
    match reply {
        Reply::Fence(FenceReply::Granted(granted)) => {
            format!("granted last {} commit {}", granted.last.seq, granted.commit)
        }
        Reply::Append(AppendReply::Ok(ok)) => format!("ok {}", ok.match_seq),
        Reply::Append(AppendReply::Mismatch(mismatch)) => format!("mismatch last {}", mismatch.last.seq),
        Reply::Fence(FenceReply::Refused { promised }) | Reply::Append(AppendReply::Refused { promised }) => {
            format!("refused {}", show(promised))
        }
        Reply::Fence(FenceReply::ConfigNewer(config)) | Reply::Append(AppendReply::ConfigNewer(config)) => {
            format!("config {}", config.generation)
        }
        Reply::Fence(FenceReply::LogRetired { .. }) | Reply::Append(AppendReply::LogRetired { .. }) => "retired".into(),
        Reply::Fence(FenceReply::NotVoter) => "not a voter".to_owned(),
        Reply::Fence(FenceReply::Failed { .. }) | Reply::Append(AppendReply::Failed { .. }) => "failed".to_owned(),
    }
}

fn check(script: &str) {
    check_with(Acceptor::new(SHARD, "me", recovered(&[], 0)), script);
}

fn check_with(mut acceptor: Acceptor, script: &str) {
    let mut token = 0;
    scenario(script, |logs, line| {
        let mut effects = Vec::new();
        acceptor.step(parse(logs, token, line), &mut effects);
        effects.into_iter().map(|effect| render(effect, &mut token)).collect()
    });
}

mod shared;

#[test]
fn an_epoch_has_one_owner() {
    check(
        "fence 1 5 => promise 5
         # the grant is durable before it is said (I2)
         persisted => 1 granted last 0 commit 0
         fence 2 5 => 2 granted last 0 commit 0
         fence 3 5@9 => 3 refused 5
         fence 4 4 => 4 refused 5
         fence 5 0@3 => 5 refused 5
         fence 6 6@9 => promise 6@9
         persisted => 6 granted last 0 commit 0
         fence 7 5 => 7 refused 6@9",
    );
}

#[test]
fn acknowledged_is_durable_and_what_arrives_meanwhile_goes_together() {
    check(
        "let a = 1 1 1 1 1
         fence 1 1 => promise 1
         persisted => 1 granted last 0 commit 0
         append 2 1 a 1..1 => write 1..1
         append 2 1 a 2..2 =>
         append 2 1 a 3..4 =>
         append 2 1 a 5..4 commit 1 =>
         persisted => 2 ok 1; write 2..4
         persisted => 2 ok 2; 2 ok 4; 2 ok 4; committed 1
         # nothing to write: answered at once
         append 2 1 a 5..4 commit 3 => 2 ok 4; committed 3",
    );
}

#[test]
fn a_fence_waits_for_the_write_and_goes_before_what_waits() {
    check(
        "let a = 1 1 1
         fence 1 1 => promise 1
         persisted => 1 granted last 0 commit 0
         append 2 1 a 1..1 => write 1..1
         append 2 1 a 2..2 =>
         fence 3 2 =>
         # I3: the ack of the unit under way first, then the promise; what waits is refused
         persisted => 2 ok 1; promise 2
         append 2 1 a 2..3 =>
         persisted => 3 granted last 1 commit 0; 2 refused 2; 2 refused 2
         append 2 1 a 2..1 commit 1 => 2 refused 2",
    );
}

#[test]
fn what_matched_is_acknowledged_not_what_is_there() {
    check(
        "let a = 1 1 1 1
         fence 1 1 => promise 1
         persisted => 1 granted last 0 commit 0
         append 2 1 a 1..4 => write 1..4
         persisted => 2 ok 4
         # I8: the log is longer; I10: and the watermark is not taken from it
         append 2 1 a 2..1 commit 4 => 2 ok 1; committed 1
         # I7: a duplicate leaves what follows it
         append 2 1 a 2..3 commit 4 => 2 ok 3; committed 3
         append 2 1 a 4..4 commit 4 => 2 ok 4; committed 4",
    );
}

#[test]
fn a_new_leader_replaces_what_was_never_final() {
    check(
        "let a = 1 1 1 1
         let b = 1 1 2 2
         fence 1 1 => promise 1
         persisted => 1 granted last 0 commit 0
         append 2 1 a 1..4 commit 1 => write 1..4
         persisted => 2 ok 4; committed 1
         fence 3 2 => promise 2
         persisted => 3 granted last 4 commit 1
         append 4 2 b 5..4 => 4 mismatch last 4
         append 4 2 b 3..4 => cut 2 write 3..4
         persisted => 4 ok 4
         append 4 2 b 5..4 commit 4 => 4 ok 4; committed 4",
    );
}

#[test]
fn what_is_final_is_never_cut() {
    check(
        "let a = 1 1 1
         let b = 1 2 2
         fence 1 1 => promise 1
         persisted => 1 granted last 0 commit 0
         append 2 1 a 1..3 commit 2 => write 1..3
         persisted => 2 ok 3; committed 2
         fence 3 2 => promise 2
         persisted => 3 granted last 3 commit 2
         append 4 2 b 2..3 => 4 failed; quarantine I12
         append 4 2 b 2..1 => 4 failed
         fence 5 3 => 5 failed",
    );
}

#[test]
fn an_append_of_a_newer_epoch_is_promised_first() {
    check(
        "let a = 1 1
         let b = 1 1 3
         fence 1 1 => promise 1
         persisted => 1 granted last 0 commit 0
         append 2 1 a 1..2 => write 1..2
         append 3 3 b 3..3 =>
         append 2 1 a 3..2 =>
         persisted => 2 ok 2; promise 3
         persisted => 2 refused 3; write 3..3
         persisted => 3 ok 3
         append 3 3@8 b 4..3 => 3 refused 3",
    );
}

#[test]
fn a_failed_write_is_the_end() {
    check(
        "let a = 1 1
         fence 1 1 => promise 1
         persisted => 1 granted last 0 commit 0
         append 2 1 a 1..1 => write 1..1
         append 2 1 a 2..2 =>
         failed => 2 failed; quarantine input/output error; 2 failed
         persisted =>
         fence 3 2 => 3 failed",
    );
    check(
        "fence 1 1 => promise 1
         failed => 1 failed; quarantine input/output error
         fence 1 1 => 1 failed",
    );
}

#[test]
fn a_shared_storage_that_was_fenced_is_read_again() {
    check(
        "let a = 1 1
         let b = 1 2
         fence 1 1 => promise 1
         persisted => 1 granted last 0 commit 0
         append 2 1 a 1..1 => write 1..1
         persisted => 2 ok 1
         append 2 1 a 2..2 => write 2..2
         fenced 2 => 2 refused 2; reload
         append 2 1 a 3..2 =>
         reload b 2 => 2 refused 2
         append 3 2 b 3..2 => 3 ok 2",
    );
    check(
        "fence 1 1 => promise 1
         fenced 2 => 1 refused 2; reload
         fence 3 3 =>",
    );
}

#[test]
fn a_storage_that_forgot_is_not_trusted() {
    check(
        "let a = 1 1
         let b = 1
         fence 1 1 => promise 1
         persisted => 1 granted last 0 commit 0
         append 2 1 a 1..2 commit 2 => write 1..2
         persisted => 2 ok 2; committed 2
         reload b 1 => quarantine I12",
    );
    check(
        "let a = 1
         fence 1 5 => promise 5
         persisted => 1 granted last 0 commit 0
         reload a 1 => quarantine I2",
    );
}

#[test]
fn below_the_base_only_the_base_can_be_compared() {
    check(
        "let a = 1 1 1 1
         let b = 1 2 2 2
         fence 1 1 => promise 1
         persisted => 1 granted last 0 commit 0
         append 2 1 a 1..3 => write 1..3
         persisted => 2 ok 3
         # a snapshot is made of what is final
         trim a 2 =>
         append 2 1 a 1..1 => 2 mismatch last 3
         append 2 1 a 1..4 => write 4..4
         persisted => 2 ok 4
         fence 3 2 => promise 2
         persisted => 3 granted last 4 commit 2
         append 4 2 b 1..3 => 4 failed; quarantine I12",
    );
}

#[test]
fn others_are_told_why_not() {
    check(
        "let a = 1
         fence 1 1 log 9 => 1 retired
         fence 1 1 gen 3 voters other => 1 not a voter
         fence 1 1 gen 3 voters other,me => promise 1
         persisted => 1 granted last 0 commit 0
         fence 2 2 gen 2 => 2 config 3
         append 2 1 a 1..1 gen 2 => 2 config 3
         append 2 1 a 1..1 gen 3 log 9 => 2 retired
         append 2 1 a 1..1 gen 3 => write 1..1
         persisted => 2 ok 1",
    );
}

/// Requests that contradict themselves are refused and change nothing.
#[test]
fn malformed_requests_change_nothing() {
    let log = crate::testing::log("1 1 1");
    let good = AppendRequest {
        log_id: LOG,
        shard: SHARD,
        epoch: epoch("1"),
        config_generation: 0,
        prev_seq: Seq(0),
        prev_chain: crate::ChainHash::ZERO,
        entries: log,
        commit: Seq(0),
        head_trim: Seq(0),
        round: 0,
    };
    type Spoil = fn(&mut AppendRequest);
    let spoils: [(&str, Spoil); 9] = [
        ("a gap", |request| {
            request.entries.remove(1);
        }),
        ("another shard", |request| request.shard = ShardId(9)),
        ("a forged hash", |request| request.entries[1].chain.0[0] ^= 1),
        ("forged content", |request| request.entries[2].timestamp.0 += 1),
        ("an epoch above the leader's", |request| request.entries[2].epoch.number = 2),
        ("the leader's epoch of another owner", |request| request.entries[2].epoch.owner.0 = 2),
        ("another history", |request| request.entries[0].log_id.0 = 1),
        ("the last position there is", |request| request.prev_seq = Seq(u64::MAX - 3)),
        ("a wrong beginning", |request| request.entries.reverse()),
    ];
    let mut acceptor = Acceptor::new(SHARD, "me", recovered(&[], 1));
    for (what, spoil) in spoils {
        let mut request = good.clone();
        spoil(&mut request);
        let mut effects = Vec::new();
        acceptor.step(Input::Append { client: ClientId(1), request }, &mut effects);
        let failed = matches!(&effects[..], [Effect::Reply { reply: Reply::Append(AppendReply::Failed { .. }), .. }]);
        assert!(failed, "{what}: {effects:?}");
        assert_eq!(acceptor.tail(), Tail::default(), "{what}");
    }
    let mut effects = Vec::new();
    acceptor.step(Input::Append { client: ClientId(1), request: good }, &mut effects);
    assert!(matches!(&effects[..], [Effect::Write { .. }]));
}
