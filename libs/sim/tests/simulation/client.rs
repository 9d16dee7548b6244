//! A client: one order after the other, each sent again under its id until it is answered, to whoever may know.

use rand::Rng;

use super::ENGINES;
use super::engine::Around;
use super::message::{Command, Message};
use super::net::{MS, Micros, Net, Node, SECOND, Timer};

/// How long an answer is waited for.
const PATIENCE: Micros = 400 * MS;

pub(crate) struct Client {
    number: usize,
    leader: usize,
    order: Option<(Command, Micros)>,
    last: Option<Command>,
    next: u32,
    /// When the next order comes, or the present one is sent again.
    due: Micros,
    pub(crate) quiet: bool,
    /// Orders that were begun after everything was whole, and answered.
    pub(crate) fresh: u32,
    healed_at: Option<u32>,
}

impl Client {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            number,
            leader: number % ENGINES,
            order: None,
            last: None,
            next: 1,
            due: 0,
            quiet: false,
            fresh: 0,
            healed_at: None,
        }
    }

    const fn node(&self) -> Node {
        Node::Client(self.number)
    }

    /// From here on answers are owed.
    pub(crate) fn heal(&mut self) {
        self.healed_at = Some(self.next);
    }

    pub(crate) fn waits(&self) -> Option<Command> {
        self.order.map(|(command, _)| command)
    }

    pub(crate) fn tick(&mut self, around: &mut Around<'_>) {
        let now = around.net.now;
        if now < self.due {
            return;
        }
        let command = match self.order {
            Some((command, sent)) => {
                if now >= sent + PATIENCE {
                    self.leader = (self.leader + 1) % ENGINES;
                }
                command
            }
            None if self.quiet => return,
            None => {
                let client = u8::try_from(self.number).unwrap_or(u8::MAX);
                let command = Command { client, id: self.next, amount: around.net.chance.random_range(1..100) };
                self.next += 1;
                command
            }
        };
        self.send(command, around.net);
    }

    fn send(&mut self, command: Command, net: &mut Net) {
        self.order = Some((command, net.now));
        self.due = net.now + PATIENCE;
        net.send(self.node(), Node::Engine(self.leader), None, Message::Order { command });
        // Sometimes a client forgets that it was answered.
        if let Some(again) = self.last.filter(|_| net.thousandths(100)) {
            net.send(self.node(), Node::Engine(self.leader), None, Message::Order { command: again });
        }
    }

    pub(crate) fn on(&mut self, from: Node, message: &Message, around: &mut Around<'_>) {
        let now = around.net.now;
        match *message {
            Message::Answer { command, outcome } => {
                around.observer.answer(command, outcome);
                if let Node::Engine(number) = from {
                    self.leader = number;
                }
                if self.order.is_some_and(|(order, _)| order == command) {
                    self.fresh += u32::from(self.healed_at.is_some_and(|first| command.id >= first));
                    (self.order, self.last) = (None, Some(command));
                    self.due = now + around.net.between(MS, 60 * MS);
                }
            }
            Message::NotLeader { id } if self.order.is_some_and(|(order, _)| order.id == id) => {
                self.leader = around.net.chance.random_range(0..ENGINES);
                self.due = now + 20 * MS;
            }
            _ => {}
        }
    }

    pub(crate) fn start(&self, net: &mut Net) {
        let first = net.between(MS, SECOND);
        net.timer(self.node(), 0, first, Timer::Tick);
    }
}
