//! The exchange of one shard as a pure state machine: instruments, books in price-time priority, limits, the
//! idempotency table and the state hash. Commands go in one after another, each with its place and time in the log;
//! events and an outcome come out. The same commands give the same events and the same state hash on any machine.
//!
//! Deliberately absent: clocks, randomness, threads, I/O, async, metrics, and any error for a business refusal (it
//! is an outcome). Maps are never iterated, and no handle or capacity reaches an output.
//!
//! # What a command meets, in this order
//! 1. The idempotency table: a request whose (account, client order id) is kept gets the original outcome if its
//!    content is the same ([`Event::Duplicate`](types::Event)), a refusal otherwise; neither changes the table.
//!    Everything else that names an account is kept, refusals too.
//! 2. Account, instrument, combination of order type and time in force, instrument state.
//! 3. For cancels and replaces the order: by its number, or by the client id of any kept, accepted request about it.
//! 4. Price (tick, static limits, band), then quantity (lot, least, most, notional). Protection prices of market
//!    orders are prices like others. A replace that leaves the price alone does not check it again.
//! 5. The cap on open orders, for orders that may rest, before anything trades; then numbers left to give.
//! 6. Post-only, fill-or-kill (see `Books::can_fill` for what counts under each self-trade prevention).
//! 7. Matching, at the makers' prices; the mode of the incoming order decides about self-trades.
//!
//! After every command up to four of the oldest outcomes are dropped if they are too old or too many; those of open
//! orders' submits go to the back of the queue instead.

mod accounts;
mod amend;
mod book;
mod checks;
mod digest;
mod entry;
mod exchange;
mod index;
mod ladder;
mod limits;
mod operator;
mod order_index;
#[cfg(feature = "test-util")]
pub mod reference;
mod restore;
mod slab;
mod table;
mod trading;
mod view;
#[cfg(feature = "test-util")]
pub mod workload;

pub use digest::{payload_hash, snapshot_hash};
pub use exchange::Exchange;
pub use restore::RestoreError;
pub use view::{Level, OrderView};
