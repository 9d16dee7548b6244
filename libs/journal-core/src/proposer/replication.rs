//! Sending entries to voters, finding common ground with each, and the commit rule.

use types::Seq;

use super::adoption::consecutive;
use super::peer::{STALL_TICKS, Sending};
use super::{Effect, Phase, Proposer, VoterId};
use crate::{AppendMismatch, AppendOk, AppendReply, AppendRequest, ChainHash, Entry, EpochStart};

/// Requests under way to one voter.
const MAX_IN_FLIGHT: usize = 64;
/// Requests under way behind which a heartbeat is sent too: at ten a second those of three seconds.
const MAX_HEARTBEATS_BEHIND: usize = 32;
/// Payload under way to one voter.
const MAX_IN_FLIGHT_BYTES: usize = 16 << 20;
/// Payload of one request, unless a single entry is larger.
const MAX_REQUEST_BYTES: usize = 1 << 20;

impl Proposer {
    pub(super) fn open_streams(&mut self, out: &mut Vec<Effect>) {
        let now = self.ticks;
        for peer in self.peers.iter_mut().filter(|peer| peer.may_reopen(now)) {
            peer.sending = Sending::Connecting;
            out.push(Effect::OpenStream { voter: peer.id });
        }
    }

    pub(super) fn stream_opened(&mut self, voter: VoterId, out: &mut Vec<Effect>) {
        let adopted = self.adopted.seq;
        let epochs = std::mem::take(&mut self.epochs);
        let last = self.last.seq;
        // Also in the place of a stream that was not said to be lost: what was under way on that one is not answered.
        if let Some(peer) = self.peer(voter)
            && peer.sending != Sending::Closed
        {
            peer.reset_stream(Sending::Probing { asked: false, step: 1 });
            // From where it is known to be the same; else from where it may be, by what it said with its grant.
            let common = peer.granted.as_ref().map_or(adopted, |granted| {
                common_point(&epochs, last, &granted.epochs, granted.last.seq).max(granted.base.seq)
            });
            peer.next = peer.matched.max(common.min(adopted)).next();
        }
        self.epochs = epochs;
        self.send(voter, out);
    }

    pub(super) fn stream_closed(&mut self, voter: VoterId) {
        let now = self.ticks;
        if let Some(peer) = self.peer(voter) {
            peer.closed(now);
        }
    }

    pub(super) fn append_reply(&mut self, voter: VoterId, reply: AppendReply, out: &mut Vec<Effect>) {
        let now = self.ticks;
        let Some(peer) = self.peer(voter) else { return };
        let stale = peer.stale_replies > 0;
        peer.stale_replies = peer.stale_replies.saturating_sub(1);
        match reply {
            AppendReply::Ok(ok) => self.matched(voter, ok, out),
            AppendReply::Refused { promised } => self.refused(voter, promised, out),
            AppendReply::Mismatch(mismatch) => {
                peer.answered(now);
                if !stale {
                    self.mismatch(voter, &mismatch, out);
                }
            }
            AppendReply::ConfigNewer(_) => self.depose(self.epoch, out),
            AppendReply::LogRetired { active } => self.retired(voter, active, out),
            AppendReply::Failed { .. } => peer.closed(now),
        }
    }

    fn matched(&mut self, voter: VoterId, ok: AppendOk, out: &mut Vec<Effect>) {
        // Only what was acknowledged in this epoch counts (I9), and only what this leader has.
        if ok.epoch != self.epoch || ok.match_seq > self.last.seq {
            return;
        }
        let now = self.ticks;
        let Some(peer) = self.peer(voter) else { return };
        peer.answered(now);
        peer.answered_round = peer.answered_round.max(ok.round);
        peer.matched = peer.matched.max(ok.match_seq);
        peer.settled(ok.match_seq, now);
        if matches!(peer.sending, Sending::Probing { .. }) {
            peer.sending = Sending::Streaming;
            peer.next = peer.next.max(peer.matched.next());
        }
        self.advance_commit(out);
        self.confirm(out);
        self.send(voter, out);
    }

