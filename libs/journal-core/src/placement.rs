//! Who shall lead which shard: what one of several coordinators does with what it hears of engines and reads in the
//! store that all of them share.
//!
//! It offers free shards, asks leaders to give up, suspects leaders, has the voters asked about them, ends
//! leaderships and spreads them. None of it is needed for safety: every change of the store is a guarded transaction
//! there, and the journal refuses a deposed leader (H4). What it owes is that shards have leaders, that they have
//! them soon, that nobody is deposed without need, and that things come to rest.
//!
//! Coordinators do not speak to each other. Each computes the same wish from the same reading, and acts on the
//! engines whose streams it has.
//!
//! For the shell:
//! - [`Input::Tick`] about every 100 ms; [`Input::Stored`] after every reading of the store, at least every second and
//!   soon after a change; [`Input::StoreAway`] when it cannot be read or changed: then nothing is done until the next
//!   reading.
//! - `now` never goes backwards; its zero does not matter.
//! - An engine that asks for a shard is given it only if [`Placement::may_acquire`] agrees, and then only by the
//!   store's own guarded transaction.

mod assignment;
mod stored;
mod suspicion;
#[cfg(test)]
mod tests;
mod timing;

use core::time::Duration;
use std::collections::BTreeMap;

use types::{Epoch, Incarnation, ShardId};

use assignment::Candidate;
pub use assignment::Denial;
pub use stored::{Holder, Note, Policy, Session, Shard, Stored, Target};
pub use timing::Timing;

/// What an engine is for a shard, as it says itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// It did not say.
    #[default]
    Unknown,
    /// It reads a snapshot and the log up to the end.
    Loading,
    /// It applies what is committed, ready to take over.
    Standby,
    /// It was given the shard, and fences and recovers.
    Opening,
    /// It leads.
    Leader,
    /// It leads, and will give the shard back.
    Draining,
    /// Its state differed from the log; it is built again.
    Diverged,
}

/// What an engine says of a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Epoch it has; number 0 if none.
    pub epoch: Epoch,
    /// What it is for the shard.
    pub role: Role,
    /// Whether it reaches the shard's journal.
    pub reachable: bool,
}

/// What the voters say of a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They hear it.
    Alive,
    /// They do not: its stream is closed, or silent for too long.
    Dead,
    /// Not enough of them answered.
    Unknown,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// The store was read.
    Stored(Box<Stored>),
    /// The store does not answer.
    StoreAway,
    /// A sign of life.
    Beat {
        /// From whom.
        engine: Incarnation,
        /// Its configured name.
        name: String,
        /// Number of the stream, never used twice: the end of an older one says nothing about a newer one.
        stream: u64,
        /// What it says of its shards.
        reports: BTreeMap<ShardId, Report>,
    },
    /// A stream of signs of life has ended.
    Ended {
        /// Whose.
        engine: Incarnation,
        /// Which.
        stream: u64,
    },
    /// The voters were asked about a leader.
    Judged {
        /// Of which shard.
        shard: ShardId,
        /// Under which epoch.
        epoch: Epoch,
        /// What they say.
        verdict: Verdict,
    },
}

/// What is to be done. All of it may be lost: it is said again as long as it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Tell the engine that it may ask for the shard at once.
    Offer {
        /// Whom.
        engine: Incarnation,
        /// Which shard.
        shard: ShardId,
    },
    /// Tell the engine to give the shard up in order.
    Resign {
        /// Whom.
        engine: Incarnation,
        /// Which shard.
        shard: ShardId,
        /// Under which epoch.
        epoch: Epoch,
        /// Why, for people.
        reason: &'static str,
    },
    /// Tell the engine that this leadership is over.
    Deposed {
        /// Whom.
        engine: Incarnation,
        /// Which shard.
        shard: ShardId,
        /// The epoch that is over.
        epoch: Epoch,
    },
    /// Ask the voters whether they hear the leader; answered by [`Input::Judged`].
    AskVoters {
        /// Of which shard.
        shard: ShardId,
        /// Under which epoch.
        epoch: Epoch,
    },
    /// End the leadership in the store, if it is still that one.
    Depose {
        /// Of which shard.
        shard: ShardId,
        /// Under which epoch.
        epoch: Epoch,
        /// Why, for people.
        reason: &'static str,
    },
    /// Give the shard back to its holder under the same epoch, if nobody else was given it: only its lease had run
    /// out.
    Restore {
        /// Which shard.
        shard: ShardId,
        /// Under which epoch.
        epoch: Epoch,
    },
    /// Put a target for a shard into the store, if it is led under this epoch, has no target and nothing was moved
    /// recently.
    Move {
        /// Which shard.
        shard: ShardId,
        /// Under which epoch it is led.
        epoch: Epoch,
        /// Who shall lead instead.
        to: Incarnation,
    },
    /// Tell the other coordinators that this engine is not heard any more.
    Away {
        /// Which one.
        engine: Incarnation,
    },
}

