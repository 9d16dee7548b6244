//! Sessions with all the engines of a cluster: each command goes over the one with the leader of its shard.
//!
//! Deliberately absent: retries, as in [`super::Session`].

use std::collections::HashMap;

use super::cluster::{At, Cluster};
use super::session::{Reply, Session, SessionOptions};
use crate::pb::orders::v1::order_session_request::Command;
use crate::status::ApiError;

/// Sessions that are opened when they are needed, and again when they have ended.
#[derive(Debug)]
pub struct Sessions {
    cluster: Cluster,
    options: SessionOptions,
    open: HashMap<End, Session>,
}

/// The engine at the other end of a session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum End {
    Target(usize),
    Address(String),
}

impl Sessions {
    /// Opens nothing yet. `options` are those of each session.
    #[must_use]
    pub fn new(cluster: Cluster, options: SessionOptions) -> Self {
        Self { cluster, options, open: HashMap::new() }
    }

    /// Sends a request as soon as there is room for it. An error means that it was not sent; it may go another way the
    /// next time.
    pub async fn send(&mut self, command: Command) -> Result<Reply, ApiError> {
        let way = self.cluster.way(symbol(&command)).await;
        let end = match way.at() {
            At::Target(at) => End::Target(*at),
            At::Leader { address, .. } => End::Address(address.clone()),
        };
        let sent = match self.open.get(&end) {
            Some(session) => session.send(command).await,
            None => match Session::open(way.channel.clone(), self.options).await {
                Ok(session) => self.open.entry(end.clone()).or_insert(session).send(command).await,
                Err(error) => Err(error),
            },
        };
        if sent.is_err() {
            // Replies to what was sent over it still come.
            self.open.remove(&end);
            self.cluster.failed(&way);
        }
        sent
    }

    /// Ends all sessions after the answers to all that was sent.
    pub async fn close(self) {
        for session in self.open.into_values() {
            session.close().await;
        }
    }
}

/// The instrument that a command is about; empty for none.
pub(super) fn symbol(command: &Command) -> &str {
    match command {
        Command::Submit(request) => &request.symbol,
        Command::Cancel(request) => &request.symbol,
        Command::Replace(request) => &request.symbol,
        Command::MassCancel(request) => &request.symbol,
    }
}
