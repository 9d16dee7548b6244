//! The newest entries of a leader's own epoch, kept to be sent again.

use std::collections::VecDeque;

use types::Seq;

use crate::{ChainHash, Entry};

/// Final entries kept for voters that lag: at a few thousand entries a second this bridges some ten seconds. Voters
/// that lag more read from another voter.
pub(super) const MAX_KEPT_ENTRIES: usize = 65_536;
/// Payload of final entries kept for voters that lag.
pub(super) const MAX_KEPT_BYTES: usize = 64 << 20;

/// Consecutive entries.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Ring {
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Ring {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.bytes += entry.payload.len();
        self.entries.push_back(entry);
    }

    pub(super) fn first_seq(&self) -> Option<Seq> {
        self.entries.front().map(|entry| entry.seq)
    }

    pub(super) fn get(&self, seq: Seq) -> Option<&Entry> {
        let offset = seq.0.checked_sub(self.first_seq()?.0)?;
        self.entries.get(usize::try_from(offset).ok()?)
    }

    /// Hash at `seq`; also known for the seq before the first entry.
    pub(super) fn chain_at(&self, seq: Seq) -> Option<ChainHash> {
        match self.get(seq) {
            Some(entry) => Some(entry.chain),
            None => self.get(seq.next()).map(|next| next.prev_chain),
        }
    }

    /// Payload of the entries after `seq`.
    pub(super) fn bytes_after(&self, seq: Seq) -> usize {
        self.entries.iter().rev().take_while(|entry| entry.seq > seq).map(|entry| entry.payload.len()).sum()
    }

    /// Forgets entries up to `settled`, and up to `commit` what exceeds the limits. Never what is not final.
    pub(super) fn forget(&mut self, settled: Seq, commit: Seq) {
        while let Some(first) = self.entries.front() {
            let over = self.entries.len() > MAX_KEPT_ENTRIES || self.bytes > MAX_KEPT_BYTES;
            if first.seq > commit || (first.seq > settled && !over) {
                break;
            }
            self.bytes -= first.payload.len();
            self.entries.pop_front();
        }
    }
}
