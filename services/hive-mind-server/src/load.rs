//! Load for a node, shared by `demo` and `bench`: a seeded market, an open-loop generator that measures from the
//! scheduled time, a tally of the answers, and the check that everything acknowledged can be found afterwards.
//!
//! Deliberately absent: starting nodes, and printing.

mod check;
mod drive;
mod lane;
mod latency;
mod market;
mod quantities;
mod tally;
#[cfg(test)]
mod tests;

pub(crate) use check::{Findings, find_afterwards};
pub(crate) use drive::{Driven, Plan, Progress, drive, state_hash};
pub(crate) use latency::{LatencyUs, Recorder};
pub(crate) use market::{Market, run_mark};
pub(crate) use quantities::{decimal, grouped, plain_reason, rounded};
