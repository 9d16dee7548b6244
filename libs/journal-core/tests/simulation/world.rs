//! Engines, voters, the network between them, and what goes wrong.

use bytes::Bytes;
use journal_core::acceptor::{self, Acceptor, ClientId, Reply};
use journal_core::proposer::{self, Proposer, VoterId};
use journal_core::{AppendReply, AppendRequest, ChainHash, EntryKind, FenceReply, FenceRequest, Tail, VoterConfig};
use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use types::{Epoch, Incarnation, Seq, ShardId, Timestamp};

use super::check::Check;
use super::disk::{Disk, Write};

const SHARD: ShardId = ShardId(3);
const ENGINES: usize = 3;

/// How bad the world is; chances are in thousandths.
#[derive(Clone, Copy)]
pub(crate) struct Faults {
    lose: u32,
    repeat: u32,
    reorder: u32,
    crash: u32,
    elect: u32,
    /// An epoch number is given out twice, as by a coordinator that lost its memory.
    reuse: u32,
    /// Questions to engines that believe to lead.
    read: u32,
}

impl Faults {
    pub(crate) const NONE: Self = Self { lose: 0, repeat: 0, reorder: 0, crash: 0, elect: 2, reuse: 0, read: 0 };
    pub(crate) const ELECTIONS: Self = Self { lose: 0, repeat: 0, reorder: 0, crash: 0, elect: 6, reuse: 0, read: 0 };
    pub(crate) const HOSTILE: Self =
        Self { lose: 60, repeat: 60, reorder: 300, crash: 5, elect: 10, reuse: 200, read: 0 };
    pub(crate) const HOSTILE_WITH_READS: Self =
        Self { lose: 60, repeat: 60, reorder: 100, crash: 0, elect: 3, reuse: 0, read: 60 };

    pub(crate) const fn has_reads(self) -> bool {
        self.read > 0
    }
}

enum Message {
    Fence { engine: usize, run: u64, voter: u8, request: FenceRequest },
    FenceReply { engine: usize, run: u64, voter: u8, reply: FenceReply },
    Append { engine: usize, run: u64, voter: u8, request: AppendRequest },
    AppendReply { engine: usize, run: u64, voter: u8, reply: AppendReply },
    Fetch { engine: usize, run: u64, voter: u8, from: Seq, to: Seq },
    Fetched { engine: usize, run: u64, entries: Vec<journal_core::Entry> },
    Stream { engine: usize, run: u64, voter: u8, open: bool },
}

impl Message {
    /// Reads are answered once; everything else may be lost or repeated.
    fn is_fragile(&self) -> bool {
        !matches!(self, Self::Fetch { .. } | Self::Fetched { .. } | Self::Stream { .. })
    }

    fn repeat(&self) -> Option<Self> {
        Some(match self {
            Self::Fence { engine, run, voter, request } => {
                Self::Fence { engine: *engine, run: *run, voter: *voter, request: request.clone() }
            }
            Self::FenceReply { engine, run, voter, reply } => {
                Self::FenceReply { engine: *engine, run: *run, voter: *voter, reply: reply.clone() }
            }
            Self::Append { engine, run, voter, request } => {
                Self::Append { engine: *engine, run: *run, voter: *voter, request: request.clone() }
            }
            Self::AppendReply { engine, run, voter, reply } => {
                Self::AppendReply { engine: *engine, run: *run, voter: *voter, reply: reply.clone() }
            }
            Self::Fetch { .. } | Self::Fetched { .. } | Self::Stream { .. } => return None,
        })
    }
}

struct Engine {
    proposer: Proposer,
    /// Counts its processes; messages for an earlier one are dropped.
    run: u64,
    incarnation: Incarnation,
    applied: Tail,
    log_time: Timestamp,
    /// Questions without an answer: their number, and what the answer must not lack.
    questions: Vec<(u64, Seq)>,
}

struct VoterNode {
    acceptor: Acceptor,
    disk: Disk,
    writing: Option<(u64, Write)>,
    /// Who waits for which answer: engine, its run, the hash at the end of what it sent, its epoch.
    clients: Vec<(usize, u64, Option<ChainHash>, Epoch)>,
}

pub(crate) struct World {
    rng: ChaCha8Rng,
    faults: Faults,
    engines: Vec<Engine>,
    voters: Vec<VoterNode>,
    network: Vec<Message>,
    epochs: u64,
    incarnations: u128,
    proposals: u64,
    reads: u64,
    pub(crate) check: Check,
}

