//! A voter's rules for one shard: which epochs it grants, which entries it takes, and when it may say so.
//!
//! Inputs come from callers and from the one writer that owns the disk; effects go back to both. At most one write is
//! under way; appends that arrive meanwhile are merged into the next unit, which is group commit without a wait. What
//! depends on a write is said only after [`Input::Persisted`] for it came back (I2, I4).
//!
//! The shell carries effects out in order. Of several callers each has a [`ClientId`]; an answer for one that is gone
//! is dropped by the shell.

mod append;
mod log_index;
mod sharing;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use types::{Epoch, LogId, Seq, ShardId};

use self::append::Ack;
use self::log_index::LogIndex;
use crate::{
    AppendReply, AppendRequest, Control, FenceGranted, FenceReply, FenceRequest, Recovered, Tail, Unit, Voter,
};

/// Appends that may wait for the disk. A leader keeps at most 64 under way to one voter; an old and a new leader with
/// several streams each stay far below.
pub const MAX_WAITING_APPENDS: usize = 1024;
/// Bytes of payload that may wait for the disk: two leaders' limits of 16 MiB.
pub const MAX_WAITING_BYTES: usize = 32 << 20;
/// Fences that may wait for the disk: one for each engine that could possibly stand for election, and its retries.
pub const MAX_WAITING_FENCES: usize = 64;
/// Payload of one write unit, unless a single request is larger: a few milliseconds of disk time.
pub const MAX_UNIT_BYTES: usize = 4 << 20;

/// Names a caller (one fence call or one append stream), so that replies find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// What happens to a voter.
#[derive(Clone, Debug)]
pub enum Input {
    /// Somebody asks for an epoch.
    Fence {
        /// Who.
        client: ClientId,
        /// What is asked.
        request: FenceRequest,
    },
    /// A leader appends.
    Append {
        /// On which stream.
        client: ClientId,
        /// What.
        request: AppendRequest,
    },
    /// The write with this token is durable.
    Persisted {
        /// Token of the effect.
        token: u64,
    },
    /// The write with this token did not become durable, or nobody knows.
    Failed {
        /// Token of the effect.
        token: u64,
        /// Why.
        error: PersistError,
    },
    /// The storage was read again: because [`Effect::Reload`] asked for it, or because somebody else may have written
    /// to it.
    Reloaded(Recovered),
    /// The same, and what the storage had taken as volatile is not in it: another leadership superseded it.
    Superseded(Recovered),
    /// It could not be read again. Everything is answered with a failure until it could ([`Input::Reloaded`]).
    ReloadFailed {
        /// Why, for people.
        reason: String,
    },
    /// Everything up to `base` is in a snapshot and forgotten by the storage.
    Trim {
        /// Last forgotten entry.
        base: Tail,
    },
}

/// Why a write did not become durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PersistError {
    /// The storage is shared, and somebody promised a newer epoch in it. Nothing was written.
    Fenced {
        /// The newer epoch.
        promised: Epoch,
    },
    /// The storage is shared, and is not as it was read last: somebody else wrote. Nothing was written.
    Moved,
    /// The storage failed; what it holds now is unknown.
    Storage(String),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Replace the control state, durably.
    PersistControl {
        /// To be given back.
        token: u64,
        /// The new state.
        control: Control,
    },
    /// Write a unit, durably.
    Write {
        /// To be given back.
        token: u64,
        /// The unit.
        unit: Unit,
    },
    /// The storage is shared: ask it whether this epoch is still promised there. Answered like a write; nothing is
    /// acknowledged by what this process remembers alone (I2).
    Confirm {
        /// To be given back.
        token: u64,
        /// The epoch.
        epoch: Epoch,
    },
    /// Answer a caller.
    Reply {
        /// Whom.
        client: ClientId,
        /// What.
        reply: Reply,
    },
    /// Everything up to `seq` is final: may be projected, streamed, snapshotted.
    Committed {
        /// Up to here.
        seq: Seq,
    },
    /// Read the storage again and tell by [`Input::Reloaded`]; until then nothing is answered.
    Reload,
    /// The disk cannot be trusted any more: mark it ([`Control::quarantined`]) if that is still possible, and end
    /// the process, since what the storage holds is unknown (I4, I12). Everything is answered with a failure from
    /// now on; a storage that can be read again reliably (a database) may be reloaded instead.
    Quarantine {
        /// Why, for people.
        reason: String,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "answers are handed on one by one, never stored in number")]
