//! What `admin config` and `admin log-level` print: the JSON is that of the HTTP door, the table is for people.

use std::path::Path;

use admin_api::view::AnswerView;
use admin_api::view::configuration::{
    ChangeView, ConfigView, InstanceLevelView, InstanceOutcomeView, LevelView, LevelsView, NodeConfigView, OutcomesView,
};
use anyhow::Result;
use serde::Serialize;
use serde_json::Value;
use service_kit::clock;
use wire::pb::admin::v1 as pb;

use super::difference;
use crate::output::line;

/// Configuration of the nodes.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct States(ConfigView);

/// What became, or would become, of a configuration.
#[derive(Debug, Serialize)]
pub(super) struct Outcomes {
    dry_run: bool,
    #[serde(flatten)]
    outcomes: OutcomesView,
}

/// What is logged.
#[derive(Debug, Serialize)]
pub(super) struct Levels {
    dry_run: bool,
    instances: Vec<Level>,
}

#[derive(Debug, Serialize)]
struct Level {
    #[serde(flatten)]
    answer: AnswerView,
    level: Option<LevelView>,
    before: Option<String>,
}

/// A file that was changed, or would be.
#[derive(Debug, Serialize)]
pub(super) struct Written {
    dry_run: bool,
    file: String,
    changed: bool,
    diff: String,
}

impl States {
    pub(super) fn new(response: pb::GetConfigResponse, keys: &str) -> Self {
        let mut view = ConfigView::from(response);
        for config in view.instances.iter_mut().filter_map(|one| one.config.as_mut()) {
            config.values.retain(|value| value.key.starts_with(keys));
        }
        Self(view)
    }

    pub(super) fn complete(&self) -> bool {
        self.0.instances.iter().all(|one| one.config.is_some())
    }

    /// Values of the first node that answered, and of the others what differs from them.
    pub(super) fn print(&self) {
        let first = self.0.instances.iter().find_map(|one| one.config.as_ref());
        for one in &self.0.instances {
            line(&format!("{}: {}", name(&one.answer), one.config.as_ref().map_or_else(|| lost(&one.answer), summary)));
            for change in one.config.iter().flat_map(|config| &config.needs_restart) {
                line(&format!("  needs restart: {}", text(change)));
            }
        }
        let Some(first) = first else { return };
        line("");
        let width = first.values.iter().map(|value| value.key.len()).max().unwrap_or(0);
        for value in &first.values {
            let hot = if value.hot { ", hot" } else { "" };
            line(&format!("{:width$} = {}  # {}{hot}", value.key, value.value, value.origin));
            for other in &self.0.instances {
                let others = other.config.iter().flat_map(|config| &config.values).find(|v| v.key == value.key);
                if let Some(differs) = others.filter(|others| others.value != value.value) {
                    line(&format!("{:width$} = {}  # on {}", "", differs.value, name(&other.answer)));
                }
            }
        }
    }
}

fn summary(config: &NodeConfigView) -> String {
    let file = config.file.as_deref().unwrap_or("no file");
    let error = config.last_error.as_ref().map_or(String::new(), |e| format!("\n  the file cannot be used: {e}"));
    format!("generation {}, {file}{error}", config.generation)
}

impl Outcomes {
    pub(super) fn new(instances: Vec<pb::InstanceOutcome>, dry_run: bool) -> Self {
        Self { dry_run, outcomes: OutcomesView::from(instances) }
    }

    pub(super) fn usable(&self) -> bool {
        self.outcomes.is_usable()
    }

    pub(super) fn complete(&self) -> bool {
        self.outcomes.is_complete()
    }

    pub(super) fn changes(&self) -> bool {
        let outcomes = self.outcomes.instances.iter().filter_map(|one| one.outcome.as_ref());
        outcomes.into_iter().any(|outcome| !outcome.applied.is_empty() || !outcome.needs_restart.is_empty())
    }

    pub(super) fn print_verdict(&self) {
        for one in &self.outcomes.instances {
            let said = match &one.outcome {
                None => lost(&one.answer),
                Some(outcome) => match &outcome.config_error {
                    Some(error) => format!("cannot be used: {error}"),
                    None => "can be used".to_owned(),
                },
            };
            line(&format!("{}: {said}", name(&one.answer)));
        }
    }

