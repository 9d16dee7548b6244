//! What processes say to each other. The contracts of `proto/`, as far as leadership needs them.

use journal_core::acceptor::Reply;
use journal_core::placement::{Note, Report, Stored};
use journal_core::{AppendRequest, Entry, FenceRequest, VoterConfig};
use types::{Epoch, Incarnation};

/// A client's command: add an amount to the one balance there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Command {
    pub(crate) client: u8,
    pub(crate) id: u32,
    pub(crate) amount: u8,
}

/// What a command did, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) seq: u64,
    pub(crate) index: usize,
    pub(crate) balance: u64,
}

/// A change of the store. Each holds only if what it was derived from has not changed.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// A sign of life of an engine: its session, and the lease of all it leads.
    Keep {
        engine: Incarnation,
        name: String,
        note: Note,
    },
    Acquire {
        engine: Incarnation,
        name: String,
        highest: u64,
        read: u64,
    },
    Release {
        epoch: Epoch,
    },
    Depose {
        epoch: Epoch,
    },
    Restore {
        epoch: Epoch,
    },
    Away {
        engine: Incarnation,
    },
    /// An operator's order: somebody else shall lead, for a few seconds.
    Force {
        engine: Incarnation,
    },
}

#[derive(Clone, Debug)]
pub(crate) enum Message {
    // Engines and gateways.
    Fence { request: FenceRequest },
    FenceReply { reply: Reply },
    Open { stream: u64 },
    Opened { stream: u64 },
    Append { stream: u64, request: AppendRequest },
    AppendReply { stream: u64, reply: Reply },
    Closed { stream: u64 },
    Read { number: u64, from: u64, to: u64 },
    Entries { number: u64, entries: Vec<Entry> },
    // Engines and coordinators.
    Beat { engine: Incarnation, name: String, stream: u64, run: u64, report: Report },
    Heard { stream: u64 },
    Hangup { engine: Incarnation, stream: u64 },
    Offer,
    Resign { epoch: Epoch },
    Deposed { epoch: Epoch },
    Acquire { number: u64, run: u64, engine: Incarnation, name: String, highest: u64 },
    Acquired { number: u64, given: Option<(Epoch, VoterConfig)>, denied: bool },
    Release { number: u64, run: u64, epoch: Epoch },
    Released { number: u64 },
    // Coordinators and gateways.
    LeaderSeen { number: u64, run: u64, epoch: Epoch },
    Seen { number: u64, alive: bool },
    // Coordinators and the store.
    Look { number: u64, run: u64 },
    Looked { number: u64, stored: Box<Stored> },
    Change { number: u64, run: u64, change: Change },
    Changed { number: u64, given: Option<Epoch> },
    Watch,
    // Clients.
    Order { command: Command },
    Answer { command: Command, outcome: Outcome },
    NotLeader { id: u32 },
}
