//! All processes, their lives, and the loop that lets one thing happen after the other.

use super::client::Client;
use super::coordinator::Coordinator;
use super::engine::{Around, Engine};
use super::gateway::Gateway;
use super::message::{Change, Message};
use super::net::{Event, MS, Micros, Net, Node, SECOND, Timer};
use super::observer::{Journal, Observer};
use super::store::Store;
use super::{CLIENTS, COORDINATORS, ENGINES};

/// How long things go wrong.
pub(crate) const TROUBLE: Micros = 15 * SECOND;
/// How long it may take afterwards until orders are answered again: a lease, a head start, retries and their pauses.
const RECOVERY: Micros = 20 * SECOND;
/// How long engines that were asked to stop may take for it, and standbys to have everything.
const QUIET: Micros = 8 * SECOND;
/// How long nothing may change after that.
const REST: Micros = 8 * SECOND;

/// One process through all its lives.
pub(crate) struct Slot<T> {
    pub(crate) process: Option<T>,
    pub(crate) run: u64,
    pub(crate) paused: bool,
    backlog: Vec<Event>,
}

impl<T> Slot<T> {
    const fn new(process: T) -> Self {
        Self { process: Some(process), run: 1, paused: false, backlog: Vec::new() }
    }

    fn kill(&mut self) -> Option<T> {
        self.run += 1;
        self.paused = false;
        self.backlog.clear();
        self.process.take()
    }
}

pub(crate) struct World {
    pub(crate) net: Net,
    pub(crate) journal: Journal,
    pub(crate) observer: Observer,
    pub(crate) store: Store,
    pub(crate) engines: Vec<Slot<Engine>>,
    pub(crate) coordinators: Vec<Slot<Coordinator>>,
    pub(crate) gateways: Vec<Slot<Gateway>>,
    clients: Vec<Client>,
}

macro_rules! around {
    ($world:expr) => {
        &mut Around { net: &mut $world.net, journal: &mut $world.journal, observer: &mut $world.observer }
    };
}

impl World {
    pub(crate) fn new(seed: u64, traced: bool) -> Self {
        let mut net = Net::new(seed, traced);
        let journal = Journal::new(net.gateways > 1);
        let engines = (0..ENGINES).map(|number| Slot::new(Engine::new(number, 1, &mut net))).collect();
        let gateways = (0..net.gateways).map(|number| Slot::new(Gateway::new(number, 1, &journal))).collect();
        let coordinators = (0..COORDINATORS).map(|number| Slot::new(Coordinator::new(number, 1))).collect();
        let clients = (0..CLIENTS).map(Client::new).collect();
        let (observer, store) = (Observer::default(), Store::new());
        let mut world = Self { net, journal, observer, store, engines, coordinators, gateways, clients };
        world.engines.iter().filter_map(|slot| slot.process.as_ref()).for_each(|engine| engine.start(&mut world.net));
        let coordinators = world.coordinators.iter().filter_map(|slot| slot.process.as_ref());
        coordinators.for_each(|coordinator| coordinator.start(&mut world.net));
        world
            .gateways
            .iter()
            .filter_map(|slot| slot.process.as_ref())
            .for_each(|gateway| gateway.start(&mut world.net));
        world.clients.iter().for_each(|client| client.start(&mut world.net));
        world.net.timer(Node::Store, 0, 500 * MS, Timer::Tick);
        world.net.at(SECOND, Event::Fault);
        world
    }

    /// Trouble, then none, then silence; everything that was promised is looked at.
    pub(crate) fn run(&mut self) {
        self.until(TROUBLE, |_| false);
        self.heal();
        let healed = self.until(TROUBLE + RECOVERY, |world| world.clients.iter().all(|client| client.fresh >= 3));
        let stuck: Vec<_> = self.clients.iter().filter(|client| client.fresh < 3).map(Client::waits).collect();
        assert!(healed, "nobody answers although everything is whole: {stuck:?}");
        self.clients.iter_mut().for_each(|client| client.quiet = true);
        self.until(self.net.now + QUIET, |_| false);
        let leaderships = self.observer.leaderships();
        self.until(self.net.now + REST, |_| false);
        assert_eq!(self.observer.leaderships(), leaderships, "leaders come and go although everything is whole");
        self.observer.verify(&self.journal);
        let end = self.journal.tail().seq;
        for slot in &self.engines {
            let engine = slot.process.as_ref().expect("all run, and have ended if they were asked to");
            assert!(!engine.stopping, "an engine that was asked to stop does not");
            let applied = engine.applied();
            assert!(applied == end, "an engine has applied up to {applied}, the log ends at {end}");
        }
        let leaders = self.engines.iter().filter(|slot| slot.process.as_ref().is_some_and(Engine::leads)).count();
        assert_eq!(leaders, 1, "{leaders} engines lead in the end");
    }

