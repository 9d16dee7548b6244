//! A leader's rules for one shard: fence the voters, adopt the log that must be adopted, begin the epoch, replicate,
//! and say what is final.
//!
//! The way of one leadership: [`Input::Elected`] → every voter is asked for the epoch → a majority grants → the log
//! with the highest (epoch, seq) among them is adopted (I6) → an `EpochStart` entry is appended to it (H2) → it is
//! durable on a majority → what the engine has not applied yet is read and handed over → [`Effect::Opened`]. From
//! then on [`Input::Propose`] appends.
//!
//! For the shell:
//! - Entries up to a [`Effect::Committed`] are found by [`Proposer::entry`] until the next step, and nowhere else
//!   before: they are applied in order, each once.
//! - Every [`Effect::Fence`] is answered by [`Input::FenceReply`] (a call that failed by `FenceReply::Failed`), every
//!   [`Effect::Fetch`] by [`Input::Fetched`] (nothing, if it failed); there is one fetch at a time.
//! - An append stream carries requests and replies in order. It is closed by the shell when it fails, and when the
//!   leadership ends ([`Effect::Deposed`], [`Effect::Halt`], [`Input::StepDown`], a new [`Input::Elected`]).
//! - Questions that were put by [`Input::Read`] and not confirmed when the leadership ends are never confirmed.
//! - [`Input::Heartbeat`] comes every 100 ms, whether or not anything else happens.

mod adoption;
mod peer;
mod reads;
mod replication;
mod ring;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use types::{Epoch, LogId, Seq, ShardId, Timestamp};

use self::peer::Peer;
use self::reads::Reads;
use self::ring::Ring;
use crate::{AppendReply, AppendRequest, Entry, EntryKind, EpochStart, FenceReply, FenceRequest, Tail, VoterConfig};

/// Entries that may be proposed and not yet final. With group commit at one entry per disk write, 64 are under way to
/// a voter; this leaves room for voters at different speeds and stays under 16 MiB for usual batches.
pub const MAX_UNCOMMITTED_ENTRIES: usize = 1024;
/// Bytes of payload that may be proposed and not yet final.
pub const MAX_UNCOMMITTED_BYTES: usize = 16 << 20;

/// A voter, as the shell knows it: index of its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VoterId(pub u8);

/// What happens to a leader.
#[derive(Clone, Debug)]
pub enum Input {
    /// The coordinator made this engine leader. Begins from anew, whatever was before.
    Elected {
        /// The fencing token; its number is above that of every earlier leadership of this process.
        epoch: Epoch,
        /// Voters, read together with the epoch (I15).
        config: VoterConfig,
        /// Last entry the engine has applied.
        applied: Tail,
        /// The wall clock, and above the log time of `applied`. The epoch's first entry is stamped with it, or later.
        timestamp: Timestamp,
    },
    /// An answer to [`Effect::Fence`].
    FenceReply {
        /// Whose.
        voter: VoterId,
        /// What.
        reply: FenceReply,
    },
    /// The answer to [`Effect::Fetch`]: entries from its `from` on, in order, not necessarily all; none if the
    /// fetch failed.
    Fetched {
        /// The entries.
        entries: Vec<Entry>,
    },
    /// Append an entry. Only while [`Proposer::can_propose`].
    Propose {
        /// What for.
        kind: EntryKind,
        /// Log time; above [`Proposer::last_timestamp`].
        timestamp: Timestamp,
        /// At most [`crate::MAX_PAYLOAD_BYTES`].
        payload: Bytes,
    },
    /// An append stream asked for by [`Effect::OpenStream`] is open; or another one, in the place of one that was lost
    /// and not said to be.
    StreamOpened {
        /// To whom.
        voter: VoterId,
    },
    /// It could not be opened, or is broken.
    StreamClosed {
        /// To whom.
        voter: VoterId,
    },
    /// A reply on an append stream.
    AppendReply {
        /// Whose.
        voter: VoterId,
        /// What.
        reply: AppendReply,
    },
    /// A question came that must be answered from a state that lacks nothing acknowledged before (H8).
    Read {
        /// Its number, above those of all questions before.
        number: u64,
    },
    /// 100 ms have passed.
    Heartbeat,
    /// Stop leading.
    StepDown {
        /// Why, for people.
        reason: String,
    },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask a voter for the epoch.
    Fence {
        /// Whom.
        voter: VoterId,
        /// What.
        request: FenceRequest,
    },
    /// Enough voters granted the epoch, and this log was chosen; entries after it are gone for good.
    Adopted {
        /// Its end.
        tail: Tail,
    },
    /// Read `from ..= to` at a voter, committed or not.
    Fetch {
        /// Where.
        voter: VoterId,
        /// First seq.
        from: Seq,
        /// Last seq.
        to: Seq,
    },
    /// Open an append stream.
    OpenStream {
        /// To whom.
        voter: VoterId,
    },
    /// Send on the append stream.
    Append {
        /// To whom.
        voter: VoterId,
        /// What.
        request: AppendRequest,
    },
    /// Everything up to here is final (I9): apply it, and acknowledge what was waiting for it (I11).
    Committed {
        /// Up to here.
        seq: Seq,
    },
    /// This leader still led when these questions had come: what is applied now answers them.
    ReadsConfirmed {
        /// The newest one.
        up_to: u64,
    },
    /// The epoch has begun and everything before it was handed over: retries may be answered, requests taken.
    Opened,
    /// Enough voters belong to a newer leader; nothing can become final any more. What waits has an unknown outcome.
    Deposed {
        /// The newest epoch heard of: the next one asked for must be above it.
        promised: Epoch,
    },
    /// What was found must not be built upon.
    Halt {
        /// What.
        reason: HaltReason,
    },
}

