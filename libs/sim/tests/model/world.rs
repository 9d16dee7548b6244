//! The whole world: the store of leaderships, engines, voters, messages under way, and what may happen next.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use journal_core::acceptor::{self, ClientId, Reply};
use journal_core::proposer::{self, VoterId};
use journal_core::{AppendReply, AppendRequest, Entry, EntryKind, FenceReply, FenceRequest, VoterConfig};
use types::{Epoch, Seq};

use super::engine::Engine;
use super::mutants::Mutant;
use super::truth::Truth;
use super::voter::{Answers, Disk, Judge, VoterNode};

/// A part that many worlds share, hashed once.
#[derive(Clone, Debug)]
pub(crate) struct Shared<T>(Arc<(u64, T)>);

impl<T: Hash> Shared<T> {
    pub(crate) fn new(part: T) -> Self {
        let mut hasher = DefaultHasher::new();
        part.hash(&mut hasher);
        Self(Arc::new((hasher.finish(), part)))
    }
}

impl<T> Shared<T> {
    pub(crate) fn get(&self) -> &T {
        &self.0.1
    }

    fn key(&self) -> u64 {
        self.0.0
    }
}

impl<T> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.0);
    }
}

impl<T> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.0 == other.0.0
    }
}

/// A message between an engine process and a voter.
#[derive(Clone, Debug, Hash)]
pub(crate) enum Packet {
    Fence { from: u8, voter: u8, request: FenceRequest },
    Append { from: u8, voter: u8, request: AppendRequest },
    FenceReply { to: u8, voter: u8, reply: FenceReply },
    AppendReply { to: u8, voter: u8, reply: AppendReply },
}

/// What etcd holds. The leader's key stands until its lease ends, at any moment.
#[derive(Clone, Debug, Default, PartialEq, Hash)]
pub(crate) struct Store {
    pub(crate) counter: u64,
    /// Counts all changes; only a mutant looks at it.
    pub(crate) revision: u64,
    pub(crate) leader: Option<Epoch>,
    /// A leader whose lease has run out: it may have the shard again under the same epoch until somebody else has it.
    pub(crate) lapsed: Option<Epoch>,
}

/// How often what may still happen.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(crate) struct Left {
    pub(crate) epochs: u8,
    pub(crate) commands: u8,
    pub(crate) repeats: u8,
    pub(crate) engine_crashes: u8,
    pub(crate) voter_crashes: u8,
    pub(crate) store_losses: u8,
    pub(crate) lost_answers: u8,
}

/// One state of the world. Engines are interchangeable and kept sorted, messages too.
#[derive(Clone, Debug, Hash, PartialEq)]
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) engines: Vec<Shared<Engine>>,
    pub(crate) voters: Vec<Shared<VoterNode>>,
    pub(crate) network: Vec<Shared<Packet>>,
    pub(crate) truth: Truth,
    pub(crate) left: Left,
    /// Processes that were ever given a leadership.
    pub(crate) incarnations: u8,
}

/// What may happen. Numbers are places in the sorted lists.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Action {
    /// An engine asks for the leadership and gets it; if `lost`, it does not hear of it.
    Acquire { engine: usize, lost: bool },
    /// With a mutant: a coordinator reads the counter for an engine, to raise it later.
    ReadCounter { engine: usize },
    /// An engine gives back what it has; if `lost`, nobody hears of it.
    Release { engine: usize, lost: bool },
    /// The lease of the leader ends.
    Expire,
    /// A leader that was heard again gets its key back, under the same epoch.
    Restore,
    /// A coordinator tells an engine that somebody else leads, or nobody.
    Depose { engine: usize },
    /// etcd comes back without what it knew, or, with a mutant, with an older revision.
    LoseStore,
    /// A client's command is proposed.
    Propose { engine: usize },
    /// 100 ms pass for a leader.
    Beat { engine: usize },
    /// A message arrives by way of a gateway; if `keep`, it will arrive again.
    Deliver { packet: usize, way: usize, keep: bool },
    /// The write under way at a gateway is durable.
    Write { voter: usize, way: usize },
    /// A standby applies what is final.
    Follow { engine: usize, voter: usize, way: usize },
    /// A process ends and starts anew.
    CrashEngine { engine: usize },
    /// A gateway ends and starts anew; the write under way is on the disk or not.
    CrashVoter { voter: usize, way: usize, applied: bool },
}

