//! How the engine is, put together from its shards: ready when it does for each of them what it should, which is to lead
//! with an open log or to follow whoever leads.
//!
//! Deliberately absent: other engines. One that only follows is ready: it forwards, and takes over when it must.

use service_kit::Component;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use types::ShardId;

/// How long a shard may be without a leader, or on its way to one, before an engine that has been ready is so no longer:
/// what an orderly change and the end of a killed leader take, and some more.
const SETTLING_MAX: Duration = Duration::from_secs(2);

/// The engine's component, shared by its shards.
#[derive(Debug)]
pub(crate) struct EngineHealth {
    component: Component,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// By shard.
    shards: Vec<Stand>,
    /// Whether every shard has been settled once.
    started: bool,
}

/// How it stands with one shard.
#[derive(Clone, Debug)]
enum Stand {
    /// This engine leads it and takes commands.
    Open,
    /// Another engine leads it.
    Following,
    /// Neither yet, since then.
    Settling { since: Instant, why: String },
    /// This engine leads it and can do nothing.
    Failing { why: String },
}

/// One shard's part of the engine's health. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ShardHealth {
    engine: Arc<EngineHealth>,
    shard: ShardId,
}

impl EngineHealth {
    /// The health of an engine whose shards are all starting.
    pub(crate) fn new(component: Component, shards: u32) -> Arc<Self> {
        let starting = Stand::Settling { since: Instant::now(), why: "starting".to_owned() };
        let state = State { shards: vec![starting; shards as usize], started: false };
        Arc::new(Self { component, state: Mutex::new(state) })
    }

    /// The part of one shard.
    pub(crate) fn of(self: &Arc<Self>, shard: ShardId) -> ShardHealth {
        ShardHealth { engine: Arc::clone(self), shard }
    }

    /// Looks at how long shards have been unsettled.
    pub(crate) fn tick(&self) {
        self.show(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing is left half-done under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Under the lock, so that what is shown last is what was said last.
    fn show(&self, state: &mut State) {
        match state.trouble(Instant::now()) {
            Some(why) => self.component.down(why),
            None => {
                state.started = true;
                self.component.ok();
            }
        }
    }
}

impl State {
    /// What keeps the engine from being ready.
    fn trouble(&self, now: Instant) -> Option<String> {
        let troubled = |stand: &Stand| match stand {
            Stand::Open | Stand::Following => None,
            Stand::Failing { why } => Some(why.clone()),
            Stand::Settling { since, why } => {
                let patient = self.started && now.saturating_duration_since(*since) < SETTLING_MAX;
                (!patient).then(|| why.clone())
            }
        };
        let mut all = self.shards.iter().enumerate().filter_map(|(shard, stand)| Some((shard, troubled(stand)?)));
        let (shard, why) = all.next()?;
        if self.shards.len() == 1 {
            return Some(why);
        }
        match all.count() {
            0 => Some(format!("shard {shard}: {why}")),
            more => Some(format!("shard {shard}: {why}; and {more} more of {} shards", self.shards.len())),
        }
    }
}

impl ShardHealth {
    /// This engine leads the shard and takes commands.
    pub(crate) fn open(&self) {
        self.set(Stand::Open);
    }

    /// Another engine leads the shard.
    pub(crate) fn following(&self) {
        self.set(Stand::Following);
    }

    /// The shard is on its way to a leader, this one or another.
    pub(crate) fn settling(&self, why: &str) {
        let mut state = self.engine.lock();
        let Some(stand) = state.shards.get_mut(self.shard.0 as usize) else { return };
        let since = match stand {
            Stand::Settling { since, .. } => *since,
            _ => Instant::now(),
        };
        *stand = Stand::Settling { since, why: why.to_owned() };
        self.tell(stand);
        self.engine.show(&mut state);
    }

    /// This engine leads the shard and can do nothing.
    pub(crate) fn failing(&self, why: &str) {
        self.set(Stand::Failing { why: why.to_owned() });
    }

    /// More about the shard, for people.
    pub(crate) fn detail(&self, key: &str, value: impl std::fmt::Display) {
        self.engine.component.detail(format!("{key}-{}", self.shard), value);
    }

    fn tell(&self, stand: &Stand) {
        match stand {
            Stand::Open => self.detail("state", "open"),
            Stand::Following => self.detail("state", "following"),
            Stand::Settling { why, .. } => self.detail("state", format_args!("settling: {why}")),
            Stand::Failing { why } => self.detail("state", format_args!("failing: {why}")),
        }
    }

    fn set(&self, stand: Stand) {
        let mut state = self.engine.lock();
        if let Some(present) = state.shards.get_mut(self.shard.0 as usize) {
            *present = stand;
            self.tell(present);
        }
        self.engine.show(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use service_kit::Components;

    fn reason(components: &Components) -> String {
        components.snapshot().components.remove(0).reason
    }

    #[test]
    fn ready_when_every_shard_is_led_here_or_elsewhere() {
        let components = Components::new();
        let health = EngineHealth::new(components.register("engine"), 3);
        health.of(ShardId(0)).open();
        health.of(ShardId(1)).following();
        assert!(!components.is_ready());
        assert_eq!(reason(&components), "shard 2: starting");
        health.of(ShardId(2)).settling("recovering");
        assert_eq!(reason(&components), "shard 2: recovering");
        health.of(ShardId(2)).following();
        assert!(components.is_ready(), "an engine need not lead everything");
        health.of(ShardId(0)).settling("recovering");
        health.of(ShardId(1)).settling("recovering");
        assert!(components.is_ready(), "a change of leaders is no outage");
        health.of(ShardId(1)).failing("the journal does not answer");
        assert_eq!(reason(&components), "shard 1: the journal does not answer");
        health.of(ShardId(1)).open();
        assert!(components.is_ready());
    }

    #[test]
    fn a_shard_that_stays_without_a_leader_is_trouble() {
        let state = State { shards: vec![Stand::Open; 3], started: true };
        let now = Instant::now();
        assert_eq!(state.trouble(now), None);
        let lost = Stand::Settling { since: now, why: "no leader".to_owned() };
        let state = State { shards: vec![Stand::Open, lost.clone(), lost], started: true };
        assert_eq!(state.trouble(now), None);
        let later = state.trouble(now + SETTLING_MAX);
        assert_eq!(later.as_deref(), Some("shard 1: no leader; and 1 more of 3 shards"));
    }
}