/// Why a leader must not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HaltReason {
    /// The engine's state is older than the oldest entry held: load a snapshot, then stand again.
    #[error("the applied state ends at {applied}, the log begins after {base}: load a newer snapshot and stand again")]
    StateTooOld {
        /// Last applied seq.
        applied: Seq,
        /// Last seq that is not held.
        base: Seq,
    },
    /// The engine applied something that is not in the log.
    #[error("the applied state is not a state of this log at {at}: load a snapshot and stand again")]
    StateOffLog {
        /// Where they part, or the last place they could be compared.
        at: Seq,
    },
    /// I16: entries known to be final are missing at a majority of voters.
    #[error(
        "committed entries are missing: the best log ends at {chosen}, {known} is known to be committed; bring the other voters back, or restore"
    )]
    CommittedMissing {
        /// End of the best log.
        chosen: Seq,
        /// Highest seq known to be final.
        known: Seq,
    },
    /// Voters hold different histories, or another one than the engine.
    #[error(
        "history {found} was found where {expected} was expected: a restore is under way, or a voter belongs elsewhere"
    )]
    OtherHistory {
        /// The one expected.
        expected: LogId,
        /// The one found.
        found: LogId,
    },
    /// Two voters say they are the same disk, or their logs contradict each other.
    #[error("voters contradict each other: {0}")]
    Contradiction(String),
    /// Too many voters found damage in their logs.
    #[error(
        "too many voters found damage in their logs to know what was acknowledged: bring a clean voter back, or restore"
    )]
    NoCleanMajority,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// Not leading.
    Idle,
    /// Waiting for grants.
    Fencing,
    /// A log is chosen, its last entries are being read, for their time and for what the engine lacks.
    Anchoring,
    /// The first entry of the epoch is on its way.
    Opening,
    /// The epoch has begun; the engine is given what it has not applied yet.
    Replaying,
    /// Taking proposals.
    Open,
}

/// What the fetch under way is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fetching {
    Anchor,
    Replay,
    /// For a voter that lacks entries which are no longer in the ring.
    Fill(VoterId),
}

