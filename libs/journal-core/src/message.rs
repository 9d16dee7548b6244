//! What leaders and voters say to each other. The same as `hivemind.journal.v1`, as plain data.

use types::{Epoch, LogId, Seq, ShardId};

use crate::{ChainHash, Entry, EpochStart, Tail, Voter, VoterConfig};

/// A leader asks for an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FenceRequest {
    /// History meant; `LogId(0)` for whichever is active.
    pub log_id: LogId,
    /// Shard meant.
    pub shard: ShardId,
    /// Epoch asked for.
    pub epoch: Epoch,
    /// Voter configuration the epoch was issued with (I15).
    pub config: VoterConfig,
}

/// A voter's vote.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::large_enum_variant, reason = "there are a few of them per leadership")]
pub enum FenceReply {
    /// The epoch is granted, durably.
    Granted(FenceGranted),
    /// A newer epoch is promised, or the same number to somebody else (I1).
    Refused {
        /// That epoch.
        promised: Epoch,
    },
    /// The voter knows a newer voter configuration.
    ConfigNewer(VoterConfig),
    /// Another history is active.
    LogRetired {
        /// That history.
        active: LogId,
    },
    /// This disk does not vote.
    NotVoter,
    /// The voter could not make the promise durable, or could not be reached.
    Failed {
        /// Why, for people.
        message: String,
    },
}

/// A granted epoch, and everything the voter ever acknowledged (I3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FenceGranted {
    /// The epoch that is granted. A leader counts no grant of another one: an answer to an earlier question may
    /// come late.
    pub epoch: Epoch,
    /// End of its log.
    pub last: Tail,
    /// Epochs of its log, ascending.
    pub epochs: Vec<EpochStart>,
    /// Last entry it no longer holds.
    pub base: Tail,
    /// Highest seq it knows to be committed.
    pub commit: Seq,
    /// Newest voter configuration it knows.
    pub config: VoterConfig,
    /// First damaged seq; `None` when its log is clean.
    pub dubious_from: Option<Seq>,
    /// Its active history.
    pub log_id: LogId,
    /// Who it is.
    pub voter: Voter,
}

/// A leader's entries, or, without entries, its sign of life.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AppendRequest {
    /// History.
    pub log_id: LogId,
    /// Shard.
    pub shard: ShardId,
    /// Epoch of the leader.
    pub epoch: Epoch,
    /// Generation of its voter configuration.
    pub config_generation: u64,
    /// Seq before the first entry.
    pub prev_seq: Seq,
    /// Hash at `prev_seq`.
    pub prev_chain: ChainHash,
    /// Consecutive entries from `prev_seq + 1`.
    pub entries: Vec<Entry>,
    /// Highest committed seq the leader knows.
    pub commit: Seq,
    /// The voter may forget entries up to here once a snapshot contains them; 0 for no opinion.
    pub head_trim: Seq,
    /// Round of reads it was sent in; returned unchanged, so that reads which came before can be answered (H8).
    pub round: u64,
}

/// A voter's answer to an append.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AppendReply {
    /// Durable.
    Ok(AppendOk),
    /// A newer epoch is promised, or the same number to somebody else.
    Refused {
        /// That epoch.
        promised: Epoch,
    },
    /// `prev_seq` and `prev_chain` do not stand in this log.
    Mismatch(AppendMismatch),
    /// The voter knows a newer voter configuration.
    ConfigNewer(VoterConfig),
    /// Another history is active.
    LogRetired {
        /// That history.
        active: LogId,
    },
    /// The voter cannot write, or the request contradicts itself.
    Failed {
        /// Why, for people.
        message: String,
    },
}

/// The entries of the request are durable on this voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AppendOk {
    /// Epoch they were accepted under.
    pub epoch: Epoch,
    /// `prev_seq` plus the number of entries of the request; never the end of the voter's log (I8).
    pub match_seq: Seq,
    /// Whether a write to disk was waited for. The shell, which has the clock, says how long it took.
    pub synced: bool,
    /// Round of the request.
    pub round: u64,
}

/// The request does not continue this log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AppendMismatch {
    /// End of the voter's log.
    pub last: Tail,
    /// Its epochs, ascending.
    pub epochs: Vec<EpochStart>,
}

impl FenceGranted {
    /// Whether the scan of the voter's disk found no damage.
    #[must_use]
    pub const fn clean(&self) -> bool {
        self.dubious_from.is_none()
    }
}
