//! Rebuilds what a voter must know from the records found, in order, and refuses a break in the chain.
//!
//! Deliberately absent: where records come from. The reader of each storage adds the place to the reason returned.

use journal_core::{ChainHash, Control, Entry, EpochStart, Recovered, Tail};
use types::{Epoch, Seq};

/// The log as read so far.
pub(crate) struct Replay {
    control: Control,
    /// Last position seen, with its hash unless that lies below what is held. `None` before the first record.
    last: Option<(Seq, Option<ChainHash>)>,
    tail: Tail,
    epochs: Vec<EpochStart>,
    chains: Vec<ChainHash>,
}

impl Replay {
    pub(crate) fn new(control: Control) -> Self {
        let tail = control.base;
        let mut epochs = Vec::new();
        if tail.seq > Seq(0) {
            epochs.push(EpochStart { epoch: tail.epoch.number, seq: tail.seq });
        }
        Self { control, last: None, tail, epochs, chains: Vec::new() }
    }

    /// The seq the next record should bring, for messages.
    pub(crate) fn expected(&self) -> Seq {
        self.last.map_or(self.control.base.seq, |(seq, _)| seq).next()
    }

    /// Adds an entry whose own hash was checked.
    pub(crate) fn push(&mut self, entry: &Entry) -> Result<(), String> {
        if entry.log_id != self.control.log_id {
            return Err(format!("entry of history {}, expected {}", entry.log_id, self.control.log_id));
        }
        self.link(entry.tail(), entry.prev_chain)
    }

    /// Adds an entry by its position and hashes.
    pub(crate) fn link(&mut self, at: Tail, prev_chain: ChainHash) -> Result<(), String> {
        let base = self.control.base;
        let seq = at.seq;
        let before = match self.last {
            Some((last, _)) if seq != last.next() => return Err(format!("entry {seq} follows entry {last}")),
            Some((_, chain)) => chain,
            None if seq > base.seq.next() || seq == Seq(0) => {
                return Err(format!("the first entry found is {seq}, but entries are held from {}", base.seq.next()));
            }
            None => (seq == base.seq.next()).then_some(base.chain),
        };
        if before.is_some_and(|chain| chain != prev_chain) {
            return Err(format!("chain break: entry {seq} does not continue the entry before it"));
        }
        if seq == base.seq && at.chain != base.chain {
            return Err(format!("entry {seq} is not the one the base names"));
        }
        if seq > base.seq {
            match self.epochs.last() {
                Some(last) if last.epoch > at.epoch.number => {
                    return Err(format!("entry {seq} has epoch {} after epoch {}", at.epoch.number, last.epoch));
                }
                Some(last) if last.epoch == at.epoch.number => {}
                _ => self.epochs.push(EpochStart { epoch: at.epoch.number, seq }),
            }
            self.chains.push(at.chain);
            self.tail = at;
        }
        self.last = Some((seq, Some(at.chain)));
        Ok(())
    }

    /// Forgets what stands after `to`; an entry follows.
    pub(crate) fn truncate(&mut self, to: Seq) -> Result<(), String> {
        let base = self.control.base.seq;
        if self.last.map_or(base, |(last, _)| last) < to {
            return Err(format!("truncation to {to}, which was not reached"));
        }
        let chain = if to > base {
            let kept = usize::try_from(to.0 - base.0).unwrap_or(usize::MAX);
            self.chains.truncate(kept);
            self.chains.last().copied()
        } else {
            self.chains.clear();
            (to == base).then_some(self.control.base.chain)
        };
        self.epochs.retain(|start| start.seq <= to.max(base));
        self.last = Some((to, chain));
        Ok(())
    }

    /// An epoch found on a record is promised at least.
    pub(crate) fn promise(&mut self, epoch: Epoch) {
        if epoch.number > self.control.promised.number {
            self.control.promised = epoch;
        }
    }

    pub(crate) fn finish(self) -> Result<Recovered, String> {
        let base = self.control.base.seq;
        if let Some((last, _)) = self.last
            && last < base
        {
            return Err(format!("the log ends at entry {last}, below its base {base}"));
        }
        Ok(Recovered {
            control: self.control,
            tail: self.tail,
            epochs: self.epochs,
            chains: self.chains,
            dubious_from: None,
        })
    }
}
