//! The usual ways to get the protocol wrong, as changes to the shells around the real cores: a shell that asks twice
//! what must be asked once, answers before the disk did, or believes its own memory. Each must be found.

/// One planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mutant {
    /// A restarted engine goes on under the epoch its predecessor had (I13).
    EpochReuse,
    /// The epoch is the store's revision, which can go backwards (H3).
    RevisionAsEpoch,
    /// The counter is read in one transaction and raised in another, without a comparison (3.2).
    UnguardedTransaction,
    /// Retries are answered from the adopted log before the epoch's first entry is durable (H2).
    ServedOnAdoption,
    /// A fence reads the position when it arrives and promises later (H5, I3).
    FenceThenRead,
    /// Whoever believes to lead may write: the voter does not compare epochs (H4, I2).
    LeaseTrusted,
    /// A standby applies what a voter has received, not what is final (I11).
    StandbyUncommitted,
    /// An append is answered with the end of the log instead of what was compared (I8).
    AckLogEnd,
    /// A promise is answered before it is durable (I2).
    PromiseNotDurable,
    /// An append is answered before it is durable (I4).
    AckNotDurable,
    /// A gateway of a shared log answers a fence from its memory, and the log takes what it says (I3).
    GatewayMemory,
}
