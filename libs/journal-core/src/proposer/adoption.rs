//! From election to the first entry of the epoch and the replay: fences, the choice, what must hold before anything is
//! built on it.

use bytes::Bytes;
use types::{Epoch, LogId, Seq, Timestamp};

use super::peer::{FENCE_RETRY_TICKS, Peer};
use super::{Effect, Fetching, HaltReason, Phase, Proposer, VoterId};
use crate::{ChainHash, Entry, EntryKind, EpochStart, FenceGranted, FenceReply, FenceRequest, Tail, VoterConfig};

/// Entries asked for at once; the voter cuts the answer by bytes as well.
const FETCH_ENTRIES: u64 = 1024;

impl Proposer {
    pub(super) fn elected(
        &mut self,
        epoch: Epoch,
        config: VoterConfig,
        applied: Tail,
        timestamp: Timestamp,
        out: &mut Vec<Effect>,
    ) {
        assert!(epoch.number > self.epoch.number, "I13: every leadership has a new epoch");
        self.stop();
        self.phase = Phase::Fencing;
        self.epoch = epoch;
        self.config = config;
        self.log_id = LogId(0);
        self.applied = applied;
        self.adopted = Tail::default();
        self.start = Seq(0);
        self.epochs.clear();
        self.ring.clear();
        self.last = Tail::default();
        self.last_timestamp = Timestamp(timestamp.0.saturating_sub(1));
        self.commit = Seq(0);
        self.ticks = 0;
        self.send_fences(out);
    }

    /// Asks every voter that has not answered; also in later phases, since a voter says by its grant who it is.
    pub(super) fn send_fences(&mut self, out: &mut Vec<Effect>) {
        let now = self.ticks;
        for peer in &mut self.peers {
            let waiting = peer.fence_sent.is_some_and(|at| now < at + FENCE_RETRY_TICKS);
            if peer.granted.is_some() || peer.lost() || waiting {
                continue;
            }
            peer.fence_sent = Some(now);
            let request =
                FenceRequest { log_id: self.log_id, shard: self.shard, epoch: self.epoch, config: self.config.clone() };
            out.push(Effect::Fence { voter: peer.id, request });
        }
    }

    pub(super) fn fence_reply(&mut self, voter: VoterId, reply: FenceReply, out: &mut Vec<Effect>) {
        match reply {
            FenceReply::Granted(granted) => self.granted(voter, granted, out),
            FenceReply::Refused { promised } => self.refused(voter, promised, out),
            FenceReply::ConfigNewer(_) => self.depose(self.epoch, out),
            FenceReply::LogRetired { active } => self.retired(voter, active, out),
            // Asked again at the next heartbeat: the disk may be admitted, the voter may come back.
            FenceReply::NotVoter | FenceReply::Failed { .. } => {
                if let Some(peer) = self.peer(voter) {
                    peer.fence_sent = None;
                }
            }
        }
    }

    fn granted(&mut self, voter: VoterId, granted: FenceGranted, out: &mut Vec<Effect>) {
        // A late answer to an earlier leadership of this process: a vote for another epoch (I1, I5).
        if granted.epoch != self.epoch {
            return;
        }
        if granted.config.generation > self.config.generation && !granted.config.current.is_empty() {
            return self.depose(self.epoch, out);
        }
        if self.log_id == LogId(0) {
            self.log_id = granted.log_id;
        } else if self.log_id != granted.log_id {
            let (expected, found) = (self.log_id, granted.log_id);
            return self.halt(HaltReason::OtherHistory { expected, found }, out);
        }
        if let Some(twin) = self.peers.iter().find(|peer| peer.id != voter && peer.is(&granted.voter)) {
            let (a, b, name) = (twin.id.0, voter.0, &granted.voter.gateway);
            let problem = format!("voters {a} and {b} are both disk {:032x} of {name}", granted.voter.disk_id);
            return self.halt(HaltReason::Contradiction(problem), out);
        }
        let now = self.ticks;
        let Some(peer) = self.peer(voter) else { return };
        if peer.granted.is_some() {
            return;
        }
        peer.granted = Some(granted);
        peer.answered(now);
        if self.phase == Phase::Fencing {
            self.choose(out);
        } else {
            self.advance_commit(out);
        }
    }

    /// A voter belongs to somebody newer. With a minority of such voters the leader goes on.
    pub(super) fn refused(&mut self, voter: VoterId, promised: Epoch, out: &mut Vec<Effect>) {
        let newer = promised.number > self.epoch.number
            || (promised.number == self.epoch.number && promised.owner != self.epoch.owner);
        if !newer {
            // A late answer to an earlier leadership of this process.
            return;
        }
        let now = self.ticks;
        let Some(peer) = self.peer(voter) else { return };
        peer.refused = Some(promised);
        peer.closed(now);
        if !self.is_quorum_possible() {
            let newest = self.peers.iter().filter_map(|peer| peer.refused).max_by_key(|epoch| epoch.number);
            self.depose(newest.unwrap_or(promised), out);
        }
    }

