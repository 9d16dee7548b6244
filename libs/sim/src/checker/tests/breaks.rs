//! What is broken, by hand, and the rule that must notice.

use std::collections::HashSet;

use bytes::Bytes;
use journal_core::codec::batch::BatchView;
use journal_core::codec::state_hash;
use journal_core::{Entry, EntryKind};
use types::{Command, Epoch, Incarnation, Rules, StateHash};

use super::sample::{READ_EVERY, STALE_CLIENT, STEP, append, reseal};
use crate::checker::{Evidence, Rule};
use crate::history::{Answer, Call, Operation, Outcome};

/// One of them.
pub(super) struct Break {
    pub(super) name: &'static str,
    pub(super) rule: Rule,
    pub(super) hand: fn(&mut Evidence),
}

const fn broken(rule: Rule, name: &'static str, hand: fn(&mut Evidence)) -> Break {
    Break { name, rule, hand }
}

pub(super) const BREAKS: &[Break] = &[
    broken(Rule::NoLostAnswer, "the last entries are gone", |e| {
        e.rows = None;
        e.operations.retain(|operation| matches!(operation.call, Call::Request { .. }));
        for copy in &mut e.copies {
            copy.entries.truncate(copy.entries.len() - 3);
        }
    }),
    broken(Rule::NoLostAnswer, "two answers name each other's place", |e| {
        let (a, b) = neighbours(e);
        let (x, y) = (answer(e, a).index, answer(e, b).index);
        answer(e, a).index = y;
        answer(e, b).index = x;
    }),
    broken(Rule::NoLostAnswer, "an answer names a place beyond its entry", |e| {
        let at = single(e, 50);
        answer(e, at).index = 77;
    }),
    broken(Rule::NoLostAnswer, "an answer of an epoch that did not write it", |e| {
        let at = single(e, 50);
        answer(e, at).epoch += 1;
    }),
    broken(Rule::NoLostAnswer, "an answer of another history", |e| {
        let at = single(e, 50);
        answer(e, at).log_id = "f".repeat(32);
    }),
    broken(Rule::NoLostAnswer, "the log holds another content under the id", |e| {
        let at = single(e, 50);
        *payload(e, at) ^= 1;
    }),
    broken(Rule::Once, "a retry is answered with its own place", |e| {
        let (at, own) = retried(e);
        (answer(e, at).seq, answer(e, at).index) = own;
        // The place of a retry belongs to the epoch it was written in.
        answer(e, at).epoch = e.copies[0].entries[usize::try_from(own.0).expect("small") - 1].epoch.number;
    }),
    broken(Rule::Once, "a retry is answered with other fills", |e| {
        let (at, _) = retried(e);
        answer(e, at).fills.push((1, 2, 3, 4));
    }),
    broken(Rule::Once, "a request is executed again after its answer was forgotten", |e| {
        e.rows = None;
        let entries = &e.copies[0].entries;
        let again = entries.iter().find_map(|entry| commands(entry).into_iter().find(|c| c.request().is_some()));
        let epoch = entries.last().expect("a log").epoch;
        let forgetful = Rules { idempotency_window_us: 1, idempotency_capacity: 1, ..Rules::default() };
        for copy in &mut e.copies {
            let entries = &mut copy.entries;
            append(entries, epoch, EntryKind::Batch, &[Command::SetRules(forgetful); 200], 1_000_000);
            append(entries, epoch, EntryKind::Batch, &[again.expect("a request")], 1_000_000);
        }
    }),
    broken(Rule::RealTimeOrder, "an answer was there before an earlier place was asked for", |e| {
        let at = single(e, 50);
        let number = e.operations[at].invoked / STEP;
        e.operations[at].invoked = (number - 1) * STEP - 200;
        e.operations[at].returned = (number - 1) * STEP - 100;
    }),
    broken(Rule::RealTimeOrder, "a request began after a later place had been answered", |e| {
        let at = single(e, 50);
        let number = e.operations[at].invoked / STEP;
        e.operations[at].invoked = (number + 1) * STEP + 500;
        e.operations[at].returned = (number + 1) * STEP + 600;
    }),
    broken(Rule::Reads, "a fresh read shows an old state", |e| {
        let at = read(e, false, 10);
        e.operations[at].invoked += 7 * STEP;
        e.operations[at].returned += 7 * STEP;
    }),
    broken(Rule::Reads, "a read shows what was asked for after it had come back", |e| {
        let at = read(e, false, 10);
        e.operations[at].invoked -= 2 * STEP;
        e.operations[at].returned -= 2 * STEP;
    }),
    broken(Rule::Reads, "a level has another quantity", |e| {
        let at = read(e, false, 60);
        levels(e, at)[0].1 += 10;
    }),
    broken(Rule::Reads, "a standby shows an order that is not committed", |e| {
        let at = read(e, true, 60);
        let best = levels(e, at)[0].0;
        levels(e, at).insert(0, (best + 5, 10, 1));
        levels(e, at).truncate(5);
    }),
    broken(Rule::Reads, "levels in another order", |e| {
        let at = read(e, true, 60);
        levels(e, at).swap(0, 1);
    }),
    broken(Rule::Reads, "a read of a position that was never committed", |e| {
        let end = e.copies[0].entries.len() as u64;
        let at = read(e, true, 120);
        let Call::Book { as_of_seq, .. } = &mut e.operations[at].call else { return };
        *as_of_seq = end + 1;
    }),
    broken(Rule::Reads, "a client's stale reads go back", |e| {
        let (a, b) = (read(e, true, 60), read(e, true, 80));
        let later = (e.operations[b].invoked, e.operations[b].returned);
        e.operations[a].invoked = later.0 + 12;
        e.operations[a].returned = later.1 + 12;
    }),
    broken(Rule::Reads, "a stale read is older than it asked for", |e| {
        let at = read(e, true, 60);
        let Call::Book { as_of_seq, min_seq, .. } = &mut e.operations[at].call else { return };
        *min_seq = *as_of_seq + 1;
    }),
    broken(Rule::Replay, "another status", |e| {
        let at = single(e, 50);
        answer(e, at).status = "Done".to_owned();
    }),
    broken(Rule::Replay, "another number of the order", |e| {
        let at = single(e, 50);
        answer(e, at).order_id += 1;
    }),
    broken(Rule::Replay, "another log time", |e| {
        let at = single(e, 50);
        answer(e, at).time_us += 1;
    }),
    broken(Rule::Replay, "a fill too many", |e| {
        let at = single(e, 50);
        answer(e, at).fills.push((1, 10_000, 10, 1));
    }),
    broken(Rule::Replay, "more open than there is", |e| {
        let at = single(e, 50);
        answer(e, at).leaves += 10;
    }),
    broken(Rule::StateHash, "a forged digest in the log", |e| {
        for copy in &mut e.copies {
            let entry = copy.entries.iter_mut().rfind(|entry| entry.kind == EntryKind::StateHash).expect("one");
            entry.payload = Bytes::from(state_hash::encode(StateHash(7)));
            reseal(&mut copy.entries);
        }
    }),
    broken(Rule::StateHash, "a standby whose state differs", |e| {
        let digest = e.operations.iter_mut().rev().find_map(|operation| match &mut operation.call {
            Call::Digest { hash, stale: true, .. } => Some(hash),
            _ => None,
        });
        *digest.expect("one was read") = "0".repeat(32);
    }),
    broken(Rule::Copies, "a gateway has another entry", |e| {
        let entries = &mut e.copies[1].entries;
        entries[30].payload = Bytes::from_static(&[1, 0, 0, 0, 0, 0, 0, 0]);
        reseal(entries);
    }),
    broken(Rule::Copies, "a gateway has a gap", |e| {
        e.copies[1].entries.remove(30);
    }),
    broken(Rule::Copies, "an entry whose hash is not that of its content", |e| {
        e.copies[1].entries[30].chain.0[3] ^= 1;
    }),
    broken(Rule::Copies, "log time stands still", |e| {
        let entries = &mut e.copies[1].entries;
        entries[30].timestamp = entries[29].timestamp;
        reseal(entries);
    }),
    broken(Rule::History, "an order is missing", |e| {
        rows(e).orders.remove(20);
    }),
    broken(Rule::History, "an order stands there twice", |e| {
        let twice = rows(e).orders[20].clone();
        rows(e).orders.push(twice);
    }),
    broken(Rule::History, "an order at another place", |e| rows(e).orders[20].index += 1),
    broken(Rule::History, "an order filled less than it was", |e| {
        let filled = rows(e).orders.iter_mut().find(|row| row.cumulative > 0);
        filled.expect("something trades").cumulative -= 1;
    }),
    broken(Rule::History, "a trade is missing", |e| {
        rows(e).trades.remove(0);
    }),
    broken(Rule::History, "history stops before the end", |e| rows(e).projected_seq -= 1),
    broken(Rule::Epochs, "an epoch is given out again", |e| {
        e.rows = None;
        for copy in &mut e.copies {
            let again = Epoch { number: 1, owner: Incarnation(71) };
            append(&mut copy.entries, again, EntryKind::EpochStart, &[], 100);
        }
    }),
    broken(Rule::Epochs, "an epoch of two owners", |e| {
        e.rows = None;
        for copy in &mut e.copies {
            let other = Epoch { number: 2, owner: Incarnation(1) };
            append(&mut copy.entries, other, EntryKind::Batch, &[], 100);
        }
    }),
    broken(Rule::Epochs, "a leader writes before its start", |e| {
        e.rows = None;
        for copy in &mut e.copies {
            let next = Epoch { number: 3, owner: Incarnation(73) };
            append(&mut copy.entries, next, EntryKind::Batch, &[], 100);
        }
    }),
    broken(Rule::InDoubt, "what was refused had been executed", |e| {
        let at = single(e, 50);
        *outcome(e, at) = Outcome::Refused { error: "the queue is full".to_owned() };
    }),
    broken(Rule::InDoubt, "what nobody answered is executed much later", |e| {
        let at = single(e, 50);
        let time_us = answer(e, at).time_us;
        *outcome(e, at) = Outcome::Unknown { gave_up_us: time_us - 1_001 };
    }),
    broken(Rule::InDoubt, "what nobody answered is executed with another content", |e| {
        let at = single(e, 50);
        let gave_up_us = answer(e, at).time_us;
        *outcome(e, at) = Outcome::Unknown { gave_up_us };
        *payload(e, at) ^= 1;
    }),
    broken(Rule::InDoubt, "the log holds a request that nobody sent", |e| {
        let at = single(e, 50);
        e.operations.remove(at);
    }),
];

