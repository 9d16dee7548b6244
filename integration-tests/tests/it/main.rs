//! Tests with real processes. One binary, since linking each costs more than running it.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests; what they print is shown when they fail")]

mod acts;
mod apart;
mod audit;
mod backup;
mod canary;
mod commands;
mod configuration;
mod console;
mod crash;
mod failover;
mod forgotten;
mod forwarding;
mod hostile;
mod hostile_http;
mod keys;
mod limits;
mod memory;
mod memory_only;
mod operations;
mod operator;
mod outages;
mod pods;
mod pools;
mod replica;
mod tls;
mod tools;
mod traces;

/// Configuration of a node as the tests want it: quiet, its history in SQLite.
const PLAIN: &str = "[log]\nlevel = \"info\"\n";