impl World {
    pub(crate) fn new(engines: usize, voters: u8, gateways: u8, left: Left) -> Self {
        Self {
            store: Store::default(),
            engines: (0..engines).map(|_| Shared::new(Engine::new(voters))).collect(),
            voters: (0..voters).map(|number| Shared::new(VoterNode::new(number, voters, gateways))).collect(),
            network: Vec::new(),
            truth: Truth::default(),
            left,
            incarnations: 0,
        }
    }

    /// With gateways that do not know of one another.
    pub(crate) fn unaware(mut self) -> Self {
        self.voters = self.voters.iter().map(|voter| Shared::new(voter.get().clone().unaware())).collect();
        self
    }

    /// After a leader of epoch 1, now gone, brought `held[v]` entries of `log` to voter v, and told its client what it
    /// could: what a majority holds.
    pub(crate) fn after_a_leader(mut self, log: &[Entry], held: &[usize]) -> Self {
        let Some(epoch) = log.first().map(|entry| entry.epoch) else { return self };
        self.incarnations = 1;
        self.store.counter = epoch.number;
        self.truth.issue(epoch);
        let voters = u8::try_from(held.len()).unwrap_or(u8::MAX);
        let node = |number: u8| VoterNode::with_log(number, voters, &log[..held[usize::from(number)]], epoch);
        self.voters = (0..voters).map(|number| Shared::new(node(number))).collect();
        let disks = Self::disks(&self.voters);
        for at in log.iter().map(Entry::tail) {
            let committed = disks.iter().filter(|disk| disk.holds(at.seq, at.chain)).count() > disks.len() / 2;
            let command = log.iter().any(|entry| entry.tail() == at && entry.kind == EntryKind::Batch);
            if command {
                self.truth.propose(at);
            }
            if committed {
                self.truth.expose(at, Some(epoch), &disks);
                if command {
                    self.truth.acknowledge(at, epoch);
                }
            }
        }
        self
    }

    pub(crate) fn config(&self) -> VoterConfig {
        self.voters[0].get().disk.control.config.clone()
    }

    pub(crate) fn disks(voters: &[Shared<VoterNode>]) -> Vec<&Disk> {
        voters.iter().map(|voter| &voter.get().disk).collect()
    }

    pub(crate) fn send(&mut self, packet: Packet) {
        let packet = Shared::new(packet);
        let at = self.network.partition_point(|known| known.key() <= packet.key());
        self.network.insert(at, packet);
    }

    pub(crate) fn put(&mut self, at: usize, engine: Engine) {
        self.engines[at] = Shared::new(engine);
        self.engines.sort_by_key(Shared::key);
    }

    /// Delivers a message; it stays under way if it is to arrive again.
    pub(crate) fn deliver(&mut self, packet: usize, way: usize, keep: bool, mutant: Option<Mutant>) {
        let message = if keep { self.network[packet].clone() } else { self.network.remove(packet) };
        match message.get().clone() {
            Packet::Fence { from, voter, request } => {
                let input = acceptor::Input::Fence { client: ClientId(u64::from(from)), request };
                self.voter(voter, mutant, |node, judge| node.take(way, input, judge));
            }
            Packet::Append { from, voter, request } => {
                let input = acceptor::Input::Append { client: ClientId(u64::from(from)), request };
                self.voter(voter, mutant, |node, judge| node.take(way, input, judge));
            }
            Packet::FenceReply { to, voter, reply } => {
                let voter = VoterId(voter);
                self.leader(to, proposer::Input::FenceReply { voter, reply }, mutant);
            }
            Packet::AppendReply { to, voter, reply } => {
                let voter = VoterId(voter);
                self.leader(to, proposer::Input::AppendReply { voter, reply }, mutant);
            }
        }
    }

    fn leader(&mut self, incarnation: u8, input: proposer::Input, mutant: Option<Mutant>) {
        // A process that ended hears nothing.
        if let Some(at) = self.engines.iter().position(|engine| engine.get().incarnation == incarnation) {
            self.engine(at, mutant, |engine, world, mutant| engine.propose(input, world, mutant));
        }
    }

    pub(crate) fn engine(
        &mut self,
        at: usize,
        mutant: Option<Mutant>,
        act: impl FnOnce(&mut Engine, &mut Self, Option<Mutant>),
    ) {
        let mut engine = self.engines[at].get().clone();
        act(&mut engine, self, mutant);
        self.put(at, engine);
    }