pub enum Reply {
    /// To a fence.
    Fence(FenceReply),
    /// To an append.
    Append(AppendReply),
}

/// The core of one voter, for one shard.
#[derive(Clone, Debug, Hash)]
pub struct Acceptor {
    shard: ShardId,
    me: Voter,
    /// As it is on disk.
    control: Control,
    /// As it will be when the write under way is durable.
    log: LogIndex,
    /// As it is on disk.
    durable: Tail,
    dubious_from: Option<Seq>,
    commit: Seq,
    state: State,
    /// Whether other voters write to the same storage.
    shared: bool,
    /// Whether the storage was read again since the first waiting append arrived.
    looked: bool,
    next_token: u64,
    fences: VecDeque<(ClientId, FenceRequest)>,
    appends: VecDeque<(ClientId, AppendRequest)>,
    waiting_bytes: usize,
}

#[derive(Clone, Debug, Hash)]
enum State {
    /// Nothing under way.
    Idle,
    /// A control state is being written; `fence` waits for it.
    Promising { token: u64, control: Control, fence: Option<(ClientId, FenceRequest)> },
    /// A unit is being written, or an epoch confirmed; the acks wait for it. A shared storage may refuse the unit: then
    /// the `requests` are looked at again.
    Writing { token: u64, epoch: Epoch, acks: Vec<Ack>, requests: Vec<(ClientId, AppendRequest)>, synced: bool },
    /// The storage is being read again; `fence` was promised and waits for what it says.
    Reloading { fence: Option<(ClientId, FenceRequest)> },
    /// Nothing works any more.
    Broken { reason: String },
}

impl Acceptor {
    /// A voter named `gateway`, as its storage was found.
    #[must_use]
    pub fn new(shard: ShardId, gateway: &str, recovered: Recovered) -> Self {
        let mut acceptor = Self {
            shard,
            me: Voter { gateway: gateway.to_owned(), disk_id: recovered.control.disk_id },
            control: Control::default(),
            log: LogIndex::default(),
            durable: Tail::default(),
            dubious_from: None,
            commit: Seq(0),
            state: State::Idle,
            shared: false,
            looked: false,
            next_token: 1,
            fences: VecDeque::new(),
            appends: VecDeque::new(),
            waiting_bytes: 0,
        };
        acceptor.load(recovered);
        acceptor
    }

    /// End of the log as it is durable.
    #[must_use]
    pub const fn tail(&self) -> Tail {
        self.durable
    }

    /// Highest seq known to be final.
    #[must_use]
    pub const fn commit(&self) -> Seq {
        self.commit
    }

    /// The promised epoch.
    #[must_use]
    pub const fn promised(&self) -> Epoch {
        self.control.promised
    }

    /// The active history.
    #[must_use]
    pub const fn log_id(&self) -> LogId {
        self.control.log_id
    }

    /// The control state as it is durable.
    #[must_use]
    pub const fn control(&self) -> &Control {
        &self.control
    }

    /// Why nothing works any more, if so.
    #[must_use]
    pub fn broken(&self) -> Option<&str> {
        if let State::Broken { reason } = &self.state { Some(reason) } else { None }
    }

