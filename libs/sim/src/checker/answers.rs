//! Acknowledgements and the lack of them, against the log. Rules 1, 2, 3, 5 and 10.

use std::collections::{HashMap, HashSet};

use types::{ClientOrderId, Fill};

use super::replay::{Executed, Replayed};
use super::{Evidence, Rule, Verdict};
use crate::history::{Answer, Call, Operation, Outcome};

/// An acknowledgement whose place holds its request, as (position in the operations, place).
pub(super) type Sound = Vec<(usize, (u64, u32))>;

fn name(operation: &Operation) -> String {
    match &operation.call {
        Call::Request { account, id, .. } => format!("request {id} of account {account}"),
        Call::Book { symbol, as_of_seq, .. } => format!("read of {symbol} at seq {as_of_seq}"),
        Call::Digest { engine, as_of_seq, .. } => format!("digest of {engine} at seq {as_of_seq}"),
    }
}

fn key(account: u64, id: &str) -> Option<(u64, ClientOrderId)> {
    id.parse().ok().map(|id| (account, id))
}

/// Rule 1.
pub(super) fn places(evidence: &Evidence, replayed: &Replayed, verdict: &mut Verdict) -> Sound {
    let mut sound = Sound::new();
    for (at, operation) in evidence.operations.iter().enumerate() {
        let Call::Request { account, id, payload, outcome: Outcome::Acknowledged(answer) } = &operation.call else {
            continue;
        };
        verdict.acknowledged += 1;
        let expected = || format!("it at seq {} index {}", answer.seq, answer.index);
        let problem = match replayed.requests.get(&(answer.seq, answer.index)) {
            None => Some(format!("nothing there; the log ends at seq {}", replayed.end)),
            Some(there) if there.account != *account || there.id.as_str() != id => {
                Some(format!("request {} of account {}", there.id, there.account))
            }
            Some(there) if there.payload != *payload => Some("another content under the same id".to_owned()),
            Some(there) if there.epoch != answer.epoch => {
                Some(format!("epoch {} there, {} in the answer", there.epoch, answer.epoch))
            }
            Some(_) if replayed.log_id != answer.log_id => Some(format!("log {}", replayed.log_id)),
            Some(_) => None,
        };
        match problem {
            Some(found) => verdict.violation(Rule::NoLostAnswer, name(operation), expected(), found),
            None => sound.push((at, (answer.seq, answer.index))),
        }
    }
    sound
}

/// Rule 2. What disagrees with an earlier answer to the same request is not looked at any further.
pub(super) fn once(evidence: &Evidence, replayed: &Replayed, sound: &mut Sound, verdict: &mut Verdict) {
    for ((account, id), places) in &replayed.places {
        let executed = places.iter().filter(|place| {
            replayed.requests.get(place).is_some_and(|there| {
                // A repetition, or a refusal because the id was used for something else, executes nothing.
                there.outcome.original.is_none() && there.outcome.reason != Some(DUPLICATE)
            })
        });
        let executed: Vec<_> = executed.collect();
        if executed.len() > 1 {
            let subject = format!("request {id} of account {account}");
            verdict.violation(Rule::Once, subject, "one execution", format!("executions at {executed:?}"));
        }
    }
    let mut answers: HashMap<(u64, &str, u64), &Answer> = HashMap::new();
    sound.retain(|(at, _)| {
        let operation = &evidence.operations[*at];
        let Call::Request { account, id, payload, outcome: Outcome::Acknowledged(answer) } = &operation.call else {
            return false;
        };
        let first = *answers.entry((*account, id, *payload)).or_insert(answer);
        if first != answer {
            verdict.violation(Rule::Once, name(operation), format!("{first:?}"), format!("{answer:?}"));
        }
        first == answer
    });
}

const DUPLICATE: types::RejectReason = types::RejectReason::DuplicateClientOrderId;

