//! Turns what the TOML parser says into an error that names place and key. Absent: the environment's errors.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::{ConfigError, Origin, Place};
use crate::secrets::is_secret;

/// Two words are taken for the same with a typing error from this similarity on (Jaro-Winkler, 0 to 1).
const SIMILAR: f64 = 0.8;

/// For whoever pasted a few keys with "..." around them over a whole file.
const ELLIPSIS: &str = "; \"...\" stands for the rest of a file, and nothing puts it there: change single keys with \
                        `hive-mind-server admin config set`";

/// A file and its text.
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

impl Source<'_> {
    pub(super) fn syntax(&self, error: &toml::de::Error) -> ConfigError {
        let at = error.span().map_or(0, |span| span.start);
        let line_start = self.text.get(..at).unwrap_or_default().rfind('\n').map_or(0, |end| end + 1);
        let line = self.text.get(line_start..).unwrap_or_default().lines().next().unwrap_or_default();
        let hint = if line.contains("...") { ELLIPSIS } else { "" };
        ConfigError::Syntax { place: self.place(error.span()), message: one_line(error.message()) + hint }
    }

    /// Explains why the types refused the text.
    pub(super) fn refused(&self, tree: &DeTable<'_>, error: &toml::de::Error) -> ConfigError {
        let mut path = Vec::new();
        if let Some(span) = error.span() {
            path_at(tree, &span, &mut path);
        }
        explain(self.place(error.span()), path, error.message())
    }

    /// Refuses keys that are in the text but not in the value made from it, for types that do not refuse them.
    pub(super) fn check_keys(&self, tree: &DeTable<'_>, value: &Value) -> Result<(), ConfigError> {
        self.check_table(tree, value, &mut Vec::new())
    }

    fn check_table(&self, tree: &DeTable<'_>, value: &Value, path: &mut Vec<String>) -> Result<(), ConfigError> {
        let Value::Object(known) = value else { return Ok(()) };
        for (key, item) in tree.iter() {
            path.push(key.get_ref().to_string());
            match (known.get(key.get_ref().as_ref()), item.get_ref()) {
                (None, _) => {
                    let place = self.place(Some(key.span()));
                    return Err(unknown(place, path, known.keys().map(String::as_str)));
                }
                (Some(value), DeValue::Table(table)) => self.check_table(table, value, path)?,
                (Some(_), _) => {}
            }
            path.pop();
        }
        Ok(())
    }

    /// Notes the line of every value.
    pub(super) fn note_origins(
        &self,
        tree: &DeTable<'_>,
        path: &mut Vec<String>,
        origins: &mut BTreeMap<String, Origin>,
    ) {
        for (key, item) in tree.iter() {
            path.push(key.get_ref().to_string());
            match item.get_ref() {
                DeValue::Table(table) => self.note_origins(table, path, origins),
                _ => {
                    let (line, _) = self.line_and_column(key.span().start);
                    origins.insert(path.join("."), Origin::File { path: self.path.to_owned(), line });
                }
            }
            path.pop();
        }
    }

    fn place(&self, span: Option<Range<usize>>) -> Place {
        let (line, column) = self.line_and_column(span.map_or(0, |span| span.start));
        Place::File { path: self.path.to_owned(), line, column }
    }

    fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

/// Makes an error of a message of serde at a known place.
pub(super) fn explain(place: Place, mut path: Vec<String>, message: &str) -> ConfigError {
    let message = one_line(message);
    let Some(rest) = message.strip_prefix("unknown field `") else {
        let key = path.join(".");
        let message = if is_secret(&key) { "its value, which is secret, cannot be used".to_owned() } else { message };
        return ConfigError::Value { place, key, message };
    };
    // "unknown field `x`, expected one of `a`, `b`" or "..., there are no fields".
    let mut quoted = rest.split('`');
    let key = quoted.next().unwrap_or_default().to_owned();
    let known: Vec<&str> = quoted.skip(1).step_by(2).collect();
    if path.last() != Some(&key) {
        path.push(key);
    }
    unknown(place, &path, known.into_iter())
}

/// An error for an unknown key, with the most similar of the known ones.
pub(super) fn unknown<'a>(place: Place, path: &[String], known: impl Iterator<Item = &'a str>) -> ConfigError {
    let (last, section) = path.split_last().map_or(("", &[][..]), |(last, section)| (last.as_str(), section));
    let nearest = known
        .map(|candidate| (strsim::jaro_winkler(last, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let suggestion = nearest
        .map(|(_, candidate)| section.iter().map(String::as_str).chain([candidate]).collect::<Vec<_>>().join("."));
    ConfigError::UnknownKey { place, key: path.join("."), suggestion }
}

/// The keys down to what lies at `span`.
fn path_at(tree: &DeTable<'_>, span: &Range<usize>, path: &mut Vec<String>) {
    let covers = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
    for (key, item) in tree.iter() {
        path.push(key.get_ref().to_string());
        if covers(key.span()) {
            return;
        }
        if let DeValue::Table(table) = item.get_ref() {
            // A table's own span may be only its header, so look inside in any case.
            let depth = path.len();
            path_at(table, span, path);
            if path.len() > depth {
                return;
            }
        }
        if covers(item.span()) {
            return;
        }
        path.pop();
    }
}

fn one_line(message: &str) -> String {
    message.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}
