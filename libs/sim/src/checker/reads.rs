//! Reads: each shows the state at the position it names, and that position fits what was going on. Rule 4, and rule 6
//! for digests.

use std::collections::HashMap;

use matching::reference::ReferenceExchange;
use types::{Side, Symbol};

use super::answers::Sound;
use super::replay::Replayed;
use super::{Evidence, Rule, Verdict};
use crate::history::{Call, Operation};

/// The reads of a history, by the position they name.
#[derive(Debug)]
pub(super) struct Reads<'a> {
    waiting: std::iter::Peekable<std::vec::IntoIter<(u64, &'a Operation)>>,
}

fn position(operation: &Operation) -> Option<(u64, bool)> {
    match &operation.call {
        Call::Request { .. } => None,
        Call::Book { as_of_seq, stale, .. } | Call::Digest { as_of_seq, stale, .. } => Some((*as_of_seq, *stale)),
    }
}

fn name(operation: &Operation) -> String {
    match &operation.call {
        Call::Book { symbol, as_of_seq, .. } => {
            format!("client {}'s book of {symbol} at {as_of_seq}", operation.client)
        }
        Call::Digest { engine, as_of_seq, .. } => format!("digest of {engine} at seq {as_of_seq}"),
        Call::Request { id, .. } => id.clone(),
    }
}

impl<'a> Reads<'a> {
    pub(super) fn of(operations: &'a [Operation]) -> Self {
        let mut waiting: Vec<(u64, &Operation)> =
            operations.iter().filter_map(|operation| Some((position(operation)?.0, operation))).collect();
        waiting.sort_by_key(|(seq, _)| *seq);
        Self { waiting: waiting.into_iter().peekable() }
    }

    /// The replay stands at `seq`: compares what was read there.
    pub(super) fn reached(
        &mut self,
        seq: u64,
        exchange: &ReferenceExchange,
        replayed: &Replayed,
        verdict: &mut Verdict,
    ) {
        let mut hash = None;
        while let Some((_, read)) = self.waiting.next_if(|(at, _)| *at <= seq) {
            verdict.reads += 1;
            match &read.call {
                Call::Book { symbol, depth, bids, asks, .. } => {
                    for (side, found) in [(Side::Buy, bids), (Side::Sell, asks)] {
                        let expected = levels(exchange, replayed, symbol, side, *depth);
                        if expected != *found {
                            let (expected, found) = (format!("{side:?} {expected:?}"), format!("{found:?}"));
                            verdict.violation(Rule::Reads, name(read), expected, found);
                        }
                    }
                }
                Call::Digest { hash: found, .. } => {
                    let expected = hash.get_or_insert_with(|| exchange.state_hash().to_string());
                    if expected != found {
                        verdict.violation(Rule::StateHash, name(read), expected.clone(), found.clone());
                    }
                }
                Call::Request { .. } => {}
            }
        }
    }

    /// After the replay: positions.
    pub(super) fn check(mut self, evidence: &Evidence, sound: &Sound, replayed: &Replayed, verdict: &mut Verdict) {
        for (_, read) in self.waiting.by_ref() {
            let expected = format!("a position up to {}, where the log ends", replayed.end);
            verdict.violation(Rule::Reads, name(read), expected, "a later one".to_owned());
        }
        fresh(evidence, sound, verdict);
        stale(&evidence.operations, verdict);
    }
}

fn levels(
    exchange: &ReferenceExchange,
    replayed: &Replayed,
    symbol: &str,
    side: Side,
    depth: usize,
) -> Vec<(i64, u64, u32)> {
    let instrument = symbol.parse::<Symbol>().ok().and_then(|symbol| replayed.symbols.get(&symbol));
    let Some(instrument) = instrument else { return Vec::new() };
    let all = exchange.depth(*instrument, side).into_iter().take(depth);
    all.map(|level| (level.price.0, level.quantity.0, level.orders)).collect()
}

/// A fresh read is not older than anything answered before it began, nor as new as anything that began after it came
/// back.
fn fresh(evidence: &Evidence, sound: &Sound, verdict: &mut Verdict) {
    let operations = &evidence.operations;
    let mut known: Vec<(u64, u64)> = sound.iter().map(|(at, place)| (operations[*at].returned, place.0)).collect();
    let mut reads: Vec<(&Operation, u64)> = Vec::new();
    for operation in operations {
        if let Some((seq, false)) = position(operation) {
            known.push((operation.returned, seq));
            reads.push((operation, seq));
        }
    }
    known.sort_unstable();
    reads.sort_by_key(|(read, _)| read.invoked);
    let mut known = known.into_iter().peekable();
    let mut least = 0;
    for (read, seq) in &reads {
        while let Some((_, seq)) = known.next_if(|(returned, _)| *returned < read.invoked) {
            least = least.max(seq);
        }
        if *seq < least {
            let expected = format!("a position from {least} on, which had been answered before it began");
            verdict.violation(Rule::Reads, name(read), expected, format!("{seq}"));
        }
    }
    // From the end: the first position of all that began after a read came back.
    let mut begun: Vec<(u64, u64)> = first_sendings(operations, sound);
    begun.sort_unstable();
    reads.sort_by_key(|(read, _)| read.returned);
    let mut first = u64::MAX;
    for (read, seq) in reads.iter().rev() {
        while let Some((_, seq)) = begun.pop_if(|(invoked, _)| *invoked > read.returned) {
            first = first.min(seq);
        }
        if *seq >= first {
            let expected = format!("a position before {first}, which began after it came back");
            verdict.violation(Rule::Reads, name(read), expected, format!("{seq}"));
        }
    }
}

/// When each acknowledged request was first sent, and where it stands.
fn first_sendings(operations: &[Operation], sound: &Sound) -> Vec<(u64, u64)> {
    let mut first: HashMap<(u64, u32), u64> = HashMap::new();
    let mut requests: HashMap<(u64, &str), u64> = HashMap::new();
    for operation in operations {
        if let Call::Request { account, id, .. } = &operation.call {
            let invoked = requests.entry((*account, id)).or_insert(operation.invoked);
            *invoked = operation.invoked.min(*invoked);
        }
    }
    for (at, place) in sound {
        if let Call::Request { account, id, .. } = &operations[*at].call {
            first.insert(*place, requests[&(*account, id.as_str())]);
        }
    }
    first.into_iter().map(|(place, invoked)| (invoked, place.0)).collect()
}

/// What one client reads never goes back, and is as new as it asked for.
fn stale(operations: &[Operation], verdict: &mut Verdict) {
    let mut reads: Vec<(&Operation, u64)> = operations
        .iter()
        .filter_map(|operation| Some((operation, position(operation).filter(|(_, stale)| *stale)?.0)))
        .collect();
    reads.sort_by_key(|(read, _)| read.invoked);
    let mut last: HashMap<u64, (u64, u64)> = HashMap::new();
    for (read, seq) in reads {
        if let Call::Book { min_seq, .. } = read.call
            && seq < min_seq
        {
            verdict.violation(Rule::Reads, name(read), format!("a position from {min_seq} on"), format!("{seq}"));
        }
        let (before, returned) = last.get(&read.client).copied().unwrap_or_default();
        if read.invoked > returned {
            if seq < before {
                let expected = format!("a position from {before} on, which this client had read");
                verdict.violation(Rule::Reads, name(read), expected, format!("{seq}"));
            }
            last.insert(read.client, (before.max(seq), read.returned));
        }
    }
}
