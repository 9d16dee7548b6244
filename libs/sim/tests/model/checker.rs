//! The world as a stateright model: which actions are possible, what they lead to, what must always hold and what must
//! have been seen.

use journal_core::leadership;
use stateright::{Model, Property};
use types::Epoch;

use super::engine::Engine;
use super::mutants::Mutant;
use super::truth::Rule;
use super::world::{Action, Packet, World};

/// One configuration to be explored.
#[derive(Clone, Debug)]
pub(crate) struct Failover {
    pub(crate) starts: Vec<World>,
    pub(crate) mutant: Option<Mutant>,
}

impl Failover {
    fn acquire(&self, world: &mut World, at: usize, lost: bool) {
        let mut engine = world.engines[at].get().clone();
        let highest = engine.ask(world);
        if engine.incarnation == 0 {
            world.incarnations += 1;
            engine.incarnation = world.incarnations;
        }
        let store = &mut world.store;
        let read = engine.counter_read.take().unwrap_or(store.counter);
        store.revision += 1;
        let number = match self.mutant {
            Some(Mutant::RevisionAsEpoch) => store.revision,
            _ => read.max(highest) + 1,
        };
        let epoch = Epoch { number, owner: engine.owner() };
        store.counter = number;
        store.leader = Some(epoch);
        store.lapsed = None;
        world.left.epochs -= 1;
        world.truth.issue(epoch);
        let config = world.config();
        let answer = if lost {
            world.left.lost_answers -= 1;
            leadership::Input::AcquireFailed
        } else {
            leadership::Input::Acquired { epoch, config }
        };
        engine.lead(answer, world, self.mutant);
        world.put(at, engine);
    }

    fn crash(&self, world: &mut World, at: usize) {
        world.left.engine_crashes -= 1;
        let before = world.engines[at].get().clone();
        let voters = u8::try_from(world.voters.len()).unwrap_or(u8::MAX);
        let mut engine = Engine::new(voters);
        match before.epoch() {
            Some(epoch) if self.mutant == Some(Mutant::EpochReuse) => {
                engine.go_on(before.incarnation, epoch, world, self.mutant);
            }
            _ => world.forget(before.incarnation),
        }
        world.put(at, engine);
    }

    fn engine_actions(&self, world: &World, at: usize, actions: &mut Vec<Action>) {
        let engine = world.engines[at].get();
        let leader = world.store.leader;
        let twin = at > 0 && world.engines[at - 1] == world.engines[at];
        if twin {
            // The same as the one before: whatever it does, that one does.
            return;
        }
        let racing = self.mutant == Some(Mutant::UnguardedTransaction);
        let free = leader.is_none_or(|leader| leader.owner == engine.owner());
        if engine.seeks() && world.left.epochs > 0 {
            if racing && engine.counter_read.is_none() && free {
                actions.push(Action::ReadCounter { engine: at });
            }
            if (!racing && free) || engine.counter_read.is_some() {
                actions.push(Action::Acquire { engine: at, lost: false });
                if world.left.lost_answers > 0 {
                    actions.push(Action::Acquire { engine: at, lost: true });
                }
            }
        }
        if engine.releases() {
            actions.push(Action::Release { engine: at, lost: false });
            if leader.is_some_and(|leader| leader.owner == engine.owner()) {
                actions.push(Action::Release { engine: at, lost: true });
            }
        }
        if engine.may_be_deposed(leader) {
            actions.push(Action::Depose { engine: at });
        }
        if engine.can_propose() && world.left.commands > 0 {
            actions.push(Action::Propose { engine: at });
        }
        if engine.can_beat() {
            actions.push(Action::Beat { engine: at });
        }
        if world.left.engine_crashes > 0 && engine.incarnation != 0 {
            actions.push(Action::CrashEngine { engine: at });
        }
        if engine.epoch().is_none() {
            for (voter, node) in world.voters.iter().enumerate() {
                for way in 0..node.get().ways() {
                    let all = self.mutant == Some(Mutant::StandbyUncommitted);
                    if !node.get().follow(way, engine.applied(), all).is_empty() {
                        actions.push(Action::Follow { engine: at, voter, way });
                    }
                }
            }
        }
    }

    fn network_actions(world: &World, actions: &mut Vec<Action>) {
        for (packet, message) in world.network.iter().enumerate() {
            if packet > 0 && world.network[packet - 1] == *message {
                continue;
            }
            let ways = match message.get() {
                Packet::Fence { voter, .. } | Packet::Append { voter, .. } => {
                    (0..world.voters[usize::from(*voter)].get().ways()).collect()
                }
                Packet::FenceReply { .. } | Packet::AppendReply { .. } => vec![0],
            };
            for way in ways {
                actions.push(Action::Deliver { packet, way, keep: false });
                if world.left.repeats > 0 {
                    actions.push(Action::Deliver { packet, way, keep: true });
                }
            }
        }
    }
}

