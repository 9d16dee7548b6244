//! Changes of the components' conditions, recorded: the history of an incident begins with them, and no metric or log
//! is as sure to be there afterwards. Absent: orders that have anything to do with them.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Act, Audit};
use crate::{Components, Condition};

/// Records changes for as long as the node lives. What changes back before anybody looks is not seen; a component that
/// comes up for the first time is not a change.
pub(crate) async fn record(audit: Audit, components: Components) {
    let mut changes = components.changes();
    let mut known: BTreeMap<String, Condition> = BTreeMap::new();
    loop {
        let snapshot = components.snapshot();
        if snapshot.draining {
            // What ends in order is no incident.
            return;
        }
        for component in snapshot.components {
            let (name, condition) = (component.name, component.condition);
            let before = known.insert(name.clone(), condition);
            let begins = before.is_none() && component.reason == "starting";
            let before = before.unwrap_or(Condition::Ok);
            if begins {
                known.remove(&name);
            } else if before != condition {
                let after = json!({"condition": condition.as_str(), "reason": component.reason});
                let before = json!({"condition": before.as_str()});
                audit.record(Act { target: name, before, after, ..Act::system("health.changed") });
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}