/// An engine's stream of signs of life to this coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Configured name of the engine.
    pub name: String,
    /// Whether it is open.
    pub open: bool,
    /// When the engine was last heard.
    pub heard: Duration,
    /// What it said last.
    pub reports: BTreeMap<ShardId, Report>,
    number: u64,
    /// Since when it reports that it does not reach the journal of a shard it leads.
    unreachable: BTreeMap<ShardId, Duration>,
    /// Whether the others were told that it is away.
    told_away: bool,
}

/// The decisions of one coordinator.
#[derive(Clone, Debug)]
pub struct Placement {
    timing: Timing,
    now: Duration,
    /// The last reading; `None` while the store is away.
    stored: Option<Stored>,
    /// Since when the store answers.
    back: Duration,
    streams: BTreeMap<Incarnation, Stream>,
    /// Since when a shard is free, as seen from here, and which number it had.
    free: BTreeMap<ShardId, (u64, Duration)>,
    /// Since when a shard has its target.
    targeted: BTreeMap<ShardId, (Target, Duration)>,
    /// When engines were deposed.
    deposed: BTreeMap<Incarnation, Duration>,
    /// Since when a leadership is seen.
    led: BTreeMap<ShardId, (Epoch, Duration)>,
    /// When voters were asked about a leader.
    asked: BTreeMap<ShardId, Duration>,
    /// When things that are repeated were said.
    said: BTreeMap<(ShardId, Incarnation, Saying), Duration>,
    moved: Option<Duration>,
}

/// What is said again after a while if it still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Saying {
    Offer,
    Resign,
    Depose,
    Restore,
}

impl Placement {
    /// A coordinator that knows nothing yet.
    #[must_use]
    pub const fn new(timing: Timing) -> Self {
        Self {
            timing,
            now: Duration::ZERO,
            stored: None,
            back: Duration::ZERO,
            streams: BTreeMap::new(),
            free: BTreeMap::new(),
            targeted: BTreeMap::new(),
            deposed: BTreeMap::new(),
            led: BTreeMap::new(),
            asked: BTreeMap::new(),
            said: BTreeMap::new(),
            moved: None,
        }
    }

    /// The last reading of the store; `None` while it is away.
    #[must_use]
    pub const fn stored(&self) -> Option<&Stored> {
        self.stored.as_ref()
    }

    /// Engines that are or were heard here.
    #[must_use]
    pub const fn streams(&self) -> &BTreeMap<Incarnation, Stream> {
        &self.streams
    }

    /// What this coordinator has to tell the others about an engine it hears.
    #[must_use]
    pub fn note(&self, engine: Incarnation) -> Note {
        let Some(stream) = self.streams.get(&engine) else { return Note::default() };
        let cold = stream.reports.iter().filter(|(_, report)| report.is_cold()).map(|(shard, _)| *shard).collect();
        Note { away: !self.is_heard(stream), cold }
    }

    /// Takes one input; appends what is to be done to `out`.
    pub fn step(&mut self, now: Duration, input: Input, out: &mut Vec<Effect>) {
        self.now = self.now.max(now);
        match input {
            Input::Tick => {}
            Input::Stored(stored) => self.read(*stored, out),
            Input::StoreAway => self.stored = None,
            Input::Beat { engine, name, stream, reports } => self.beat(engine, name, stream, reports, out),
            Input::Ended { engine, stream } => {
                if let Some(known) = self.streams.get_mut(&engine).filter(|known| known.number == stream) {
                    known.open = false;
                }
            }
            Input::Judged { shard, epoch, verdict } => self.judged(shard, epoch, verdict, out),
        }
        let Some(stored) = self.stored.take() else { return };
        self.tell_away(&stored, out);
        let candidates = self.candidates(&stored, None);
        for (shard, record) in &stored.shards {
            match record.leader() {
                Some(leader) => self.led(&stored, (*shard, record, leader), &candidates, out),
                None => self.unled(&stored, *shard, record, out),
            }
        }
        self.offer(&stored, out);
        self.balance(&stored, out);
        self.stored = Some(stored);
    }

    fn read(&mut self, stored: Stored, out: &mut Vec<Effect>) {
        if self.stored.is_none() {
            self.back = self.now;
        }
        for (shard, record) in &stored.shards {
            if record.leader().is_some() {
                self.free.remove(shard);
            } else if self.free.get(shard).is_none_or(|(number, _)| *number != record.number) {
                self.free.insert(*shard, (record.number, self.now));
            }
            match record.target {
                None => _ = self.targeted.remove(shard),
                Some(target) if self.targeted.get(shard).is_none_or(|(known, _)| *known != target) => {
                    self.targeted.insert(*shard, (target, self.now));
                }
                Some(_) => {}
            }
        }
        for (engine, stream) in self.streams.iter().filter(|(_, stream)| self.is_heard(stream)) {
            tell_deposed(&stored, *engine, &stream.reports, out);
        }
        // Who has neither a stream nor a session is gone.
        self.streams.retain(|engine, stream| stream.open || stored.engines.contains_key(engine));
        let (now, cooldown, repeat) = (self.now, self.timing.cooldown, self.timing.repeat);
        self.deposed.retain(|_, at| now - *at < cooldown);
        self.said.retain(|_, at| now - *at < repeat);
        self.stored = Some(stored);
    }