impl Model for Failover {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        self.starts.clone()
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.truth.broken.is_some() {
            return;
        }
        for at in 0..world.engines.len() {
            self.engine_actions(world, at, actions);
        }
        if world.store.leader.is_some() && world.left.epochs > 0 {
            actions.push(Action::Expire);
        }
        if world.store.lapsed.is_some() {
            actions.push(Action::Restore);
        }
        if world.left.store_losses > 0 && world.store.counter > 0 {
            actions.push(Action::LoseStore);
        }
        Self::network_actions(world, actions);
        for (voter, node) in world.voters.iter().enumerate() {
            for way in 0..node.get().ways() {
                if node.get().is_writing(way) {
                    actions.push(Action::Write { voter, way });
                }
                if world.left.voter_crashes > 0 {
                    actions.push(Action::CrashVoter { voter, way, applied: false });
                    if node.get().is_writing(way) {
                        actions.push(Action::CrashVoter { voter, way, applied: true });
                    }
                }
            }
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        let mutant = self.mutant;
        match action {
            Action::Acquire { engine, lost } => self.acquire(&mut world, engine, lost),
            Action::ReadCounter { engine } => world.engine(engine, mutant, |engine, world, _| {
                engine.counter_read = Some(world.store.counter);
            }),
            Action::Release { engine, lost } => world.engine(engine, mutant, |engine, world, mutant| {
                if !lost && world.store.leader.is_some_and(|leader| leader.owner == engine.owner()) {
                    world.store.leader = None;
                }
                world.store.lapsed = world.store.lapsed.filter(|lapsed| lost || lapsed.owner != engine.owner());
                engine.lead(leadership::Input::Released, world, mutant);
            }),
            Action::Expire => world.store.lapsed = world.store.leader.take(),
            Action::Restore => world.store.leader = world.store.lapsed.take(),
            Action::Depose { engine } => world.engine(engine, mutant, |engine, world, mutant| {
                engine.lead(leadership::Input::LeaseLost, world, mutant);
            }),
            Action::LoseStore => {
                world.left.store_losses -= 1;
                world.store.revision = 0;
                if mutant != Some(Mutant::RevisionAsEpoch) {
                    world.store.counter = 0;
                    world.truth.forget_issued();
                }
                world.store.leader = None;
                world.store.lapsed = None;
            }
            Action::Propose { engine } => {
                world.engine(engine, mutant, Engine::command);
                world.left.commands -= 1;
            }
            Action::Beat { engine } => world.engine(engine, mutant, Engine::beat),
            Action::Deliver { packet, way, keep } => {
                world.left.repeats -= u8::from(keep);
                world.deliver(packet, way, keep, mutant);
            }
            Action::Write { voter, way } => {
                let number = world.voters[voter].get().number;
                world.voter(number, mutant, |node, judge| node.finish_write(way, judge));
            }
            Action::Follow { engine, voter, way } => world.engine(engine, mutant, |engine, world, mutant| {
                let all = mutant == Some(Mutant::StandbyUncommitted);
                let entries = world.voters[voter].get().follow(way, engine.applied(), all);
                engine.follow(entries, world);
            }),
            Action::CrashEngine { engine } => self.crash(&mut world, engine),
            Action::CrashVoter { voter, way, applied } => {
                world.left.voter_crashes -= 1;
                let number = world.voters[voter].get().number;
                world.voter(number, mutant, |node, judge| {
                    node.crash(way, applied, judge);
                    Vec::new()
                });
            }
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn unbroken(world: &World, rule: Rule) -> bool {
            world.truth.broken != Some(rule)
        }
        vec![
            Property::always("I1 one owner per epoch", |_, world| unbroken(world, Rule::OneOwnerPerEpoch)),
            Property::always("one entry per place", |_, world| unbroken(world, Rule::OneEntryPerPlace)),
            Property::always("I12 acknowledged stays", |_, world| unbroken(world, Rule::AcknowledgedStays)),
            Property::always("I11 nothing before commit", |_, world| unbroken(world, Rule::NothingBeforeCommit)),
            Property::always("the cores agree", |_, world| unbroken(world, Rule::CoresAgree)),
            Property::sometimes("a takeover", |_, world: &World| world.truth.took_over),
            Property::sometimes("an entry in doubt survived", |_, world: &World| world.truth.doubt_survived),
            Property::sometimes("an entry in doubt was lost", |_, world: &World| world.truth.doubt_lost),
            Property::sometimes("a deposed leader was refused", |_, world: &World| world.truth.old_leader_refused),
        ]
    }
}
