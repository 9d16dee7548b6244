//! What an observer who sees everything knows, and the rules by which the world is judged.

use journal_core::{ChainHash, Tail};
use types::{Epoch, Seq};

use super::voter::Disk;

/// A rule that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Rule {
    /// An epoch number was issued to, granted to or opened by two owners.
    OneOwnerPerEpoch,
    /// Two entries were final at one place of the log.
    OneEntryPerPlace,
    /// What was acknowledged is not in a later leader's log, or no longer on enough disks.
    AcknowledgedStays,
    /// Something was applied or answered that was not final.
    NothingBeforeCommit,
    /// A core found its own state impossible, or a voter or leader gave up.
    CoresAgree,
}

/// What the observer remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Truth {
    /// What anybody applied, at every seq from 1.
    exposed: Vec<ChainHash>,
    /// What a client was told: seq, hash, epoch of the leader that told it.
    acknowledged: Vec<(Seq, ChainHash, u64)>,
    /// What a client asked for and has no answer to: seq, hash, epoch.
    in_doubt: Vec<(Seq, ChainHash, u64)>,
    issued: Vec<Epoch>,
    granted: Vec<(u8, Epoch)>,
    opened: Vec<Epoch>,
    pub(crate) broken: Option<Rule>,
    pub(crate) took_over: bool,
    pub(crate) doubt_survived: bool,
    pub(crate) doubt_lost: bool,
    pub(crate) old_leader_refused: bool,
}

impl Truth {
    pub(crate) fn require(&mut self, holds: bool, rule: Rule) {
        if !holds && self.broken.is_none() {
            self.broken = Some(rule);
        }
    }

    pub(crate) fn issue(&mut self, epoch: Epoch) {
        self.require(self.issued.iter().all(|known| known.number != epoch.number), Rule::OneOwnerPerEpoch);
        self.issued.push(epoch);
        self.issued.sort_by_key(|epoch| (epoch.number, epoch.owner));
    }

    /// The store lost its memory: the numbers it issues may repeat, those that voters grant may not.
    pub(crate) fn forget_issued(&mut self) {
        self.issued.clear();
    }

    pub(crate) fn grant(&mut self, voter: u8, epoch: Epoch) {
        let other = |(of, known): &(u8, Epoch)| *of == voter && known.number == epoch.number && *known != epoch;
        self.require(!self.granted.iter().any(other), Rule::OneOwnerPerEpoch);
        if !self.granted.contains(&(voter, epoch)) {
            self.granted.push((voter, epoch));
            self.granted.sort_by_key(|(voter, epoch)| (*voter, epoch.number, epoch.owner));
        }
    }

    pub(crate) fn propose(&mut self, at: Tail) {
        self.in_doubt.push((at.seq, at.chain, at.epoch.number));
        self.in_doubt.sort();
    }

    /// Somebody applies `at`; `leader` is the epoch it leads under. Final is what a majority of the disks holds, and
    /// for a leader what follows its own first entry or precedes it once that is held (I9).
    pub(crate) fn expose(&mut self, at: Tail, leader: Option<Epoch>, disks: &[&Disk]) {
        let held = |chain_at: &dyn Fn(&Disk) -> bool| disks.iter().filter(|disk| chain_at(disk)).count();
        let enough = disks.len() / 2 + 1;
        self.require(held(&|disk| disk.holds(at.seq, at.chain)) >= enough, Rule::NothingBeforeCommit);
        if let Some(epoch) = leader {
            let begun = held(&|disk| disk.entries.iter().any(|entry| entry.epoch == epoch)) >= enough;
            self.require(begun, Rule::NothingBeforeCommit);
        }
        let place = usize::try_from(at.seq.0).unwrap_or(usize::MAX) - 1;
        match self.exposed.get(place) {
            Some(known) => self.require(*known == at.chain, Rule::OneEntryPerPlace),
            None if place == self.exposed.len() => self.exposed.push(at.chain),
            // Applied out of order: the first entries are missing.
            None => self.require(false, Rule::CoresAgree),
        }
    }

    pub(crate) fn acknowledge(&mut self, at: Tail, by: Epoch) {
        let other = |(seq, chain, _): &(Seq, ChainHash, u64)| *seq == at.seq && *chain != at.chain;
        self.require(!self.acknowledged.iter().any(other), Rule::OneEntryPerPlace);
        self.in_doubt.retain(|(_, chain, _)| *chain != at.chain);
        self.acknowledged.push((at.seq, at.chain, by.number));
        self.acknowledged.sort();
    }

    /// A leader of `epoch` goes on from the log that ends with `tail`.
    pub(crate) fn adopt(&mut self, epoch: Epoch, tail: Tail, disks: &[&Disk]) {
        let source = disks.iter().find(|disk| tail.seq == Seq(0) || disk.holds(tail.seq, tail.chain));
        let kept = self
            .acknowledged
            .iter()
            .filter(|(_, _, by)| *by < epoch.number)
            .all(|(seq, chain, _)| *seq <= tail.seq && source.is_some_and(|disk| disk.holds(*seq, *chain)));
        self.require(kept, Rule::AcknowledgedStays);
    }

    pub(crate) fn open(&mut self, epoch: Epoch, disks: &[&Disk]) {
        let other = |known: &Epoch| known.number == epoch.number && *known != epoch;
        self.require(!self.opened.iter().any(other), Rule::OneOwnerPerEpoch);
        self.took_over |= self.opened.iter().any(|known| known.owner != epoch.owner);
        self.opened.push(epoch);
        self.opened.sort_by_key(|epoch| (epoch.number, epoch.owner));
        for (seq, chain, by) in &self.in_doubt {
            if *by < epoch.number {
                let survived = disks.iter().filter(|disk| disk.holds(*seq, *chain)).count() > disks.len() / 2;
                self.doubt_survived |= survived;
                self.doubt_lost |= !survived;
            }
        }
    }

    /// I12: what anybody applied stays on a majority of the disks.
    pub(crate) fn disks(&mut self, disks: &[&Disk]) {
        let Some(last) = self.exposed.last() else { return };
        let seq = Seq(self.exposed.len() as u64);
        let held = disks.iter().filter(|disk| disk.holds(seq, *last)).count();
        self.require(held > disks.len() / 2, Rule::AcknowledgedStays);
    }
}