    /// The commit rule (I9): what a majority of the configured voters acknowledged in this epoch, from the epoch's
    /// first entry on. Older entries become final through it, never by being counted themselves.
    pub(super) fn advance_commit(&mut self, out: &mut Vec<Effect>) {
        if self.start == Seq(0) {
            return;
        }
        let enough = |seq: Seq| self.is_quorum(|peer| peer.matched >= seq);
        let reached = self.peers.iter().map(|peer| peer.matched).filter(|seq| enough(*seq)).max();
        let Some(seq) = reached.filter(|seq| *seq >= self.start && *seq > self.commit) else { return };
        assert!(seq <= self.last.seq, "I8: nobody acknowledges what was never sent");
        self.commit = seq;
        match self.phase {
            Phase::Opening => self.begin_replay(out),
            Phase::Open => out.push(Effect::Committed { seq }),
            Phase::Replaying | Phase::Idle | Phase::Fencing | Phase::Anchoring => {}
        }
    }

    fn mismatch(&mut self, voter: VoterId, mismatch: &AppendMismatch, out: &mut Vec<Effect>) {
        let common = common_point(&self.epochs, self.last.seq, &mismatch.epochs, mismatch.last.seq);
        let Some(peer) = self.peer(voter) else { return };
        let (step, asked_at) = match peer.sending {
            Sending::Probing { step, .. } => (step, Seq(peer.next.0 - 1)),
            Sending::Streaming => (1, Seq(peer.next.0 - 1)),
            Sending::Closed | Sending::Connecting => return,
        };
        let outstanding = peer.in_flight.len().saturating_sub(1);
        let tried = peer.tried;
        let (next, step) = if tried == Some(common) || common == asked_at {
            (Seq(asked_at.0.saturating_sub(step)).next(), step.saturating_mul(2))
        } else {
            (common.next(), 1)
        };
        peer.reset_stream(Sending::Probing { asked: false, step });
        peer.stale_replies = outstanding;
        peer.tried = Some(common);
        peer.next = next;
        peer.fill.clear();
        self.send(voter, out);
    }

    pub(super) fn heartbeat(&mut self, out: &mut Vec<Effect>) {
        self.ticks += 1;
        let now = self.ticks;
        self.send_fences(out);
        if self.start == Seq(0) {
            return self.start_fetch(out);
        }
        self.open_streams(out);
        for index in 0..self.peers.len() {
            let peer = &mut self.peers[index];
            if !peer.in_flight.is_empty() && now >= peer.sent_at + STALL_TICKS {
                let next = peer.matched.next();
                peer.reset_stream(Sending::Probing { asked: false, step: 1 });
                peer.next = next;
            }
            let voter = peer.id;
            self.send(voter, out);
            let peer = &self.peers[index];
            // Also while answers are awaited: a disk that takes its time must not look like a leader that is gone.
            if peer.in_flight.len() < MAX_HEARTBEATS_BEHIND && peer.sending == Sending::Streaming {
                self.send_empty(voter, out);
            }
        }
        self.ask_again(out);
        self.start_fetch(out);
    }

    pub(super) fn send_all(&mut self, out: &mut Vec<Effect>) {
        for index in 0..self.peers.len() {
            self.send(self.peers[index].id, out);
        }
    }

    /// Sends a voter what it lacks, as far as the limits allow.
    fn send(&mut self, voter: VoterId, out: &mut Vec<Effect>) {
        loop {
            let last = self.last.seq;
            let Some(peer) = self.peer(voter) else { return };
            match peer.sending {
                Sending::Closed | Sending::Connecting => return,
                Sending::Probing { asked: true, .. } => return,
                Sending::Probing { asked: false, step } => {
                    if self.send_empty(voter, out)
                        && let Some(peer) = self.peer(voter)
                    {
                        peer.sending = Sending::Probing { asked: true, step };
                    }
                    return;
                }
                Sending::Streaming => {}
            }
            let full = peer.in_flight.len() >= MAX_IN_FLIGHT || peer.in_flight_bytes >= MAX_IN_FLIGHT_BYTES;
            if peer.next > last || full || !self.send_entries(voter, out) {
                return;
            }
        }
    }

    /// A request without entries: asks whether the log is the same up to before `next`, and tells what is committed.
    pub(super) fn send_empty(&mut self, voter: VoterId, out: &mut Vec<Effect>) -> bool {
        self.send_request(voter, Vec::new(), out)
    }

    fn send_entries(&mut self, voter: VoterId, out: &mut Vec<Effect>) -> bool {
        let Some(peer) = self.peers.iter().find(|peer| peer.id == voter) else { return false };
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut next = peer.next;
        while let Some(entry) = self.ring.get(next).or_else(|| find(&peer.fill, next)) {
            if !entries.is_empty() && bytes + entry.payload.len() > MAX_REQUEST_BYTES {
                break;
            }
            bytes += entry.payload.len();
            entries.push(entry.clone());
            next = next.next();
        }
        if entries.is_empty() {
            // Below the ring: read elsewhere.
            self.start_fetch(out);
            return false;
        }
        self.send_request(voter, entries, out)
    }

