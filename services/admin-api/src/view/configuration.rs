//! `GET /admin/config`, `POST /admin/config/reload`, `GET` and `POST /admin/log-level`. Secrets are hidden before they
//! get here.

use serde::Serialize;
use serde_json::Value;
use wire::pb::admin::v1 as pb;

use super::{AnswerView, given};
use crate::view::rfc3339;

/// Configuration of every instance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConfigView {
    /// All instances, also those that did not answer.
    pub instances: Vec<InstanceConfigView>,
}

/// One instance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InstanceConfigView {
    /// Whether it answered.
    #[serde(flatten)]
    pub answer: AnswerView,
    /// Its configuration; null if it did not answer.
    pub config: Option<NodeConfigView>,
}

/// What is in force in an instance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NodeConfigView {
    /// Counts the configurations accepted that differed from the one before.
    pub generation: u64,
    /// When the last of them was.
    pub accepted_at: Option<String>,
    /// The file; null without one.
    pub file: Option<String>,
    /// Why the file, as last read, cannot be used; null if it can.
    pub last_error: Option<String>,
    /// When that was found.
    pub last_error_at: Option<String>,
    /// Every value in force.
    pub values: Vec<ValueView>,
    /// What only a restart brings into force.
    pub needs_restart: Vec<ChangeView>,
    /// What is logged.
    pub log_level: LevelView,
}

/// A value in force.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ValueView {
    /// Its key.
    pub key: String,
    /// The value.
    pub value: Value,
    /// Where it comes from.
    pub origin: String,
    /// Whether it can be changed without a restart.
    pub hot: bool,
}

/// A value that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChangeView {
    /// Its key.
    pub key: String,
    /// The value in force until then; null if there was none.
    pub before: Value,
    /// The new one; null if there is none any more.
    pub after: Value,
    /// Whether it takes a restart to come into force.
    pub needs_restart: bool,
}

/// What is logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LevelView {
    /// The level.
    pub level: String,
    /// Whether it was ordered, and so may differ from `log.level`.
    pub ordered: bool,
    /// When an order ends; null if it does not.
    pub until: Option<String>,
}

/// What became of a configuration, or would, on every instance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OutcomesView {
    /// All instances, also those that did not answer.
    pub instances: Vec<InstanceOutcomeView>,
}

/// On one instance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InstanceOutcomeView {
    /// Whether it answered.
    #[serde(flatten)]
    pub answer: AnswerView,
    /// What became of it; null if it did not answer.
    pub outcome: Option<OutcomeView>,
}

/// What became of a configuration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OutcomeView {
    /// "accepted", "unchanged" or "refused".
    pub result: &'static str,
    /// Generation in force.
    pub generation: u64,
    /// Why it cannot be used; null if it can.
    pub config_error: Option<String>,
    /// How it differs from what was in force, as far as that is in force now.
    pub applied: Vec<ChangeView>,
    /// How it differs otherwise.
    pub needs_restart: Vec<ChangeView>,
}

/// Level of every instance after it was ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LevelsView {
    /// All instances, also those that did not answer.
    pub instances: Vec<InstanceLevelView>,
}

/// Level of one instance after it was ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InstanceLevelView {
    /// Whether it answered.
    #[serde(flatten)]
    pub answer: AnswerView,
    /// The level before; null if it did not answer.
    pub before: Option<String>,
    /// The level now; null if it did not answer.
    pub after: Option<String>,
}

impl From<pb::GetConfigResponse> for ConfigView {
    fn from(response: pb::GetConfigResponse) -> Self {
        let view = |one: pb::InstanceConfig| InstanceConfigView {
            answer: one.answer.into(),
            config: one.config.map(NodeConfigView::from),
        };
        Self { instances: response.instances.into_iter().map(view).collect() }
    }
}

impl From<pb::NodeConfig> for NodeConfigView {
    fn from(config: pb::NodeConfig) -> Self {
        let value =
            |v: pb::ConfigValue| ValueView { value: parsed(&v.value), key: v.key, origin: v.origin, hot: v.hot };
        Self {
            generation: config.generation,
            accepted_at: rfc3339(config.accepted_us),
            file: given(config.file),
            last_error: given(config.error),
            last_error_at: rfc3339(config.error_us),
            values: config.values.into_iter().map(value).collect(),
            needs_restart: config.pending.into_iter().map(ChangeView::from).collect(),
            log_level: LevelView {
                level: config.log_level,
                ordered: config.log_level_ordered,
                until: rfc3339(config.log_level_until_us),
            },
        }
    }
}

impl From<pb::ConfigChange> for ChangeView {
    fn from(change: pb::ConfigChange) -> Self {
        let (before, after) = (parsed(&change.before), parsed(&change.after));
        Self { key: change.key, before, after, needs_restart: change.needs_restart }
    }
}

impl From<pb::ConfigOutcome> for OutcomeView {
    fn from(outcome: pb::ConfigOutcome) -> Self {
        let result = match outcome.result() {
            pb::ConfigResult::Accepted => "accepted",
            pb::ConfigResult::Unchanged => "unchanged",
            pb::ConfigResult::Refused | pb::ConfigResult::Unspecified => "refused",
        };
        let changes = outcome.changes.into_iter().map(ChangeView::from);
        let (needs_restart, applied) = changes.partition(|change: &ChangeView| change.needs_restart);
        let (generation, config_error) = (outcome.generation, given(outcome.error));
        Self { result, generation, config_error, applied, needs_restart }
    }
}

impl From<Vec<pb::InstanceOutcome>> for OutcomesView {
    fn from(instances: Vec<pb::InstanceOutcome>) -> Self {
        let view = |one: pb::InstanceOutcome| InstanceOutcomeView {
            answer: one.answer.into(),
            outcome: one.outcome.map(OutcomeView::from),
        };
        Self { instances: instances.into_iter().map(view).collect() }
    }
}

impl OutcomesView {
    /// Whether no instance refused it.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.instances.iter().filter_map(|one| one.outcome.as_ref()).all(|outcome| outcome.config_error.is_none())
    }

    /// Whether all instances answered.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.instances.iter().all(|one| one.outcome.is_some())
    }
}

impl From<pb::SetLogLevelResponse> for LevelsView {
    fn from(response: pb::SetLogLevelResponse) -> Self {
        let view = |one: pb::InstanceLogLevel| InstanceLevelView {
            answer: one.answer.into(),
            before: given(one.before),
            after: given(one.after),
        };
        Self { instances: response.instances.into_iter().map(view).collect() }
    }
}

/// What the instance wrote as JSON; nothing for nothing.
fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_default()
}
