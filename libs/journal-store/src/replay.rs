//! Rebuilds what a voter must know from the records found, in order, and refuses a break in the chain.
//!
//! The records may begin anywhere: what was trimmed is gone, and what was replaced later may still stand where the
//! files begin. So the base is compared with the log only when everything was read.
//!
//! Deliberately absent: where records come from. The reader of each storage adds the place to the reason returned.

use journal_core::{ChainHash, Control, Entry, EpochStart, Recovered, Tail};
use types::{Epoch, Seq};

/// The log as read so far.
pub(crate) struct Replay {
    control: Control,
    /// Seq of the first of `chains`.
    first: Seq,
    /// What the first of them says stood before it.
    before_first: ChainHash,
    chains: Vec<ChainHash>,
    /// Of the entries `chains` names.
    epochs: Vec<EpochStart>,
    tail: Tail,
    /// Where a truncation left off that took everything read before.
    cut_to: Option<Seq>,
}

impl Replay {
    pub(crate) fn new(control: Control) -> Self {
        Self {
            tail: control.base,
            control,
            first: Seq(0),
            before_first: ChainHash::ZERO,
            chains: Vec::new(),
            epochs: Vec::new(),
            cut_to: None,
        }
    }

    /// The seq the next record should bring, for messages.
    pub(crate) fn expected(&self) -> Seq {
        match self.cut_to {
            _ if !self.chains.is_empty() => self.end(),
            Some(to) => to.next(),
            None => self.control.base.seq.next(),
        }
    }

    /// The seq after the last of `chains`.
    fn end(&self) -> Seq {
        Seq(self.first.0 + self.chains.len() as u64)
    }

    /// Adds an entry whose own hash was checked.
    pub(crate) fn push(&mut self, entry: &Entry) -> Result<(), String> {
        if entry.log_id != self.control.log_id {
            return Err(format!("entry of history {}, expected {}", entry.log_id, self.control.log_id));
        }
        let (at, prev_chain) = (entry.tail(), entry.prev_chain);
        if let Some(last) = self.chains.last() {
            if at.seq != self.end() {
                return Err(format!("entry {} stands where entry {} belongs", at.seq, self.end()));
            }
            if *last != prev_chain {
                return Err(format!("chain break: entry {} does not continue the entry before it", at.seq));
            }
        } else {
            if at.seq == Seq(0) || self.cut_to.is_some_and(|to| at.seq != to.next()) {
                return Err(format!("entry {} stands where entry {} belongs", at.seq, self.expected()));
            }
            (self.first, self.before_first) = (at.seq, prev_chain);
        }
        match self.epochs.last() {
            Some(last) if last.epoch > at.epoch.number => {
                return Err(format!("entry {} has epoch {} after epoch {}", at.seq, at.epoch.number, last.epoch));
            }
            Some(last) if last.epoch == at.epoch.number => {}
            _ => self.epochs.push(EpochStart { epoch: at.epoch.number, seq: at.seq }),
        }
        self.chains.push(at.chain);
        self.tail = at;
        Ok(())
    }

    /// Forgets what stands after `to`; an entry follows.
    pub(crate) fn truncate(&mut self, to: Seq) -> Result<(), String> {
        let reached = if self.chains.is_empty() { self.cut_to } else { Some(Seq(self.end().0 - 1)) };
        if reached.is_some_and(|reached| to > reached) {
            return Err(format!("truncation to {to}, which was not reached"));
        }
        let kept = usize::try_from(to.next().0.saturating_sub(self.first.0)).unwrap_or(usize::MAX);
        self.chains.truncate(kept);
        self.epochs.retain(|start| start.seq <= to);
        self.cut_to = Some(to);
        Ok(())
    }

    /// An epoch found on a record is promised at least.
    pub(crate) fn promise(&mut self, epoch: Epoch) {
        if epoch.number > self.control.promised.number {
            self.control.promised = epoch;
        }
    }

    /// Compares the log with its base.
    pub(crate) fn finish(mut self) -> Result<Recovered, String> {
        let base = self.control.base;
        if !self.chains.is_empty() {
            if self.first > base.seq.next() {
                return Err(format!("entries {} to {} are missing", base.seq.next(), self.first.0 - 1));
            }
            if self.tail.seq < base.seq {
                return Err(format!("the log ends at entry {}, below its base {}", self.tail.seq, base.seq));
            }
            let below = usize::try_from(base.seq.next().0 - self.first.0).unwrap_or(usize::MAX);
            let at_base = if below == 0 { self.before_first } else { self.chains[below - 1] };
            if at_base != base.chain {
                return Err(format!("entry {} is not the one the base names", base.seq));
            }
            self.chains.drain(..below);
            if below == 0 && self.epochs.first().is_some_and(|start| start.epoch < base.epoch.number) {
                return Err(format!("entry {} has a lower epoch than the base", self.first));
            }
        }
        let mut epochs = self.epochs;
        if base.seq > Seq(0) {
            epochs.retain(|start| start.seq > base.seq && start.epoch != base.epoch.number);
            epochs.insert(0, EpochStart { epoch: base.epoch.number, seq: base.seq });
        }
        Ok(Recovered { control: self.control, tail: self.tail, epochs, chains: self.chains, dubious_from: None })
    }
}
