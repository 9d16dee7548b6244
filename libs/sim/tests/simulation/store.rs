//! etcd: keys, leases and guarded transactions, all in one place and in one order; clients of it may wait in vain.

use std::collections::BTreeMap;
use std::time::Duration;

use journal_core::placement::{Holder, Note, Session, Shard, Stored, Target};
use types::{Epoch, Incarnation};

use super::SHARD;
use super::message::{Change, Message};
use super::net::{MS, Micros, Net, Node, SECOND};

const LEASE: Micros = 5 * SECOND;
const TARGET: Micros = 4 * SECOND;
/// Time a leader needs until its voters hear it, on an idle disk.
const HEARD: Micros = 300 * MS;

struct Lease {
    number: u64,
    end: Micros,
    name: String,
    note: Note,
}

pub(crate) struct Store {
    pub(crate) away: bool,
    revision: u64,
    leases: BTreeMap<Incarnation, Lease>,
    number: u64,
    holder: Option<Holder>,
    /// Lease to which the leader's key belongs.
    key: Option<u64>,
    /// When it was given.
    given: Micros,
    target: Option<(Target, Micros)>,
    pub(crate) paused: bool,
    next_lease: u64,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self {
            away: false,
            revision: 1,
            leases: BTreeMap::new(),
            number: 0,
            holder: None,
            key: None,
            given: 0,
            target: None,
            paused: false,
            next_lease: 1,
        }
    }

    /// etcd has another leader, or comes back: every lease begins anew.
    pub(crate) fn refill(&mut self, now: Micros) {
        for lease in self.leases.values_mut() {
            lease.end = now + LEASE;
        }
    }

    /// etcd was restored from a backup of its first day: numbers are given out again.
    pub(crate) fn forget(&mut self) {
        let next_lease = self.next_lease;
        *self = Self { next_lease, away: self.away, revision: self.revision + 1, ..Self::new() };
    }

    pub(crate) fn leader(&self) -> Option<Epoch> {
        let holder = self.holder.as_ref().filter(|holder| !holder.ended)?;
        let lease = self.leases.get(&holder.epoch.owner)?;
        (Some(lease.number) == self.key).then_some(holder.epoch)
    }

    pub(crate) fn sessions(&self) -> Vec<Incarnation> {
        self.leases.keys().copied().collect()
    }

    pub(crate) fn on(&mut self, from: Node, message: Message, net: &mut Net) {
        if self.away {
            return;
        }
        self.expire(net);
        match message {
            Message::Look { number, run } => {
                let stored = Box::new(self.stored(net.now));
                let answer = Message::Looked { number, stored };
                net.send(Node::Store, from, Some(run), answer);
            }
            Message::Change { number, run, change } => {
                let before = self.revision;
                let given = self.change(change, net);
                net.send(Node::Store, from, Some(run), Message::Changed { number, given });
                if self.revision != before {
                    self.tell(net);
                }
            }
            _ => {}
        }
    }

    /// Ends what has run out. etcd does so every 500 ms.
    pub(crate) fn expire(&mut self, net: &mut Net) {
        let now = net.now;
        let leader = self.leader();
        let before = self.leases.len();
        if !self.away {
            self.leases.retain(|_, lease| lease.end > now);
            self.target = self.target.filter(|(_, end)| *end > now);
        }
        if leader != self.leader() {
            net.note(format_args!("the lease of the leader has run out"));
        }
        if before != self.leases.len() {
            self.revision += 1;
            self.tell(net);
        }
    }

    /// A watch is a hint: it may be late or lost.
    fn tell(&self, net: &mut Net) {
        for number in 0..super::COORDINATORS {
            if !net.thousandths(100) {
                net.send(Node::Store, Node::Coordinator(number), None, Message::Watch);
            }
        }
    }

    fn stored(&self, now: Micros) -> Stored {
        let session = |lease: &Lease| Session { name: lease.name.clone(), note: lease.note.clone() };
        let left = self.leader().and_then(|leader| self.leases.get(&leader.owner)).map(|lease| lease.end - now);
        let shard = Shard {
            number: self.number,
            holder: self.holder.clone(),
            // In whole seconds, rounded down.
            lease: left.map(|left| Duration::from_secs(left / SECOND)),
            target: self.target.map(|(target, _)| target),
        };
        let mut stored = Stored {
            engines: self.leases.iter().map(|(engine, lease)| (*engine, session(lease))).collect(),
            shards: BTreeMap::from([(SHARD, shard)]),
            ..Stored::default()
        };
        stored.policy.paused = self.paused;
        stored
    }

    fn change(&mut self, change: Change, net: &mut Net) -> Option<Epoch> {
        let now = net.now;
        match change {
            Change::Keep { engine, name, note } => {
                let changed = self.leases.get(&engine).is_none_or(|lease| lease.note != note);
                let number = self.leases.get(&engine).map_or(self.next_lease, |lease| lease.number);
                self.next_lease = self.next_lease.max(number + 1);
                self.leases.insert(engine, Lease { number, end: now + LEASE, name, note });
                self.revision += u64::from(changed);
                None
            }
            Change::Acquire { engine, name, highest, read } => {
                let lease = self.leases.get(&engine)?.number;
                let free = self.leader().is_none_or(|leader| leader.owner == engine);
                if read != self.number || !free {
                    return None;
                }
                self.number = self.number.max(highest) + 1;
                let epoch = Epoch { number: self.number, owner: engine };
                net.note(format_args!("{name} is given epoch {}", epoch.number));
                self.holder = Some(Holder { name, epoch, ended: false });
                self.key = Some(lease);
                self.given = now;
                self.target = None;
                self.revision += 1;
                Some(epoch)
            }
            Change::Release { epoch } | Change::Depose { epoch } => {
                let young = self.leader() == Some(epoch) && now < self.given + HEARD;
                let deposed = matches!(change, Change::Depose { .. });
                assert!(!(young && deposed), "epoch {} is deposed before anybody could hear of it", epoch.number);
                let holder = self.holder.as_mut().filter(|holder| holder.epoch == epoch && !holder.ended)?;
                holder.ended = true;
                self.revision += 1;
                net.note(format_args!("epoch {} is over", epoch.number));
                None
            }
            Change::Restore { epoch } => {
                let held = self.holder.as_ref().is_some_and(|holder| holder.epoch == epoch && !holder.ended);
                if held && self.leader().is_none() {
                    self.key = Some(self.leases.get(&epoch.owner)?.number);
                    self.revision += 1;
                    net.note(format_args!("epoch {} has its key again", epoch.number));
                }
                None
            }
            Change::Away { engine } => {
                self.leases.get_mut(&engine)?.note.away = true;
                self.revision += 1;
                None
            }
            Change::Force { engine } => {
                self.target = Some((Target { engine, forced: true }, now + TARGET));
                self.revision += 1;
                None
            }
        }
    }
}
