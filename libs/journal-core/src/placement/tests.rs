//! Each rule by itself; and coordinators, engines and a store in one thread, which come to rest with every shard led
//! and leaderships spread.

use core::time::Duration;
use std::collections::BTreeSet;

use types::{Epoch, Incarnation, ShardId};

use super::{
    Denial, Effect, Holder, Input, Note, Placement, Report, Role, Session, Shard, Stored, Target, Timing, Verdict,
};

mod world;

/// What an engine says of a shard: which, under which epoch number, as what, and whether it reaches the journal.
type Said = (u32, u64, Role, bool);

const A: Incarnation = Incarnation(1);
const B: Incarnation = Incarnation(2);
const C: Incarnation = Incarnation(3);
const S: ShardId = ShardId(0);

fn name(engine: Incarnation) -> String {
    format!("engine-{}", engine.0)
}

fn epoch(number: u64, owner: Incarnation) -> Epoch {
    Epoch { number, owner }
}

fn led(number: u64, owner: Incarnation) -> Shard {
    let holder = Holder { name: name(owner), epoch: epoch(number, owner), ended: false };
    Shard { number, holder: Some(holder), lease: Some(Duration::from_secs(4)), target: None }
}

/// A coordinator, its clock, and what it has said since it was last asked.
struct Desk {
    placement: Placement,
    now: Duration,
    stored: Stored,
    said: Vec<Effect>,
}

impl Desk {
    /// Sessions of A, B and C; `shards` from 0 on.
    fn new(shards: Vec<Shard>) -> Self {
        let session = |engine| (engine, Session { name: name(engine), note: Note::default() });
        let engines = [A, B, C].map(session).into();
        let shards = (0..).map(ShardId).zip(shards).collect();
        let stored = Stored { engines, shards, ..Stored::default() };
        Self { placement: Placement::new(Timing::default()), now: Duration::from_secs(1), stored, said: Vec::new() }
    }

    fn step(&mut self, input: Input) {
        self.placement.step(self.now, input, &mut self.said);
    }

    fn read(&mut self) {
        self.step(Input::Stored(Box::new(self.stored.clone())));
    }

    fn beat(&mut self, engine: Incarnation, reports: &[Said]) {
        let report = |&(shard, number, role, reachable): &Said| {
            (ShardId(shard), Report { epoch: epoch(number, engine), role, reachable })
        };
        let reports = reports.iter().map(report).collect();
        let stream = u64::try_from(engine.0).expect("small");
        self.step(Input::Beat { engine, name: name(engine), stream, reports });
    }

    /// Time passes in steps of 100 ms; those engines beat twice a second.
    fn pass(&mut self, millis: u64, alive: &[(Incarnation, &[Said])]) {
        for at in 0..millis / 100 {
            self.now += Duration::from_millis(100);
            if at % 5 == 4 {
                for (engine, reports) in alive {
                    self.beat(*engine, reports);
                }
            }
            if at % 10 == 9 {
                self.read();
            }
            self.step(Input::Tick);
        }
    }

    fn said(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.said)
    }

    fn asks(&self, engine: Incarnation) -> Result<(), Denial> {
        self.placement.may_acquire(S, engine, &name(engine))
    }
}

const LEADS: &[Said] = &[(0, 1, Role::Leader, true)];
const STANDBY: &[Said] = &[(0, 0, Role::Standby, true)];

fn names_of(effects: &[Effect]) -> BTreeSet<&'static str> {
    let name = |effect: &Effect| match effect {
        Effect::Offer { .. } => "offer",
        Effect::Resign { .. } => "resign",
        Effect::Deposed { .. } => "deposed",
        Effect::AskVoters { .. } => "ask",
        Effect::Depose { .. } => "depose",
        Effect::Restore { .. } => "restore",
        Effect::Move { .. } => "move",
        Effect::Away { .. } => "away",
    };
    effects.iter().map(name).collect()
}

