//! What all coordinators share: the contents of the store, as one of them read it.
//!
//! Deliberately absent: addresses, revisions and lease numbers, which belong to the store's own side.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use types::{Epoch, Incarnation, ShardId};

/// A complete reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Engine processes with a session.
    pub engines: BTreeMap<Incarnation, Session>,
    /// Every shard there is, whether or not it ever had a leader.
    pub shards: BTreeMap<ShardId, Shard>,
    /// What operators ordered.
    pub policy: Policy,
    /// Whether a shard was moved so recently that no other one is, whichever coordinator moved it.
    pub resting: bool,
}

/// An engine process that some coordinator heard within a lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// Its configured name.
    pub name: String,
    /// What its coordinator last wrote of it.
    pub note: Note,
}

/// What the coordinator that hears an engine tells the others about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// It was silent, or its stream ended, and it has not been heard since.
    pub away: bool,
    /// Shards it could not open at once: it is still reading them, or does not reach their journal.
    pub cold: BTreeSet<ShardId>,
}

/// A shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shard {
    /// Epoch number given out last; 0 for none yet.
    pub number: u64,
    /// To whom.
    pub holder: Option<Holder>,
    /// Time left on the holder's lease; `None` if it has run out or was ended: then nobody leads.
    pub lease: Option<Duration>,
    /// Who shall lead instead, for a few seconds.
    pub target: Option<Target>,
}

/// Who was given a shard last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Name of the engine.
    pub name: String,
    /// Under which epoch; its owner is the engine process.
    pub epoch: Epoch,
    /// Whether it was given back or taken away. A holder whose lease has merely run out may have it again under the
    /// same epoch, as long as nobody else was given the shard.
    pub ended: bool,
}

/// Who shall lead instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The engine process.
    pub engine: Incarnation,
    /// Whether an operator ordered it: then it is also done while elections are paused, and to a leader that does not
    /// give up.
    pub forced: bool,
}

/// What operators ordered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Whether elections and placement rest.
    pub paused: bool,
    /// Names of engines that get no leadership.
    pub drained: BTreeSet<String>,
}

impl Shard {
    /// Who leads.
    #[must_use]
    pub fn leader(&self) -> Option<&Holder> {
        self.holder.as_ref().filter(|holder| self.lease.is_some() && !holder.ended)
    }

    /// Who led until its lease ran out, and may go on.
    #[must_use]
    pub fn incumbent(&self) -> Option<&Holder> {
        self.holder.as_ref().filter(|holder| self.lease.is_none() && !holder.ended)
    }

    /// Whether this epoch is over for good. An unknown, higher number proves nothing: the reading may be older.
    #[must_use]
    pub fn is_over(&self, epoch: Epoch) -> bool {
        let held = self.holder.as_ref().is_some_and(|holder| holder.epoch == epoch && !holder.ended);
        self.number >= epoch.number && !held
    }
}
