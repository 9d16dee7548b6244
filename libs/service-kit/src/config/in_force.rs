//! The configuration in force in a process, and how it becomes another one: load, check, compare, apply what may change
//! while the process runs, remember the rest.
//!
//! A configuration that cannot be used changes nothing. One whose hot keys cannot be used together with what needs a
//! restart is refused as a whole. Absent: when to load again (see [`super::follow`] and the node's gRPC), and what the
//! owners of the keys do about a change; they are told through [`Live`].

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::watch;
use wire::pb::admin::v1::{ConfigChange, ConfigOutcome, ConfigResult, ConfigValue, NodeConfig};

use super::difference::{changes, is_hot, merged};
use super::{Live, Loaded, Origin, load_text, process_variables, read};
use crate::audit::{Act, Audit, Outcome};
use crate::{Component, NodeContext, clock, metrics, with_causes};

/// Where a configuration comes from, and what makes it complete.
pub struct Source<T> {
    /// The file; without one there are the defaults and the environment.
    pub file: Option<PathBuf>,
    /// What the names of its environment variables begin with.
    pub prefix: &'static str,
    /// Dotted keys, or sections, that may change while the process runs.
    pub hot: Vec<String>,
    /// Sets what is no key, and what the command line says otherwise.
    pub complete: Complete<T>,
    /// Checks what the types cannot; the error says what to change.
    pub check: Check<T>,
}

/// See [`Source::complete`].
pub type Complete<T> = Box<dyn Fn(&mut Loaded<T>) + Send + Sync>;

/// See [`Source::check`].
pub type Check<T> = Box<dyn Fn(&T) -> Result<(), String> + Send + Sync>;

/// A process' configuration. Clones share it.
pub struct InForce<T>(Arc<Inner<T>>);

/// What can be asked of a configuration in force, whatever its type.
pub trait ConfigDoor: Send + Sync {
    /// What is in force, where it comes from, what waits for a restart.
    fn state(&self) -> NodeConfig;

    /// What this text, or what the file holds now if there is none, would change. Reads the file.
    fn check(&self, text: Option<&str>) -> ConfigOutcome;

    /// Loads file and environment again and applies what can be applied. Reads the file. `act` is recorded with what
    /// came of it.
    fn reload(&self, act: Act) -> ConfigOutcome;

    /// The file, if there is one.
    fn file(&self) -> Option<&Path>;
}

struct Inner<T> {
    source: Option<Source<T>>,
    state: Mutex<State<T>>,
    parts: Mutex<Vec<Part<T>>>,
    reports: OnceLock<Reports>,
}

/// Where it is told what became of a reload.
struct Reports {
    node: String,
    component: Component,
    audit: Audit,
}

/// Tells whoever follows a part of the configuration.
type Part<T> = Box<dyn Fn(&T) + Send + Sync>;

struct State<T> {
    value: Arc<T>,
    /// The same as a tree of keys.
    tree: Value,
    origins: BTreeMap<String, Origin>,
    /// What was accepted last; differs from what is in force in the keys that wait for a restart.
    accepted: Value,
    generation: u64,
    accepted_us: u64,
    error: Option<(String, u64)>,
}

impl<T> InForce<T>
where
    T: Serialize + DeserializeOwned + Clone + Default + Send + Sync + 'static,
{
    /// Loads a configuration for the first time.
    ///
    /// # Errors
    /// Why it cannot be used, with its place.
    pub fn load(source: Source<T>) -> Result<Self, String> {
        let loaded = source.load(None)?;
        Self::new(loaded, Some(source))
    }

    /// A configuration that was made by the program and never changes.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub fn fixed(value: T) -> Result<Self, String> {
        Self::new(Loaded { value, origins: BTreeMap::new() }, None)
    }

    fn new(loaded: Loaded<T>, source: Option<Source<T>>) -> Result<Self, String> {
        let tree = tree(&loaded.value)?;
        let state = State {
            value: Arc::new(loaded.value),
            accepted: tree.clone(),
            tree,
            origins: loaded.origins,
            generation: 1,
            accepted_us: clock::now_us(),
            error: None,
        };
        let (state, parts, reports) = (Mutex::new(state), Mutex::default(), OnceLock::new());
        Ok(Self(Arc::new(Inner { source, state, parts, reports })))
    }

    /// What is in force.
    #[must_use]
    pub fn now(&self) -> Arc<T> {
        Arc::clone(&self.0.state().value)
    }

    /// A part of it, which follows its changes.
    pub fn part<U>(&self, of: impl Fn(&T) -> U + Send + Sync + 'static) -> Live<U>
    where
        U: PartialEq + Send + Sync + 'static,
    {
        // Held over both steps, so that no change falls between them; in the order in which a reload takes them.
        let state = self.0.state();
        let mut parts = self.0.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let (sender, receiver) = watch::channel(Arc::new(of(&state.value)));
        parts.push(Box::new(move |value| {
            let new = of(value);
            sender.send_if_modified(|old| {
                let changed = **old != new;
                if changed {
                    *old = Arc::new(new);
                }
                changed
            });
        }));
        Live::following(receiver)
    }

    /// The door through which others ask for it.
    #[must_use]
    pub fn door(&self) -> Arc<dyn ConfigDoor> {
        Arc::clone(&self.0) as Arc<dyn ConfigDoor>
    }

    /// From now on the health of the node shows whether the file can be used, and reloads are recorded as acts. The
    /// node can be asked for its configuration.
    pub fn report_to(&self, context: &mut NodeContext) {
        context.config = Some(self.door());
        let component = context.components.register_optional("configuration");
        let reports = Reports { node: context.name.clone(), component, audit: context.audit.clone() };
        self.0.reports.set(reports).unwrap_or(());
        self.0.record(None, &self.0.state());
    }
}

