//! The journal's rules as plain state machines: what an entry is and how it is chained, how entries, control
//! blocks, batches and snapshots look as bytes, what a voter may accept and acknowledge, how a
//! leader adopts, appends and commits ([`proposer`]), and when an engine leads at all ([`leadership`]).
//!
//! Everything here is a function of its inputs: inputs go in, lists of effects come out, and what must follow a
//! write is emitted only after the input that says the write is durable. The same code runs in the services and in
//! the randomized tests.
//!
//! Deliberately absent: files, sockets, clocks, threads, async, randomness, metrics, and maps with an order of
//! their own. Those belong to `journal-store` and to the services.
//!
//! Invariants are cited by their names (`I1` to `I16`); docs/invariants.md lists them.

pub mod acceptor;
mod chain;
pub mod codec;
mod entry;
pub mod leadership;
mod message;
mod persistent;
pub mod placement;
mod position;
pub mod proposer;
#[cfg(test)]
mod testing;
mod voter;

pub use chain::ChainHash;
pub use entry::{Entry, EntryKind, MAX_PAYLOAD_BYTES};
pub use message::{AppendMismatch, AppendOk, AppendReply, AppendRequest, FenceGranted, FenceReply, FenceRequest};
pub use persistent::{Control, Recovered, Unit};
pub use position::{EpochStart, Tail};
pub use voter::{Voter, VoterConfig};
