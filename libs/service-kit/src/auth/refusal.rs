//! Why a caller is refused, and what it is told. Absent: the forms of gRPC and HTTP; see [`super::layer`].

use std::sync::Arc;
use std::time::Duration;

use wire::access::Access;

use crate::Caller;

/// Why a caller is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not known.
    Unauthenticated(Unknown),
    /// It may not do this.
    Forbidden(Arc<Caller>, Access),
    /// It sends too much, or fails too often.
    Limited(Duration),
}

/// Why a caller is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// It showed no key.
    Missing,
    /// What it showed is no key.
    Malformed,
    /// The key is not in force.
    NotInForce,
    /// The key is for callers on this machine only.
    NotFromHere,
}

impl Unknown {
    /// Its word in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::NotInForce => "not_in_force",
            Self::NotFromHere => "not_from_here",
        }
    }
}

impl Refusal {
    /// Its word in metrics and logs.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unauthenticated(unknown) => unknown.as_str(),
            Self::Forbidden(..) => "forbidden",
            Self::Limited(_) => "limited",
        }
    }

    /// For people; the same for every key that is not in force, so that nobody learns which ids there are.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Unauthenticated(Unknown::Missing) => {
                "an API key is needed: send it as authorization: Bearer hm_<id>_<secret>".to_owned()
            }
            Self::Unauthenticated(Unknown::Malformed) => {
                "the authorization header holds no API key: write Bearer hm_<id>_<secret>".to_owned()
            }
            Self::Unauthenticated(Unknown::NotInForce | Unknown::NotFromHere) => {
                "this API key is not accepted: it was replaced or revoked, or it is not one of this system".to_owned()
            }
            Self::Forbidden(caller, access) => {
                format!("{} has the role {}, which may not do this: {}", caller.subject, caller.role, needed(*access))
            }
            Self::Limited(_) => "too many requests: send the request again later".to_owned(),
        }
    }
}

const fn needed(access: Access) -> &'static str {
    match access {
        Access::Open | Access::Read => "any key may",
        Access::Inspect => "viewers may",
        Access::Trade => "traders may",
        Access::Act | Access::NodeAct => "operators may",
        Access::Admin | Access::NodeAdmin => "administrators may",
        Access::Peer => "only processes of the cluster may",
    }
}
