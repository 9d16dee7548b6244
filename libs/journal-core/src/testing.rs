//! Logs and scripts for the scenario tests of both cores. A scenario is a table: each line an input, `=>`, and
//! the effects it must have, separated by `;`.

use std::collections::BTreeMap;

use bytes::Bytes;
use types::{Epoch, Incarnation, LogId, Seq, Timestamp};

use crate::{ChainHash, Entry, EntryKind, EpochStart, Tail};

pub(crate) const LOG: LogId = LogId(7);

/// An epoch written as `5` (owner 5) or `5@9` (owner 9).
pub(crate) fn epoch(text: &str) -> Epoch {
    let (number, owner) = text.split_once('@').unwrap_or((text, text));
    Epoch { number: number.parse().expect("epoch"), owner: Incarnation(owner.parse().expect("owner")) }
}

pub(crate) fn show(epoch: Epoch) -> String {
    let Epoch { number, owner: Incarnation(owner) } = epoch;
    if u128::from(number) == owner { number.to_string() } else { format!("{number}@{owner}") }
}

/// A log, given by the epoch of each entry: `1 1 2` has an epoch start at 1 and at 3. Logs with equal beginnings
/// share them. A word `2x` makes an entry that differs from `2`.
pub(crate) fn log(epochs: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for word in epochs.split_whitespace() {
        let other = word.ends_with('x');
        let epoch = epoch(word.trim_end_matches('x'));
        let last = entries.last();
        let starts = last.is_none_or(|last| last.epoch != epoch);
        let kind = if starts { EntryKind::EpochStart } else { EntryKind::Batch };
        let seq = Seq(entries.len() as u64 + 1);
        let payload = if other { Bytes::from_static(b"x") } else { Bytes::new() };
        let prev = last.map_or(ChainHash::ZERO, |last| last.chain);
        entries.push(Entry::seal(LOG, epoch, seq, kind, Timestamp(seq.0 * 10), prev, payload));
    }
    entries
}

pub(crate) fn tail(log: &[Entry]) -> Tail {
    log.last().map_or_else(Tail::default, Entry::tail)
}

pub(crate) fn epochs(log: &[Entry]) -> Vec<EpochStart> {
    let mut epochs: Vec<EpochStart> = Vec::new();
    for entry in log {
        if epochs.last().is_none_or(|last| last.epoch != entry.epoch.number) {
            epochs.push(EpochStart { epoch: entry.epoch.number, seq: entry.seq });
        }
    }
    epochs
}

/// The hash before `next` in a log.
pub(crate) fn chain_before(log: &[Entry], next: usize) -> ChainHash {
    next.checked_sub(2).map_or(ChainHash::ZERO, |at| log[at].chain)
}

/// Runs a table. `let name = epochs` lines define logs; every other line goes to `step`.
pub(crate) fn scenario(script: &str, mut step: impl FnMut(&BTreeMap<String, Vec<Entry>>, &str) -> Vec<String>) {
    let mut logs = BTreeMap::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some((name, epochs)) = line.strip_prefix("let ").and_then(|rest| rest.split_once('=')) {
            logs.insert(name.trim().to_owned(), log(epochs));
            continue;
        }
        let (input, expected) = line.split_once("=>").unwrap_or((line, ""));
        let effects = step(&logs, input.trim()).join("; ");
        assert_eq!(effects, expected.trim(), "after: {input}\nin:\n{script}");
    }
}
