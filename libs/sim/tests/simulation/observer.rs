//! Sees everything and judges it: the journal's only copy, what everybody applied, what clients were told.

use std::collections::BTreeMap;

use journal_core::{ChainHash, Control, Entry, EntryKind, EpochStart, Recovered, Tail};
use types::{Epoch, LogId, Seq};

use super::message::{Command, Outcome};

/// The database behind all gateways, or the disk of the only one.
pub(crate) struct Journal {
    /// Whether it is a database, which compares the epoch and the end of the log in the transaction that writes. A disk
    /// takes what it is given: there the acceptor alone decides.
    pub(crate) shared: bool,
    pub(crate) control: Control,
    pub(crate) entries: Vec<Entry>,
    /// While set, nobody reads or writes.
    pub(crate) away: bool,
}

/// What was seen.
#[derive(Default)]
pub(crate) struct Observer {
    /// What anybody applied at a seq: the entry, and the state after it.
    applied: Vec<(ChainHash, u64)>,
    granted: BTreeMap<u64, Epoch>,
    opened: BTreeMap<u64, Epoch>,
    /// What clients were told.
    acknowledged: BTreeMap<(u8, u32), Outcome>,
    pub(crate) retried: u64,
    pub(crate) refused: u64,
}

impl Journal {
    pub(crate) fn new(shared: bool) -> Self {
        let control = Control { log_id: LogId(7), disk_id: 100, ..Control::default() };
        Self { shared, control, entries: Vec::new(), away: false }
    }

    pub(crate) fn tail(&self) -> Tail {
        self.entries.last().map_or_else(Tail::default, Entry::tail)
    }

    pub(crate) fn read(&self, from: u64, to: u64) -> Vec<Entry> {
        let first = usize::try_from(from.max(1) - 1).unwrap_or(usize::MAX);
        self.entries.iter().skip(first).take_while(|entry| entry.seq.0 <= to).take(256).cloned().collect()
    }

    pub(crate) fn recover(&self) -> Recovered {
        let mut epochs: Vec<EpochStart> = Vec::new();
        for entry in &self.entries {
            if epochs.last().is_none_or(|last| last.epoch < entry.epoch.number) {
                epochs.push(EpochStart { epoch: entry.epoch.number, seq: entry.seq });
            }
        }
        let chains = self.entries.iter().map(|entry| entry.chain).collect();
        Recovered { control: self.control.clone(), tail: self.tail(), epochs, chains, dubious_from: None }
    }

    fn holds(&self, at: Tail) -> bool {
        let place = usize::try_from(at.seq.0).unwrap_or(usize::MAX).wrapping_sub(1);
        self.entries.get(place).is_some_and(|entry| entry.chain == at.chain)
    }
}

impl Observer {
    /// I1, I2: one owner per epoch number; the promise is durable before it is said.
    pub(crate) fn grant(&mut self, epoch: Epoch, last: Tail, journal: &Journal) {
        assert!(journal.control.promised.number >= epoch.number, "I2: epoch {} is not durable", epoch.number);
        let known = *self.granted.entry(epoch.number).or_insert(epoch);
        assert_eq!(known, epoch, "I1: epoch {} was granted twice", epoch.number);
        let newer = journal.control.promised != epoch;
        assert!(newer || journal.tail() == last, "I3: the grant of {} tells {last:?}, not the end", epoch.number);
    }

    /// I2, I4: only the promised epoch is acknowledged, and only what is durable.
    pub(crate) fn appended(&self, epoch: Epoch, matched: Seq, journal: &Journal) {
        let promised = journal.control.promised;
        assert_eq!(epoch, promised, "I2: epoch {} is acknowledged, {} is promised", epoch.number, promised.number);
        assert!(matched <= journal.tail().seq, "I4: {matched} is acknowledged, {} is durable", journal.tail().seq);
    }

    pub(crate) fn written(&mut self, journal: &Journal) {
        let mut epoch = Epoch::default();
        for entry in journal.entries.iter().rev().take(3).collect::<Vec<_>>().into_iter().rev() {
            assert!(entry.epoch.number >= epoch.number, "epochs go back at {}", entry.seq);
            let begins = epoch.number > 0 && entry.epoch != epoch;
            assert!(!begins || entry.kind == EntryKind::EpochStart, "H2: an epoch begins with EpochStart");
            epoch = entry.epoch;
        }
        let place = self.applied.len();
        let held = journal.entries.get(place.wrapping_sub(1)).map(|entry| entry.chain);
        assert_eq!(held, self.applied.last().map(|(chain, _)| *chain), "I12: what was applied at {place} is gone");
    }

    /// I11, I12: what is applied is durable, and the same for everybody, as is the state after it.
    pub(crate) fn apply(&mut self, who: usize, at: Tail, state: u64, journal: &Journal) {
        assert!(journal.holds(at), "I11: engine {who} applies {}, which is not durable", at.seq);
        let place = usize::try_from(at.seq.0).unwrap_or(usize::MAX) - 1;
        match self.applied.get(place) {
            Some((chain, hash)) => {
                assert_eq!(*chain, at.chain, "I12: engine {who} applies another entry at {}", at.seq);
                assert_eq!(*hash, state, "INV-DETERMINISTIC: engine {who} has another state at {}", at.seq);
            }
            None => {
                assert_eq!(place, self.applied.len(), "engine {who} applies {} too early", at.seq);
                self.applied.push((at.chain, state));
            }
        }
    }

    pub(crate) fn open(&mut self, epoch: Epoch) {
        let known = *self.opened.entry(epoch.number).or_insert(epoch);
        assert_eq!(known, epoch, "I1: epoch {} has two leaders", epoch.number);
    }

    pub(crate) fn leaderships(&self) -> u64 {
        self.opened.len() as u64
    }

    /// INV-ACK-DURABLE, INV-ONCE: what a client hears is what the log says, however often it hears it.
    pub(crate) fn answer(&mut self, command: Command, outcome: Outcome) {
        assert!(outcome.seq <= self.applied.len() as u64, "I11: {command:?} is answered before it is applied");
        if let Some(known) = self.acknowledged.insert((command.client, command.id), outcome) {
            assert_eq!(known, outcome, "INV-ONCE: {command:?} has two outcomes");
            self.retried += 1;
        }
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.len() as u64
    }

    /// At the end: the whole log is replayed, and every answer compared with it.
    pub(crate) fn verify(&self, journal: &Journal) {
        let mut state = super::state::State::default();
        let mut starts: Vec<Epoch> = Vec::new();
        for entry in &journal.entries {
            assert!(entry.verify(), "the hash of {} is wrong", entry.seq);
            if entry.kind == EntryKind::EpochStart {
                let above = starts.last().is_none_or(|last| last.number < entry.epoch.number);
                assert!(above, "epochs start in another order at {}", entry.seq);
                starts.push(entry.epoch);
            }
            state.apply(entry);
        }
        for ((client, id), outcome) in &self.acknowledged {
            let replayed = state.outcome(*client, *id);
            assert_eq!(replayed, Some(*outcome), "INV-ACK-DURABLE: client {client} was told of {id}");
        }
        let hash = self.applied.last().map(|(_, hash)| *hash);
        let complete = self.applied.len() == journal.entries.len();
        assert!(!complete || hash.is_none_or(|hash| hash == state.hash()), "the replay ends in another state");
    }
}