/// Position of an acknowledged request that was sent once, `from` operations after the beginning, in a batch with no
/// reads beside it or just before and after.
fn single(e: &Evidence, from: u64) -> usize {
    let mut seen = HashSet::new();
    let mut twice = HashSet::new();
    for operation in &e.operations {
        if let Call::Request { id, .. } = &operation.call
            && !seen.insert(id)
        {
            twice.insert(id);
        }
    }
    let fits = |operation: &Operation| {
        let Call::Request { id, .. } = &operation.call else { return false };
        let alone = operation.answer().is_some() && !twice.contains(id);
        alone && operation.invoked / STEP % READ_EVERY == 3
    };
    let from = usize::try_from(from).expect("small");
    from + e.operations[from..].iter().position(fits).expect("most requests are sent once")
}

/// Two of them in one batch.
fn neighbours(e: &Evidence) -> (usize, usize) {
    let mut from = 50;
    loop {
        let a = single(e, from);
        let b = single(e, a as u64 + 1);
        if e.operations[a].invoked / STEP == e.operations[b].invoked / STEP {
            return (a, b);
        }
        from = b as u64;
    }
}

/// A repetition, and the place where it stands itself.
fn retried(e: &Evidence) -> (usize, (u64, u32)) {
    let places: HashSet<(u64, u32)> = e
        .operations
        .iter()
        .filter_map(|operation| operation.answer().map(|answer| (answer.seq, answer.index)))
        .collect();
    let mut seen = HashSet::new();
    for (at, operation) in e.operations.iter().enumerate() {
        let (Call::Request { account, id, .. }, Some(_)) = (&operation.call, operation.answer()) else { continue };
        if seen.insert(id) {
            continue;
        }
        for entry in &e.copies[0].entries {
            for (index, command) in (0..).zip(commands(entry)) {
                let same = command.request().is_some_and(|(a, i)| a.0 == *account && i.as_str() == id);
                if same && !places.contains(&(entry.seq.0, index)) {
                    return (at, (entry.seq.0, index));
                }
            }
        }
    }
    unreachable!("the generator repeats requests")
}

