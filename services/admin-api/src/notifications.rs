//! Notifications to people outside: queued on disk, delivered by one task, in order, again and again until the
//! receiver has them or time is up. Whoever sends one waits for the disk, never for a receiver.
//!
//! Deliberately absent: deciding that something is worth a notification. Alerts are the monitoring's; these are an
//! operator's words.

mod config;
mod delivery;
mod grpc;
mod http;
mod metrics;
mod outbox;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use wire::pb::admin::v1 as pb;

pub use config::{Config, ConfigError};
pub(crate) use delivery::Delivery;
pub(crate) use grpc::{COMPONENT, Notifications};
pub(crate) use http::router;
pub(crate) use outbox::Outbox;

/// To whom. In the order in which they are delivered when several are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// The security team.
    Security,
    /// The status page.
    Status,
    /// Stakeholders.
    Message,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Waiting,
    Delivered,
    GivenUp,
}

/// A notification and what became of it, as it stands on disk. The address of the receiver is not here: it is a
/// secret, and whoever corrects it means also what waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Its time and a number: ids sort as they were made.
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) body: String,
    pub(crate) dedupe_key: String,
    /// Id of the order.
    pub(crate) request_id: String,
    pub(crate) created_us: u64,
    pub(crate) state: State,
    pub(crate) attempts: u32,
    /// When it is tried again, or when it was settled.
    pub(crate) due_us: u64,
    pub(crate) last_error: String,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Security, Self::Status, Self::Message];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Security => "security",
            Self::Status => "status",
            Self::Message => "message",
        }
    }
}

impl From<Kind> for pb::NotificationKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Security => Self::Security,
            Kind::Status => Self::Status,
            Kind::Message => Self::Message,
        }
    }
}

impl Entry {
    pub(crate) fn to_pb(&self, config: &Config) -> pb::Notification {
        let state = match self.state {
            State::Waiting => pb::NotificationState::Waiting,
            State::Delivered => pb::NotificationState::Delivered,
            State::GivenUp => pb::NotificationState::GivenUp,
        };
        pb::Notification {
            id: self.id.clone(),
            kind: pb::NotificationKind::from(self.kind).into(),
            receiver: config.host(self.kind),
            body: self.body.clone(),
            dedupe_key: self.dedupe_key.clone(),
            created_us: self.created_us,
            state: state.into(),
            attempts: self.attempts,
            due_us: self.due_us,
            last_error: self.last_error.clone(),
        }
    }
}
