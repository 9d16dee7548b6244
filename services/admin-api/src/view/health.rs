//! `GET /health`: 200 when orders can be traded through this door, 503 with the same body when they cannot.

use std::collections::BTreeMap;

use serde::Serialize;
use service_kit::{Condition, NodeContext};
use wire::pb::admin::v1 as pb;

use super::rfc3339;
use super::{AnswerView, given};
use crate::verdict::{condition_of, judge};

/// The whole answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HealthView {
    /// "ok", "degraded", or "down" with 503.
    pub status: &'static str,
    /// Why it is not ok.
    pub reasons: Vec<String>,
    /// Name of the instance that answers.
    pub instance: String,
    /// Its services, by commas.
    pub role: String,
    /// Version of its program.
    pub version: String,
    /// Since it was started, milliseconds.
    pub uptime_ms: u64,
    /// Components of the whole system by name, each in the worst condition that an instance reports. One that is
    /// needed and that nobody reported is listed as down.
    pub components: BTreeMap<String, ComponentView>,
    /// All instances, also those that did not answer.
    pub instances: Vec<InstanceView>,
}

/// A component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ComponentView {
    /// "ok", "degraded" or "down". In `components` "degraded" also if some instances have it and others do not.
    pub status: &'static str,
    /// Since when; null if nobody knows.
    pub since: Option<String>,
    /// How long the question took, microseconds; 0 when answered from within the process.
    pub latency_us: u64,
    /// Why it is not ok; null if it is.
    pub error: Option<String>,
    /// Service it belongs to.
    pub service: String,
    /// Instance it was reported by; null if by none.
    pub instance: Option<String>,
    /// More about it.
    pub details: BTreeMap<String, String>,
}

/// An instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InstanceView {
    /// Whether it answered.
    #[serde(flatten)]
    pub answer: AnswerView,
    /// "ok", "degraded", "down", or "unreachable".
    pub status: &'static str,
    /// Version of its program.
    pub version: Option<String>,
    /// Whether it is being stopped.
    pub draining: bool,
    /// Its own components by name.
    pub components: BTreeMap<String, ComponentView>,
}

impl HealthView {
    pub(crate) fn new(own: &NodeContext, response: pb::GetHealthResponse) -> Self {
        let verdict = judge(&response);
        let merged = verdict.components.into_iter().map(|(name, merged)| {
            let view = ComponentView::new(merged.component, merged.instance);
            (name, ComponentView { status: merged.condition.as_str(), ..view })
        });
        Self {
            status: verdict.condition.as_str(),
            reasons: verdict.reasons,
            instance: own.name.clone(),
            role: own.roles.join(","),
            version: own.version.to_owned(),
            uptime_ms: u64::try_from(own.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            components: merged.collect(),
            instances: response.instances.into_iter().map(InstanceView::from).collect(),
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.status != Condition::Down.as_str()
    }
}

impl ComponentView {
    fn new(component: pb::Component, instance: String) -> Self {
        Self {
            status: condition_of(component.status()).as_str(),
            since: rfc3339(component.since_us),
            latency_us: component.latency_us,
            error: given(component.error),
            service: component.name,
            instance: given(instance),
            details: component.details.into_iter().collect(),
        }
    }
}

impl From<pb::InstanceHealth> for InstanceView {
    fn from(instance: pb::InstanceHealth) -> Self {
        let answer = instance.answer.into();
        let Some(health) = instance.health else {
            return Self { answer, status: "unreachable", version: None, draining: false, components: BTreeMap::new() };
        };
        let status = condition_of(health.status()).as_str();
        let node = health.node;
        let components = health
            .components
            .into_iter()
            .map(|component| (component.name.clone(), ComponentView::new(component, node.clone())))
            .collect();
        Self { answer, status, version: given(health.version), draining: health.draining, components }
    }
}