fn commands(entry: &Entry) -> Vec<Command> {
    match entry.kind {
        EntryKind::Batch => BatchView::parse(&entry.payload).expect("a batch").iter().collect(),
        _ => Vec::new(),
    }
}

/// The book read after batch `number`.
fn read(e: &Evidence, stale: bool, number: u64) -> usize {
    let client = if stale { STALE_CLIENT } else { STALE_CLIENT + 1 };
    let batch = if stale { number + 2 } else { number };
    let fits = |operation: &Operation| {
        operation.client == client && operation.invoked / STEP == batch && matches!(operation.call, Call::Book { .. })
    };
    e.operations.iter().position(fits).expect("it is read after every fifth batch")
}

fn levels(e: &mut Evidence, at: usize) -> &mut Vec<(i64, u64, u32)> {
    match &mut e.operations[at].call {
        Call::Book { bids, .. } => bids,
        other => unreachable!("{other:?} is no book"),
    }
}

fn outcome(e: &mut Evidence, at: usize) -> &mut Outcome {
    match &mut e.operations[at].call {
        Call::Request { outcome, .. } => outcome,
        other => unreachable!("{other:?} is no request"),
    }
}

fn answer(e: &mut Evidence, at: usize) -> &mut Answer {
    match outcome(e, at) {
        Outcome::Acknowledged(answer) => answer,
        other => unreachable!("{other:?} is no answer"),
    }
}

fn payload(e: &mut Evidence, at: usize) -> &mut u64 {
    match &mut e.operations[at].call {
        Call::Request { payload, .. } => payload,
        other => unreachable!("{other:?} is no request"),
    }
}

fn rows(e: &mut Evidence) -> &mut super::super::Rows {
    e.rows.as_mut().expect("history was read")
}
