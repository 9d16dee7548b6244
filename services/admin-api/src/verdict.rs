//! From the components of all instances to one answer: can orders be traded through this door? A pure function.
//! Absent: asking the instances.

use std::collections::BTreeMap;

use service_kit::Condition;
use wire::pb::admin::v1 as pb;

/// Without any of these no order can be acknowledged.
const NEEDED: [&str; 2] = ["order_engine", "persistence"];

/// Also belongs to a whole system. Trading goes on without it, but no new leader can be chosen.
const EXPECTED: [&str; 1] = ["consensus"];

/// The judgement.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) condition: Condition,
    /// Why it is not ok, for people.
    pub(crate) reasons: Vec<String>,
    /// Every component of the system by name.
    pub(crate) components: BTreeMap<String, Merged>,
}

/// A component of the system: the same component of all instances taken together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Merged {
    /// Ok if all are; down if all are; degraded otherwise.
    pub(crate) condition: Condition,
    /// The instance in the worst condition; empty if no instance has the component.
    pub(crate) instance: String,
    /// The component there.
    pub(crate) component: pb::Component,
}

/// Judges the answers. The first instance is the one that answers.
pub(crate) fn judge(response: &pb::GetHealthResponse) -> Verdict {
    let mut components = merge(response);
    let mut reasons = Vec::new();
    let mut condition = Condition::Ok;
    let mut lower = |to: Condition, reason: String| {
        condition = condition.max(to);
        reasons.push(reason);
    };
    let own = response.instances.first().and_then(|instance| instance.health.as_ref());
    if own.is_some_and(|own| own.draining) {
        lower(Condition::Down, "this instance is being stopped".to_owned());
    }
    for instance in &response.instances {
        if let (Some(answer), None) = (&instance.answer, &instance.health) {
            lower(Condition::Degraded, format!("{} did not answer: {}", answer.target, answer.error));
        }
    }
    for name in NEEDED.into_iter().chain(EXPECTED) {
        components.entry(name.to_owned()).or_insert_with(|| missing(name));
    }
    for (name, merged) in &components {
        if merged.condition != Condition::Ok {
            let needed = NEEDED.contains(&name.as_str()) && merged.condition == Condition::Down;
            let to = if needed { Condition::Down } else { Condition::Degraded };
            let at = if merged.instance.is_empty() { String::new() } else { format!(" at {}", merged.instance) };
            lower(to, format!("{name} is {}{at}: {}", merged.condition.as_str(), merged.component.error));
        }
    }
    Verdict { condition, reasons, components }
}

fn merge(response: &pb::GetHealthResponse) -> BTreeMap<String, Merged> {
    let mut merged: BTreeMap<String, (Condition, Merged)> = BTreeMap::new();
    for health in response.instances.iter().filter_map(|instance| instance.health.as_ref()) {
        for component in &health.components {
            let condition = condition_of(component.status());
            let this = || Merged { condition, instance: health.node.clone(), component: component.clone() };
            let (best, worst) = merged.entry(component.name.clone()).or_insert_with(|| (condition, this()));
            *best = condition.min(*best);
            if condition > worst.condition {
                *worst = this();
            }
        }
    }
    let settled = |(best, worst): (Condition, Merged)| Merged {
        condition: if best == worst.condition { best } else { Condition::Degraded },
        ..worst
    };
    merged.into_iter().map(|(name, pair)| (name, settled(pair))).collect()
}

fn missing(name: &str) -> Merged {
    let component = pb::Component {
        name: name.to_owned(),
        status: pb::ComponentStatus::Down.into(),
        error: "no instance that answered has it".to_owned(),
        ..pb::Component::default()
    };
    Merged { condition: Condition::Down, instance: String::new(), component }
}

/// A word we do not know comes from a newer version; it is not a good one.
pub(crate) fn condition_of(status: pb::ComponentStatus) -> Condition {
    match status {
        pb::ComponentStatus::Ok => Condition::Ok,
        pb::ComponentStatus::Degraded => Condition::Degraded,
        pb::ComponentStatus::Down | pb::ComponentStatus::Unspecified => Condition::Down,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An instance from words like "order_engine:ok history:down"; "?" is one that did not answer, "!" one that is
    /// being stopped.
    fn instance(name: &str, words: &str) -> pb::InstanceHealth {
        let answer = pb::NodeAnswer { target: name.to_owned(), error: "refused".to_owned(), ..Default::default() };
        let mut health = pb::NodeHealth { node: name.to_owned(), ..Default::default() };
        for word in words.split_whitespace() {
            match word.split_once(':') {
                None if word == "?" => return pb::InstanceHealth { answer: Some(answer), health: None },
                None => health.draining = true,
                Some((component, condition)) => {
                    let (status, error) = match condition {
                        "ok" => (pb::ComponentStatus::Ok, ""),
                        "degraded" => (pb::ComponentStatus::Degraded, "slow"),
                        _ => (pb::ComponentStatus::Down, "lost"),
                    };
                    let (name, error) = (component.to_owned(), error.to_owned());
                    let status = status.into();
                    health.components.push(pb::Component { name, status, error, ..Default::default() });
                }
            }
        }
        pb::InstanceHealth { answer: Some(answer), health: Some(health) }
    }

    fn judged(instances: &[&str]) -> (Condition, String) {
        let instances = instances.iter().zip(["a", "b", "c"]).map(|(words, name)| instance(name, words)).collect();
        let verdict = judge(&pb::GetHealthResponse { status: 0, instances });
        (verdict.condition, verdict.reasons.join("; "))
    }

    #[test]
    fn what_stops_trading_and_what_only_degrades() {
        let whole = "order_engine:ok persistence:ok consensus:ok";
        for (instances, condition, reasons) in [
            (&[whole][..], Condition::Ok, ""),
            (&["admin:ok", "order_engine:ok", "persistence:ok consensus:ok"], Condition::Ok, ""),
            (&[whole, "history:down"], Condition::Degraded, "history is down at b: lost"),
            (&[whole, "?"], Condition::Degraded, "b did not answer: refused"),
            (
                &["order_engine:ok persistence:ok"],
                Condition::Degraded,
                "consensus is down: no instance that answered has it",
            ),
            (&["!", whole], Condition::Down, "this instance is being stopped"),
            (&["admin:ok", "!", whole], Condition::Ok, ""),
            (&["order_engine:down persistence:ok consensus:ok"], Condition::Down, "order_engine is down at a: lost"),
            (&[whole, "order_engine:down"], Condition::Degraded, "order_engine is degraded at b: lost"),
            (&["order_engine:down", whole], Condition::Degraded, "order_engine is degraded at a: lost"),
            (
                &["order_engine:degraded persistence:ok consensus:ok"],
                Condition::Degraded,
                "order_engine is degraded at a: slow",
            ),
            (
                &["persistence:ok consensus:ok", "?"],
                Condition::Down,
                "b did not answer: refused; order_engine is down: no instance that answered has it",
            ),
        ] {
            assert_eq!(judged(instances), (condition, reasons.to_owned()), "{instances:?}");
        }
    }
}
