//! The engine as clients see it, over real gRPC within the process: a journal voter made of the real acceptor on a
//! disk in memory, and a coordinator of a few lines.
#![allow(clippy::unwrap_used, reason = "tests")]

mod faults;
mod forwarding;
mod fuzz;
mod leadership;
mod market_data;
mod recovery;
mod sessions;
mod shown;
mod standby;
mod support;
mod trading;
mod ways;
