//! Configuration in three layers: the program's defaults, one TOML file, the environment.
//!
//! A key that nobody knows is refused with the nearest known one; a value of the wrong type is refused naming file,
//! line, column and key. Every value remembers where it came from. A process keeps what is in force in an [`InForce`],
//! which can be loaded again, and gives its parts out as [`Live`]. Deliberately absent: what the keys are (each
//! service declares its own `Config`) and any other file format.
//!
//! Configuration types carry `#[serde(default, deny_unknown_fields)]` and serialize every field.

pub mod acts;
mod diagnose;
mod difference;
mod environment;
mod follow;
mod in_force;
mod live;
#[cfg(test)]
mod tests;
mod units;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use toml::de::DeTable;

use crate::secrets;

pub use follow::follow;
pub use in_force::{Check, Complete, ConfigDoor, InForce, Source};
pub use live::Live;
pub use units::{ByteSize, HumanDuration, UnitError};

/// A configuration and where each of its values came from.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    /// The configuration in force.
    pub value: T,
    /// Origin of every value, by dotted key.
    pub origins: BTreeMap<String, Origin>,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The program's default.
    Default,
    /// A line of the file, from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// An argument of the command line.
    Argument(&'static str),
}

/// One line of `config show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Dotted key.
    pub key: String,
    /// Value as JSON; secrets and the passwords of URLs are replaced.
    pub value: Value,
    /// Where it came from.
    pub origin: Origin,
}

/// Where in the input an error is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the file; line and column from 1, columns in characters.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// In an environment variable of this name.
    Environment(String),
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{place}: {message}")]
    Syntax {
        /// Where.
        place: Place,
        /// What the parser expected.
        message: String,
    },
    /// Nobody knows this key.
    #[error("{place}: unknown key {key}{}", suggestion.as_ref().map_or(String::new(), |s| format!(", did you mean {s}?")))]
    UnknownKey {
        /// Where.
        place: Place,
        /// Dotted key as given.
        key: String,
        /// Dotted key that was probably meant.
        suggestion: Option<String>,
    },
    /// The key is known, the value is not acceptable.
    #[error("{place}: {key}: {message}")]
    Value {
        /// Where.
        place: Place,
        /// Dotted key.
        key: String,
        /// What was expected.
        message: String,
    },
    /// The default configuration cannot be written as a tree of keys: an error of the program.
    #[error("cannot list the configuration's keys")]
    Keys(#[from] serde_json::Error),
}

/// Loads a configuration from `file`, if any, and from variables `PREFIX__SECTION__KEY` of the process.
///
/// # Errors
/// [`ConfigError`] for the first thing that is wrong; nothing is half accepted.
pub fn load<T>(file: Option<&Path>, env_prefix: &str) -> Result<Loaded<T>, ConfigError>
where
    T: Serialize + DeserializeOwned + Default,
{
    load_from(file, env_prefix, process_variables())
}

/// The variables of the process, as far as they are text.
fn process_variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
}

fn read(path: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

/// [`load`] with another environment than the process's own.
///
/// # Errors
/// As [`load`].
pub fn load_from<T>(
    file: Option<&Path>,
    env_prefix: &str,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded<T>, ConfigError>
where
    T: Serialize + DeserializeOwned + Default,
{
    let text = file.map(|path| read(path).map(|text| (path, text))).transpose()?;
    load_text(text.as_ref().map(|(path, text)| (*path, text.as_str())), env_prefix, variables)
}

/// [`load_from`] with the text of a file instead of the file. The path is what its errors and origins name.
///
/// # Errors
/// As [`load`].
pub fn load_text<T>(
    file: Option<(&Path, &str)>,
    env_prefix: &str,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded<T>, ConfigError>
where
    T: Serialize + DeserializeOwned + Default,
{
    let mut origins = BTreeMap::new();
    let (base, table) = match file {
        None => (T::default(), toml::Table::new()),
        Some((path, text)) => from_text(path, text, &mut origins).map_err(ConfigError::looked_up::<T>)?,
    };
    let overrides = environment::overrides(env_prefix, variables);
    let value = environment::apply(base, table, &overrides).map_err(ConfigError::looked_up::<T>)?;
    origins.extend(overrides.into_iter().map(|o| (o.path.join("."), Origin::Environment(o.variable))));
    let keys = leaves(&serde_json::to_value(&value)?);
    let origins = keys
        .into_keys()
        .map(|key| {
            let origin = origin_of(&origins, &key);
            (key, origin)
        })
        .collect();
    Ok(Loaded { value, origins })
}

impl ConfigError {
    /// Suggests the key of another section if the unknown one is the name of exactly one.
    fn looked_up<T: Serialize + Default>(self) -> Self {
        match self {
            Self::UnknownKey { place, key, suggestion: None } => {
                let tree = serde_json::to_value(T::default()).unwrap_or_default();
                let name = key.rsplit('.').next().unwrap_or_default();
                let suggestion = key_by_name(&tree, name);
                Self::UnknownKey { place, key, suggestion }
            }
            other => other,
        }
    }
}

/// The dotted key whose last part is `name`, if there is exactly one. `tree` holds all keys.
#[must_use]
pub fn key_by_name(tree: &Value, name: &str) -> Option<String> {
    let mut found = leaves(tree).into_keys().filter(|key| key.rsplit('.').next() == Some(name));
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

impl<T: Serialize> Loaded<T> {
    /// Every value in force and its origin, in order of the keys.
    #[must_use]
    pub fn entries(&self) -> Vec<Shown> {
        let tree = serde_json::to_value(&self.value).unwrap_or_default();
        leaves(&tree)
            .into_iter()
            .map(|(key, value)| Shown {
                origin: origin_of(&self.origins, &key),
                value: secrets::redacted(&key, value),
                key,
            })
            .collect()
    }
}

fn from_text<T>(
    path: &Path,
    text: &str,
    origins: &mut BTreeMap<String, Origin>,
) -> Result<(T, toml::Table), ConfigError>
where
    T: Serialize + DeserializeOwned,
{
    let source = diagnose::Source { path, text };
    let tree = DeTable::parse(text).map_err(|error| source.syntax(&error))?;
    let value: T = toml::from_str(text).map_err(|error| source.refused(tree.get_ref(), &error))?;
    source.check_keys(tree.get_ref(), &serde_json::to_value(&value)?)?;
    source.note_origins(tree.get_ref(), &mut Vec::new(), origins);
    let table = toml::from_str(text).map_err(|error| source.syntax(&error))?;
    Ok((value, table))
}

/// The values below which there are no keys. A list counts as one value.
fn leaves(tree: &Value) -> BTreeMap<String, Value> {
    fn walk(value: &Value, path: &str, out: &mut BTreeMap<String, Value>) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                for (key, value) in map {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    walk(value, &path, out);
                }
            }
            _ => {
                out.insert(path.to_owned(), value.clone());
            }
        }
    }
    let mut out = BTreeMap::new();
    walk(tree, "", &mut out);
    out
}

/// A value given for a whole section is the origin of everything in it.
fn origin_of(origins: &BTreeMap<String, Origin>, key: &str) -> Origin {
    let mut prefix = key;
    loop {
        if let Some(origin) = origins.get(prefix) {
            return origin.clone();
        }
        match prefix.rsplit_once('.') {
            Some((parent, _)) => prefix = parent,
            None => return Origin::Default,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Environment(variable) => write!(f, "environment variable {variable}"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(variable) => f.write_str(variable),
            Self::Argument(name) => f.write_str(name),
        }
    }
}
