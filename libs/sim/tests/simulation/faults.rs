//! What goes wrong, and how often.

use super::net::{Event, MS, Micros, Node, SECOND, Timer, Weather};
use super::world::World;
use super::{COORDINATORS, ENGINES};

impl World {
    pub(crate) fn fault(&mut self) {
        let short = self.net.between(50 * MS, SECOND);
        let long = self.net.between(200 * MS, 8 * SECOND);
        let engine = Node::Engine(self.one_of(ENGINES));
        let coordinator = Node::Coordinator(self.one_of(COORDINATORS));
        let gateway = Node::Gateway(self.one_of(self.net.gateways));
        // Most of what happens happens to the leader.
        let leader = self.store.leader().and_then(|epoch| usize::try_from((epoch.owner.0 - 1) % 100).ok());
        let victim = leader.map(Node::Engine).filter(|_| !self.net.thousandths(300)).unwrap_or(engine);
        match self.net.between(0, 21) {
            0..3 => self.kill(victim, short),
            3..5 => self.stop(self.number_of(victim)),
            5..7 => self.pause(victim, long),
            7 => self.pause(gateway, short),
            8 => self.kill(coordinator, short),
            9 => self.pause(coordinator, short),
            10 => self.kill(gateway, short),
            11 => self.part(victim, gateway, long),
            12 => self.part(victim, coordinator, long),
            13 => self.isolate(victim, long),
            14 => self.part(coordinator, Node::Store, long),
            15 => self.store_away(long),
            16 => {
                let now = self.net.now;
                self.net.note(format_args!("etcd elects another leader"));
                self.store.refill(now);
            }
            17 if self.journal.shared => self.journal_away(short),
            18 => self.force(),
            19 if self.net.thousandths(200) => {
                self.net.note(format_args!("etcd loses its memory"));
                self.store.forget();
            }
            _ => self.weather(),
        }
    }

    fn one_of(&mut self, count: usize) -> usize {
        usize::try_from(self.net.between(0, count as u64)).unwrap_or(0)
    }

    const fn number_of(&self, node: Node) -> usize {
        if let Node::Engine(at) = node { at } else { 0 }
    }

    /// Nothing goes from a to b, or from b to a, or both.
    fn part(&mut self, a: Node, b: Node, pause: Micros) {
        let how = self.net.between(0, 3);
        self.net.note(format_args!("{a:?} and {b:?} are parted ({how}) for {} ms", pause / MS));
        for (way, from, to) in [(0, a, b), (1, b, a)] {
            if how == way || how == 2 {
                self.net.cut(from, to);
                self.net.at(pause, Event::Join { a: from, b: to });
            }
        }
    }

    /// An engine is cut off from all gateways.
    fn isolate(&mut self, engine: Node, pause: Micros) {
        for gateway in 0..self.net.gateways {
            self.part(engine, Node::Gateway(gateway), pause);
        }
    }

    fn store_away(&mut self, pause: Micros) {
        self.net.note(format_args!("etcd is away for {} ms", pause / MS));
        self.store.away = true;
        self.net.timer(Node::Store, 0, pause, Timer::Start);
    }

    fn journal_away(&mut self, pause: Micros) {
        self.net.note(format_args!("the database is away for {} ms", pause / MS));
        self.journal.away = true;
        self.net.timer(Node::Client(0), 0, pause, Timer::Start);
    }

    fn weather(&mut self) {
        let fine = self.net.thousandths(400);
        let lose = u32::try_from(self.net.between(0, 100)).unwrap_or(0);
        let repeat = u32::try_from(self.net.between(0, 100)).unwrap_or(0);
        let slow = u32::try_from(self.net.between(0, 60)).unwrap_or(0);
        let slow_writes = u32::try_from(self.net.between(0, 40)).unwrap_or(0);
        let weather = if fine { Weather::default() } else { Weather { lose, repeat, slow, slow_writes } };
        self.net.weather = weather;
        self.net.note(format_args!("the network: {weather:?}"));
    }
}
