//! Identifiers and positions. Each is its own type, so that two bare integers never stand side by side.

use crate::text::Symbol;
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

/// Most shards there may be: a leader holds a loop and a connection for each.
pub const SHARDS_MAX: u32 = 1_024;

/// The shard an instrument belongs to unless the configuration says otherwise: FNV-1a, 64 bits, of its symbol, modulo
/// the number of shards (which is at least 1). Every node and client computes the same.
#[must_use]
pub fn shard_of(symbol: &Symbol, shards: u32) -> ShardId {
    // Offset basis and prime of Fowler, Noll and Vo (draft-eastlake-fnv).
    let hash = symbol
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    #[expect(clippy::cast_possible_truncation, reason = "below the number of shards")]
    let shard = (hash % u64::from(shards.max(1))) as u32;
    ShardId(shard)
}

impl OrderId {
    /// The shard that gave the number.
    #[must_use]
    pub const fn shard(self) -> ShardId {
        ShardId((self.0 >> 48) as u32)
    }
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
    fn symbols_have_the_shards_that_every_client_computes() {
        let shard = |symbol: &str, shards| shard_of(&Symbol::new(symbol).unwrap(), shards).0;
        // FNV-1a of "a" is the published 0xaf63dc4c8601ec8c.
        assert_eq!(u64::from(shard("a", 1_000)), 0xaf63_dc4c_8601_ec8c_u64 % 1_000);
        assert_eq!([shard("AAPL", 1), shard("BTC-USD", 1)], [0, 0]);
        let used: std::collections::BTreeSet<_> = (0..64).map(|n| shard(&format!("SYM-{n}"), 8)).collect();
        assert_eq!(used, (0..8).collect());
    }

    #[test]
    fn an_order_number_names_its_shard() {
        assert_eq!(OrderId((3 << 48) | 17).shard(), ShardId(3));
    }

    #[test]
    fn identities_read_back_what_they_print() {
        let id = LogId(0x00ff_0000_0000_0000_0000_0000_0000_00ab);
        assert_eq!(id.to_string().parse::<LogId>(), Ok(id));
        assert_eq!(id.to_string().len(), 32);
        assert!("xyz".parse::<LogId>().is_err());
    }
}
