//! Values from environment variables: `HIVE__SECTION__KEY=value`. Absent: reading the environment; it is passed in.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::diagnose::{explain, unknown};
use super::{ConfigError, Place};

/// Between the parts of a variable's name. Single underscores belong to the keys.
const SEPARATOR: &str = "__";

/// One variable that sets a value.
pub(super) struct Override {
    pub(super) variable: String,
    pub(super) path: Vec<String>,
    text: String,
}

/// The variables that are meant for us, in order of their names.
pub(super) fn overrides(prefix: &str, variables: impl IntoIterator<Item = (String, String)>) -> Vec<Override> {
    let mut found: Vec<Override> = variables
        .into_iter()
        .filter_map(|(variable, text)| {
            let rest = variable.strip_prefix(prefix)?.strip_prefix(SEPARATOR)?;
            let path = rest.split(SEPARATOR).map(str::to_ascii_lowercase).collect();
            Some(Override { path, variable, text })
        })
        .collect();
    found.sort_by(|a, b| a.variable.cmp(&b.variable));
    found
}

/// Puts the variables over `table`, whose value is `base`.
///
/// Variables are applied one by one, so that the one that is wrong can be named. A text is first read as the TOML
/// value that the present value's type suggests, then as a plain string.
pub(super) fn apply<T>(base: T, table: toml::Table, overrides: &[Override]) -> Result<T, ConfigError>
where
    T: Serialize + DeserializeOwned,
{
    let mut value = base;
    let mut table = table;
    let mut first_error = None;
    for item in overrides {
        let mut refused = None;
        for candidate in candidates(&serde_json::to_value(&value)?, item) {
            let mut changed = table.clone();
            if !set(&mut changed, &item.path, candidate) {
                refused = Some(item.error("expected a section, found a value"));
                continue;
            }
            match T::deserialize(toml::Value::Table(changed.clone())) {
                Ok(accepted) => {
                    (value, table, refused) = (accepted, changed, None);
                    // Two variables may only be right together; now they are.
                    first_error = None;
                    break;
                }
                Err(error) => {
                    refused.get_or_insert_with(|| item.error(error.message()));
                }
            }
        }
        if let Some(error) = refused {
            first_error.get_or_insert(error);
            if let Some(candidate) = candidates(&serde_json::to_value(&value)?, item).into_iter().next() {
                set(&mut table, &item.path, candidate);
            }
        }
    }
    if let Some(error) = first_error {
        return Err(error);
    }
    let tree = serde_json::to_value(&value)?;
    overrides.iter().try_for_each(|item| item.check_known(&tree))?;
    Ok(value)
}

impl Override {
    fn error(&self, message: &str) -> ConfigError {
        let place = Place::Environment(self.variable.clone());
        // An unknown key may be any part of the name; serde names it.
        let unknown_at = message
            .strip_prefix("unknown field `")
            .and_then(|rest| rest.split('`').next())
            .and_then(|key| self.path.iter().position(|part| part == key));
        let depth = unknown_at.map_or(self.path.len(), |at| at + 1);
        explain(place, self.path[..depth].to_vec(), message)
    }

    fn check_known(&self, tree: &Value) -> Result<(), ConfigError> {
        let mut at = tree;
        for (depth, part) in self.path.iter().enumerate() {
            let Value::Object(known) = at else { return Ok(()) };
            let Some(next) = known.get(part) else {
                let place = Place::Environment(self.variable.clone());
                return Err(unknown(place, &self.path[..=depth], known.keys().map(String::as_str)));
            };
            at = next;
        }
        Ok(())
    }
}

fn candidates(tree: &Value, item: &Override) -> Vec<toml::Value> {
    let present = item.path.iter().try_fold(tree, |at, part| at.get(part));
    let plain = toml::Value::String(item.text.clone());
    let read = || toml::from_str::<toml::Table>(&format!("v = {}", item.text)).ok()?.remove("v");
    match present {
        Some(Value::String(_)) => vec![plain],
        _ => read().into_iter().chain([plain]).collect(),
    }
}

/// Sets the value at `path`, making the sections on the way; false if one of them is a value.
fn set(table: &mut toml::Table, path: &[String], value: toml::Value) -> bool {
    let Some((last, sections)) = path.split_last() else { return false };
    let mut at = table;
    for section in sections {
        match at.entry(section.clone()).or_insert_with(|| toml::Value::Table(toml::Table::new())) {
            toml::Value::Table(inner) => at = inner,
            _ => return false,
        }
    }
    at.insert(last.clone(), value);
    true
}