    /// Takes one input; appends what is to be done to `out`.
    pub fn step(&mut self, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Fence { client, request } => {
                if self.fences.len() >= MAX_WAITING_FENCES {
                    let message = "too many fences wait for the disk".to_owned();
                    return reply_fence(client, FenceReply::Failed { message }, out);
                }
                self.fences.push_back((client, request));
            }
            Input::Append { client, request } => self.enqueue(client, request, out),
            Input::Persisted { token } => self.persisted(token, out),
            Input::Failed { token, error } => self.failed(token, error, out),
            Input::Reloaded(recovered) => self.reloaded(recovered, out),
            Input::Superseded(recovered) => self.superseded(recovered, out),
            Input::ReloadFailed { reason } => self.reload_failed(reason, out),
            Input::Trim { base } => self.trim(base),
        }
        self.pump(out);
    }

    /// Starts what can be started. Fences go before appends: what an older leader still has waiting is then refused
    /// instead of written (I3).
    fn pump(&mut self, out: &mut Vec<Effect>) {
        loop {
            match &self.state {
                State::Idle => {}
                State::Broken { reason } => {
                    let reason = reason.clone();
                    return self.answer_all(&reason, out);
                }
                State::Promising { .. } | State::Writing { .. } | State::Reloading { .. } => return,
            }
            if let Some((client, request)) = self.fences.pop_front() {
                self.fence(client, request, out);
            } else if self.appends.is_empty() {
                return;
            } else {
                self.write_appends(out);
            }
        }
    }

    fn token(&mut self) -> u64 {
        let token = self.next_token;
        self.next_token += 1;
        token
    }

    fn fence(&mut self, client: ClientId, request: FenceRequest, out: &mut Vec<Effect>) {
        let reply = |reply, out: &mut Vec<Effect>| reply_fence(client, reply, out);
        if request.shard != self.shard {
            let message = format!("this voter holds shard {}, not {}", self.shard, request.shard);
            return reply(FenceReply::Failed { message }, out);
        }
        if request.log_id != LogId(0) && request.log_id != self.control.log_id {
            return reply(FenceReply::LogRetired { active: self.control.log_id }, out);
        }
        if !self.may_serve(request.epoch) {
            return reply(FenceReply::Refused { promised: self.control.promised }, out);
        }
        if request.config.generation < self.control.config.generation {
            return reply(FenceReply::ConfigNewer(self.control.config.clone()), out);
        }
        let newer = request.config.generation > self.control.config.generation;
        let config = if newer { &request.config } else { &self.control.config };
        if self.control.quarantined || !config.is_voter(&self.me) {
            return reply(FenceReply::NotVoter, out);
        }
        if self.control.promised == request.epoch && !newer {
            if self.shared {
                return self.reload(Some((client, request)), out);
            }
            return reply(FenceReply::Granted(self.grant()), out);
        }
        let control = Control { promised: request.epoch, config: config.clone(), ..self.control.clone() };
        self.promise(control, Some((client, request)), out);
    }

    /// Whether nothing newer than `epoch` is promised, and its number to nobody else (I1, I2).
    fn may_serve(&self, epoch: Epoch) -> bool {
        let promised = self.control.promised;
        epoch.number > promised.number || (epoch.number > 0 && epoch == promised)
    }

    fn promise(&mut self, control: Control, fence: Option<(ClientId, FenceRequest)>, out: &mut Vec<Effect>) {
        assert!(control.promised.number >= self.control.promised.number, "I2: a promise is never lowered");
        let token = self.token();
        out.push(Effect::PersistControl { token, control: control.clone() });
        self.state = State::Promising { token, control, fence };
    }

    /// Everything this voter ever acknowledged, said in one piece with the grant (I3).
    fn grant(&self) -> FenceGranted {
        assert_eq!(self.log.tail(), self.durable, "I3: a grant is given only when no write is under way");
        FenceGranted {
            epoch: self.control.promised,
            last: self.durable,
            epochs: self.log.epochs().to_vec(),
            base: self.log.base(),
            commit: self.commit,
            config: self.control.config.clone(),
            dubious_from: self.dubious_from,
            log_id: self.control.log_id,
            voter: self.me.clone(),
        }
    }

    fn persisted(&mut self, token: u64, out: &mut Vec<Effect>) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Promising { token: expected, control, fence } if expected == token => {
                self.control = control;
                match fence {
                    // I3: promised first, then read: nobody writes under a lower epoch any more.
                    Some(fence) if self.shared => self.reload(Some(fence), out),
                    Some((client, _)) => reply_fence(client, FenceReply::Granted(self.grant()), out),
                    None => {}
                }
            }
            State::Writing { token: expected, epoch, acks, synced, .. } if expected == token => {
                self.durable = self.log.tail();
                // I2: a promise made meanwhile silences what belongs to the older epoch.
                if self.control.promised == epoch {
                    self.acknowledge(&acks, synced, out);
                }
            }
            // A write from before the storage was read again.
            other => self.state = other,
        }
    }

    fn failed(&mut self, token: u64, error: PersistError, out: &mut Vec<Effect>) {
        let (State::Promising { token: expected, .. } | State::Writing { token: expected, .. }) = &self.state else {
            return;
        };
        if *expected != token {
            return;
        }
        let state = std::mem::replace(&mut self.state, State::Idle);
        match error {
            PersistError::Fenced { promised } => {
                match state {
                    State::Promising { fence: Some((client, _)), .. } => {
                        reply_fence(client, FenceReply::Refused { promised }, out);
                    }
                    State::Writing { acks, .. } => {
                        for ack in acks {
                            reply_append(ack.client, AppendReply::Refused { promised }, out);
                        }
                    }
                    _ => {}
                }
                // The index may hold what was never written: it is of no use until it was read again.
                self.reload(None, out);
            }
            PersistError::Moved => self.moved(state, out),
            PersistError::Storage(message) => {
                self.state = state;
                self.fail(&message, out);
            }
        }
    }

    /// Gives up for good: answers everything that waits, and asks for the end of the process.
    fn fail(&mut self, reason: &str, out: &mut Vec<Effect>) {
        self.abandon(reason, out);
        self.state = State::Broken { reason: reason.to_owned() };
        out.push(Effect::Quarantine { reason: reason.to_owned() });
    }

    /// Answers what waits for the write under way with a failure.
    fn abandon(&mut self, reason: &str, out: &mut Vec<Effect>) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Promising { fence: Some((client, _)), .. } | State::Reloading { fence: Some((client, _)) } => {
                reply_fence(client, FenceReply::Failed { message: reason.to_owned() }, out);
            }
            State::Writing { acks, .. } => {
                for ack in acks {
                    reply_append(ack.client, AppendReply::Failed { message: reason.to_owned() }, out);
                }
            }
            _ => {}
        }
    }

    fn answer_all(&mut self, reason: &str, out: &mut Vec<Effect>) {
        for (client, _) in std::mem::take(&mut self.fences) {
            let reply = if self.control.quarantined {
                FenceReply::NotVoter
            } else {
                FenceReply::Failed { message: reason.to_owned() }
            };
            reply_fence(client, reply, out);
        }
        for (client, _) in std::mem::take(&mut self.appends) {
            reply_append(client, AppendReply::Failed { message: reason.to_owned() }, out);
        }
        self.waiting_bytes = 0;
    }

    fn load(&mut self, recovered: Recovered) {
        let Recovered { mut control, tail, epochs, chains, dubious_from } = recovered;
        if tail.epoch.number > control.promised.number {
            control.promised = tail.epoch;
        }
        self.me.disk_id = control.disk_id;
        self.commit = control.base.seq;
        self.looked = true;
        self.log = LogIndex::new(control.base, chains, epochs, tail);
        self.durable = tail;
        self.dubious_from = dubious_from;
        self.state = if control.quarantined {
            State::Broken { reason: "this disk is quarantined: replace it or clear the mark after checking it".into() }
        } else {
            State::Idle
        };
        self.control = control;
        self.commit_what_is_final();
    }

    /// A snapshot that contains `base` was made of committed entries, so `base` is committed.
    fn trim(&mut self, base: Tail) {
        if base.seq <= self.log.base().seq {
            return;
        }
        if self.shared && base.seq > self.durable.seq {
            // Somebody else wrote it; the base comes with the entries when the storage is read again.
            return;
        }
        assert_eq!(self.log.chain_at(base.seq), Some(base.chain), "I12: only what stands in the log is trimmed");
        assert!(base.seq <= self.durable.seq, "I12: only what is durable is trimmed");
        self.log.trim(base);
        self.control.base = base;
        self.commit = self.commit.max(base.seq);
    }
}

fn reply_fence(client: ClientId, reply: FenceReply, out: &mut Vec<Effect>) {
    out.push(Effect::Reply { client, reply: Reply::Fence(reply) });
}

fn reply_append(client: ClientId, reply: AppendReply, out: &mut Vec<Effect>) {
    out.push(Effect::Reply { client, reply: Reply::Append(reply) });
}