/// Rule 3. A repetition is answered with the place of the first execution, so a request began with its first sending.
pub(super) fn real_time(evidence: &Evidence, sound: &Sound, verdict: &mut Verdict) {
    let mut began: HashMap<(u64, &str), u64> = HashMap::new();
    for operation in &evidence.operations {
        if let Call::Request { account, id, .. } = &operation.call {
            let first = began.entry((*account, id)).or_insert(operation.invoked);
            *first = operation.invoked.min(*first);
        }
    }
    let began = |at: usize| match &evidence.operations[at].call {
        Call::Request { account, id, .. } => began[&(*account, id.as_str())],
        _ => evidence.operations[at].invoked,
    };
    let mut by_begin: Vec<_> = sound.iter().map(|(at, place)| (began(*at), *place, *at)).collect();
    by_begin.sort_unstable();
    let mut by_return: Vec<_> =
        sound.iter().map(|(at, place)| (evidence.operations[*at].returned, *place, *at)).collect();
    by_return.sort_unstable();
    let mut returned = by_return.into_iter().peekable();
    let mut last: Option<((u64, u32), usize)> = None;
    for (begin, place, at) in by_begin {
        while let Some((_, before, whose)) = returned.next_if(|(returned, _, _)| *returned < begin) {
            last = last.max(Some((before, whose)));
        }
        if let Some((before, whose)) = last.filter(|(before, _)| *before >= place) {
            let other = name(&evidence.operations[whose]);
            let expected = format!("a place after {before:?} of {other}, which had been answered before");
            verdict.violation(Rule::RealTimeOrder, name(&evidence.operations[at]), expected, format!("{place:?}"));
        }
    }
}

/// Rule 5.
pub(super) fn responses(evidence: &Evidence, sound: &Sound, replayed: &Replayed, verdict: &mut Verdict) {
    for (at, place) in sound {
        let operation = &evidence.operations[*at];
        let (Some(answer), Some(there)) = (operation.answer(), replayed.requests.get(place)) else { continue };
        let expected = response(answer, there);
        if expected != *answer {
            verdict.violation(Rule::Replay, name(operation), format!("{expected:?}"), format!("{answer:?}"));
        }
    }
}

/// What the slow exchange answers at the place of `answer`.
pub(super) fn response(answer: &Answer, there: &Executed) -> Answer {
    let outcome = &there.outcome;
    let fill = |fill: &Fill| (fill.trade_id.0, fill.price.0, fill.quantity.0, fill.maker.0);
    Answer {
        log_id: answer.log_id.clone(),
        epoch: there.epoch,
        seq: answer.seq,
        index: answer.index,
        status: format!("{:?}", outcome.status),
        reason: outcome.reason.map(|reason| format!("{reason:?}")).unwrap_or_default(),
        order_id: outcome.order_id.0,
        cumulative: outcome.cumulative.0,
        leaves: outcome.leaves.0,
        canceled_orders: outcome.canceled_orders,
        fills: there.fills.iter().map(fill).collect(),
        time_us: outcome.original.map_or(there.timestamp, |original| original.timestamp).0,
    }
}

/// Rule 10.
pub(super) fn in_doubt(evidence: &Evidence, replayed: &Replayed, verdict: &mut Verdict) {
    let mut sent: HashSet<(u64, ClientOrderId)> = HashSet::new();
    let mut answered: HashSet<(u64, ClientOrderId)> = HashSet::new();
    for operation in &evidence.operations {
        let Call::Request { account, id, outcome, .. } = &operation.call else { continue };
        let Some(key) = key(*account, id) else { continue };
        if matches!(outcome, Outcome::Acknowledged(_)) {
            answered.insert(key);
        }
        sent.insert(key);
    }
    for operation in &evidence.operations {
        let Call::Request { account, id, payload, outcome } = &operation.call else { continue };
        let Some(key) = key(*account, id).filter(|key| !answered.contains(key)) else { continue };
        let there: Vec<&Executed> = replayed
            .places
            .get(&key)
            .into_iter()
            .flatten()
            .filter_map(|place| replayed.requests.get(place))
            .filter(|there| there.outcome.original.is_none())
            .collect();
        match outcome {
            Outcome::Acknowledged(_) => {}
            Outcome::Refused { error } => {
                if !there.is_empty() {
                    let expected = format!("nothing in the log, since it was refused: {error}");
                    verdict.violation(Rule::InDoubt, name(operation), expected, "an execution".to_owned());
                }
            }
            Outcome::Unknown { gave_up_us } => {
                verdict.in_doubt += 1;
                verdict.in_doubt_executed += usize::from(!there.is_empty());
                let latest = gave_up_us.saturating_add(evidence.in_doubt_window_us);
                if there.iter().any(|there| there.payload != *payload) {
                    verdict.violation(Rule::InDoubt, name(operation), "its content", "another".to_owned());
                } else if let Some(late) = there.iter().find(|there| there.timestamp.0 > latest) {
                    let expected = format!("an execution until log time {latest}, or none");
                    verdict.violation(Rule::InDoubt, name(operation), expected, format!("one at {}", late.timestamp));
                }
            }
        }
    }
    for ((account, id), places) in &replayed.places {
        if !sent.contains(&(*account, *id)) {
            let subject = format!("request {id} of account {account} at {:?}", places[0]);
            verdict.violation(Rule::InDoubt, subject, "a client that sent it", "none".to_owned());
        }
    }
}
