//! An engine process: the real leadership and proposer cores, a toy state machine, and a shell that does what the real
//! one does: one coordinator and one gateway at a time, the next one when one is silent.

use std::collections::{BTreeMap, VecDeque};

use journal_core::acceptor::Reply;
use journal_core::leadership::{self, Leadership};
use journal_core::placement::{Report, Role};
use journal_core::proposer::{self, Proposer, VoterId};
use journal_core::{AppendReply, Entry, EntryKind, FenceReply, Tail};
use rand::Rng;
use types::{Incarnation, Seq, Timestamp};

use super::message::{Command, Message};
use super::net::{MS, Micros, Net, Node, SECOND, Timer};
use super::observer::{Journal, Observer};
use super::state::{State, encode};
use super::{COORDINATORS, SHARD};

const VOTER: VoterId = VoterId(0);
/// Silence on a stream after which the other end counts as gone: the keepalive.
const KEEPALIVE: Micros = 750 * MS;
/// Silence after which another coordinator is tried.
const COORDINATOR_SILENCE: Micros = 1_500 * MS;
const BATCH: usize = 4;
/// Batches that may be under way.
const WINDOW: usize = 2;

/// What surrounds a process while it takes a step.
pub(crate) struct Around<'a> {
    pub(crate) net: &'a mut Net,
    pub(crate) journal: &'a mut Journal,
    pub(crate) observer: &'a mut Observer,
}

#[derive(Debug, PartialEq)]
enum Reading {
    Fetch,
    Follow,
}

pub(crate) struct Engine {
    number: usize,
    pub(crate) run: u64,
    pub(crate) incarnation: Incarnation,
    leadership: Leadership,
    proposer: Proposer,
    state: State,
    applied: Tail,
    log_time: Timestamp,
    /// Gateway in use.
    way: usize,
    /// Number of the append stream; 0 if there is none.
    stream: u64,
    heard: Micros,
    fence_unanswered: bool,
    reading: Option<(u64, Reading, Micros)>,
    reached: Micros,
    /// Coordinator in use, number of the stream of signs of life to it, and when it was heard.
    coordinator: usize,
    beats: u64,
    coordinator_heard: Micros,
    question: Option<(u64, bool, Micros)>,
    numbers: u64,
    ticks: u64,
    queue: VecDeque<Command>,
    waiting: BTreeMap<(u8, u32), ()>,
    draining: bool,
    pub(crate) stopping: bool,
    pub(crate) stopped: bool,
}

impl Engine {
    pub(crate) fn new(number: usize, run: u64, net: &mut Net) -> Self {
        let incarnation = Incarnation(u128::from(run) * 100 + number as u128 + 1);
        let now = net.now;
        Self {
            number,
            run,
            incarnation,
            leadership: Leadership::new(),
            proposer: Proposer::new(SHARD, &[VOTER]),
            state: State::default(),
            applied: Tail::default(),
            log_time: Timestamp(0),
            way: {
                let gateways = net.gateways;
                net.chance.random_range(0..gateways)
            },
            stream: 0,
            heard: now,
            fence_unanswered: false,
            reading: None,
            reached: 0,
            coordinator: net.chance.random_range(0..COORDINATORS),
            beats: run * 1000 + 1,
            coordinator_heard: now,
            question: None,
            numbers: 0,
            ticks: 0,
            queue: VecDeque::new(),
            waiting: BTreeMap::new(),
            draining: false,
            stopping: false,
            stopped: false,
        }
    }

    const fn node(&self) -> Node {
        Node::Engine(self.number)
    }

    /// The kernel closes the sockets of a process that ends.
    pub(crate) fn hangup(&self, net: &mut Net) {
        let hangup = Message::Hangup { engine: self.incarnation, stream: self.beats };
        net.stream(self.node(), Node::Coordinator(self.coordinator), None, hangup);
    }

    const fn gateway(&self) -> Node {
        Node::Gateway(self.way)
    }

    pub(crate) fn name(&self) -> String {
        format!("engine-{}", self.number)
    }

    pub(crate) fn leads(&self) -> bool {
        self.proposer.is_open()
    }

    pub(crate) const fn applied(&self) -> Seq {
        self.applied.seq
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.run * 1_000_000 + self.numbers
    }

    /// An orderly end was asked for.
    pub(crate) fn stop(&mut self, around: &mut Around<'_>) {
        self.stopping = true;
        self.lead(leadership::Input::Stop, around);
    }

