//! Conditions of the components of a process, and what follows from them: readiness and gRPC health.
//!
//! A component says how it is; nobody polls it. Required components decide whether the instance is ready; optional
//! ones can only degrade it. Absent: other instances (see the admin service) and the probes' HTTP routes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use wire::pb::admin::v1 as pb;

use crate::clock;

/// How a component is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// Works.
    Ok,
    /// Works with a restriction.
    Degraded,
    /// Does not work.
    Down,
}

impl Condition {
    /// The word for people and JSON: "ok", "degraded", "down".
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }
}

impl From<Condition> for pb::ComponentStatus {
    fn from(condition: Condition) -> Self {
        match condition {
            Condition::Ok => Self::Ok,
            Condition::Degraded => Self::Degraded,
            Condition::Down => Self::Down,
        }
    }
}

/// All components of a process. Clones share their state.
#[derive(Clone)]
pub struct Components(Arc<Inner>);

/// A component's own handle. Clones are handles of the same component. It starts as down, "starting".
#[derive(Clone)]
pub struct Component {
    inner: Arc<Inner>,
    name: Arc<str>,
}

struct Inner {
    state: Mutex<State>,
    /// Counts changes of what a probe could see.
    version: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    draining: bool,
    components: BTreeMap<Arc<str>, Entry>,
}

struct Entry {
    condition: Condition,
    required: bool,
    since_us: u64,
    reason: String,
    details: BTreeMap<String, String>,
    grpc_services: Vec<&'static str>,
}

impl Components {
    /// An empty register.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Inner { state: Mutex::default(), version: watch::Sender::new(0) }))
    }

    /// Adds a component without which the instance is not ready. Registering a name again gives the same component.
    pub fn register(&self, name: impl AsRef<str>) -> Component {
        self.add(name.as_ref(), true)
    }

    /// Adds a component whose loss only degrades the instance.
    pub fn register_optional(&self, name: impl AsRef<str>) -> Component {
        self.add(name.as_ref(), false)
    }

    fn add(&self, name: &str, required: bool) -> Component {
        let name: Arc<str> = name.into();
        self.0.change(|state| {
            state.components.entry(Arc::clone(&name)).or_insert_with(|| Entry {
                condition: Condition::Down,
                required,
                since_us: clock::now_us(),
                reason: "starting".to_owned(),
                details: BTreeMap::new(),
                grpc_services: Vec::new(),
            });
            true
        });
        Component { inner: Arc::clone(&self.0), name }
    }

    /// From now on the instance is not ready, whatever its components say: it is being stopped.
    pub fn set_draining(&self) {
        self.0.change(|state| !std::mem::replace(&mut state.draining, true));
    }

    /// Everything, for health answers and probes.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let state = self.0.lock();
        let components = state
            .components
            .iter()
            .map(|(name, entry)| ComponentState {
                name: name.to_string(),
                condition: entry.condition,
                required: entry.required,
                since_us: entry.since_us,
                reason: entry.reason.clone(),
                details: entry.details.clone(),
                grpc_services: entry.grpc_services.clone(),
            })
            .collect();
        Snapshot { draining: state.draining, components }
    }

    /// Whether the instance takes work.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.snapshot().is_ready()
    }

    /// Told of every change of a condition, a reason or readiness. The number itself means nothing.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.version.subscribe()
    }
}

impl Default for Components {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Components {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.snapshot().fmt(f)
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `edit` under the lock and tells the watchers if it says that something changed.
    fn change(&self, edit: impl FnOnce(&mut State) -> bool) {
        let changed = edit(&mut self.lock());
        if changed {
            self.version.send_modify(|version| *version += 1);
        }
    }
}

impl Component {
    /// It works.
    pub fn ok(&self) {
        self.set(Condition::Ok, "");
    }

    /// It works with a restriction. `why` is for people: lower case, says what to do.
    pub fn degraded(&self, why: impl AsRef<str>) {
        self.set(Condition::Degraded, why.as_ref());
    }

