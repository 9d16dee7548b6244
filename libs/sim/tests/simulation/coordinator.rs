//! A coordinator: the real placement core over the store. Stateless but for what it heard since its start.

use std::collections::BTreeMap;
use std::time::Duration;

use journal_core::VoterConfig;
use journal_core::placement::{Effect, Input, Placement, Timing, Verdict};
use types::{Epoch, Incarnation};

use super::SHARD;
use super::engine::Around;
use super::message::{Change, Message};
use super::net::{MS, Micros, Net, Node, SECOND, Timer};

/// How long gateways may take to say whether they hear a leader.
const ANSWER_LIMIT: Micros = 300 * MS;

/// Why the store was asked.
enum Asked {
    Poll,
    /// An engine wants the shard: where to answer.
    Acquire {
        to: Node,
        run: u64,
        number: u64,
        engine: Incarnation,
        name: String,
        highest: u64,
    },
    Given {
        to: Node,
        run: u64,
        number: u64,
    },
    Release {
        to: Node,
        run: u64,
        number: u64,
    },
    Change,
}

struct Inquiry {
    epoch: Epoch,
    answers: usize,
    alive: bool,
    until: Micros,
}

pub(crate) struct Coordinator {
    number: usize,
    pub(crate) run: u64,
    placement: Placement,
    asked: BTreeMap<u64, (Asked, Micros)>,
    /// Where engines are, and which of their lives.
    engines: BTreeMap<Incarnation, (Node, u64)>,
    inquiry: Option<(u64, Inquiry)>,
    numbers: u64,
    ticks: u64,
}

impl Coordinator {
    pub(crate) fn new(number: usize, run: u64) -> Self {
        Self {
            number,
            run,
            placement: Placement::new(Timing::default()),
            asked: BTreeMap::new(),
            engines: BTreeMap::new(),
            inquiry: None,
            numbers: run * 1_000_000,
            ticks: 0,
        }
    }

    const fn node(&self) -> Node {
        Node::Coordinator(self.number)
    }

    pub(crate) fn tick(&mut self, around: &mut Around<'_>) {
        self.ticks += 1;
        let now = around.net.now;
        let overdue: Vec<u64> =
            self.asked.iter().filter(|(_, (_, at))| now > *at + SECOND).map(|(number, _)| *number).collect();
        if !overdue.is_empty() {
            self.place(Input::StoreAway, around);
        }
        for number in overdue {
            let Some((asked, _)) = self.asked.remove(&number) else { continue };
            match asked {
                Asked::Acquire { to, run, number, .. } | Asked::Given { to, run, number } => {
                    let answer = Message::Acquired { number, given: None, denied: false };
                    around.net.send(self.node(), to, Some(run), answer);
                }
                Asked::Release { .. } | Asked::Poll | Asked::Change => {}
            }
        }
        if let Some((_, inquiry)) = self.inquiry.take_if(|(_, inquiry)| now >= inquiry.until) {
            self.judge(&inquiry, around);
        }
        if self.ticks.is_multiple_of(10) {
            self.look(Asked::Poll, around.net);
        }
        self.place(Input::Tick, around);
    }

    fn ask(&mut self, asked: Asked, net: &Net) -> u64 {
        self.numbers += 1;
        self.asked.insert(self.numbers, (asked, net.now));
        self.numbers
    }

    fn look(&mut self, asked: Asked, net: &mut Net) {
        let number = self.ask(asked, net);
        net.send(self.node(), Node::Store, None, Message::Look { number, run: self.run });
    }

    fn change(&mut self, asked: Asked, change: Change, net: &mut Net) {
        let number = self.ask(asked, net);
        net.send(self.node(), Node::Store, None, Message::Change { number, run: self.run, change });
    }

