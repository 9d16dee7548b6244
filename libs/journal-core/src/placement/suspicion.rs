//! When a leader is suspected, and what is done then.
//!
//! A suspicion is cheap and often wrong; the voters are asked before anything follows from it. Only a leader that says
//! itself that it cannot commit is deposed without that. A leader that nobody could replace is left alone.

use core::time::Duration;

use types::{Epoch, Incarnation, ShardId};

use super::assignment::Candidate;
use super::{Effect, Holder, Placement, Report, Role, Shard, Stored, Verdict};

/// The store tells the time left on a lease in whole seconds, rounded down.
const LEASE_ROUNDING: Duration = Duration::from_secs(1);
/// A leadership younger than this is not asked about: voters take for dead whom they have not heard for so long, and a
/// leader that has just been given its epoch has not spoken to them yet.
const YOUNG: Duration = Duration::from_millis(600);

impl Placement {
    pub(super) fn suspect(
        &mut self,
        stored: &Stored,
        shard: ShardId,
        record: &Shard,
        leader: &Holder,
        candidates: &[Candidate],
        out: &mut Vec<Effect>,
    ) {
        let epoch = leader.epoch;
        if self.is_cut_off(stored, shard, epoch, candidates) {
            let reason = "it does not reach its journal and another engine does";
            return self.depose(shard, epoch, reason, out);
        }
        let seen = self.led.entry(shard).or_insert((epoch, self.now));
        if seen.0 != epoch {
            *seen = (epoch, self.now);
        }
        let young = self.now - seen.1 < YOUNG;
        let replaceable = candidates.iter().any(|candidate| candidate.engine != epoch.owner);
        if young || !replaceable || !self.is_suspect(stored, record, leader) {
            self.asked.remove(&shard);
            return;
        }
        if self.asked.get(&shard).is_none_or(|at| self.now - *at >= self.timing.ask_pause) {
            self.asked.insert(shard, self.now);
            out.push(Effect::AskVoters { shard, epoch });
        }
    }

    /// The voters have spoken.
    pub(super) fn judged(&mut self, shard: ShardId, epoch: Epoch, verdict: Verdict, out: &mut Vec<Effect>) {
        let Some(stored) = self.stored.take() else { return };
        if let Some(record) = stored.shards.get(&shard)
            && let Some(leader) = record.leader().filter(|leader| leader.epoch == epoch)
            && !stored.policy.paused
            && self.is_suspect(&stored, record, leader)
        {
            match verdict {
                Verdict::Dead => self.depose(shard, epoch, "neither its coordinator nor its voters hear it", out),
                // It may have gone to another coordinator, which will write so.
                Verdict::Alive => {
                    let elsewhere = stored.engines.get(&epoch.owner).is_some_and(|session| !session.note.away);
                    if elsewhere {
                        self.streams.remove(&epoch.owner);
                    }
                }
                Verdict::Unknown => {}
            }
        }
        self.stored = Some(stored);
    }

    /// Whether there is any reason to doubt that the leader lives.
    fn is_suspect(&self, stored: &Stored, record: &Shard, leader: &Holder) -> bool {
        let engine = leader.epoch.owner;
        if let Some(stream) = self.streams.get(&engine) {
            return !self.is_heard(stream);
        }
        let away = stored.engines.get(&engine).is_none_or(|session| session.note.away);
        let left = record.lease.unwrap_or_default() + LEASE_ROUNDING;
        let silent = left + self.timing.silence < self.timing.lease;
        away || silent || self.is_restarted(stored, leader)
    }

    /// Whether another process goes by the leader's name.
    fn is_restarted(&self, stored: &Stored, leader: &Holder) -> bool {
        let other = |engine: &Incarnation, name: &str| *engine != leader.epoch.owner && name == leader.name;
        stored.engines.iter().any(|(engine, session)| other(engine, &session.name) && !session.note.away)
            || self.streams.iter().any(|(engine, stream)| other(engine, &stream.name) && self.is_heard(stream))
    }

    /// Whether the leader has said for long enough that it does not reach its voters, and somebody else reaches them.
    fn is_cut_off(&self, stored: &Stored, shard: ShardId, epoch: Epoch, candidates: &[Candidate]) -> bool {
        let Some(stream) = self.streams.get(&epoch.owner).filter(|stream| self.is_heard(stream)) else { return false };
        let Some(report) = stream.reports.get(&shard).filter(|report| report.epoch == epoch) else { return false };
        let limit = if report.role == Role::Opening { self.timing.unopened } else { self.timing.unreachable };
        let long = stream.unreachable.get(&shard).is_some_and(|since| self.now - *since >= limit);
        let better = |engine: Incarnation| engine != epoch.owner && self.reaches(stored, shard, engine);
        long && candidates.iter().any(|candidate| better(candidate.engine))
    }

    /// Whether an engine that does not lead says that it reaches the shard's journal.
    fn reaches(&self, stored: &Stored, shard: ShardId, engine: Incarnation) -> bool {
        match self.streams.get(&engine).filter(|stream| stream.open) {
            Some(stream) => stream.reports.get(&shard).is_some_and(|report| report.reachable),
            None => stored.engines.get(&engine).is_some_and(|session| !session.note.cold.contains(&shard)),
        }
    }
}

impl Report {
    /// Whether its engine could not open the shard at once.
    pub(super) const fn is_cold(&self) -> bool {
        matches!(self.role, Role::Loading | Role::Diverged) || !self.reachable
    }

    /// Whether its engine has the shard and does not reach the voters.
    pub(super) const fn is_cut_off(&self) -> bool {
        self.epoch.number > 0 && !self.reachable
    }
}