    /// A voter holds another history. With a minority of such voters the leader goes on.
    pub(super) fn retired(&mut self, voter: VoterId, found: LogId, out: &mut Vec<Effect>) {
        let now = self.ticks;
        let Some(peer) = self.peer(voter) else { return };
        peer.retired = true;
        peer.closed(now);
        if !self.is_quorum_possible() {
            self.halt(HaltReason::OtherHistory { expected: self.log_id, found }, out);
        }
    }

    /// Whether the voters that have not refused could still be a majority. Those that never said who they are count
    /// for any configured voter that nobody else is.
    fn is_quorum_possible(&self) -> bool {
        if self.config.current.is_empty() {
            return self.is_quorum(|peer| !peer.lost());
        }
        let unknown = self.peers.iter().filter(|peer| peer.granted.is_none() && !peer.lost()).count();
        let needed = |voters: &[crate::Voter]| {
            let alive = |voter: &&crate::Voter| self.peers.iter().any(|peer| peer.is(voter) && !peer.lost());
            voters.is_empty() || voters.iter().filter(alive).count() + unknown >= crate::voter::majority(voters.len())
        };
        needed(&self.config.current) && needed(&self.config.pending)
    }

    /// Chooses the log to adopt, once enough clean voters have granted the epoch (I5, I6, I16).
    fn choose(&mut self, out: &mut Vec<Effect>) {
        let clean = |peer: &Peer| peer.granted.as_ref().is_some_and(FenceGranted::clean);
        if !self.is_quorum(clean) {
            if self.peers.iter().all(|peer| peer.granted.is_some()) {
                self.halt(HaltReason::NoCleanMajority, out);
            }
            return;
        }
        let grants = || self.peers.iter().filter_map(|peer| peer.granted.as_ref());
        let best = grants().filter(|granted| granted.clean()).max_by_key(|granted| granted.last.rank());
        let Some(best) = best.cloned() else { return };
        let known = grants().map(|granted| granted.commit).max().unwrap_or_default().max(self.applied.seq);
        if best.last.seq < known {
            return self.halt(HaltReason::CommittedMissing { chosen: best.last.seq, known }, out);
        }
        if let Some(other) = grants().find(|g| g.last.rank() == best.last.rank() && g.last.chain != best.last.chain) {
            let problem = format!("two logs end at {} of epoch {} and differ", other.last.seq, other.last.epoch.number);
            return self.halt(HaltReason::Contradiction(problem), out);
        }
        if self.applied.seq < best.base.seq {
            let (applied, base) = (self.applied.seq, best.base.seq);
            return self.halt(HaltReason::StateTooOld { applied, base }, out);
        }
        if self.applied.seq == best.last.seq && self.applied.chain != best.last.chain {
            return self.halt(HaltReason::StateOffLog { at: self.applied.seq }, out);
        }
        self.adopted = best.last;
        self.last = best.last;
        self.epochs = best.epochs;
        out.push(Effect::Adopted { tail: best.last });
        // A state that is all of the log knows the log time; and what ends with a snapshot has no entry to read.
        if best.last.seq == best.base.seq || best.last.seq == self.applied.seq {
            self.begin_epoch(out);
        } else {
            self.phase = Phase::Anchoring;
            self.start_fetch(out);
        }
    }

    /// Appends the first entry of the epoch. Nothing older counts as committed before it is (H2, I9).
    fn begin_epoch(&mut self, out: &mut Vec<Effect>) {
        self.start = self.adopted.seq.next();
        self.epochs.push(EpochStart { epoch: self.epoch.number, seq: self.start });
        self.append(EntryKind::EpochStart, Timestamp(self.last_timestamp.0 + 1), Bytes::new());
        self.phase = Phase::Opening;
        self.open_streams(out);
    }

    /// Asks for what is needed next, if no fetch is under way: the last entry of the chosen log, then what the engine
    /// has not applied, then what a lagging voter lacks.
    pub(super) fn start_fetch(&mut self, out: &mut Vec<Effect>) {
        if self.fetch.is_some() {
            return;
        }
        let (what, from, to) = match self.phase {
            Phase::Anchoring => (Fetching::Anchor, self.anchor_from(), self.adopted.seq),
            Phase::Replaying => (Fetching::Replay, self.applied.seq.next(), self.adopted.seq),
            Phase::Opening | Phase::Open => match self.wanted_fill() {
                Some((voter, from, to)) => (Fetching::Fill(voter), from, to),
                None => return,
            },
            Phase::Idle | Phase::Fencing => return,
        };
        let to = Seq(to.0.min(from.0 + FETCH_ENTRIES - 1));
        let (adopted, fetches) = (self.adopted, self.fetches);
        let holds = |peer: &&Peer| what != Fetching::Fill(peer.id) && !peer.lost() && peer.holds(to, adopted);
        let reaches = |peer: &&Peer| peer.granted.as_ref().is_none_or(|granted| granted.base.seq < from);
        let holders = self.peers.iter().filter(holds).count();
        let sources: Vec<VoterId> = self.peers.iter().filter(holds).filter(reaches).map(|peer| peer.id).collect();
        if let Some(voter) = sources.get(fetches % sources.len().max(1)) {
            self.fetch = Some(what);
            out.push(Effect::Fetch { voter: *voter, from, to });
        } else if let Fetching::Fill(voter) = what
            && holders > 0
            && let Some(peer) = self.peer(voter)
        {
            peer.stranded = true;
        }
    }