#[test]
fn a_free_shard_is_offered_to_one_engine_and_later_to_all() {
    let mut desk = Desk::new(vec![Shard::default()]);
    desk.read();
    for engine in [A, B, C] {
        desk.beat(engine, STANDBY);
    }
    let offers = desk.said();
    assert_eq!(offers.len(), 1, "{offers:?}");
    let Effect::Offer { engine: meant, .. } = offers[0] else { panic!("{offers:?}") };
    for engine in [A, B, C] {
        assert_eq!(desk.asks(engine).is_ok(), engine == meant);
    }
    desk.pass(1_600, &[(A, STANDBY), (B, STANDBY), (C, STANDBY)]);
    assert!([A, B, C].into_iter().all(|engine| desk.asks(engine).is_ok()));
}

#[test]
fn who_could_not_open_at_once_is_asked_last_and_so_is_who_gave_it_back() {
    let mut desk = Desk::new(vec![Shard::default()]);
    desk.read();
    desk.beat(A, &[(0, 0, Role::Loading, true)]);
    desk.beat(B, &[(0, 0, Role::Standby, false)]);
    desk.said.clear();
    desk.beat(C, STANDBY);
    assert!(desk.asks(C).is_ok() && desk.asks(A).is_err() && desk.asks(B).is_err());
    let mut shard = led(1, C);
    shard.lease = None;
    shard.holder.as_mut().expect("led").ended = true;
    desk.stored.shards.insert(S, shard);
    desk.stored.engines.remove(&B);
    desk.read();
    desk.step(Input::Ended { engine: B, stream: 2 });
    desk.read();
    assert!(desk.asks(C).is_err() && desk.asks(A).is_ok(), "even a cold one before the one that gave it back");
}

#[test]
fn an_engine_that_is_asked_last_still_gets_it_if_there_is_no_other() {
    let mut desk = Desk::new(vec![led(1, A)]);
    desk.stored.engines.retain(|engine, _| *engine == A);
    let shard = desk.stored.shards.get_mut(&S).expect("there is one");
    shard.lease = None;
    shard.holder.as_mut().expect("led").ended = true;
    desk.read();
    desk.beat(A, STANDBY);
    assert_eq!(desk.said(), [Effect::Offer { engine: A, shard: S }]);
}

#[test]
fn the_one_whose_lease_ran_out_goes_on_under_its_epoch() {
    let mut desk = Desk::new(vec![led(1, A)]);
    desk.read();
    desk.beat(A, LEADS);
    desk.beat(B, STANDBY);
    desk.step(Input::StoreAway);
    assert_eq!(desk.asks(B), Err(Denial::StoreAway));
    desk.pass(900, &[(A, LEADS), (B, STANDBY)]);
    assert_eq!(desk.said(), [], "while the store is away nothing is decided");
    desk.stored.shards.get_mut(&S).expect("there is one").lease = None;
    desk.read();
    assert_eq!(desk.said(), [Effect::Restore { shard: S, epoch: epoch(1, A) }]);
    assert_eq!(desk.asks(B), Err(Denial::HeadStart { incumbent: name(A) }));
    // Another got it first: now it is over.
    desk.stored.shards.insert(S, led(2, B));
    desk.read();
    assert_eq!(desk.said(), [Effect::Deposed { engine: A, shard: S, epoch: epoch(1, A) }]);
}

#[test]
fn a_reading_that_is_older_than_the_epoch_deposes_nobody() {
    let mut desk = Desk::new(vec![led(1, B)]);
    desk.read();
    desk.beat(A, &[(0, 2, Role::Opening, true)]);
    assert!(!names_of(&desk.said()).contains("deposed"));
}