impl World {
    pub(crate) fn new(seed: u64, voters: u8, faults: Faults) -> Self {
        let node = |number| {
            let disk = Disk::new(number, voters);
            let acceptor = Acceptor::new(SHARD, &format!("gateway-{number}"), disk.recover());
            VoterNode { acceptor, disk, writing: None, clients: Vec::new() }
        };
        let ids: Vec<VoterId> = (0..voters).map(VoterId).collect();
        let engine = |number: usize| Engine {
            proposer: Proposer::new(SHARD, &ids),
            run: 0,
            incarnation: Incarnation(number as u128 + 1),
            applied: Tail::default(),
            log_time: Timestamp(0),
            questions: Vec::new(),
        };
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            faults,
            engines: (0..ENGINES).map(engine).collect(),
            voters: (0..voters).map(node).collect(),
            network: Vec::new(),
            epochs: 0,
            incarnations: ENGINES as u128,
            proposals: 0,
            reads: 0,
            check: Check::default(),
        }
    }

    fn chance(&mut self, thousandths: u32) -> bool {
        self.rng.random_ratio(thousandths, 1000)
    }

    /// Lets everything happen that can, in an order drawn from the seed.
    pub(crate) fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            self.step();
        }
    }

    fn step(&mut self) {
        let Faults { crash, elect, .. } = self.faults;
        if self.chance(elect) || self.epochs == 0 {
            let engine = self.rng.random_range(0..ENGINES);
            self.elect(engine);
        } else if self.chance(crash) {
            if self.rng.random_bool(0.5) {
                let voter = self.rng.random_range(0..self.voters.len());
                self.crash_voter(voter);
            } else {
                let engine = self.rng.random_range(0..ENGINES);
                self.crash_engine(engine);
            }
        } else if self.faults.read > 0 && self.chance(self.faults.read) {
            let engine = self.rng.random_range(0..ENGINES);
            self.read(engine);
        } else {
            match self.rng.random_range(0..10) {
                0 => {
                    let engine = self.rng.random_range(0..ENGINES);
                    self.input(engine, proposer::Input::Heartbeat);
                }
                1 | 2 => {
                    let engine = self.rng.random_range(0..ENGINES);
                    self.propose(engine);
                }
                3 | 4 => {
                    let voter = self.rng.random_range(0..self.voters.len());
                    self.finish_write(voter);
                }
                _ => self.deliver(),
            }
        }
    }

    /// The end of all faults: a last leader must open, commit something new, and hold all that was ever final.
    pub(crate) fn heal_and_check(&mut self) {
        self.faults = Faults::NONE;
        self.faults.elect = 0;
        self.elect(0);
        let before = self.check.committed().len();
        for round in 0.. {
            assert!(round < 20_000, "nothing was committed after everything was healed");
            self.step();
            let committed = self.check.committed().len() as u64;
            if committed > before as u64 + 5 && self.engines[0].applied.seq.0 == committed {
                break;
            }
        }
    }

    /// Something that differs when two runs differ.
    pub(crate) fn fingerprint(&self) -> (Vec<ChainHash>, Vec<Tail>, u64) {
        let tails = self.voters.iter().map(|voter| voter.disk.tail()).collect();
        (self.check.committed().to_vec(), tails, self.proposals)
    }

    fn elect(&mut self, engine: usize) {
        let reuse = self.epochs > self.engines[engine].proposer.epoch().number && self.chance(self.faults.reuse);
        self.epochs += u64::from(!reuse);
        let node = &self.engines[engine];
        let input = proposer::Input::Elected {
            epoch: Epoch { number: self.epochs, owner: node.incarnation },
            config: self.config(),
            applied: node.applied,
            timestamp: Timestamp(node.log_time.0 + 1),
        };
        self.engines[engine].questions.clear();
        self.network.retain(|message| !matches!(message, Message::Stream { engine: e, .. } if *e == engine));
        self.input(engine, input);
    }

    fn config(&self) -> VoterConfig {
        self.voters[0].disk.control.config.clone()
    }

    fn propose(&mut self, engine: usize) {
        let node = &self.engines[engine];
        if node.proposer.can_propose() {
            self.proposals += 1;
            let payload = Bytes::copy_from_slice(&self.proposals.to_le_bytes());
            let timestamp = Timestamp(node.proposer.last_timestamp().0 + 1);
            self.input(engine, proposer::Input::Propose { kind: EntryKind::Batch, timestamp, payload });
        }
    }

    fn read(&mut self, engine: usize) {
        if self.engines[engine].proposer.is_open() {
            self.reads += 1;
            // Whatever any engine has applied may have been acknowledged.
            self.engines[engine].questions.push((self.reads, self.check.exposed()));
            self.input(engine, proposer::Input::Read { number: self.reads });
        }
    }

    fn crash_engine(&mut self, engine: usize) {
        self.incarnations += 1;
        let ids: Vec<VoterId> = (0..self.voters.len()).map(|id| VoterId(u8::try_from(id).unwrap())).collect();
        let run = self.engines[engine].run + 1;
        self.engines[engine] = Engine {
            proposer: Proposer::new(SHARD, &ids),
            run,
            incarnation: Incarnation(self.incarnations),
            applied: Tail::default(),
            log_time: Timestamp(0),
            questions: Vec::new(),
        };
    }

    fn crash_voter(&mut self, voter: usize) {
        let lost = self.rng.random_bool(0.5);
        let node = &mut self.voters[voter];
        // A write under way is on the disk afterwards or it is not.
        if let Some((_, write)) = node.writing.take()
            && !lost
        {
            node.disk.apply(write);
        }
        node.acceptor = Acceptor::new(SHARD, &format!("gateway-{voter}"), node.disk.recover());
        let voter = u8::try_from(voter).unwrap();
        for (engine, node) in self.engines.iter().enumerate() {
            self.network.push(Message::Stream { engine, run: node.run, voter, open: false });
        }
        self.check_disks();
    }

    fn check_disks(&mut self) {
        let disks: Vec<&Disk> = self.voters.iter().map(|voter| &voter.disk).collect();
        self.check.disks(&disks);
    }

    fn deliver(&mut self) {
        if self.network.is_empty() {
            return;
        }
        let at = if self.chance(self.faults.reorder) { self.rng.random_range(0..self.network.len()) } else { 0 };
        if self.network[at].is_fragile() {
            if self.chance(self.faults.lose) {
                self.network.remove(at);
                return;
            }
            if self.chance(self.faults.repeat)
                && let Some(copy) = self.network[at].repeat()
            {
                self.network.push(copy);
            }
        }
        match self.network.remove(at) {
            Message::Fence { engine, run, voter, request } => {
                let client = self.client(voter, engine, run, None, request.epoch);
                self.accept(voter, acceptor::Input::Fence { client, request });
            }
            Message::Append { engine, run, voter, request } => {
                let end = request.entries.last().map_or(request.prev_chain, |entry| entry.chain);
                let client = self.client(voter, engine, run, Some(end), request.epoch);
                self.accept(voter, acceptor::Input::Append { client, request });
            }
            Message::Fetch { engine, run, voter, from, to } => {
                let fails = self.chance(self.faults.lose);
                let entries = if fails { Vec::new() } else { self.voters[usize::from(voter)].disk.read(from, to) };
                self.network.push(Message::Fetched { engine, run, entries });
            }
            Message::FenceReply { engine, run, voter, reply } => {
                self.input_of_run(engine, run, proposer::Input::FenceReply { voter: VoterId(voter), reply });
            }
            Message::AppendReply { engine, run, voter, reply } => {
                self.input_of_run(engine, run, proposer::Input::AppendReply { voter: VoterId(voter), reply });
            }
            Message::Fetched { engine, run, entries } => {
                self.input_of_run(engine, run, proposer::Input::Fetched { entries });
            }
            Message::Stream { engine, run, voter, open } => {
                let voter = VoterId(voter);
                let opened = proposer::Input::StreamOpened { voter };
                self.input_of_run(engine, run, if open { opened } else { proposer::Input::StreamClosed { voter } });
            }
        }
    }

    fn client(&mut self, voter: u8, engine: usize, run: u64, end: Option<ChainHash>, epoch: Epoch) -> ClientId {
        let clients = &mut self.voters[usize::from(voter)].clients;
        clients.push((engine, run, end, epoch));
        ClientId(clients.len() as u64 - 1)
    }

    fn finish_write(&mut self, voter: usize) {
        if let Some((token, write)) = self.voters[voter].writing.take() {
            self.voters[voter].disk.apply(write);
            self.check_disks();
            self.accept(u8::try_from(voter).unwrap(), acceptor::Input::Persisted { token });
        }
    }

    fn accept(&mut self, voter: u8, input: acceptor::Input) {
        let mut effects = Vec::new();
        let node = &mut self.voters[usize::from(voter)];
        node.acceptor.step(input, &mut effects);
        for effect in effects {
            match effect {
                acceptor::Effect::PersistControl { token, control } => {
                    assert!(node.writing.replace((token, Write::Control(control))).is_none(), "two writes at a time");
                }
                acceptor::Effect::Write { token, unit } => {
                    assert!(node.writing.replace((token, Write::Unit(unit))).is_none(), "two writes at a time");
                }
                acceptor::Effect::Committed { seq } => {
                    let chain = node.disk.entries[usize::try_from(seq.0).unwrap() - 1].chain;
                    assert!(seq.0 <= self.check.committed().len() as u64, "I10: voter {voter} runs ahead to {seq}");
                    self.check.commit(&format!("voter {voter}"), seq, chain);
                }
                acceptor::Effect::Reply { client, reply } => {
                    let (engine, run, end, epoch) = node.clients[usize::try_from(client.0).unwrap()];
                    self.network.push(match reply {
                        Reply::Fence(reply) => {
                            if let FenceReply::Granted(granted) = &reply {
                                self.check.grant(voter, epoch, &node.disk);
                                assert_eq!(granted.last, node.disk.tail(), "I3: the grant tells what is durable");
                            }
                            Message::FenceReply { engine, run, voter, reply }
                        }
                        Reply::Append(reply) => {
                            if let AppendReply::Ok(ok) = &reply {
                                self.check.ack(voter, ok.match_seq, end, ok.epoch, &node.disk);
                            }
                            Message::AppendReply { engine, run, voter, reply }
                        }
                    });
                }
                acceptor::Effect::Reload | acceptor::Effect::Confirm { .. } => {
                    panic!("nobody else writes to these disks")
                }
                acceptor::Effect::Quarantine { reason } => panic!("voter {voter} quarantined: {reason}"),
            }
        }
    }

    fn input_of_run(&mut self, engine: usize, run: u64, input: proposer::Input) {
        if self.engines[engine].run == run {
            self.input(engine, input);
        }
    }

    fn input(&mut self, engine: usize, input: proposer::Input) {
        let mut effects = Vec::new();
        let node = &mut self.engines[engine];
        node.proposer.step(input, &mut effects);
        let run = node.run;
        let commit = node.proposer.commit();
        if commit == node.proposer.last().seq {
            let disks: Vec<&Disk> = self.voters.iter().map(|voter| &voter.disk).collect();
            let chain = node.proposer.last().chain;
            self.check.commit_prefix(&format!("engine {engine}"), commit, chain, &disks);
        }
        for effect in effects {
            match effect {
                proposer::Effect::Fence { voter: VoterId(voter), request } => {
                    self.network.push(Message::Fence { engine, run, voter, request });
                }
                proposer::Effect::Fetch { voter: VoterId(voter), from, to } => {
                    assert!(from <= to && from > Seq(0), "an empty fetch");
                    self.network.push(Message::Fetch { engine, run, voter, from, to });
                }
                proposer::Effect::OpenStream { voter: VoterId(voter) } => {
                    self.network.push(Message::Stream { engine, run, voter, open: true });
                }
                proposer::Effect::Append { voter: VoterId(voter), request } => {
                    self.network.push(Message::Append { engine, run, voter, request });
                }
                proposer::Effect::Committed { seq } => {
                    let node = &mut self.engines[engine];
                    while node.applied.seq < seq {
                        let next = node.applied.seq.next();
                        let entry = node.proposer.entry(next).expect("what is committed can be read");
                        assert_eq!(entry.prev_chain, node.applied.chain, "engine {engine} is given another log");
                        assert!(entry.timestamp > node.log_time, "log time goes back at {next}");
                        node.applied = entry.tail();
                        node.log_time = entry.timestamp;
                        self.check.commit(&format!("engine {engine}"), next, entry.chain);
                        self.check.expose(next);
                    }
                }
                proposer::Effect::ReadsConfirmed { up_to } => {
                    let node = &mut self.engines[engine];
                    let confirmed = node.questions.extract_if(.., |(number, _)| *number <= up_to);
                    confirmed.for_each(|(_, exposed)| self.check.read(engine, node.applied.seq, exposed));
                }
                proposer::Effect::Opened => {
                    let node = &self.engines[engine];
                    assert!(node.applied.seq >= node.proposer.commit(), "I11: open before everything was applied");
                    self.check.open(node.proposer.epoch());
                }
                proposer::Effect::Adopted { .. } | proposer::Effect::Deposed { .. } => {}
                proposer::Effect::Halt { reason } => panic!("engine {engine} halted: {reason}"),
            }
        }
    }
}
