//! Both stores of epochs and leases: one suite over both, and what is particular to each.
#![allow(clippy::unwrap_used, reason = "tests")]

mod embedded;
mod etcd;
mod server;
mod suite;
