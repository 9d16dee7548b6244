//! Who makes a request: put into its extensions by the doors of the node, read by whoever acts on it.
//!
//! Deliberately absent: how a caller is recognised, and what it may do; see [`crate::auth`].

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What a caller is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees everything, changes nothing.
    Viewer,
    /// Sends orders for its accounts, sees those and the market.
    Trader,
    /// Acts on the system. Sends no orders.
    Operator,
    /// Everything, keys included.
    Admin,
    /// Another process of the cluster.
    Node,
}

/// For which accounts a caller may send orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accounts {
    /// Any.
    All,
    /// These; in order.
    Only(Arc<[u64]>),
}

/// Who makes a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Caller {
    /// Id of its key; "local" for a caller on this machine without one; the node's name for the node itself.
    pub subject: String,
    /// What it is there for.
    pub role: Role,
    /// Where it calls from; `None` within the process.
    pub peer: Option<IpAddr>,
    /// For which accounts it may send orders.
    pub accounts: Accounts,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Viewer, Self::Trader, Self::Operator, Self::Admin, Self::Node];

    /// Its word in configuration, logs and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Trader => "trader",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Node => "node",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Accounts {
    /// Whether `account` is one of them.
    #[must_use]
    pub fn contains(&self, account: u64) -> bool {
        match self {
            Self::All => true,
            Self::Only(accounts) => accounts.binary_search(&account).is_ok(),
        }
    }
}

impl Caller {
    /// A caller for all accounts.
    pub fn new(subject: impl Into<String>, role: Role, peer: Option<IpAddr>) -> Self {
        Self { subject: subject.into(), role, peer, accounts: Accounts::All }
    }

    /// Who makes the request with these extensions. A request that came through no door was made by the process itself.
    #[must_use]
    pub fn of(extensions: &http::Extensions) -> Self {
        extensions.get::<Arc<Self>>().map_or_else(Self::local, |caller| Self::clone(caller))
    }

    /// The process itself, or, without authentication, whoever is on this machine.
    #[must_use]
    pub fn local() -> Self {
        Self::new("local", Role::Admin, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_came_through_no_door_is_the_process_itself() {
        let mut extensions = http::Extensions::new();
        assert_eq!(Caller::of(&extensions), Caller::local());
        let caller = Caller::new("ann", Role::Viewer, Some([10, 0, 0, 1].into()));
        extensions.insert(Arc::new(caller.clone()));
        assert_eq!(Caller::of(&extensions), caller);
    }

    #[test]
    fn accounts_are_all_or_those_named() {
        assert!(Accounts::All.contains(7));
        let some = Accounts::Only([3, 7, 9].into());
        assert_eq!([3, 7, 9, 8, 0].map(|account| some.contains(account)), [true, true, true, false, false]);
    }
}