    /// It does not work.
    pub fn down(&self, why: impl AsRef<str>) {
        self.set(Condition::Down, why.as_ref());
    }

    /// More about it, for people: last value of each key. Not a change that watchers are told of.
    pub fn detail(&self, key: impl Into<String>, value: impl fmt::Display) {
        let (key, value) = (key.into(), value.to_string());
        self.edit(|entry| {
            entry.details.insert(key, value);
            false
        });
    }

    /// Names a gRPC service that is healthy exactly when this component is not down: its
    /// `tonic::server::NamedService::NAME`.
    pub fn serves(&self, grpc_service: &'static str) {
        self.edit(|entry| {
            let news = !entry.grpc_services.contains(&grpc_service);
            if news {
                entry.grpc_services.push(grpc_service);
            }
            news
        });
    }

    /// How it is now.
    #[must_use]
    pub fn condition(&self) -> Condition {
        self.inner.lock().components.get(&self.name).map_or(Condition::Down, |entry| entry.condition)
    }

    fn set(&self, condition: Condition, why: &str) {
        self.inner.change(|state| {
            let draining = state.draining;
            let Some(entry) = state.components.get_mut(&self.name) else { return false };
            if entry.condition == condition && entry.reason == why {
                return false;
            }
            if entry.condition != condition {
                entry.since_us = clock::now_us();
                match condition {
                    Condition::Ok => tracing::info!(component = &*self.name, "component ok"),
                    // Part of every orderly stop, and nothing to warn of.
                    _ if draining => tracing::info!(component = &*self.name, why, "component stopping"),
                    Condition::Degraded => tracing::warn!(component = &*self.name, why, "component degraded"),
                    Condition::Down => tracing::warn!(component = &*self.name, why, "component down"),
                }
            }
            entry.condition = condition;
            why.clone_into(&mut entry.reason);
            true
        });
    }

    fn edit(&self, edit: impl FnOnce(&mut Entry) -> bool) {
        self.inner.change(|state| state.components.get_mut(&self.name).is_some_and(edit));
    }
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Component({}, {})", self.name, self.condition().as_str())
    }
}

/// All components at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Whether the instance is being stopped.
    pub draining: bool,
    /// The components, by name.
    pub components: Vec<ComponentState>,
}

/// One component at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentState {
    /// Its name.
    pub name: String,
    /// How it is.
    pub condition: Condition,
    /// Whether the instance is not ready without it.
    pub required: bool,
    /// Since when, microseconds since the Unix epoch, UTC.
    pub since_us: u64,
    /// Why it is not ok; empty if it is.
    pub reason: String,
    /// More about it.
    pub details: BTreeMap<String, String>,
    /// gRPC services that share its condition.
    pub grpc_services: Vec<&'static str>,
}

impl Snapshot {
    /// Whether the instance takes work: it is not being stopped and no required component is down.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.is_ready_without(&[])
    }

    /// The same, as if the named components did not exist.
    #[must_use]
    pub fn is_ready_without(&self, excluded: &[&str]) -> bool {
        let blocks = |component: &ComponentState| component.required && component.condition == Condition::Down;
        !self.draining && !self.components.iter().any(|c| blocks(c) && !excluded.contains(&c.name.as_str()))
    }

    /// The condition of the whole: down if not ready, degraded if anything is not ok.
    #[must_use]
    pub fn condition(&self) -> Condition {
        if !self.is_ready() {
            Condition::Down
        } else if self.components.iter().any(|c| c.condition != Condition::Ok) {
            Condition::Degraded
        } else {
            Condition::Ok
        }
    }
}

impl From<ComponentState> for pb::Component {
    fn from(state: ComponentState) -> Self {
        Self {
            name: state.name,
            status: pb::ComponentStatus::from(state.condition).into(),
            since_us: state.since_us,
            latency_us: 0,
            error: state.reason,
            details: state.details.into_iter().collect(),
            required: state.required,
        }
    }
}
