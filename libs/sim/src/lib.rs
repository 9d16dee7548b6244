//! What tests judge the product by: a record of what clients did and were told, and a checker that compares it with
//! the committed log.
//!
//! Deliberately absent: sockets, processes and files. Whoever runs a cluster, real or simulated, hands over what it
//! saw. Nothing here is part of a shipped binary.

pub mod checker;
pub mod history;
