//! Identifiers and positions. Each is its own type, so that two bare integers never stand side by side.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

macro_rules! identity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::num::ParseIntError;

            /// Reads the 32 hexadecimal digits that `Display` writes.
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                u128::from_str_radix(text, 16).map(Self)
            }
        }
    };
}

number! {
    /// An independent log and book set. Every instrument belongs to exactly one.
    ShardId(u32)
}
number! {
    /// Position of an entry in a shard's log, from 1; 0 is "before the first entry". One entry is one batch.
    Seq(u64)
}
number! {
    /// An instrument's number within its shard, dense from 0, given by the core in order of definition.
    InstrumentId(u32)
}
number! {
    /// A trading account. 0 is not a valid account.
    AccountId(u64)
}
number! {
    /// An order's number, unique over all shards: the shard in the upper 16 bits, a counter from 1 below.
    OrderId(u64)
}
number! {
    /// A trade's number, formed like an order's.
    TradeId(u64)
}
number! {
    /// Microseconds since the Unix epoch, UTC. Set by the sequencer, strictly increasing within a log.
    Timestamp(u64)
}

identity! {
    /// One history of one shard. Changes only by a restore.
    LogId
}
identity! {
    /// One run of one process: a random value drawn at its start.
    Incarnation
}
identity! {
    /// Digest of a complete exchange state. Equal states have equal hashes on every machine.
    StateHash
}

impl Seq {
    /// The position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The fencing token of one leadership: ordered by number, equal only if the owner is equal too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Epoch {
    /// Counter value issued by the coordinator, from 1; 0 is "none yet".
    pub number: u64,
    /// The engine process it was issued to.
    pub owner: Incarnation,
}

/// Where a command stands: acknowledgements, fills and history rows carry it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// History it belongs to.
    pub log_id: LogId,
    /// Epoch number of the entry.
    pub epoch: u64,
    /// Entry.
    pub seq: Seq,
    /// Index of the command within the entry, from 0.
    pub index: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_read_back_what_they_print() {
        let id = LogId(0x00ff_0000_0000_0000_0000_0000_0000_00ab);
        assert_eq!(id.to_string().parse::<LogId>(), Ok(id));
        assert_eq!(id.to_string().len(), 32);
        assert!("xyz".parse::<LogId>().is_err());
    }
}