    pub(crate) fn tick(&mut self, around: &mut Around<'_>) {
        let now = around.net.now;
        self.ticks += 1;
        self.lead(leadership::Input::Tick, around);
        if self.stream != 0 && now > self.heard + KEEPALIVE {
            self.close(around);
        }
        if self.leadership.epoch().is_some() {
            self.propose(proposer::Input::Heartbeat, around);
        }
        if let Some((_, acquiring, since)) = self.question
            && now > since + 3 * SECOND
        {
            self.question = None;
            let input = if acquiring { leadership::Input::AcquireFailed } else { leadership::Input::Released };
            self.lead(input, around);
        }
        if let Some((_, _, since)) = self.reading
            && now > since + 500 * MS
        {
            self.read(Vec::new(), around);
            self.way = (self.way + 1) % around.net.gateways;
        }
        self.signs(around);
        self.follow(around);
        self.batch(around);
    }

    /// Signs of life to the coordinator, every 500 ms.
    fn signs(&mut self, around: &mut Around<'_>) {
        if around.net.now > self.coordinator_heard + COORDINATOR_SILENCE {
            self.hangup(around.net);
            self.coordinator = (self.coordinator + 1) % COORDINATORS;
            self.beats += 1;
            self.coordinator_heard = around.net.now;
        }
        if self.ticks.is_multiple_of(5) {
            self.beat(around);
        }
    }

    fn beat(&mut self, around: &mut Around<'_>) {
        let epoch = self.leadership.epoch();
        let leads = self.proposer.is_open();
        let reachable = match epoch {
            Some(_) => self.proposer.journal_reachable() || around.net.now < self.heard + 500 * MS,
            None => around.net.now < self.reached + SECOND,
        };
        let role = match (epoch, leads) {
            (None, _) if self.reached == 0 => Role::Loading,
            (None, _) => Role::Standby,
            (Some(_), false) => Role::Opening,
            (Some(_), true) if self.draining => Role::Draining,
            (Some(_), true) => Role::Leader,
        };
        let report = Report { epoch: epoch.unwrap_or_default(), role, reachable };
        let (engine, stream, run, name) = (self.incarnation, self.beats, self.run, self.name());
        let beat = Message::Beat { engine, name, stream, run, report };
        around.net.stream(self.node(), Node::Coordinator(self.coordinator), None, beat);
    }

    /// A standby reads what is final.
    fn follow(&mut self, around: &mut Around<'_>) {
        if self.leadership.epoch().is_none() && self.reading.is_none() {
            self.ask(Reading::Follow, self.applied.seq.next(), Seq(u64::MAX), around);
        }
    }

    fn ask(&mut self, what: Reading, from: Seq, to: Seq, around: &mut Around<'_>) {
        let number = self.number();
        self.reading = Some((number, what, around.net.now));
        let read = Message::Read { number, from: from.0, to: to.0 };
        around.net.send(self.node(), self.gateway(), None, read);
    }

    fn read(&mut self, entries: Vec<Entry>, around: &mut Around<'_>) {
        match self.reading.take() {
            Some((_, Reading::Fetch, _)) => self.propose(proposer::Input::Fetched { entries }, around),
            Some((_, Reading::Follow, _)) if self.leadership.epoch().is_none() => {
                for entry in entries {
                    assert_eq!(entry.prev_chain, self.applied.chain, "a standby is given another log");
                    self.apply(&entry, false, around);
                }
            }
            _ => {}
        }
    }

    /// The append stream is given up; the next one goes another way.
    fn close(&mut self, around: &mut Around<'_>) {
        around.net.note(format_args!("{} gives stream {} up", self.name(), self.stream));
        self.stream = 0;
        self.way = (self.way + 1) % around.net.gateways;
        self.propose(proposer::Input::StreamClosed { voter: VOTER }, around);
    }