    fn send_request(&mut self, voter: VoterId, entries: Vec<Entry>, out: &mut Vec<Effect>) -> bool {
        let Some(prev_seq) = self.peer(voter).map(|peer| Seq(peer.next.0 - 1)) else { return false };
        let Some(prev_chain) = self.chain_before(voter, prev_seq.next()) else {
            self.start_fetch(out);
            return false;
        };
        let now = self.ticks;
        let round = self.reads.round();
        let end = Seq(prev_seq.0 + entries.len() as u64);
        let request = AppendRequest {
            log_id: self.log_id,
            shard: self.shard,
            epoch: self.epoch,
            config_generation: self.config.generation,
            prev_seq,
            prev_chain,
            entries,
            commit: self.commit,
            head_trim: Seq(0),
            round,
        };
        let bytes = request.payload_bytes();
        if let Some(peer) = self.peer(voter) {
            peer.sent(round, end, bytes, now);
            peer.next = end.next();
            peer.fill.retain(|entry| entry.seq > end);
        }
        out.push(Effect::Append { voter, request });
        true
    }

    /// Hash before `next` in this leader's log, as far as it is known.
    fn chain_before(&self, voter: VoterId, next: Seq) -> Option<ChainHash> {
        let before = Seq(next.0 - 1);
        if before == Seq(0) {
            return Some(ChainHash::ZERO);
        }
        let known = [self.last, self.adopted, self.applied];
        let fill = || self.peers.iter().find(|peer| peer.id == voter).and_then(|peer| find(&peer.fill, next));
        self.ring
            .chain_at(before)
            .or_else(|| known.iter().find(|tail| tail.seq == before).map(|tail| tail.chain))
            .or_else(|| fill().map(|entry| entry.prev_chain))
    }

    /// A voter that lacks entries which are not in the ring, and which ones.
    pub(super) fn wanted_fill(&self) -> Option<(VoterId, Seq, Seq)> {
        let first = self.ring.first_seq().unwrap_or(self.last.seq.next());
        self.peers.iter().find_map(|peer| {
            let waits = matches!(peer.sending, Sending::Streaming | Sending::Probing { asked: false, .. });
            let lacks = waits && !peer.stranded && peer.next < first && find(&peer.fill, peer.next).is_none();
            lacks.then(|| (peer.id, peer.next, Seq(first.0 - 1)))
        })
    }

    pub(super) fn filled(&mut self, voter: VoterId, entries: Vec<Entry>, out: &mut Vec<Effect>) -> bool {
        let log_id = self.log_id;
        let Some(peer) = self.peer(voter) else { return false };
        if entries.is_empty() || !consecutive(&entries, Seq(peer.next.0 - 1), log_id) {
            return false;
        }
        peer.fill = entries;
        self.send(voter, out);
        true
    }

    /// Entries that every voter has, or that exceed the limits, are forgotten; see [`Proposer::entry`] for when.
    pub(super) fn forget_settled(&mut self) {
        let settled = self.peers.iter().map(|peer| peer.matched).min().unwrap_or_default();
        let handed = if self.phase == Phase::Open { self.commit } else { Seq(0) };
        self.ring.forget(settled, handed);
    }
}

fn find(entries: &[Entry], seq: Seq) -> Option<&Entry> {
    let offset = seq.0.checked_sub(entries.first()?.seq.0)?;
    entries.get(usize::try_from(offset).ok()?)
}

/// Where two logs may have parted, by their epochs: the smaller of the two ends of the newest epoch they share.
fn common_point(mine: &[EpochStart], my_last: Seq, theirs: &[EpochStart], their_last: Seq) -> Seq {
    let end = |epochs: &[EpochStart], at: usize, last: Seq| {
        epochs.get(at + 1).map_or(last, |following| Seq(following.seq.0 - 1))
    };
    for (at, start) in mine.iter().enumerate().rev() {
        if let Some(there) = theirs.iter().position(|their| their.epoch == start.epoch) {
            return end(mine, at, my_last).min(end(theirs, there, their_last));
        }
    }
    // No epoch in common, or nothing is known of one of them: from the beginning of what is known.
    Seq(theirs.first().or(mine.first()).map_or(0, |start| start.seq.0 - 1).min(my_last.0))
}