    pub(super) fn fetched(&mut self, entries: Vec<Entry>, out: &mut Vec<Effect>) {
        let Some(what) = self.fetch.take() else { return };
        let taken = match what {
            Fetching::Anchor => self.anchored(entries, out),
            Fetching::Replay => self.replayed(entries, out),
            Fetching::Fill(voter) => self.filled(voter, entries, out),
        };
        if taken {
            self.start_fetch(out);
        } else {
            // Tried again at the next heartbeat, elsewhere if there is an elsewhere.
            self.fetches = self.fetches.wrapping_add(1);
        }
    }

    /// What is read before the epoch begins: all that the engine lacks if that is not much, so that it need not be read
    /// after; else the last entry alone.
    const fn anchor_from(&self) -> Seq {
        let lacks = self.adopted.seq.0 - self.applied.seq.0;
        if lacks <= FETCH_ENTRIES && !self.anchor_alone { self.applied.seq.next() } else { self.adopted.seq }
    }

    fn anchored(&mut self, entries: Vec<Entry>, out: &mut Vec<Effect>) -> bool {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return false };
        let follows = first.seq == self.applied.seq.next();
        if first.seq == Seq(0) || !consecutive(&entries, Seq(first.seq.0 - 1), self.log_id) {
            return false;
        }
        if follows && first.prev_chain != self.applied.chain {
            self.halt(HaltReason::StateOffLog { at: self.applied.seq }, out);
            return false;
        }
        if last.tail() != self.adopted {
            // Perhaps it was too much for one answer.
            return last.seq < self.adopted.seq && !std::mem::replace(&mut self.anchor_alone, true);
        }
        self.last_timestamp = self.last_timestamp.max(last.timestamp);
        if follows {
            self.read_ahead = entries;
        }
        self.begin_epoch(out);
        true
    }

    /// The epoch has begun on a majority: everything before it is final and goes to the engine.
    pub(super) fn begin_replay(&mut self, out: &mut Vec<Effect>) {
        self.phase = Phase::Replaying;
        if !self.read_ahead.is_empty() {
            self.applied = self.adopted;
            self.handed = std::mem::take(&mut self.read_ahead);
            out.push(Effect::Committed { seq: self.adopted.seq });
        }
        if self.applied.seq == self.adopted.seq { self.open(out) } else { self.start_fetch(out) }
    }

    fn replayed(&mut self, entries: Vec<Entry>, out: &mut Vec<Effect>) -> bool {
        if entries.is_empty() || !consecutive(&entries, self.applied.seq, self.log_id) {
            return false;
        }
        if entries[0].prev_chain != self.applied.chain {
            self.halt(HaltReason::StateOffLog { at: self.applied.seq }, out);
            return false;
        }
        let last = entries[entries.len() - 1].tail();
        if last.seq > self.adopted.seq || (last.seq == self.adopted.seq && last.chain != self.adopted.chain) {
            return false;
        }
        self.applied = last;
        self.handed.extend(entries);
        out.push(Effect::Committed { seq: last.seq });
        if last.seq == self.adopted.seq {
            self.open(out);
        }
        true
    }

    fn open(&mut self, out: &mut Vec<Effect>) {
        assert!(self.commit >= self.start, "I9: open only after the epoch has begun on a majority");
        assert_eq!(self.applied.chain, self.adopted.chain, "I6: the state is that of the chosen log");
        self.phase = Phase::Open;
        out.push(Effect::Committed { seq: self.commit });
        out.push(Effect::Opened);
        self.send_all(out);
    }
}

/// Whether `entries` follow `after`, each chained to the one before it and true to its hash.
pub(super) fn consecutive(entries: &[Entry], after: Seq, log_id: LogId) -> bool {
    let mut before: Option<(Seq, ChainHash)> = None;
    entries.iter().all(|entry| {
        let (seq, chain) = before.unwrap_or((after, entry.prev_chain));
        before = Some((entry.seq, entry.chain));
        entry.seq == seq.next() && entry.prev_chain == chain && entry.log_id == log_id && entry.verify()
    })
}