    fn until(&mut self, end: Micros, enough: impl Fn(&Self) -> bool) -> bool {
        while let Some(event) = self.net.pop(end) {
            self.happen(event);
            if enough(self) {
                return true;
            }
        }
        self.net.now = end;
        false
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Fault => {
                if self.net.now < TROUBLE {
                    self.fault();
                    let next = self.net.between(100 * MS, 2 * SECOND);
                    self.net.at(next, Event::Fault);
                }
            }
            Event::Join { a, b } => self.net.join(a, b),
            Event::Message { to, run, .. } => {
                if let Some(event) = self.wakes(to, run, event) {
                    let Event::Message { from, message, .. } = event else { return };
                    self.deliver(from, to, message);
                }
            }
            Event::Timer { node, run, timer } => self.timer(node, run, timer),
        }
    }

    /// The event, if its process is there to take it now.
    fn wakes(&mut self, node: Node, run: Option<u64>, event: Event) -> Option<Event> {
        fn of<T>(slot: &mut Slot<T>, run: Option<u64>, event: Event) -> Option<Event> {
            if run.is_some_and(|run| run != slot.run) {
                return None;
            }
            if slot.paused {
                slot.backlog.push(event);
                return None;
            }
            Some(event)
        }
        match node {
            Node::Engine(at) => of(&mut self.engines[at], run, event),
            Node::Coordinator(at) => of(&mut self.coordinators[at], run, event),
            Node::Gateway(at) => of(&mut self.gateways[at], run, event),
            Node::Store | Node::Client(_) => Some(event),
        }
    }

    fn deliver(&mut self, from: Node, to: Node, message: Message) {
        match to {
            Node::Engine(at) => {
                if let Some(engine) = &mut self.engines[at].process {
                    engine.on(from, message, around!(self));
                    self.ended(at);
                }
            }
            Node::Coordinator(at) => {
                if let Some(coordinator) = &mut self.coordinators[at].process {
                    coordinator.on(from, message, around!(self));
                }
            }
            Node::Gateway(at) => match (&mut self.gateways[at].process, message) {
                (Some(gateway), message) => gateway.on(from, message, around!(self)),
                // The kernel of a living host says that nobody listens.
                (None, Message::Append { stream, .. } | Message::Open { stream }) => {
                    self.net.send(to, from, None, Message::Closed { stream });
                }
                (None, _) => {}
            },
            Node::Store => self.store.on(from, message, &mut self.net),
            Node::Client(at) => self.clients[at].on(from, &message, around!(self)),
        }
    }

    fn timer(&mut self, node: Node, run: u64, timer: Timer) {
        if timer == Timer::Start {
            return self.start(node, run);
        }
        if timer == Timer::Resume {
            return self.resume(node, run);
        }
        let lives = matches!(node, Node::Store | Node::Client(_));
        let event = Event::Timer { node, run, timer };
        if self.wakes(node, (!lives).then_some(run), event).is_none() {
            return;
        }
        match (node, timer) {
            (Node::Engine(at), Timer::Tick) => {
                if let Some(engine) = &mut self.engines[at].process {
                    engine.tick(around!(self));
                    self.ended(at);
                }
            }
            (Node::Coordinator(at), Timer::Tick) => {
                if let Some(coordinator) = &mut self.coordinators[at].process {
                    coordinator.tick(around!(self));
                }
            }
            (Node::Gateway(at), timer) => {
                if let Some(gateway) = &mut self.gateways[at].process {
                    match timer {
                        Timer::Tick => gateway.tick(around!(self)),
                        timer => gateway.timer(timer, around!(self)),
                    }
                }
                return;
            }
            (Node::Client(at), _) => self.clients[at].tick(around!(self)),
            (Node::Store, Timer::Resume | Timer::Start) => {}
            (Node::Store, _) => self.store.expire(&mut self.net),
            _ => {}
        }
        if timer == Timer::Tick {
            let period = match node {
                Node::Client(_) => 10 * MS,
                Node::Store => 500 * MS,
                _ => 100 * MS,
            };
            self.net.timer(node, run, period, Timer::Tick);
        }
    }

    /// An engine that has stopped in order starts again.
    fn ended(&mut self, at: usize) {
        if self.engines[at].process.as_ref().is_some_and(|engine| engine.stopped) {
            self.net.note(format_args!("engine-{at} has stopped"));
            if let Some(engine) = self.engines[at].kill() {
                engine.hangup(&mut self.net);
            }
            let run = self.engines[at].run;
            let after = self.net.between(100 * MS, SECOND);
            self.net.timer(Node::Engine(at), run, after, Timer::Start);
        }
    }

    /// Ends a process at once; it starts again after a while.
    pub(crate) fn kill(&mut self, node: Node, down: Micros) {
        self.net.note(format_args!("{node:?} is killed"));
        let run = match node {
            Node::Engine(at) => {
                // A process that ends closes its sockets; a host that ends does not.
                let told = self.net.thousandths(700);
                if let Some(engine) = self.engines[at].kill().filter(|_| told) {
                    engine.hangup(&mut self.net);
                }
                self.engines[at].run
            }
            Node::Coordinator(at) => {
                self.coordinators[at].kill();
                self.coordinators[at].run
            }
            Node::Gateway(at) => {
                if let Some(mut gateway) = self.gateways[at].kill() {
                    gateway.crash(around!(self));
                }
                self.gateways[at].run
            }
            Node::Store | Node::Client(_) => return,
        };
        self.net.timer(node, run, down, Timer::Start);
    }

    fn start(&mut self, node: Node, run: u64) {
        match node {
            Node::Engine(at) if self.engines[at].run == run && self.engines[at].process.is_none() => {
                let engine = Engine::new(at, run, &mut self.net);
                engine.start(&mut self.net);
                self.engines[at].process = Some(engine);
            }
            Node::Coordinator(at) if self.coordinators[at].run == run && self.coordinators[at].process.is_none() => {
                let coordinator = Coordinator::new(at, run);
                coordinator.start(&mut self.net);
                self.coordinators[at].process = Some(coordinator);
            }
            Node::Gateway(at) if self.gateways[at].run == run && self.gateways[at].process.is_none() => {
                if self.journal.away {
                    // It cannot read its journal: it tries again.
                    return self.net.timer(node, run, 250 * MS, Timer::Start);
                }
                let gateway = Gateway::new(at, run, &self.journal);
                gateway.start(&mut self.net);
                self.gateways[at].process = Some(gateway);
            }
            Node::Store => {
                self.store.away = false;
                self.store.refill(self.net.now);
            }
            // The database comes back; clients do not go.
            Node::Client(_) => self.journal.away = false,
            _ => return,
        }
        self.net.note(format_args!("{node:?} starts"));
    }

    pub(crate) fn pause(&mut self, node: Node, pause: Micros) {
        self.net.note(format_args!("{node:?} is paused for {} ms", pause / MS));
        let run = match node {
            Node::Engine(at) => {
                self.engines[at].paused = true;
                self.engines[at].run
            }
            Node::Coordinator(at) => {
                self.coordinators[at].paused = true;
                self.coordinators[at].run
            }
            Node::Gateway(at) => {
                self.gateways[at].paused = true;
                self.gateways[at].run
            }
            Node::Store | Node::Client(_) => return,
        };
        self.net.timer(node, run, pause, Timer::Resume);
    }

    fn resume(&mut self, node: Node, run: u64) {
        fn of<T>(slot: &mut Slot<T>, run: u64) -> Vec<Event> {
            if slot.run != run || !slot.paused {
                return Vec::new();
            }
            slot.paused = false;
            std::mem::take(&mut slot.backlog)
        }
        let backlog = match node {
            Node::Engine(at) => of(&mut self.engines[at], run),
            Node::Coordinator(at) => of(&mut self.coordinators[at], run),
            Node::Gateway(at) => of(&mut self.gateways[at], run),
            Node::Store | Node::Client(_) => return,
        };
        self.net.note(format_args!("{node:?} goes on, {} events waited", backlog.len()));
        backlog.into_iter().for_each(|event| self.happen(event));
    }

    /// Asks an engine to end in order.
    pub(crate) fn stop(&mut self, at: usize) {
        let slot = &mut self.engines[at];
        if let Some(engine) = slot.process.as_mut().filter(|engine| !slot.paused && !engine.stopping) {
            self.net.note(format_args!("engine-{at} is asked to stop"));
            engine.stop(around!(self));
            self.ended(at);
        }
    }

    /// An operator orders that somebody else shall lead.
    pub(crate) fn force(&mut self) {
        let sessions = self.store.sessions();
        if sessions.is_empty() {
            return;
        }
        let chosen = self.net.between(0, sessions.len() as u64);
        let engine = sessions[usize::try_from(chosen).unwrap_or(0)];
        self.net.note(format_args!("an operator wants {} to lead", engine.0));
        let change = Change::Force { engine };
        self.store.on(Node::Store, Message::Change { number: 0, run: 0, change }, &mut self.net);
    }

    fn heal(&mut self) {
        self.net.note(format_args!("everything is whole again"));
        self.net.weather = super::net::Weather::default();
        self.net.join_all();
        self.journal.away = false;
        self.store.paused = false;
        if std::mem::replace(&mut self.store.away, false) {
            self.store.refill(self.net.now);
        }
        let nodes = (0..ENGINES).map(Node::Engine).chain((0..COORDINATORS).map(Node::Coordinator));
        let nodes: Vec<Node> = nodes.chain((0..self.net.gateways).map(Node::Gateway)).collect();
        for node in nodes {
            let (run, paused) = match node {
                Node::Engine(at) => (self.engines[at].run, self.engines[at].paused),
                Node::Coordinator(at) => (self.coordinators[at].run, self.coordinators[at].paused),
                Node::Gateway(at) => (self.gateways[at].run, self.gateways[at].paused),
                Node::Store | Node::Client(_) => continue,
            };
            if paused {
                self.resume(node, run);
            }
            self.start(node, run);
        }
        self.clients.iter_mut().for_each(Client::heal);
    }
}