#[test]
fn a_leader_is_deposed_when_neither_its_stream_nor_the_voters_hear_it() {
    let mut desk = Desk::new(vec![led(1, A)]);
    desk.read();
    desk.beat(A, LEADS);
    desk.pass(700, &[(A, LEADS), (B, STANDBY)]);
    desk.said.clear();
    desk.step(Input::Ended { engine: A, stream: 7 });
    assert_eq!(desk.said(), [], "an older stream");
    desk.step(Input::Ended { engine: A, stream: 1 });
    assert_eq!(desk.said(), [Effect::Away { engine: A }, Effect::AskVoters { shard: S, epoch: epoch(1, A) }]);
    desk.stored.engines.get_mut(&A).expect("there is one").note.away = true;
    desk.read();
    for verdict in [Verdict::Alive, Verdict::Unknown] {
        desk.step(Input::Judged { shard: S, epoch: epoch(1, A), verdict });
        assert!(!names_of(&desk.said()).contains("depose"), "{verdict:?}");
    }
    desk.step(Input::Judged { shard: S, epoch: epoch(9, A), verdict: Verdict::Dead });
    assert!(!names_of(&desk.said()).contains("depose"), "another epoch");
    desk.step(Input::Judged { shard: S, epoch: epoch(1, A), verdict: Verdict::Dead });
    assert!(names_of(&desk.said()).contains("depose"));
}

#[test]
fn a_silent_leader_is_suspected_and_one_that_speaks_again_is_not_deposed() {
    let mut desk = Desk::new(vec![led(1, A)]);
    desk.read();
    desk.beat(A, LEADS);
    desk.beat(B, STANDBY);
    desk.pass(1_400, &[(B, STANDBY)]);
    assert!(!names_of(&desk.said()).contains("ask"));
    desk.pass(200, &[(B, STANDBY)]);
    assert!(names_of(&desk.said()).contains("ask"));
    desk.beat(A, LEADS);
    desk.step(Input::Judged { shard: S, epoch: epoch(1, A), verdict: Verdict::Dead });
    assert!(!names_of(&desk.said()).contains("depose"), "it was a pause");
}

#[test]
fn a_leader_that_nobody_hears_here_is_suspected_by_its_lease_or_its_note_or_its_successor() {
    let fresh = Desk::new(vec![led(1, A)]);
    let mut lease = Desk::new(vec![Shard { lease: Some(Duration::from_secs(2)), ..led(1, A) }]);
    let mut note = Desk::new(vec![led(1, A)]);
    note.stored.engines.get_mut(&A).expect("there is one").note.away = true;
    let mut restarted = Desk::new(vec![led(1, A)]);
    restarted.stored.engines.insert(Incarnation(9), Session { name: name(A), note: Note::default() });
    for (desk, suspected) in [(&mut { fresh }, false), (&mut lease, true), (&mut note, true), (&mut restarted, true)] {
        desk.read();
        desk.beat(B, STANDBY);
        assert!(!names_of(&desk.said()).contains("ask"), "the voters cannot have heard of it yet");
        desk.pass(700, &[(B, STANDBY)]);
        assert_eq!(names_of(&desk.said()).contains("ask"), suspected);
    }
}

#[test]
fn nobody_is_suspected_without_a_successor_or_while_paused() {
    let mut alone = Desk::new(vec![led(1, A)]);
    alone.stored.engines.retain(|engine, _| *engine == A);
    let mut paused = Desk::new(vec![led(1, A)]);
    paused.stored.policy.paused = true;
    for desk in [&mut alone, &mut paused] {
        desk.read();
        desk.beat(A, LEADS);
        desk.step(Input::Ended { engine: A, stream: 1 });
        assert!(!names_of(&desk.said()).contains("ask"));
    }
    let mut shard = led(1, A);
    shard.lease = None;
    paused.stored.shards.insert(S, shard);
    paused.read();
    paused.beat(B, STANDBY);
    assert_eq!(paused.asks(B), Err(Denial::Paused));
    assert!(!names_of(&paused.said()).contains("offer"));
}