    pub(crate) fn on(&mut self, from: Node, message: Message, around: &mut Around<'_>) {
        match message {
            Message::Beat { engine, name, stream, run, report } => {
                self.engines.insert(engine, (from, run));
                let reports = BTreeMap::from([(SHARD, report)]);
                self.place(Input::Beat { engine, name: name.clone(), stream, reports }, around);
                let note = self.placement.note(engine);
                self.change(Asked::Change, Change::Keep { engine, name, note }, around.net);
                around.net.stream(self.node(), from, Some(run), Message::Heard { stream });
            }
            Message::Acquire { number, run, engine, name, highest } => {
                self.look(Asked::Acquire { to: from, run, number, engine, name, highest }, around.net);
            }
            Message::Release { number, run, epoch } => {
                let asked = Asked::Release { to: from, run, number };
                self.change(asked, Change::Release { epoch }, around.net);
            }
            Message::Hangup { engine, stream } => self.place(Input::Ended { engine, stream }, around),
            Message::Watch => self.look(Asked::Poll, around.net),
            Message::Looked { number, stored } => {
                let Some((asked, _)) = self.asked.remove(&number) else { return };
                let read = stored.shards[&SHARD].number;
                self.place(Input::Stored(stored), around);
                if let Asked::Acquire { to, run, number, engine, name, highest } = asked {
                    if self.placement.may_acquire(SHARD, engine, &name).is_ok() {
                        let change = Change::Acquire { engine, name, highest, read };
                        self.change(Asked::Given { to, run, number }, change, around.net);
                    } else {
                        let answer = Message::Acquired { number, given: None, denied: true };
                        around.net.send(self.node(), to, Some(run), answer);
                    }
                }
            }
            Message::Changed { number, given } => {
                let Some((asked, _)) = self.asked.remove(&number) else { return };
                let (to, run, answer) = match asked {
                    Asked::Given { to, run, number } => {
                        let given = given.map(|epoch| (epoch, VoterConfig::default()));
                        (to, run, Message::Acquired { number, denied: given.is_none(), given })
                    }
                    Asked::Release { to, run, number } => (to, run, Message::Released { number }),
                    Asked::Poll | Asked::Acquire { .. } | Asked::Change => return,
                };
                around.net.send(self.node(), to, Some(run), answer);
            }
            Message::Seen { number, alive } => {
                if let Some((_, inquiry)) = self.inquiry.as_mut().filter(|(asked, _)| *asked == number) {
                    inquiry.answers += 1;
                    inquiry.alive |= alive;
                    if inquiry.answers == around.net.gateways
                        && let Some((_, inquiry)) = self.inquiry.take()
                    {
                        self.judge(&inquiry, around);
                    }
                }
            }
            _ => {}
        }
    }

    /// One voter behind several ways hears whom any of them hears.
    fn judge(&mut self, inquiry: &Inquiry, around: &mut Around<'_>) {
        let verdict = match inquiry.answers {
            0 => Verdict::Unknown,
            _ if inquiry.alive => Verdict::Alive,
            _ => Verdict::Dead,
        };
        self.place(Input::Judged { shard: SHARD, epoch: inquiry.epoch, verdict }, around);
    }

    fn place(&mut self, input: Input, around: &mut Around<'_>) {
        let mut effects = Vec::new();
        self.placement.step(Duration::from_micros(around.net.now), input, &mut effects);
        for effect in effects {
            match effect {
                Effect::Offer { engine, .. } => self.tell(engine, Message::Offer, around.net),
                Effect::Resign { engine, epoch, .. } => self.tell(engine, Message::Resign { epoch }, around.net),
                Effect::Deposed { engine, epoch, .. } => self.tell(engine, Message::Deposed { epoch }, around.net),
                // The answer to the last question is waited for.
                Effect::AskVoters { .. } if self.inquiry.is_some() => {}
                Effect::AskVoters { epoch, .. } => {
                    self.numbers += 1;
                    let (number, run) = (self.numbers, self.run);
                    let until = around.net.now + ANSWER_LIMIT;
                    self.inquiry = Some((number, Inquiry { epoch, answers: 0, alive: false, until }));
                    for gateway in 0..around.net.gateways {
                        let question = Message::LeaderSeen { number, run, epoch };
                        around.net.send(self.node(), Node::Gateway(gateway), None, question);
                    }
                }
                Effect::Depose { epoch, reason, .. } => {
                    around.net.note(format_args!("coordinator {} deposes {}: {reason}", self.number, epoch.number));
                    self.change(Asked::Change, Change::Depose { epoch }, around.net);
                }
                Effect::Restore { epoch, .. } => self.change(Asked::Change, Change::Restore { epoch }, around.net),
                Effect::Move { .. } => {}
                Effect::Away { engine } => self.change(Asked::Change, Change::Away { engine }, around.net),
            }
        }
    }

    fn tell(&self, engine: Incarnation, message: Message, net: &mut Net) {
        if let Some((node, run)) = self.engines.get(&engine) {
            net.stream(self.node(), *node, Some(*run), message);
        }
    }

    pub(crate) fn start(&self, net: &mut Net) {
        let first = net.between(MS, 100 * MS);
        net.timer(self.node(), self.run, first, Timer::Tick);
    }
}
