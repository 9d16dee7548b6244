//! Two coordinators, up to five engines, a store they share, in one thread.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use types::{Epoch, Incarnation, ShardId};

use crate::placement::{
    Effect, Holder, Input, Note, Placement, Report, Role, Session, Shard, Stored, Target, Timing, Verdict,
};

const STEP: Duration = Duration::from_millis(100);
const LEASE: Duration = Duration::from_secs(5);

struct Process {
    /// Coordinator it is connected to.
    at: usize,
    stream: u64,
    alive: bool,
    /// Its session and its leases end then.
    lease: Duration,
    warm: Duration,
}

pub(super) struct World {
    chance: ChaCha8Rng,
    now: Duration,
    desks: Vec<Placement>,
    processes: BTreeMap<Incarnation, Process>,
    stored: Stored,
    /// When a target, or the rest after a move, ends.
    targets: BTreeMap<ShardId, Duration>,
    rest: Duration,
    next: u64,
    trail: Vec<Effect>,
    pub(super) moves: usize,
}

fn name(engine: Incarnation) -> String {
    format!("engine-{}", engine.0)
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let shards = (0..chance.random_range(1..=8)).map(|shard| (ShardId(shard), Shard::default())).collect();
        let desks = vec![Placement::new(Timing::default()); 2];
        let stored = Stored { shards, ..Stored::default() };
        let (now, rest) = (Duration::from_secs(1), Duration::ZERO);
        let (processes, targets) = (BTreeMap::new(), BTreeMap::new());
        Self { chance, now, desks, processes, stored, targets, rest, next: 1, trail: Vec::new(), moves: 0 }
    }

    /// Engines come, go and are drained; streams move to the other coordinator; the store is away for a while.
    pub(super) fn trouble(&mut self) {
        for _ in 0..100 {
            let living: Vec<Incarnation> =
                self.processes.iter().filter(|(_, process)| process.alive).map(|(engine, _)| *engine).collect();
            let chosen = (!living.is_empty()).then(|| living[self.chance.random_range(0..living.len())]);
            match (self.chance.random_range(0..12), chosen) {
                (0, _) if living.len() < 5 => self.start(),
                (1, Some(engine)) => self.kill(engine),
                (2, Some(engine)) => self.reconnect(engine),
                (3, Some(engine)) => _ = self.stored.policy.drained.insert(name(engine)),
                (4, _) => self.stored.policy.drained.clear(),
                (5, _) => (0..2).for_each(|desk| self.step(desk, Input::StoreAway)),
                (6, _) => self.stored.policy.paused = !self.stored.policy.paused,
                _ => {}
            }
            for _ in 0..self.chance.random_range(1..20) {
                self.pass();
            }
        }
    }

    /// Three engines at least, nobody drained, nothing paused, and time.
    pub(super) fn settle(&mut self) {
        self.stored.policy.drained.clear();
        self.stored.policy.paused = false;
        while self.processes.values().filter(|process| process.alive).count() < 3 {
            self.start();
        }
        (0..1_000).for_each(|_| self.pass());
    }

    pub(super) fn check(&mut self, seed: u64) {
        let leaders = |world: &Self| {
            let leader = |record: &Shard| record.leader().map(|leader| leader.epoch);
            world.stored.shards.values().map(leader).collect::<Vec<_>>()
        };
        let before = leaders(self);
        let mut loads: BTreeMap<Incarnation, usize> =
            self.processes.iter().filter(|(_, process)| process.alive).map(|(engine, _)| (*engine, 0)).collect();
        for leader in &before {
            let epoch = leader.unwrap_or_else(|| panic!("seed {seed}: a shard has no leader: {:?}", self.stored));
            *loads.get_mut(&epoch.owner).unwrap_or_else(|| panic!("seed {seed}: a dead engine leads")) += 1;
        }
        let (least, most) = (loads.values().min().copied(), loads.values().max().copied());
        assert!(most <= least.map(|least| least + 1), "seed {seed}: {loads:?}");
        self.trail.clear();
        (0..300).for_each(|_| self.pass());
        let said = self.trail.first();
        assert!(leaders(self) == before && said.is_none(), "seed {seed}: it does not come to rest: {said:?}");
    }

    fn start(&mut self) {
        let engine = Incarnation(self.next.into());
        let at = self.chance.random_range(0..2);
        let warm = self.now + Duration::from_millis(self.chance.random_range(0..4_000));
        let process = Process { at, stream: self.next, alive: true, lease: self.now + LEASE, warm };
        self.next += 1;
        self.processes.insert(engine, process);
    }

    fn kill(&mut self, engine: Incarnation) {
        let process = self.processes.get_mut(&engine).expect("it runs");
        process.alive = false;
        let (at, stream) = (process.at, process.stream);
        // A process that dies closes its sockets; a host that dies does not.
        if self.chance.random_bool(0.5) {
            self.step(at, Input::Ended { engine, stream });
        }
    }

    fn reconnect(&mut self, engine: Incarnation) {
        let process = self.processes.get_mut(&engine).expect("it runs");
        let (at, stream) = (process.at, process.stream);
        (process.at, process.stream) = (1 - at, self.next);
        self.next += 1;
        self.step(at, Input::Ended { engine, stream });
    }

    fn pass(&mut self) {
        self.now += STEP;
        let tick = self.now.as_millis() / STEP.as_millis();
        self.expire();
        let engines: Vec<Incarnation> = self.processes.keys().copied().collect();
        for engine in engines {
            if (tick + engine.0).is_multiple_of(5) && self.processes[&engine].alive {
                self.beat(engine);
            }
        }
        for desk in 0..self.desks.len() {
            if (tick + desk as u128).is_multiple_of(3) {
                self.step(desk, Input::Stored(Box::new(self.stored.clone())));
            }
            self.step(desk, Input::Tick);
        }
    }

    fn expire(&mut self) {
        let now = self.now;
        self.processes.retain(|_, process| process.lease > now);
        self.stored.engines.retain(|engine, _| self.processes.contains_key(engine));
        for (shard, record) in &mut self.stored.shards {
            let owner = record.leader().map(|leader| leader.epoch.owner);
            record.lease = owner.and_then(|owner| self.processes.get(&owner)).map(|process| process.lease - now);
            if self.targets.get(shard).is_some_and(|end| *end <= now) {
                record.target = None;
            }
        }
        self.stored.resting = self.rest > now;
    }

    fn beat(&mut self, engine: Incarnation) {
        let now = self.now;
        let process = self.processes.get_mut(&engine).expect("it runs");
        process.lease = now + LEASE;
        let (at, stream, warm) = (process.at, process.stream, process.warm <= now);
        let report = |record: &Shard| match record.leader().filter(|leader| leader.epoch.owner == engine) {
            Some(leader) => Report { epoch: leader.epoch, role: Role::Leader, reachable: true },
            None => Report {
                epoch: Epoch::default(),
                role: if warm { Role::Standby } else { Role::Loading },
                reachable: true,
            },
        };
        let reports = self.stored.shards.iter().map(|(shard, record)| (*shard, report(record))).collect();
        self.step(at, Input::Beat { engine, name: name(engine), stream, reports });
        let note = self.desks[at].note(engine);
        self.stored.engines.insert(engine, Session { name: name(engine), note });
    }

    fn step(&mut self, desk: usize, input: Input) {
        let mut effects = Vec::new();
        self.desks[desk].step(self.now, input, &mut effects);
        for effect in effects {
            self.carry_out(desk, &effect);
            self.trail.push(effect);
        }
    }

    fn carry_out(&mut self, desk: usize, effect: &Effect) {
        match *effect {
            Effect::Offer { engine, shard } => self.acquire(desk, shard, engine),
            Effect::Resign { shard, epoch, .. } | Effect::Depose { shard, epoch, .. } => self.end(shard, epoch),
            Effect::Deposed { .. } => {}
            Effect::AskVoters { shard, epoch } => {
                let alive = self.processes.get(&epoch.owner).is_some_and(|process| process.alive);
                let verdict = if alive { Verdict::Alive } else { Verdict::Dead };
                self.step(desk, Input::Judged { shard, epoch, verdict });
            }
            Effect::Restore { .. } => panic!("leases end with their engines here"),
            Effect::Move { shard, epoch, to } => {
                let record = self.stored.shards.get_mut(&shard).expect("there is one");
                if !self.stored.resting && record.leader().is_some_and(|leader| leader.epoch == epoch) {
                    record.target = Some(Target { engine: to, forced: false });
                    self.targets.insert(shard, self.now + Duration::from_secs(3));
                    self.rest = self.now + Duration::from_secs(5);
                    self.stored.resting = true;
                    self.moves += 1;
                }
            }
            Effect::Away { engine } => {
                if let Some(session) = self.stored.engines.get_mut(&engine) {
                    session.note = Note { away: true, cold: BTreeSet::new() };
                }
            }
        }
    }

    fn acquire(&mut self, desk: usize, shard: ShardId, engine: Incarnation) {
        let allowed = self.desks[desk].may_acquire(shard, engine, &name(engine)).is_ok();
        let alive = self.processes.get(&engine).is_some_and(|process| process.alive && process.at == desk);
        let record = self.stored.shards.get_mut(&shard).expect("there is one");
        if allowed && alive && record.leader().is_none() {
            record.number += 1;
            let epoch = Epoch { number: record.number, owner: engine };
            record.holder = Some(Holder { name: name(engine), epoch, ended: false });
            record.lease = Some(LEASE);
            record.target = None;
        }
    }

    fn end(&mut self, shard: ShardId, epoch: Epoch) {
        let record = self.stored.shards.get_mut(&shard).expect("there is one");
        if record.leader().is_some_and(|leader| leader.epoch == epoch) {
            record.lease = None;
            record.holder.as_mut().expect("it is led").ended = true;
        }
    }
}
