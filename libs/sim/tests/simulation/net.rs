//! Time, chance, the network and the trace. One queue of events; equal seeds give equal runs.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::hash::{Hash, Hasher};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::message::Message;

/// A moment or a duration, microseconds.
pub(crate) type Micros = u64;
pub(crate) const MS: Micros = 1_000;
pub(crate) const SECOND: Micros = 1_000_000;

/// A process, by kind and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Node {
    Engine(usize),
    Coordinator(usize),
    Gateway(usize),
    Store,
    Client(usize),
}

/// What a process does by itself after a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// Every 100 ms.
    Tick,
    /// The transaction with this token ends.
    Answered(u64),
    /// A process that was killed starts.
    Start,
    /// One that was stopped goes on.
    Resume,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all of them are messages")]
pub(crate) enum Event {
    /// `run` is the life of the receiver that is meant, if it is an answer.
    Message {
        from: Node,
        to: Node,
        run: Option<u64>,
        message: Message,
    },
    Timer {
        node: Node,
        run: u64,
        timer: Timer,
    },
    Join {
        a: Node,
        b: Node,
    },
    Fault,
}

/// Chances in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    pub(crate) lose: u32,
    pub(crate) repeat: u32,
    pub(crate) slow: u32,
    /// The same for the database.
    pub(crate) slow_writes: u32,
}

pub(crate) struct Net {
    pub(crate) now: Micros,
    pub(crate) chance: ChaCha8Rng,
    pub(crate) weather: Weather,
    /// Gateways there are: several of a shared journal, or one with a disk of its own.
    pub(crate) gateways: usize,
    queue: BTreeMap<(Micros, u64), Event>,
    next: u64,
    cuts: BTreeSet<(Node, Node)>,
    /// Last arrival on what is sent in order.
    ordered: BTreeMap<(Node, Node), Micros>,
    fingerprint: DefaultHasher,
    pub(crate) trace: Option<String>,
    pub(crate) events: u64,
}

impl Net {
    pub(crate) fn new(seed: u64, traced: bool) -> Self {
        Self {
            now: 0,
            chance: ChaCha8Rng::seed_from_u64(seed),
            weather: Weather::default(),
            gateways: if seed.is_multiple_of(3) { 1 } else { 2 },
            queue: BTreeMap::new(),
            next: 0,
            cuts: BTreeSet::new(),
            ordered: BTreeMap::new(),
            fingerprint: DefaultHasher::new(),
            trace: traced.then(String::new),
            events: 0,
        }
    }

    /// A line of the trace.
    pub(crate) fn note(&mut self, line: std::fmt::Arguments<'_>) {
        let line = format!("{:>6}.{:03} {line}\n", self.now / MS, self.now % MS);
        line.hash(&mut self.fingerprint);
        if let Some(trace) = &mut self.trace {
            let _ = trace.write_str(&line);
        }
    }

    /// Differs when two runs differ.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint.finish()
    }

    pub(crate) fn thousandths(&mut self, chance: u32) -> bool {
        chance > 0 && self.chance.random_ratio(chance, 1000)
    }

    pub(crate) fn between(&mut self, from: Micros, to: Micros) -> Micros {
        self.chance.random_range(from..to)
    }

    pub(crate) fn at(&mut self, after: Micros, event: Event) {
        self.queue.insert((self.now + after, self.next), event);
        self.next += 1;
    }

    pub(crate) fn timer(&mut self, node: Node, run: u64, after: Micros, timer: Timer) {
        self.at(after, Event::Timer { node, run, timer });
    }

    /// The next event, if it comes before `end`.
    pub(crate) fn pop(&mut self, end: Micros) -> Option<Event> {
        let entry = self.queue.first_entry().filter(|entry| entry.key().0 < end)?;
        let ((now, number), event) = entry.remove_entry();
        self.now = now;
        self.events += 1;
        (now, number).hash(&mut self.fingerprint);
        Some(event)
    }

    pub(crate) fn cut(&mut self, a: Node, b: Node) {
        self.cuts.insert((a, b));
    }

    pub(crate) fn join(&mut self, a: Node, b: Node) {
        self.cuts.remove(&(a, b));
    }

    pub(crate) fn join_all(&mut self) {
        self.cuts.clear();
    }

    fn delay(&mut self) -> Micros {
        let slow = self.weather.slow;
        if self.thousandths(slow) { self.between(5 * MS, 900 * MS) } else { self.between(100, 2 * MS) }
    }

    /// Sends a question, or an answer to one life of a process: lost, late, twice, in any order.
    pub(crate) fn send(&mut self, from: Node, to: Node, run: Option<u64>, message: Message) {
        let Weather { lose, repeat, .. } = self.weather;
        if self.cuts.contains(&(from, to)) || self.thousandths(lose) {
            return;
        }
        if self.thousandths(repeat) {
            let after = self.delay() + self.delay();
            self.at(after, Event::Message { from, to, run, message: message.clone() });
        }
        let after = self.delay();
        self.at(after, Event::Message { from, to, run, message });
    }

    /// Sends on a stream: in order. What is lost is lost with all that follows, which the receiver notices by the
    /// number of the stream, and the sender by silence; a repetition is an adversary's.
    pub(crate) fn stream(&mut self, from: Node, to: Node, run: Option<u64>, message: Message) {
        let Weather { lose, repeat, .. } = self.weather;
        if self.cuts.contains(&(from, to)) || self.thousandths(lose / 4) {
            return;
        }
        if self.thousandths(repeat) {
            let after = self.delay() + self.delay();
            self.at(after, Event::Message { from, to, run, message: message.clone() });
        }
        let arrival = self.now + self.delay();
        let last = self.ordered.entry((from, to)).or_default();
        *last = arrival.max(*last + 1);
        let after = *last - self.now;
        self.at(after, Event::Message { from, to, run, message });
    }
}
