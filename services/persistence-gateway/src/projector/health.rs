//! How the history does: as the shard does that is worst off. Absent: why a shard is; its projector says so.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use service_kit::{Component, Condition};
use types::ShardId;

/// The component that all projectors of a gateway share. Clones are the same.
#[derive(Clone, Debug)]
pub struct HistoryHealth {
    component: Component,
    shards: Arc<Mutex<BTreeMap<ShardId, (Condition, String)>>>,
}

impl HistoryHealth {
    /// Told of by `component`, which nobody else sets.
    #[must_use]
    pub fn new(component: Component) -> Self {
        Self { component, shards: Arc::default() }
    }

    /// How one shard does, and why.
    pub(super) fn set(&self, shard: ShardId, condition: Condition, why: &str) {
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        shards.insert(shard, (condition, why.to_owned()));
        let any = |wanted| shards.iter().find(|(_, (condition, _))| *condition == wanted);
        let told = |(shard, (_, why)): (&ShardId, &(Condition, String))| format!("shard {shard}: {why}");
        // Under the lock, so that the last word is about what stands there.
        if let Some(worst) = any(Condition::Down) {
            self.component.down(told(worst));
        } else if let Some(worst) = any(Condition::Degraded) {
            self.component.degraded(told(worst));
        } else {
            self.component.ok();
        }
    }

    /// More about it, for people.
    pub(super) fn detail(&self, key: impl Into<String>, value: impl fmt::Display) {
        self.component.detail(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use service_kit::Components;

    #[test]
    fn a_shard_that_works_does_not_hide_one_that_does_not() {
        let components = Components::new();
        let health = HistoryHealth::new(components.register_optional("history"));
        let shown = || {
            let state = components.snapshot().components.remove(0);
            (state.condition, state.reason)
        };
        let (zero, one) = (health.clone(), health);
        zero.set(ShardId(0), Condition::Ok, "");
        assert_eq!(shown(), (Condition::Ok, String::new()));
        one.set(ShardId(1), Condition::Down, "stopped for good");
        zero.set(ShardId(0), Condition::Ok, "");
        assert_eq!(shown(), (Condition::Down, "shard 1: stopped for good".to_owned()));
        zero.set(ShardId(0), Condition::Degraded, "no connection");
        assert_eq!(shown(), (Condition::Down, "shard 1: stopped for good".to_owned()));
        one.set(ShardId(1), Condition::Ok, "");
        assert_eq!(shown(), (Condition::Degraded, "shard 0: no connection".to_owned()));
        zero.set(ShardId(0), Condition::Ok, "");
        assert_eq!(shown(), (Condition::Ok, String::new()));
    }
}
