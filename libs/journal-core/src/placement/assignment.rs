//! Who is meant for a free shard, who may have it, and which shard moves so that leaderships are spread.
//!
//! Every coordinator computes the same from the same reading; what only one of them knows (who is silent on its own
//! streams) makes them differ for a moment at most, and then the store's transaction decides.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use types::{Incarnation, ShardId};

use super::{Effect, Placement, Saying, Shard, Stored, Target};

/// Why an engine is not given a shard now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The store is away.
    StoreAway,
    /// There is no such shard.
    NoShard,
    /// It has a leader.
    Held,
    /// An operator paused elections.
    Paused,
    /// An operator took the engine out.
    Drained,
    /// The one whose lease ran out may still come back.
    HeadStart {
        /// Its name.
        incumbent: String,
    },
    /// Another engine is meant to have it.
    Meant {
        /// Its name.
        other: String,
    },
}

/// An engine that could lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) engine: Incarnation,
    pub(super) name: String,
    cold: BTreeSet<ShardId>,
    cooling: bool,
}

impl Placement {
    /// Whether this engine may be given the shard now.
    ///
    /// # Errors
    /// [`Denial`]: the reason.
    pub fn may_acquire(&self, shard: ShardId, engine: Incarnation, name: &str) -> Result<(), Denial> {
        let stored = self.stored.as_ref().ok_or(Denial::StoreAway)?;
        self.allowed(stored, shard, engine, name, || self.assignment(stored, Some((engine, name))).remove(&shard))
    }

    fn allowed(
        &self,
        stored: &Stored,
        shard: ShardId,
        engine: Incarnation,
        name: &str,
        meant: impl FnOnce() -> Option<Candidate>,
    ) -> Result<(), Denial> {
        let record = stored.shards.get(&shard).ok_or(Denial::NoShard)?;
        let leader = record.leader();
        if leader.is_some_and(|leader| leader.epoch.owner != engine) {
            return Err(Denial::Held);
        }
        if let Some(target) = self.live_target(stored, record) {
            let other = || stored.engines.get(&target.engine).map(|session| session.name.clone()).unwrap_or_default();
            return if target.engine == engine { Ok(()) } else { Err(Denial::Meant { other: other() }) };
        }
        if leader.is_some() {
            return Ok(());
        }
        if stored.policy.paused {
            return Err(Denial::Paused);
        }
        if stored.policy.drained.contains(name) {
            return Err(Denial::Drained);
        }
        let free_for = self.free.get(&shard).map_or_else(Default::default, |(_, since)| self.now - *since);
        if let Some(incumbent) = record.incumbent().filter(|incumbent| incumbent.epoch.owner != engine) {
            let heard = self.streams.get(&incumbent.epoch.owner).is_some_and(|stream| self.is_heard(stream));
            let waits = heard && free_for < self.timing.head_start || self.now - self.back < self.timing.head_start;
            if waits {
                return Err(Denial::HeadStart { incumbent: incumbent.name.clone() });
            }
        }
        if free_for >= self.timing.open_to_all {
            return Ok(());
        }
        match meant() {
            Some(meant) if meant.engine != engine => Err(Denial::Meant { other: meant.name }),
            _ => Ok(()),
        }
    }

    /// Who would lead a shard if it were free and `not` were not there; among those with this name, if one is given.
    #[must_use]
    pub fn successor(&self, shard: ShardId, not: Option<Incarnation>, name: Option<&str>) -> Option<Incarnation> {
        let stored = self.stored.as_ref()?;
        let mut candidates = self.candidates(stored, None);
        let loads = self.loads(stored, &candidates);
        candidates.retain(|known| Some(known.engine) != not && name.is_none_or(|name| known.name == name));
        let rank = |known: &&Candidate| {
            let load = loads.get(&known.engine).copied().unwrap_or(0);
            (known.cold.contains(&shard), known.cooling, load, Reverse(score(shard, &known.name)))
        };
        candidates.iter().min_by_key(rank).map(|known| known.engine)
    }

    /// Engines that live and may lead, in a fixed order. Whoever `asks` lives.
    pub(super) fn candidates(&self, stored: &Stored, asks: Option<(Incarnation, &str)>) -> Vec<Candidate> {
        let mut names: BTreeMap<Incarnation, (&str, bool)> = BTreeMap::new();
        for (engine, session) in &stored.engines {
            names.insert(*engine, (&session.name, !session.note.away));
        }
        // What is heard here counts more than what another coordinator wrote.
        for (engine, stream) in &self.streams {
            let heard = self.is_heard(stream);
            let elsewhere = names.get(engine).is_some_and(|(_, lives)| *lives) && stream.told_away;
            names.insert(*engine, (&stream.name, heard || elsewhere));
        }
        if let Some((engine, name)) = asks {
            names.insert(engine, (name, true));
        }
        let lives = names.into_iter().filter(|(_, (name, lives))| *lives && !stored.policy.drained.contains(*name));
        lives
            .map(|(engine, (name, _))| {
                let cold = match self.streams.get(&engine).filter(|stream| stream.open) {
                    Some(_) => self.note(engine).cold,
                    None => stored.engines.get(&engine).map(|session| session.note.cold.clone()).unwrap_or_default(),
                };
                let cooling = self.deposed.get(&engine).is_some_and(|at| self.now - *at < self.timing.cooldown);
                Candidate { engine, name: name.to_owned(), cold, cooling }
            })
            .collect()
    }

