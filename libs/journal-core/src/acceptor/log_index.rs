//! What a voter remembers of its log in memory: the hash at every held seq, and where epochs begin. 16 bytes an entry.

use std::collections::VecDeque;

use types::Seq;

use crate::{ChainHash, Entry, EpochStart, Tail};

/// Hashes and epochs of `base.seq + 1 ..= tail.seq`.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct LogIndex {
    base: Tail,
    chains: VecDeque<ChainHash>,
    epochs: Vec<EpochStart>,
    tail: Tail,
}

impl LogIndex {
    /// # Panics
    /// If the parts contradict each other: the storage's own checks failed.
    pub(super) fn new(base: Tail, chains: Vec<ChainHash>, epochs: Vec<EpochStart>, tail: Tail) -> Self {
        assert_eq!(base.seq.0 + chains.len() as u64, tail.seq.0, "one hash for every held entry");
        assert_eq!(chains.last().copied().unwrap_or(base.chain), tail.chain, "the log ends with its tail");
        assert!(epochs.is_sorted_by(|a, b| a.epoch < b.epoch && a.seq < b.seq), "epochs ascend");
        Self { base, chains: chains.into(), epochs, tail }
    }

    pub(super) const fn base(&self) -> Tail {
        self.base
    }

    pub(super) const fn tail(&self) -> Tail {
        self.tail
    }

    pub(super) fn epochs(&self) -> &[EpochStart] {
        &self.epochs
    }

    /// The hash at `seq`; none below the base and beyond the tail.
    pub(super) fn chain_at(&self, seq: Seq) -> Option<ChainHash> {
        match seq.0.checked_sub(self.base.seq.0)? {
            0 => Some(self.base.chain),
            offset => self.chains.get(usize::try_from(offset - 1).ok()?).copied(),
        }
    }

    /// Number of the epoch in which `seq` was written; 0 before the first.
    pub(super) fn epoch_at(&self, seq: Seq) -> u64 {
        self.epochs.iter().rev().find(|start| start.seq <= seq).map_or(0, |start| start.epoch)
    }

    /// Appends an entry.
    pub(super) fn push(&mut self, entry: &Entry) {
        assert_eq!(entry.seq, self.tail.seq.next(), "I7: entries are consecutive");
        assert_eq!(entry.prev_chain, self.tail.chain, "I7: entries are chained");
        if self.epochs.last().is_none_or(|last| last.epoch < entry.epoch.number) {
            self.epochs.push(EpochStart { epoch: entry.epoch.number, seq: entry.seq });
        }
        self.chains.push_back(entry.chain);
        self.tail = entry.tail();
    }

    /// Forgets what stands after `to`. An entry must be pushed next: it sets the tail's epoch.
    pub(super) fn truncate(&mut self, to: Seq) {
        let chain = self.chain_at(to).expect("only held entries are cut");
        let kept = usize::try_from(to.0 - self.base.seq.0).expect("no more than are held");
        self.chains.truncate(kept);
        self.epochs.retain(|start| start.seq <= to);
        self.tail = Tail { epoch: self.base.epoch, seq: to, chain };
    }

    /// Forgets what stands up to `base`.
    pub(super) fn trim(&mut self, base: Tail) {
        let gone = usize::try_from(base.seq.0 - self.base.seq.0).expect("no more than are held");
        self.chains.drain(..gone);
        let covering = self.epochs.iter().rposition(|start| start.seq <= base.seq).unwrap_or(0);
        self.epochs.drain(..covering);
        self.base = base;
    }
}