impl<T> Source<T>
where
    T: Serialize + DeserializeOwned + Default,
{
    /// Loads the file, or a text in its place with what its errors call it, and checks it.
    ///
    /// # Errors
    /// Why it cannot be used, with its place.
    pub fn load(&self, text: Option<(&Path, &str)>) -> Result<Loaded<T>, String> {
        let read_text;
        let text = match (text, &self.file) {
            (Some(named), _) => Some(named),
            (None, Some(path)) => {
                read_text = read(path).map_err(|error| with_causes(&error))?;
                Some((path.as_path(), read_text.as_str()))
            }
            (None, None) => None,
        };
        let mut loaded: Loaded<T> =
            load_text(text, self.prefix, process_variables()).map_err(|error| with_causes(&error))?;
        (self.complete)(&mut loaded);
        (self.check)(&loaded.value).map_err(|problem| loaded.placed(problem))?;
        Ok(loaded)
    }
}

impl<T> Loaded<T> {
    /// The problem with the place of the key that it names first.
    fn placed(&self, problem: String) -> String {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        let at = |key: &str| {
            let at = problem.find(key)?;
            let (before, after) = (&problem[..at], &problem[at + key.len()..]);
            (!before.ends_with(word) && !after.starts_with(word)).then_some(at)
        };
        // Services name their keys without their section, which stands before.
        let named = |key: &str| at(key).or_else(|| at(&key.replacen('.', ": ", 1)));
        let found = self.origins.iter().filter(|(_, origin)| **origin != Origin::Default);
        let found = found.filter_map(|(key, origin)| Some((named(key)?, origin))).min_by_key(|(at, _)| *at);
        match found {
            Some((_, origin)) => format!("{origin}: {problem}"),
            None => problem,
        }
    }
}

impl<T> Inner<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, result: Option<ConfigResult>, state: &State<T>) {
        let pending = self.source.as_ref().map_or(0, |source| changes(&state.tree, &state.accepted, &source.hot).len());
        metrics::record_config(result, state.generation, state.error.is_some(), pending);
        let Some(Reports { component, .. }) = self.reports.get() else { return };
        match &state.error {
            Some((error, _)) => component.degraded(format!("the configuration cannot be used: {error}")),
            None => component.ok(),
        }
    }

    /// A reload by itself that changed nothing is no act of anybody.
    fn record_act(&self, act: Act, outcome: &ConfigOutcome) {
        let unchanged = outcome.result() == ConfigResult::Unchanged;
        let Some(Reports { node, audit, .. }) = self.reports.get() else { return };
        if unchanged && act.actor.is_empty() {
            return;
        }
        let values = |of: fn(&ConfigChange) -> &String| -> Value {
            let pair = |change| (change_key(change), Value::from(of(change).as_str()));
            Value::Object(outcome.changes.iter().map(pair).collect())
        };
        let failed = outcome.result() == ConfigResult::Refused;
        let result = if failed { Outcome::Failed(outcome.error.clone()) } else { Outcome::Ok };
        let (before, after) = (values(|change| &change.before), values(|change| &change.after));
        audit.record(Act { target: node.clone(), before, after, result, ..act });
    }
}

impl<T> Inner<T>
where
    T: Serialize + DeserializeOwned + Clone + Default,
{
    /// What a loaded configuration changes, and what would be in force with it.
    fn compare(
        &self,
        source: &Source<T>,
        state: &State<T>,
        loaded: Loaded<T>,
    ) -> Result<(Vec<ConfigChange>, Value, Loaded<T>), String> {
        let new = tree(&loaded.value)?;
        let found = changes(&state.tree, &new, &source.hot);
        let mut in_force = Loaded { value: (*state.value).clone(), origins: loaded.origins };
        if found.iter().any(|change| !change.needs_restart) {
            in_force.value =
                serde_json::from_value(merged(&state.tree, &new, &source.hot)).map_err(|e| e.to_string())?;
            (source.complete)(&mut in_force);
            (source.check)(&in_force.value).map_err(|problem| {
                format!("{problem}; this needs a change that only a restart brings into force, so nothing was applied")
            })?;
        }
        for change in found.iter().filter(|change| change.needs_restart) {
            match state.origins.get(&change.key) {
                Some(origin) => in_force.origins.insert(change.key.clone(), origin.clone()),
                None => in_force.origins.remove(&change.key),
            };
        }
        Ok((found, new, in_force))
    }

    fn refused(error: String, generation: u64) -> ConfigOutcome {
        ConfigOutcome { result: ConfigResult::Refused.into(), error, changes: Vec::new(), generation }
    }
}