/// The core of one leader, for one shard.
#[derive(Clone, Debug, Hash)]
pub struct Proposer {
    shard: ShardId,
    peers: Vec<Peer>,
    phase: Phase,
    epoch: Epoch,
    config: VoterConfig,
    log_id: LogId,
    /// Last entry handed to the engine.
    applied: Tail,
    /// The chosen log.
    adopted: Tail,
    /// First seq of this epoch; 0 before it is known.
    start: Seq,
    epochs: Vec<EpochStart>,
    /// Entries of this epoch that may have to be sent again.
    ring: Ring,
    /// Entries handed over during the replay, readable until the next step.
    handed: Vec<Entry>,
    /// What the engine lacks of the chosen log, read before the epoch began.
    read_ahead: Vec<Entry>,
    /// Whether that is too much to be read at once.
    anchor_alone: bool,
    /// End of this leader's log.
    last: Tail,
    last_timestamp: Timestamp,
    commit: Seq,
    fetch: Option<Fetching>,
    /// Counts fetches, so that a failed one is tried elsewhere.
    fetches: usize,
    /// Heartbeats since the election.
    ticks: u64,
    reads: Reads,
}

impl Proposer {
    /// A leader that is not elected yet, of a shard kept by `voters`.
    ///
    /// # Panics
    /// If there are no voters, or one twice.
    #[must_use]
    pub fn new(shard: ShardId, voters: &[VoterId]) -> Self {
        assert!(!voters.is_empty(), "a journal has at least one voter");
        let mut peers: Vec<Peer> = voters.iter().copied().map(Peer::new).collect();
        peers.sort_by_key(|peer| peer.id);
        assert!(peers.windows(2).all(|pair| pair[0].id != pair[1].id), "every voter once");
        Self {
            shard,
            peers,
            phase: Phase::Idle,
            epoch: Epoch::default(),
            config: VoterConfig::default(),
            log_id: LogId(0),
            applied: Tail::default(),
            adopted: Tail::default(),
            start: Seq(0),
            epochs: Vec::new(),
            ring: Ring::default(),
            handed: Vec::new(),
            read_ahead: Vec::new(),
            anchor_alone: false,
            last: Tail::default(),
            last_timestamp: Timestamp(0),
            commit: Seq(0),
            fetch: None,
            fetches: 0,
            ticks: 0,
            reads: Reads::default(),
        }
    }

    /// Highest final seq of this leadership.
    #[must_use]
    pub const fn commit(&self) -> Seq {
        self.commit
    }

    /// The epoch it leads or led under, or tries to.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The history; 0 before the first grant.
    #[must_use]
    pub const fn log_id(&self) -> LogId {
        self.log_id
    }

    /// End of its log, final or not.
    #[must_use]
    pub const fn last(&self) -> Tail {
        self.last
    }

    /// Log time of its last entry; the next proposal's must be above it.
    #[must_use]
    pub const fn last_timestamp(&self) -> Timestamp {
        self.last_timestamp
    }

    /// Whether it takes proposals at all.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether it takes a proposal now: it is open and has room to remember it until it is final.
    #[must_use]
    pub fn can_propose(&self) -> bool {
        self.is_open()
            && self.uncommitted() < MAX_UNCOMMITTED_ENTRIES
            && self.ring.bytes_after(self.commit) < MAX_UNCOMMITTED_BYTES
    }

    /// Entries proposed and not yet final.
    #[must_use]
    pub fn uncommitted(&self) -> usize {
        usize::try_from(self.last.seq.0.saturating_sub(self.commit.0)).unwrap_or(usize::MAX)
    }

    /// An entry that was just committed, or is not committed yet. See the notes for the shell.
    #[must_use]
    pub fn entry(&self, seq: Seq) -> Option<&Entry> {
        self.ring.get(seq).or_else(|| {
            let first = self.handed.first()?.seq;
            self.handed.get(usize::try_from(seq.0.checked_sub(first.0)?).ok()?)
        })
    }

    /// Whether a majority of the voters answered lately (within 500 ms).
    #[must_use]
    pub fn journal_reachable(&self) -> bool {
        self.phase != Phase::Idle
            && self.is_quorum(|peer| peer.answered_since(self.ticks.saturating_sub(peer::QUIET_TICKS)))
    }

