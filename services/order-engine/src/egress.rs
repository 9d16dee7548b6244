//! What leaves the shard: books and trades for whoever subscribed. Answers go straight to the one who asked.
//!
//! Deliberately absent: the network. Subscribers read from bounded rings; one that falls behind loses its place and
//! is told so by its handler, nobody waits for it.

mod feeds;
mod touched;

pub(crate) use feeds::{BookChange, Feeds, TradeTick};
