//! What is recorded, before it is a line. Absent: time and place in the chain; the log gives those.

use serde_json::Value;
use wire::pb::consensus::v1::Order;
use wire::status::ApiError;

use crate::{Caller, Role};

/// Something that somebody did, or that the system did by itself.
#[derive(Clone, Debug)]
pub struct Act {
    /// What, as `<area>.<verb>`: "database.reset_pools".
    pub action: &'static str,
    /// What it was done to.
    pub target: String,
    /// Who called, as authenticated, and from where.
    pub caller: Caller,
    /// Who ordered it, as the caller says.
    pub actor: String,
    /// Why, as the caller says.
    pub reason: String,
    /// Id of the order.
    pub request_id: String,
    /// How it was asked for; only the verbose level keeps it.
    pub parameters: Value,
    /// What it was before; null if that says nothing.
    pub before: Value,
    /// What it is now; null if that says nothing.
    pub after: Value,
    /// What came of it.
    pub result: Outcome,
}

/// What came of an act.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    #[default]
    Ok,
    /// It was not even tried, and why. Only the verbose level keeps it.
    Refused(String),
    /// It was tried and went wrong, and how.
    Failed(String),
}

impl Act {
    /// An act of somebody.
    #[must_use]
    pub fn new(action: &'static str, caller: Caller) -> Self {
        Self {
            action,
            target: String::new(),
            caller,
            actor: String::new(),
            reason: String::new(),
            request_id: String::new(),
            parameters: Value::Null,
            before: Value::Null,
            after: Value::Null,
            result: Outcome::Ok,
        }
    }

    /// An act that was ordered: by whom and why, as the order says; without a name, the caller's.
    #[must_use]
    pub fn ordered(action: &'static str, caller: Caller, order: &Order) -> Self {
        let Order { request_id, actor, reason, .. } = order.clone();
        let actor = if actor.is_empty() { caller.subject.clone() } else { actor };
        Self { actor, reason, request_id, ..Self::new(action, caller) }
    }

    /// Something that the system did by itself.
    #[must_use]
    pub fn system(action: &'static str) -> Self {
        Self::new(action, Caller::new("system", Role::Node, None))
    }
}

impl Outcome {
    /// What came of an act that ends with an error of the table: refused if nothing was changed.
    #[must_use]
    pub fn of<T>(result: &Result<T, ApiError>) -> Self {
        match result {
            Ok(_) => Self::Ok,
            Err(error) if error.code.changed_nothing() => Self::Refused(error.to_string()),
            Err(error) => Self::Failed(error.to_string()),
        }
    }

    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
        }
    }

    pub(super) fn detail(&self) -> &str {
        match self {
            Self::Ok => "",
            Self::Refused(detail) | Self::Failed(detail) => detail,
        }
    }
}
