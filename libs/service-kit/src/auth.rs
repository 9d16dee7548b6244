//! Who may do what at the doors of a node.
//!
//! Deliberately absent: the rules themselves, which stand beside the contracts in `wire`.

pub mod key;
pub mod local;