    pub(crate) fn on(&mut self, from: Node, message: Message, around: &mut Around<'_>) {
        let now = around.net.now;
        match message {
            Message::FenceReply { reply: Reply::Fence(reply) } => {
                self.fence_unanswered = false;
                self.heard = now;
                if matches!(reply, FenceReply::Refused { .. }) {
                    around.observer.refused += 1;
                }
                self.propose(proposer::Input::FenceReply { voter: VOTER, reply }, around);
            }
            Message::Opened { stream } if stream == self.stream => {
                self.heard = now;
                self.propose(proposer::Input::StreamOpened { voter: VOTER }, around);
            }
            Message::AppendReply { stream, reply: Reply::Append(reply) } if stream == self.stream => {
                self.heard = now;
                if !matches!(reply, AppendReply::Ok(_)) {
                    around.net.note(format_args!("{} is answered {reply:?}", self.name()));
                }
                self.propose(proposer::Input::AppendReply { voter: VOTER, reply }, around);
            }
            Message::Closed { stream } if stream == self.stream && self.stream != 0 => self.close(around),
            Message::Entries { number, entries } if self.reading.as_ref().is_some_and(|read| read.0 == number) => {
                self.reached = now;
                self.read(entries, around);
            }
            Message::Heard { stream } if stream == self.beats => self.coordinator_heard = now,
            Message::Offer => self.lead(leadership::Input::Offered, around),
            Message::Resign { epoch } if self.leadership.epoch() == Some(epoch) => {
                self.lead(leadership::Input::Resign { epoch: epoch.number }, around);
            }
            Message::Deposed { epoch } if self.leadership.epoch() == Some(epoch) => {
                self.lead(leadership::Input::LeaseLost, around);
            }
            Message::Acquired { number, given, denied } if self.asked(number, true) => {
                self.question = None;
                self.lead(
                    match given {
                        Some((epoch, config)) => leadership::Input::Acquired { epoch, config },
                        None if denied => leadership::Input::Denied,
                        None => leadership::Input::AcquireFailed,
                    },
                    around,
                );
            }
            Message::Released { number } if self.asked(number, false) => {
                self.question = None;
                self.lead(leadership::Input::Released, around);
            }
            Message::Order { command } => self.order(from, command, around),
            _ => {}
        }
    }

    fn asked(&self, number: u64, acquiring: bool) -> bool {
        self.question.is_some_and(|(asked, kind, _)| asked == number && kind == acquiring)
    }

    fn order(&mut self, from: Node, command: Command, around: &mut Around<'_>) {
        let leads = self.proposer.is_open() && !self.draining && self.leadership.epoch().is_some();
        if !leads || self.queue.len() > 100 {
            around.net.send(self.node(), from, None, Message::NotLeader { id: command.id });
            return;
        }
        if self.waiting.insert((command.client, command.id), ()).is_none() {
            self.queue.push_back(command);
        }
        self.batch(around);
    }

    /// Cuts a batch, unless enough are under way.
    fn batch(&mut self, around: &mut Around<'_>) {
        while self.proposer.can_propose() && !self.queue.is_empty() && self.proposer.uncommitted() < WINDOW {
            let count = self.queue.len().min(BATCH);
            let commands: Vec<Command> = self.queue.drain(..count).collect();
            let timestamp = Timestamp(around.net.now.max(self.proposer.last_timestamp().0 + 1));
            let payload = encode(&commands);
            self.propose(proposer::Input::Propose { kind: EntryKind::Batch, timestamp, payload }, around);
        }
        self.finish_drain(around);
    }

    fn finish_drain(&mut self, around: &mut Around<'_>) {
        if self.draining && self.queue.is_empty() && (self.proposer.uncommitted() == 0 || !self.proposer.is_open()) {
            self.end("drained", 0, around);
        }
    }

    fn end(&mut self, why: &'static str, promised: u64, around: &mut Around<'_>) {
        let epoch = self.proposer.epoch();
        around.net.note(format_args!("{} leads no longer under {}: {why}", self.name(), epoch.number));
        let mut ignored = Vec::new();
        self.proposer.step(proposer::Input::StepDown { reason: why.to_owned() }, &mut ignored);
        self.stream = 0;
        self.fence_unanswered = false;
        self.draining = false;
        self.queue.clear();
        // Whoever waits is told nothing: nobody knows.
        self.waiting.clear();
        if self.reading.as_ref().is_some_and(|(_, what, _)| *what == Reading::Fetch) {
            self.reading = None;
        }
        self.lead(leadership::Input::Ended { epoch, promised }, around);
    }

