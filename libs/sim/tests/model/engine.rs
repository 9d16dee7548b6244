//! An engine process: the real leadership and proposer cores, and a shell as thin as the real one.

use bytes::Bytes;
use journal_core::leadership::{self, Leadership, State};
use journal_core::proposer::{self, Proposer, VoterId};
use journal_core::{EntryKind, Tail, VoterConfig};
use types::{Epoch, Incarnation, Seq, Timestamp};

use super::SHARD;
use super::mutants::Mutant;
use super::truth::Rule;
use super::world::{Packet, World};

/// Heartbeats to the voters that are looked at in one leadership: one tells what is committed.
const BEATS: u8 = 1;
/// Ticks after which a leadership has asked for something, if it ever will.
const PATIENCE: u32 = 64;

/// One process.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Engine {
    /// Drawn when a leadership is first given, so that idle processes are the same; 0 before.
    pub(crate) incarnation: u8,
    leadership: Leadership,
    proposer: Proposer,
    applied: Tail,
    log_time: Timestamp,
    beats: u8,
    /// A counter value read for it; only with [`Mutant::UnguardedTransaction`].
    pub(crate) counter_read: Option<u64>,
}

impl Engine {
    pub(crate) fn new(voters: u8) -> Self {
        let voters: Vec<VoterId> = (0..voters).map(VoterId).collect();
        Self {
            incarnation: 0,
            leadership: Leadership::new(),
            proposer: Proposer::new(SHARD, &voters),
            applied: Tail::default(),
            log_time: Timestamp(0),
            beats: 0,
            counter_read: None,
        }
    }

    /// For people.
    pub(crate) fn name(&self) -> String {
        match self.incarnation {
            0 => "a fresh process".to_owned(),
            number => format!("process {number}"),
        }
    }

    pub(crate) fn epoch(&self) -> Option<Epoch> {
        self.leadership.epoch()
    }

    pub(crate) const fn applied(&self) -> Seq {
        self.applied.seq
    }

    /// Whether it wants a leadership, now or after a while.
    pub(crate) const fn seeks(&self) -> bool {
        matches!(self.leadership.state(), State::Follower { .. } | State::Acquiring)
    }

    pub(crate) const fn releases(&self) -> bool {
        matches!(self.leadership.state(), State::Releasing { .. })
    }

    /// Whether it may be told that somebody else leads.
    pub(crate) fn may_be_deposed(&self, leader: Option<Epoch>) -> bool {
        let state = self.leadership.state();
        let leads = matches!(state, State::Fencing { .. } | State::Recovering { .. } | State::Leading { .. });
        leads && self.epoch() != leader
    }

    pub(crate) fn can_propose(&self) -> bool {
        self.proposer.can_propose()
    }

    pub(crate) fn can_beat(&self) -> bool {
        self.beats < BEATS && self.proposer.is_open()
    }

    /// Time passes until it asks for a leadership; the highest promise it knows.
    pub(crate) fn ask(&mut self, world: &mut World) -> u64 {
        let mut effects = Vec::new();
        for _ in 0..PATIENCE {
            if let Some(leadership::Effect::Acquire { highest_promised }) = effects.pop() {
                return highest_promised;
            }
            if self.leadership.state() == State::Acquiring {
                // It asked before and was refused.
                self.leadership.step(leadership::Input::Denied, &mut effects);
            }
            self.leadership.step(leadership::Input::Tick, &mut effects);
        }
        world.truth.require(false, Rule::CoresAgree);
        0
    }

    /// An answer of a coordinator, or something else that concerns the leadership.
    pub(crate) fn lead(&mut self, input: leadership::Input, world: &mut World, mutant: Option<Mutant>) {
        let mut effects = Vec::new();
        let leadership = &mut self.leadership;
        if !super::guarded(&mut world.truth, || leadership.step(input, &mut effects)) {
            return;
        }
        for effect in effects {
            match effect {
                leadership::Effect::Lead { epoch, config } => self.elected(epoch, config, world, mutant),
                leadership::Effect::StepDown { epoch, reason } => {
                    self.propose(proposer::Input::StepDown { reason: reason.to_owned() }, world, mutant);
                    self.lead(leadership::Input::Ended { epoch, promised: 0 }, world, mutant);
                }
                // Signs of life and releases are actions of their own.
                _ => {}
            }
        }
    }

    fn elected(&mut self, epoch: Epoch, config: VoterConfig, world: &mut World, mutant: Option<Mutant>) {
        self.beats = 0;
        let (applied, timestamp) = (self.applied, Timestamp(self.log_time.0 + 1));
        self.propose(proposer::Input::Elected { epoch, config, applied, timestamp }, world, mutant);
    }

