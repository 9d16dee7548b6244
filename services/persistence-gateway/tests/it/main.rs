//! The gateway as others see it: over gRPC, on real files, with real databases.
#![allow(clippy::unwrap_used, reason = "tests")]

mod backup;
mod encrypted;
mod fight;
mod history;
mod journal;
mod projection;
mod rows;
mod shared;
mod support;
mod verify;