#[test]
fn a_leader_without_its_journal_is_deposed_if_another_has_it() {
    for (other, deposed) in [(true, true), (false, false)] {
        let mut desk = Desk::new(vec![led(1, A)]);
        desk.stored.engines.remove(&C);
        desk.read();
        let (cut, standby) = ([(0, 1, Role::Leader, false)], [(0, 0, Role::Standby, other)]);
        desk.beat(A, &cut);
        desk.pass(400, &[(A, &cut), (B, &standby)]);
        desk.beat(B, &standby);
        assert!(!names_of(&desk.said()).contains("depose"), "it may be for a moment");
        desk.pass(500, &[(A, &cut), (B, &standby)]);
        assert_eq!(names_of(&desk.said()).contains("depose"), deposed);
    }
}

#[test]
fn a_target_is_resigned_to_and_a_forced_one_even_while_paused_and_against_silence() {
    for forced in [false, true] {
        let mut desk = Desk::new(vec![Shard { target: Some(Target { engine: B, forced }), ..led(1, A) }]);
        desk.stored.policy.paused = forced;
        desk.read();
        desk.beat(A, LEADS);
        desk.beat(B, STANDBY);
        assert!(names_of(&desk.said()).contains("resign"));
        desk.pass(1_500, &[(A, LEADS), (B, STANDBY)]);
        assert_eq!(names_of(&desk.said()).contains("depose"), forced);
        let shard = desk.stored.shards.get_mut(&S).expect("there is one");
        shard.lease = None;
        shard.holder.as_mut().expect("led").ended = true;
        desk.read();
        assert_eq!((desk.asks(B), desk.asks(C)), (Ok(()), Err(Denial::Meant { other: name(B) })));
    }
}

#[test]
fn a_drained_engine_resigns_and_gets_nothing_but_not_when_it_is_the_last() {
    let mut desk = Desk::new(vec![led(1, A)]);
    desk.stored.policy.drained.insert(name(A));
    desk.read();
    desk.beat(A, LEADS);
    assert!(names_of(&desk.said()).contains("resign"));
    let mut alone = Desk::new(vec![led(1, A)]);
    alone.stored.policy.drained.insert(name(A));
    alone.stored.engines.retain(|engine, _| *engine == A);
    alone.read();
    alone.beat(A, LEADS);
    assert!(!names_of(&alone.said()).contains("resign"));
    desk.stored.shards.insert(S, Shard::default());
    desk.read();
    desk.pass(2_000, &[(A, STANDBY)]);
    assert_eq!(desk.asks(A), Err(Denial::Drained));
}

#[test]
fn one_shard_at_a_time_moves_to_who_leads_least() {
    let mut desk = Desk::new(vec![led(1, A), led(1, A), led(1, B)]);
    desk.read();
    let moved = |effects: Vec<Effect>| effects.iter().filter(|e| matches!(e, Effect::Move { to: C, .. })).count();
    assert_eq!(moved(desk.said()), 1);
    desk.read();
    assert_eq!(moved(desk.said()), 0, "it rests");
    desk.pass(5_100, &[]);
    assert_eq!(moved(desk.said()), 1, "the move was lost");
    let shards = vec![led(1, A), led(1, A), led(1, B)];
    let mut cold = Desk::new(shards.clone());
    cold.stored.engines.get_mut(&C).expect("there is one").note.cold = [0, 1, 2].map(ShardId).into();
    let mut resting = Desk::new(shards.clone());
    resting.stored.resting = true;
    let mut paused = Desk::new(shards);
    paused.stored.policy.paused = true;
    let mut even = Desk::new(vec![led(1, A), led(1, A), led(1, B), led(1, C)]);
    for desk in [&mut cold, &mut resting, &mut paused, &mut even] {
        desk.read();
        assert!(!names_of(&desk.said()).contains("move"));
    }
}

#[test]
fn whatever_happened_shards_end_up_led_and_spread_and_then_nothing_moves() {
    let mut moved = 0;
    for seed in 0..100 {
        let mut world = world::World::new(seed);
        world.trouble();
        world.settle();
        world.check(seed);
        moved += world.moves;
    }
    assert!(moved > 100, "only {moved} shards were moved: the runs prove nothing about balance");
}
