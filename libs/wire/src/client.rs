//! Clients that know how to retry: an order sent through [`OrderClient`] is sent again under the same
//! client_order_id until it is known what became of it or the deadline has passed; [`Session`] pipelines requests
//! over one stream and keeps the answers apart; [`Cluster`] knows the leaders, so that requests need not be handed on.
//!
//! Deliberately absent: clients of the other services; their generated stubs, with a timeout for each call, do.

mod cluster;
mod orders;
mod session;
mod sessions;
#[cfg(test)]
mod tests;

pub use cluster::{Cluster, Way};
pub use orders::{OrderClient, RetryPolicy};
pub use session::{Answer, Reply, Session, SessionOptions};
pub use sessions::Sessions;