    pub(crate) fn voter(
        &mut self,
        number: u8,
        mutant: Option<Mutant>,
        act: impl FnOnce(&mut VoterNode, &mut Judge<'_>) -> Answers,
    ) {
        let at = usize::from(number);
        let mut node = self.voters[at].get().clone();
        let answers = act(&mut node, &mut Judge { truth: &mut self.truth, mutant });
        self.voters[at] = Shared::new(node);
        self.truth.disks(&Self::disks(&self.voters));
        for (to, reply) in answers {
            let alive = self.engines.iter().any(|engine| engine.get().incarnation == to);
            if alive {
                self.send(match reply {
                    Reply::Fence(reply) => Packet::FenceReply { to, voter: number, reply },
                    Reply::Append(reply) => Packet::AppendReply { to, voter: number, reply },
                });
            }
        }
    }

    /// What a dead process would have heard is heard by nobody: the same as if it were never sent.
    pub(crate) fn forget(&mut self, incarnation: u8) {
        self.network.retain(|packet| match packet.get() {
            Packet::FenceReply { to, .. } | Packet::AppendReply { to, .. } => *to != incarnation,
            Packet::Fence { .. } | Packet::Append { .. } => true,
        });
    }

    /// Entries of a voter from `from` to `to`.
    pub(crate) fn read(&self, voter: VoterId, from: Seq, to: Seq) -> Vec<Entry> {
        self.voters[usize::from(voter.0)].get().disk.read(from, to)
    }

    /// What an action is, for people.
    pub(crate) fn describe(&self, action: Action) -> String {
        let engine = |at: usize| self.engines[at].get().name();
        let end = |node: usize| self.voters[node].get().disk.tail();
        match action {
            Action::Acquire { engine: at, lost } => {
                let heard = if lost { ", and does not hear of it" } else { "" };
                format!("{} is given the leadership; the counter was {}{heard}", engine(at), self.store.counter)
            }
            Action::ReadCounter { engine: at } => format!("the counter is read for {}", engine(at)),
            Action::Release { engine: at, lost } => {
                format!("{} gives the leadership back{}", engine(at), if lost { ", unheard" } else { "" })
            }
            Action::Expire => "the lease ends".to_owned(),
            Action::Restore => "the leader's key is put back".to_owned(),
            Action::Depose { engine: at } => format!("{} is told that it is deposed", engine(at)),
            Action::LoseStore => "the store loses its memory".to_owned(),
            Action::Propose { engine: at } => format!("{} proposes a command", engine(at)),
            Action::Beat { engine: at } => format!("{} sends a heartbeat", engine(at)),
            Action::Deliver { packet, way, keep } => {
                let again = if keep { ", and will again" } else { "" };
                format!("{} arrives by way {way}{again}", self.network[packet].get().describe())
            }
            Action::Write { voter, way } => {
                format!("the write of voter {voter}, way {way}, is durable; its log ended at {}", end(voter).seq)
            }
            Action::Follow { engine: at, voter, .. } => format!("{} applies what voter {voter} has", engine(at)),
            Action::CrashEngine { engine: at } => format!("{} crashes", engine(at)),
            Action::CrashVoter { voter, way, applied } => {
                format!("voter {voter}, way {way}, crashes; its write {}", if applied { "stays" } else { "is lost" })
            }
        }
    }
}

impl Packet {
    fn describe(&self) -> String {
        match self {
            Self::Fence { from, voter, request } => {
                format!("process {from}'s fence of epoch {} to voter {voter}", request.epoch.number)
            }
            Self::Append { from, voter, request } => {
                let AppendRequest { epoch, prev_seq, entries, .. } = request;
                let entries = entries.len();
                format!("process {from}'s append of {entries} after {prev_seq}, epoch {}, to {voter}", epoch.number)
            }
            Self::FenceReply { to, voter, reply } => {
                let reply = match reply {
                    FenceReply::Granted(granted) => format!("a log up to {}", granted.last.seq),
                    other => format!("{other:?}"),
                };
                format!("voter {voter}'s answer to process {to}'s fence: {reply}")
            }
            Self::AppendReply { to, voter, reply } => {
                let reply = match reply {
                    AppendReply::Ok(ok) => format!("durable up to {}", ok.match_seq),
                    other => format!("{other:?}"),
                };
                format!("voter {voter}'s answer to process {to}'s append: {reply}")
            }
        }
    }
}
