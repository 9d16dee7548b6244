//! Clients that know how to retry: an order sent through [`OrderClient`] is sent again under the same
//! client_order_id until it is known what became of it or the deadline has passed; [`Session`] pipelines requests
//! over one stream and keeps the answers apart.
//!
//! Deliberately absent: clients of the other services; their generated stubs, with a timeout for each call, do.

mod orders;
mod session;
#[cfg(test)]
mod tests;

pub use orders::{OrderClient, RetryPolicy};
pub use session::{Answer, Reply, Session, SessionOptions};