    fn beat(
        &mut self,
        engine: Incarnation,
        name: String,
        number: u64,
        reports: BTreeMap<ShardId, Report>,
        out: &mut Vec<Effect>,
    ) {
        let mut unreachable = self.streams.remove(&engine).map(|known| known.unreachable).unwrap_or_default();
        unreachable.retain(|shard, _| reports.get(shard).is_some_and(Report::is_cut_off));
        for (shard, _) in reports.iter().filter(|(_, report)| report.is_cut_off()) {
            unreachable.entry(*shard).or_insert(self.now);
        }
        if let Some(stored) = &self.stored {
            tell_deposed(stored, engine, &reports, out);
        }
        let heard = self.now;
        let stream = Stream { name, open: true, heard, reports, number, unreachable, told_away: false };
        self.streams.insert(engine, stream);
    }

    /// Whether an engine's stream is open and not silent.
    fn is_heard(&self, stream: &Stream) -> bool {
        stream.open && self.now - stream.heard <= self.timing.silence
    }

    fn tell_away(&mut self, stored: &Stored, out: &mut Vec<Effect>) {
        let (now, silence) = (self.now, self.timing.silence);
        for (engine, stream) in &mut self.streams {
            let heard = stream.open && now - stream.heard <= silence;
            if !heard && !stream.told_away {
                stream.told_away = true;
                if stored.engines.get(engine).is_some_and(|session| !session.note.away) {
                    out.push(Effect::Away { engine: *engine });
                }
            }
        }
    }

    /// A shard with a leader: shall it go on?
    fn led(
        &mut self,
        stored: &Stored,
        (shard, record, leader): (ShardId, &Shard, &Holder),
        candidates: &[Candidate],
        out: &mut Vec<Effect>,
    ) {
        let (owner, epoch) = (leader.epoch.owner, leader.epoch);
        let wanted = self.live_target(stored, record).filter(|target| target.engine != owner);
        if let Some(target) = wanted {
            self.resign(
                shard,
                epoch,
                if target.forced { "an operator forces an election" } else { "rebalancing" },
                out,
            );
            let since = self.targeted.get(&shard).map_or(self.now, |(_, since)| *since);
            if target.forced && self.now - since >= self.timing.patience {
                self.depose(shard, epoch, "it did not give up in time when an election was forced", out);
            }
            return;
        }
        if stored.policy.paused {
            return;
        }
        let others = candidates.iter().any(|candidate| candidate.engine != owner);
        if others && stored.policy.drained.contains(&leader.name) {
            self.resign(shard, epoch, "the engine is drained", out);
        }
        self.suspect(stored, shard, record, leader, candidates, out);
    }

    /// A shard without a leader: may the last one go on?
    fn unled(&mut self, stored: &Stored, shard: ShardId, record: &Shard, out: &mut Vec<Effect>) {
        let Some(incumbent) = record.incumbent() else { return };
        let epoch = incumbent.epoch;
        let holds = self.streams.get(&epoch.owner).is_some_and(|stream| {
            self.is_heard(stream) && stream.reports.get(&shard).is_some_and(|report| report.epoch == epoch)
        });
        if holds && self.live_target(stored, record).is_none() && self.say(shard, epoch.owner, Saying::Restore) {
            out.push(Effect::Restore { shard, epoch });
        }
    }

    fn resign(&mut self, shard: ShardId, epoch: Epoch, reason: &'static str, out: &mut Vec<Effect>) {
        let engine = epoch.owner;
        let reachable = self.streams.get(&engine).is_some_and(|stream| stream.open);
        if reachable && self.say(shard, engine, Saying::Resign) {
            out.push(Effect::Resign { engine, shard, epoch, reason });
        }
    }

    fn depose(&mut self, shard: ShardId, epoch: Epoch, reason: &'static str, out: &mut Vec<Effect>) {
        if self.say(shard, epoch.owner, Saying::Depose) {
            self.deposed.insert(epoch.owner, self.now);
            out.push(Effect::Depose { shard, epoch, reason });
        }
    }

    /// Whether it is time to say this, for the first time or again.
    fn say(&mut self, shard: ShardId, engine: Incarnation, what: Saying) -> bool {
        let last = self.said.entry((shard, engine, what)).or_insert(Duration::MAX);
        let due = *last == Duration::MAX || self.now - *last >= self.timing.repeat;
        if due {
            *last = self.now;
        }
        due
    }
}

fn tell_deposed(stored: &Stored, engine: Incarnation, reports: &BTreeMap<ShardId, Report>, out: &mut Vec<Effect>) {
    for (shard, report) in reports {
        let over = stored.shards.get(shard).is_some_and(|record| record.is_over(report.epoch));
        if report.epoch.number > 0 && over {
            out.push(Effect::Deposed { engine, shard: *shard, epoch: report.epoch });
        }
    }
}