    /// A restart that goes on as if nothing had happened, [`Mutant::EpochReuse`].
    pub(crate) fn go_on(&mut self, incarnation: u8, epoch: Epoch, world: &mut World, mutant: Option<Mutant>) {
        self.incarnation = incarnation;
        self.ask(world);
        let config = world.config();
        self.lead(leadership::Input::Acquired { epoch, config }, world, mutant);
    }

    pub(crate) fn command(&mut self, world: &mut World, mutant: Option<Mutant>) {
        let timestamp = Timestamp(self.proposer.last_timestamp().0 + 1);
        let payload = Bytes::copy_from_slice(&[world.left.commands, self.incarnation]);
        self.propose(proposer::Input::Propose { kind: EntryKind::Batch, timestamp, payload }, world, mutant);
        world.truth.propose(self.proposer.last());
    }

    pub(crate) fn beat(&mut self, world: &mut World, mutant: Option<Mutant>) {
        self.beats += 1;
        self.propose(proposer::Input::Heartbeat, world, mutant);
    }

    /// Something happens to the proposer.
    pub(crate) fn propose(&mut self, input: proposer::Input, world: &mut World, mutant: Option<Mutant>) {
        let mut effects = Vec::new();
        let proposer = &mut self.proposer;
        if !super::guarded(&mut world.truth, || proposer.step(input, &mut effects)) {
            return;
        }
        let from = self.incarnation;
        for effect in effects {
            match effect {
                proposer::Effect::Fence { voter, request } => {
                    world.send(Packet::Fence { from, voter: voter.0, request });
                }
                proposer::Effect::Append { voter, request } => {
                    world.send(Packet::Append { from, voter: voter.0, request });
                }
                proposer::Effect::Adopted { tail } => self.adopted(tail, world, mutant),
                proposer::Effect::Fetch { voter, from, to } => {
                    let entries = world.read(voter, from, to);
                    self.propose(proposer::Input::Fetched { entries }, world, mutant);
                }
                proposer::Effect::OpenStream { voter } => {
                    self.propose(proposer::Input::StreamOpened { voter }, world, mutant);
                }
                proposer::Effect::Committed { seq } => self.committed(seq, world),
                proposer::Effect::Opened => {
                    let epoch = self.proposer.epoch();
                    world.truth.open(epoch, &World::disks(&world.voters));
                    self.lead(leadership::Input::Opened { epoch }, world, mutant);
                }
                proposer::Effect::Deposed { promised } => {
                    let (epoch, promised) = (self.proposer.epoch(), promised.number);
                    self.lead(leadership::Input::Ended { epoch, promised }, world, mutant);
                }
                // Nobody asks here; the simulation of journal-core does.
                proposer::Effect::ReadsConfirmed { .. } => {}
                proposer::Effect::Halt { .. } => world.truth.require(false, Rule::CoresAgree),
            }
        }
    }

    fn adopted(&mut self, tail: Tail, world: &mut World, mutant: Option<Mutant>) {
        let epoch = self.proposer.epoch();
        world.truth.adopt(epoch, tail, &World::disks(&world.voters));
        if mutant == Some(Mutant::ServedOnAdoption) && tail.seq > Seq(0) {
            let mut before = world.voters.iter().map(|voter| voter.get().disk.read(Seq(1), tail.seq));
            let log = before.find(|log| log.last().is_some_and(|last| last.tail() == tail));
            for entry in log.into_iter().flatten() {
                let truth = &mut world.truth;
                truth.expose(entry.tail(), Some(epoch), &World::disks(&world.voters));
            }
        }
        self.lead(leadership::Input::Adopted { epoch }, world, mutant);
    }

    fn committed(&mut self, seq: Seq, world: &mut World) {
        let epoch = self.proposer.epoch();
        while self.applied.seq < seq {
            let Some(entry) = self.proposer.entry(self.applied.seq.next()) else {
                return world.truth.require(false, Rule::CoresAgree);
            };
            self.applied = entry.tail();
            self.log_time = entry.timestamp;
            let (own, at) = (entry.epoch == epoch && entry.kind == EntryKind::Batch, entry.tail());
            world.truth.expose(at, Some(epoch), &World::disks(&world.voters));
            if own {
                world.truth.acknowledge(at, epoch);
            }
        }
    }

    /// Applies entries that a gateway says are final.
    pub(crate) fn follow(&mut self, entries: Vec<journal_core::Entry>, world: &mut World) {
        for entry in entries {
            if entry.prev_chain != self.applied.chain {
                return world.truth.require(false, Rule::OneEntryPerPlace);
            }
            self.applied = entry.tail();
            self.log_time = entry.timestamp;
            world.truth.expose(entry.tail(), None, &World::disks(&world.voters));
        }
    }

    pub(crate) const fn owner(&self) -> Incarnation {
        Incarnation(self.incarnation as u128)
    }
}