    /// The target of a shard, if it lives.
    pub(super) fn live_target(&self, stored: &Stored, record: &Shard) -> Option<Target> {
        let target = record.target?;
        let here = self.streams.get(&target.engine).is_some_and(|stream| self.is_heard(stream));
        let elsewhere = stored.engines.get(&target.engine).is_some_and(|session| !session.note.away);
        (here || elsewhere).then_some(target)
    }

    /// Who is meant for each free shard: who could open it at once and was not deposed lately, then who leads least,
    /// then by chance that is the same for all coordinators.
    fn assignment(&self, stored: &Stored, asks: Option<(Incarnation, &str)>) -> BTreeMap<ShardId, Candidate> {
        let candidates = self.candidates(stored, asks);
        let mut loads = self.loads(stored, &candidates);
        let mut assigned = BTreeMap::new();
        for (shard, record) in stored.shards.iter().filter(|(_, record)| record.leader().is_none()) {
            let target = self.live_target(stored, record);
            let meant = |candidate: &&Candidate| target.is_some_and(|target| target.engine == candidate.engine);
            let last = record.holder.as_ref().filter(|holder| holder.ended).map(|holder| holder.epoch.owner);
            let rank = |candidate: &&Candidate| {
                let asked_last = candidate.cooling || last == Some(candidate.engine);
                let load = loads.get(&candidate.engine).copied().unwrap_or(0);
                (asked_last, candidate.cold.contains(shard), load, Reverse(score(*shard, &candidate.name)))
            };
            let best = candidates.iter().find(meant).or_else(|| candidates.iter().min_by_key(rank));
            if let Some(best) = best {
                if target.is_none() {
                    *loads.entry(best.engine).or_default() += 1;
                }
                assigned.insert(*shard, best.clone());
            }
        }
        assigned
    }

    /// How many shards each candidate leads or is about to lead.
    fn loads(&self, stored: &Stored, candidates: &[Candidate]) -> BTreeMap<Incarnation, usize> {
        let mut loads: BTreeMap<Incarnation, usize> = candidates.iter().map(|known| (known.engine, 0)).collect();
        for record in stored.shards.values() {
            let leads = record.leader().map(|leader| leader.epoch.owner);
            let will = self.live_target(stored, record).map(|target| target.engine).or(leads);
            if let Some(load) = will.and_then(|engine| loads.get_mut(&engine)) {
                *load += 1;
            }
        }
        loads
    }

    /// Tells engines heard here which free shards they may ask for.
    pub(super) fn offer(&mut self, stored: &Stored, out: &mut Vec<Effect>) {
        let free: Vec<ShardId> =
            stored.shards.iter().filter(|(_, record)| record.leader().is_none()).map(|(shard, _)| *shard).collect();
        if free.is_empty() {
            return;
        }
        let heard: Vec<(Incarnation, String)> = self
            .streams
            .iter()
            .filter(|(_, stream)| self.is_heard(stream))
            .map(|(engine, stream)| (*engine, stream.name.clone()))
            .collect();
        let assignment = self.assignment(stored, None);
        for shard in free {
            for (engine, name) in &heard {
                let holds = self.streams[engine].reports.get(&shard).is_some_and(|report| report.epoch.number > 0);
                let allowed = self.allowed(stored, shard, *engine, name, || assignment.get(&shard).cloned()).is_ok();
                if !holds && allowed && self.say(shard, *engine, Saying::Offer) {
                    out.push(Effect::Offer { engine: *engine, shard });
                }
            }
        }
    }

    /// Moves one shard from who leads most to who leads least, if they differ by two.
    pub(super) fn balance(&mut self, stored: &Stored, out: &mut Vec<Effect>) {
        let rested = self.moved.is_none_or(|at| self.now - at >= self.timing.balance_pause);
        let settled = |record: &Shard| record.leader().is_some() && record.target.is_none();
        if stored.policy.paused || stored.resting || !rested || !stored.shards.values().all(settled) {
            return;
        }
        let mut candidates = self.candidates(stored, None);
        candidates.retain(|candidate| !candidate.cooling);
        let loads = self.loads(stored, &candidates);
        let load = |candidate: &&Candidate| loads.get(&candidate.engine).copied().unwrap_or(0);
        let Some(most) = candidates.iter().max_by_key(load) else { return };
        // Whoever leads least may be unable to take what there is to give: then the next one.
        let mut takers: Vec<&Candidate> = candidates.iter().filter(|taker| load(taker) + 2 <= load(&most)).collect();
        takers.sort_by_key(load);
        for to in takers {
            let led = stored.shards.iter().filter_map(|(shard, record)| Some((*shard, record.leader()?.epoch)));
            let given = led.filter(|(shard, epoch)| epoch.owner == most.engine && !to.cold.contains(shard));
            if let Some((shard, epoch)) = given.max_by_key(|(shard, _)| score(*shard, &to.name)) {
                self.moved = Some(self.now);
                out.push(Effect::Move { shard, epoch, to: to.engine });
                return;
            }
        }
    }
}

/// A number that is the same everywhere and differs between engines (rendezvous hashing, Thaler and Ravishankar): an
/// engine that joins or leaves changes little.
fn score(shard: ShardId, name: &str) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&shard.0.to_le_bytes());
    hasher.update(name.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first)
}
