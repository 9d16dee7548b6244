//! The JSON of the HTTP door, one module per path. The structs are the schema: a field, once there, keeps name and
//! meaning. Absent: asking and judging.
//!
//! Times are RFC 3339 in UTC; durations carry their unit in the name; sizes are bytes.

pub mod activity;
pub mod audit;
pub mod configuration;
pub mod consensus;
pub mod database;
pub mod health;
pub mod incident;
pub mod market;
pub mod memory;
pub mod notifications;
pub mod orders;
pub mod pools;
pub mod trading;

use serde::Serialize;
use service_kit::clock;
use wire::pb::admin::v1::NodeAnswer;

/// Whether an instance answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AnswerView {
    /// Name under which this instance knows it.
    pub target: String,
    /// Name it gives itself; null if it did not answer.
    pub instance: Option<String>,
    /// Services it runs.
    pub services: Vec<String>,
    /// Why there is no answer; null if there is one.
    pub error: Option<String>,
    /// How long it took, microseconds.
    pub latency_us: u64,
}

impl From<Option<NodeAnswer>> for AnswerView {
    fn from(answer: Option<NodeAnswer>) -> Self {
        let NodeAnswer { target, error, latency_us, node, roles } = answer.unwrap_or_default();
        Self { target, instance: given(node), services: roles, error: given(error), latency_us }
    }
}

impl AnswerView {
    /// Name the instance gives itself, or the one under which it is known.
    pub(crate) fn name(&self) -> String {
        self.instance.clone().unwrap_or_else(|| self.target.clone())
    }
}

/// Empty text is no text.
fn given(text: String) -> Option<String> {
    if text.is_empty() { None } else { Some(text) }
}

/// Microseconds since the Unix epoch in RFC 3339; `None` for 0, "never".
fn rfc3339(us: u64) -> Option<String> {
    (us > 0).then(|| clock::rfc3339(us))
}