    /// Voters that belong to somebody else's newer epoch. A minority of them does not hinder; a new epoch wins them
    /// back.
    pub fn lost_voters(&self) -> impl Iterator<Item = (VoterId, Epoch)> {
        self.peers.iter().filter_map(|peer| Some((peer.id, peer.refused?)))
    }

    /// Voters that lack entries which nobody holds any more: they need a snapshot.
    pub fn stranded_voters(&self) -> impl Iterator<Item = VoterId> {
        self.peers.iter().filter(|peer| peer.stranded).map(|peer| peer.id)
    }

    /// Takes one input; appends what is to be done to `out`.
    ///
    /// # Panics
    /// On [`Input::Propose`] while it does not take proposals or with a timestamp that is not above the last, and
    /// when a rule of the protocol turns out to be broken.
    pub fn step(&mut self, input: Input, out: &mut Vec<Effect>) {
        self.handed.clear();
        self.forget_settled();
        match input {
            Input::Elected { epoch, config, applied, timestamp } => {
                self.elected(epoch, config, applied, timestamp, out);
            }
            Input::StepDown { reason: _ } => self.stop(),
            _ if self.phase == Phase::Idle => {}
            Input::FenceReply { voter, reply } => self.fence_reply(voter, reply, out),
            Input::Fetched { entries } => self.fetched(entries, out),
            Input::Propose { kind, timestamp, payload } => self.propose(kind, timestamp, payload, out),
            Input::StreamOpened { voter } => self.stream_opened(voter, out),
            Input::StreamClosed { voter } => self.stream_closed(voter),
            Input::AppendReply { voter, reply } => self.append_reply(voter, reply, out),
            Input::Read { number } => self.read(number, out),
            Input::Heartbeat => self.heartbeat(out),
        }
    }

    fn propose(&mut self, kind: EntryKind, timestamp: Timestamp, payload: Bytes, out: &mut Vec<Effect>) {
        assert!(self.can_propose(), "proposals are taken only while can_propose() says so");
        assert!(payload.len() <= crate::MAX_PAYLOAD_BYTES, "a batch is cut before it is this large");
        assert!(timestamp > self.last_timestamp, "log time is strictly increasing");
        self.append(kind, timestamp, payload);
        self.send_all(out);
    }

    fn append(&mut self, kind: EntryKind, timestamp: Timestamp, payload: Bytes) {
        let (seq, prev) = (self.last.seq.next(), self.last.chain);
        let entry = Entry::seal(self.log_id, self.epoch, seq, kind, timestamp, prev, payload);
        self.last = entry.tail();
        self.last_timestamp = timestamp;
        self.ring.push(entry);
    }

    fn stop(&mut self) {
        self.phase = Phase::Idle;
        self.fetch = None;
        self.reads = Reads::default();
        self.read_ahead = Vec::new();
        self.anchor_alone = false;
        for peer in &mut self.peers {
            *peer = Peer::new(peer.id);
        }
    }

    fn depose(&mut self, promised: Epoch, out: &mut Vec<Effect>) {
        self.stop();
        out.push(Effect::Deposed { promised });
    }

    fn halt(&mut self, reason: HaltReason, out: &mut Vec<Effect>) {
        self.stop();
        out.push(Effect::Halt { reason });
    }

    fn peer(&mut self, voter: VoterId) -> Option<&mut Peer> {
        self.peers.iter_mut().find(|peer| peer.id == voter)
    }

    /// Whether the voters for which `has` holds are enough: majorities of the configured voters (I5, I15), or, where
    /// no configuration was ever made, a majority of those this leader was told of.
    fn is_quorum(&self, has: impl Fn(&Peer) -> bool) -> bool {
        if self.config.current.is_empty() {
            return self.peers.iter().filter(|peer| has(peer)).count() >= crate::voter::majority(self.peers.len());
        }
        self.config.is_quorum(|voter| self.peers.iter().any(|peer| peer.is(voter) && has(peer)))
    }
}