/// What errors call a text that was sent here to be checked.
const GIVEN: &str = "(given)";

/// A node without a source has nothing that could be loaded again.
const NO_SOURCE: &str = "this process was started without a configuration that can be loaded again";

impl<T> ConfigDoor for Inner<T>
where
    T: Serialize + DeserializeOwned + Clone + Default + Send + Sync,
{
    fn state(&self) -> NodeConfig {
        let state = Self::state(self);
        let hot = self.source.as_ref().map_or(&[][..], |source| &source.hot);
        let loaded = Loaded { value: &*state.value, origins: state.origins.clone() };
        let values = loaded.entries().into_iter().map(|shown| ConfigValue {
            hot: is_hot(hot, &shown.key),
            value: shown.value.to_string(),
            origin: shown.origin.to_string(),
            key: shown.key,
        });
        let (error, error_us) = state.error.clone().unwrap_or_default();
        NodeConfig {
            generation: state.generation,
            accepted_us: state.accepted_us,
            file: self.file().map(|path| path.display().to_string()).unwrap_or_default(),
            error,
            error_us,
            values: values.collect(),
            pending: changes(&state.tree, &state.accepted, hot),
            ..NodeConfig::default()
        }
    }

    fn check(&self, text: Option<&str>) -> ConfigOutcome {
        let Some(source) = &self.source else { return Self::refused(NO_SOURCE.to_owned(), 1) };
        let loaded = source.load(text.map(|text| (Path::new(GIVEN), text)));
        let state = Self::state(self);
        match loaded.and_then(|loaded| self.compare(source, &state, loaded)) {
            Ok((changes, ..)) => {
                let result = if changes.is_empty() { ConfigResult::Unchanged } else { ConfigResult::Accepted };
                ConfigOutcome { result: result.into(), error: String::new(), changes, generation: state.generation }
            }
            Err(error) => Self::refused(error, state.generation),
        }
    }

    fn reload(&self, act: Act) -> ConfigOutcome {
        let outcome = self.load_again();
        self.record_act(act, &outcome);
        outcome
    }

    fn file(&self) -> Option<&Path> {
        self.source.as_ref()?.file.as_deref()
    }
}

impl<T> Inner<T>
where
    T: Serialize + DeserializeOwned + Clone + Default,
{
    fn load_again(&self) -> ConfigOutcome {
        let Some(source) = &self.source else { return Self::refused(NO_SOURCE.to_owned(), 1) };
        // Held throughout: of two orders at once the later reads the file later, too. Whoever asks for the state
        // meanwhile waits for a small file.
        let mut state = self.state();
        match source.load(None).and_then(|loaded| self.compare(source, &state, loaded)) {
            Ok((changes, new, in_force)) => {
                let unchanged = state.accepted == new;
                state.error = None;
                state.origins = in_force.origins;
                if !unchanged {
                    state.generation += 1;
                    state.accepted_us = clock::now_us();
                    state.accepted = new;
                }
                if changes.iter().any(|change| !change.needs_restart) {
                    // It could be listed when it was loaded.
                    state.tree = tree(&in_force.value).unwrap_or_default();
                    state.value = Arc::new(in_force.value);
                    let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
                    parts.iter().for_each(|part| part(&state.value));
                }
                let result = if unchanged { ConfigResult::Unchanged } else { ConfigResult::Accepted };
                self.record(Some(result), &state);
                tell(result, state.generation, &changes);
                ConfigOutcome { result: result.into(), error: String::new(), changes, generation: state.generation }
            }
            Err(error) => {
                tracing::error!(error, "config_reload_failed: the configuration in force stays");
                state.error = Some((error.clone(), clock::now_us()));
                self.record(Some(ConfigResult::Refused), &state);
                Self::refused(error, state.generation)
            }
        }
    }
}

fn change_key(change: &ConfigChange) -> String {
    if change.needs_restart { format!("{} (needs restart)", change.key) } else { change.key.clone() }
}

/// Which keys, not which values: those are for whoever may see the configuration.
fn tell(result: ConfigResult, generation: u64, changes: &[ConfigChange]) {
    let keys = |restart: bool| {
        let keys = changes.iter().filter(|change| change.needs_restart == restart).map(|change| &*change.key);
        keys.collect::<Vec<_>>().join(",")
    };
    let message = match result {
        ConfigResult::Unchanged => "configuration loaded again, no change",
        _ => "configuration loaded again",
    };
    tracing::info!(generation, applied = keys(false), needs_restart = keys(true), message);
}

fn tree(value: &impl Serialize) -> Result<Value, String> {
    serde_json::to_value(value).map_err(|error| format!("the configuration cannot be listed: {error}"))
}

impl<T> Clone for InForce<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for InForce<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InForce").field("generation", &self.0.state().generation).finish_non_exhaustive()
    }
}

impl fmt::Debug for dyn ConfigDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigDoor").field("file", &self.file()).finish_non_exhaustive()
    }
}