    fn lead(&mut self, input: leadership::Input, around: &mut Around<'_>) {
        let mut effects = Vec::new();
        self.leadership.step(input, &mut effects);
        for effect in effects {
            match effect {
                leadership::Effect::Acquire { highest_promised: highest } => {
                    let (number, run) = (self.number(), self.run);
                    self.question = Some((number, true, around.net.now));
                    let (engine, name) = (self.incarnation, self.name());
                    let question = Message::Acquire { number, run, engine, name, highest };
                    around.net.send(self.node(), Node::Coordinator(self.coordinator), None, question);
                }
                leadership::Effect::Lead { epoch, config } => {
                    around.net.note(format_args!("{} fences under epoch {}", self.name(), epoch.number));
                    self.heard = around.net.now;
                    self.reading = None;
                    let applied = self.applied;
                    let timestamp = Timestamp(around.net.now.max(self.log_time.0 + 1));
                    self.propose(proposer::Input::Elected { epoch, config, applied, timestamp }, around);
                    self.beat(around);
                }
                leadership::Effect::StepDown { reason, .. } => self.end(reason, 0, around),
                leadership::Effect::Drain { .. } => {
                    self.draining = true;
                    self.finish_drain(around);
                }
                leadership::Effect::Release { epoch } => {
                    let (number, run) = (self.number(), self.run);
                    self.question = Some((number, false, around.net.now));
                    let message = Message::Release { number, run, epoch };
                    around.net.send(self.node(), Node::Coordinator(self.coordinator), None, message);
                }
                leadership::Effect::Stopped => self.stopped = true,
            }
        }
    }

    fn propose(&mut self, input: proposer::Input, around: &mut Around<'_>) {
        let mut effects = Vec::new();
        self.proposer.step(input, &mut effects);
        for effect in effects {
            match effect {
                proposer::Effect::Fence { request, .. } => {
                    if self.fence_unanswered {
                        self.way = (self.way + 1) % around.net.gateways;
                    }
                    self.fence_unanswered = true;
                    around.net.send(self.node(), self.gateway(), None, Message::Fence { request });
                }
                proposer::Effect::Adopted { tail } => {
                    let epoch = self.proposer.epoch();
                    around.net.note(format_args!("{} adopts the log up to {}", self.name(), tail.seq));
                    self.lead(leadership::Input::Adopted { epoch }, around);
                }
                proposer::Effect::Fetch { from, to, .. } => self.ask(Reading::Fetch, from, to, around),
                proposer::Effect::OpenStream { .. } => {
                    self.stream = self.number();
                    self.heard = around.net.now;
                    around.net.note(format_args!(
                        "{} opens stream {} to gateway {}",
                        self.name(),
                        self.stream,
                        self.way
                    ));
                    let message = Message::Open { stream: self.stream };
                    around.net.stream(self.node(), self.gateway(), None, message);
                }
                proposer::Effect::Append { request, .. } => {
                    let message = Message::Append { stream: self.stream, request };
                    around.net.stream(self.node(), self.gateway(), None, message);
                }
                proposer::Effect::Committed { seq } => self.committed(seq, around),
                proposer::Effect::Opened => {
                    let epoch = self.proposer.epoch();
                    around.net.note(format_args!("{} leads under epoch {}", self.name(), epoch.number));
                    around.observer.open(epoch);
                    self.lead(leadership::Input::Opened { epoch }, around);
                }
                proposer::Effect::Deposed { promised } => {
                    self.end("the voter belongs to another", promised.number, around);
                }
                // No reads are asked for here.
                proposer::Effect::ReadsConfirmed { .. } => {}
                proposer::Effect::Halt { reason } => panic!("{} halts: {reason}", self.name()),
            }
        }
    }

    fn committed(&mut self, seq: Seq, around: &mut Around<'_>) {
        while self.applied.seq < seq {
            let entry = self.proposer.entry(self.applied.seq.next()).expect("what is committed can be read").clone();
            self.apply(&entry, true, around);
        }
        self.batch(around);
    }

    fn apply(&mut self, entry: &Entry, answer: bool, around: &mut Around<'_>) {
        assert!(entry.timestamp > self.log_time, "log time goes back at {}", entry.seq);
        (self.applied, self.log_time) = (entry.tail(), entry.timestamp);
        let outcomes = self.state.apply(entry);
        around.observer.apply(self.number, self.applied, self.state.hash(), around.journal);
        for (command, outcome) in outcomes {
            if answer && self.waiting.remove(&(command.client, command.id)).is_some() {
                let to = Node::Client(usize::from(command.client));
                around.net.note(format_args!("{} answers {command:?} with {outcome:?}", self.name()));
                around.net.send(self.node(), to, None, Message::Answer { command, outcome });
            }
        }
    }

    /// The periodic timer of this life.
    pub(crate) fn start(&self, net: &mut Net) {
        let first = net.between(MS, 100 * MS);
        net.timer(self.node(), self.run, first, Timer::Tick);
    }
}
