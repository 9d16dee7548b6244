//! What must hold at every moment, whatever happens.

use std::collections::BTreeMap;

use journal_core::{ChainHash, EntryKind};
use types::{Epoch, Incarnation, Seq};

use super::disk::Disk;

/// What an observer of the whole world remembers.
#[derive(Default)]
pub(crate) struct Check {
    /// The one committed log: hash at every seq from 1.
    committed: Vec<ChainHash>,
    /// Who was granted an epoch number, by voter.
    granted: BTreeMap<(u8, u64), Incarnation>,
    /// Who opened under an epoch number.
    opened: BTreeMap<u64, Incarnation>,
    truncations: u64,
    /// Highest seq that an engine has applied, and so may have acknowledged.
    exposed: Seq,
    reads: u64,
}

impl Check {
    /// Entries committed, leaderships opened, logs cut.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        (self.committed.len() as u64, self.opened.len() as u64, self.truncations)
    }

    pub(crate) fn committed(&self) -> &[ChainHash] {
        &self.committed
    }

    /// I1 and I2: one owner per epoch number, and the promise is on the disk before the grant is said.
    pub(crate) fn grant(&mut self, voter: u8, epoch: Epoch, disk: &Disk) {
        assert_eq!(disk.control.promised, epoch, "I2: voter {voter} granted what it has not made durable");
        let owner = *self.granted.entry((voter, epoch.number)).or_insert(epoch.owner);
        assert_eq!(owner, epoch.owner, "I1: voter {voter} granted epoch {} twice", epoch.number);
    }

    /// I4 and I8: what is acknowledged is on the disk, and is what the leader sent.
    pub(crate) fn ack(&self, voter: u8, matched: Seq, sent: Option<ChainHash>, epoch: Epoch, disk: &Disk) {
        assert!(matched <= disk.tail().seq, "I4: voter {voter} acknowledged {matched}, {} is durable", disk.tail().seq);
        let held = chain(disk, matched);
        assert_eq!(Some(held), sent, "I8: voter {voter} acknowledged what it was not sent, at {matched}");
        assert_eq!(disk.control.promised, epoch, "I2: voter {voter} acknowledged an older epoch");
    }

    /// I12: what is said to be final stays, and is the same for everybody.
    pub(crate) fn commit(&mut self, who: &str, seq: Seq, chain: ChainHash) {
        let at = usize::try_from(seq.0).unwrap() - 1;
        match self.committed.get(at) {
            Some(known) => assert_eq!(*known, chain, "I12: {who} says something else is final at {seq}"),
            None => {
                assert_eq!(at, self.committed.len(), "I9: {who} commits {seq} before what precedes it");
                self.committed.push(chain);
            }
        }
    }

    /// The end of a leader's log is final: so is all before it. Some voter holds it, or it could not be.
    pub(crate) fn commit_prefix(&mut self, who: &str, seq: Seq, chain_there: ChainHash, disks: &[&Disk]) {
        if seq == Seq(0) || self.committed.get(usize::try_from(seq.0).unwrap() - 1) == Some(&chain_there) {
            return;
        }
        let holders = disks.iter().filter(|disk| disk.tail().seq >= seq && chain(disk, seq) == chain_there);
        let holders: Vec<_> = holders.collect();
        assert!(holders.len() > disks.len() / 2, "I9: {who} commits {seq}, {} hold it", holders.len());
        for entry in holders[0].entries.iter().take(usize::try_from(seq.0).unwrap()) {
            self.commit(who, entry.seq, entry.chain);
        }
    }

    /// An engine has applied an entry.
    pub(crate) fn expose(&mut self, seq: Seq) {
        self.exposed = self.exposed.max(seq);
    }

    /// Highest seq that any client may know of.
    pub(crate) const fn exposed(&self) -> Seq {
        self.exposed
    }

    /// H8: a question is answered from a state that lacks nothing that was acknowledged when it came.
    pub(crate) fn read(&mut self, engine: usize, applied: Seq, exposed: Seq) {
        assert!(applied >= exposed, "H8: engine {engine} answers from {applied}, {exposed} was acknowledged before");
        self.reads += 1;
    }

    /// Questions that were answered.
    pub(crate) const fn reads(&self) -> u64 {
        self.reads
    }

    /// One leader per epoch number.
    pub(crate) fn open(&mut self, epoch: Epoch) {
        let owner = *self.opened.entry(epoch.number).or_insert(epoch.owner);
        assert_eq!(owner, epoch.owner, "I1: epoch {} has two leaders", epoch.number);
    }

    /// What is final is durable on a majority of the disks, always; every epoch begins with its first entry.
    pub(crate) fn disks(&mut self, disks: &[&Disk]) {
        self.truncations = disks.iter().map(|disk| disk.truncations).sum();
        if let Some(last) = self.committed.last() {
            let seq = Seq(self.committed.len() as u64);
            let holders = disks.iter().filter(|disk| disk.tail().seq >= seq && chain(disk, seq) == *last).count();
            assert!(holders > disks.len() / 2, "I12: {seq} is final, but only {holders} disks hold it");
        }
        for disk in disks {
            let mut epoch = 0;
            for entry in &disk.entries {
                let begins = entry.epoch.number > epoch;
                assert!(entry.epoch.number >= epoch, "epochs go back at {}", entry.seq);
                assert_eq!(begins, entry.kind == EntryKind::EpochStart, "H2: an epoch begins with EpochStart");
                epoch = entry.epoch.number;
            }
        }
    }
}

fn chain(disk: &Disk, seq: Seq) -> ChainHash {
    match seq.0.checked_sub(1) {
        None => ChainHash::ZERO,
        Some(at) => disk.entries[usize::try_from(at).unwrap()].chain,
    }
}