    pub(super) fn print(&self) {
        self.outcomes.instances.iter().for_each(|one| self.print_one(one));
    }

    fn print_one(&self, one: &InstanceOutcomeView) {
        let Some(outcome) = &one.outcome else { return line(&format!("{}: {}", name(&one.answer), lost(&one.answer))) };
        let said = match (&outcome.config_error, outcome.result) {
            (Some(error), _) => format!("refused, generation {} stays: {error}", outcome.generation),
            (None, "unchanged") => format!("no change, generation {}", outcome.generation),
            (None, _) if self.dry_run => "would be accepted".to_owned(),
            (None, _) => format!("accepted, generation {}", outcome.generation),
        };
        line(&format!("{}: {said}", name(&one.answer)));
        let applied = if self.dry_run { "would apply" } else { "applied" };
        outcome.applied.iter().for_each(|change| line(&format!("  {applied}: {}", text(change))));
        outcome.needs_restart.iter().for_each(|change| line(&format!("  needs restart: {}", text(change))));
    }
}

impl Levels {
    pub(super) fn shown(response: pb::GetConfigResponse) -> Self {
        let instances = ConfigView::from(response).instances.into_iter();
        let level = |config: Option<NodeConfigView>| config.map(|config| config.log_level);
        let instances =
            instances.map(|one| Level { level: level(one.config), answer: one.answer, before: None }).collect();
        Self { dry_run: false, instances }
    }

    /// `until_us` is when the order ends, 0 for never; none if an order was ended.
    pub(super) fn ordered(response: pb::SetLogLevelResponse, dry_run: bool, until_us: Option<u64>) -> Self {
        let (ordered, until) = (until_us.is_some(), until_us.filter(|us| *us > 0).map(clock::rfc3339));
        let level = |InstanceLevelView { answer, before, after }| Level {
            level: after.map(|level| LevelView { level, ordered, until: until.clone() }),
            answer,
            before,
        };
        Self { dry_run, instances: LevelsView::from(response).instances.into_iter().map(level).collect() }
    }

    pub(super) fn complete(&self) -> bool {
        self.instances.iter().all(|one| one.level.is_some())
    }

    pub(super) fn print(&self) {
        for one in &self.instances {
            let said = match (&one.level, &one.before) {
                (None, _) => lost(&one.answer),
                (Some(now), Some(before)) if now.level == *before => format!("{before}, no change"),
                (Some(now), Some(before)) if self.dry_run => format!("{before}, would be {}", now.level),
                (Some(now), Some(before)) => format!("{}, was {before}", now.level),
                (Some(now), None) => {
                    let until = now.until.as_ref().map_or(String::new(), |until| format!(" until {until}"));
                    format!("{}{}", now.level, if now.ordered { format!(", ordered{until}") } else { String::new() })
                }
            };
            line(&format!("{}: {said}", name(&one.answer)));
        }
    }
}

impl Written {
    pub(super) fn new(file: &Path, before: &str, after: &str, dry_run: bool) -> Result<Self> {
        let file = file.display().to_string();
        let diff = difference::between(&file, before, after)?;
        Ok(Self { dry_run, changed: before != after, file, diff })
    }

    pub(super) fn print(&self) {
        if !self.changed {
            return line(&format!("{}: no change", self.file));
        }
        crate::output::text(&self.diff);
        if !self.dry_run {
            line(&format!("{} was written; a node that runs with it loads it within two seconds", self.file));
        }
    }
}

fn name(answer: &AnswerView) -> &str {
    answer.instance.as_deref().unwrap_or(&answer.target)
}

fn lost(answer: &AnswerView) -> String {
    format!("no answer: {}", answer.error.as_deref().unwrap_or("no reason given"))
}

fn text(change: &ChangeView) -> String {
    let shown = |value: &Value| if value.is_null() { "nothing".to_owned() } else { value.to_string() };
    format!("{} {} -> {}", change.key, shown(&change.before), shown(&change.after))
}
