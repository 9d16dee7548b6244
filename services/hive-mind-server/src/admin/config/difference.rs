//! The difference between two texts of a configuration, for people. What is secret is hidden, with the comment behind it;
//! lines beside a change are left out, since a comment may hold what was a secret once.

use std::ops::Range;

use anyhow::Result;
use serde_json::Value as Json;
use service_kit::secrets::redacted;
use similar::TextDiff;
use toml_edit::{Document, TableLike, Value};

/// In place of a secret, and of one that the other text has not.
const HIDDEN: &str = "\"***\"";
const NEW: &str = "\"***\" # another one than before";

/// A value that nobody is shown.
struct Secret<'a> {
    key: String,
    text: &'a str,
    /// From its first sign to the end of its last line.
    place: Range<usize>,
}

/// The lines of `file` that differ.
///
/// # Errors
/// When a text is no TOML.
pub(super) fn between(file: &str, before: &str, after: &str) -> Result<String> {
    let (old, new) = (secrets(before)?, secrets(after)?);
    let known = |one: &Secret<'_>| old.iter().any(|other| other.key == one.key && other.text == one.text);
    let (before, after) = (hidden(before, &old, |_| true), hidden(after, &new, known));
    let difference = TextDiff::from_lines(&before, &after);
    Ok(difference.unified_diff().context_radius(0).header(file, file).to_string())
}

fn secrets(text: &str) -> Result<Vec<Secret<'_>>> {
    let mut found = Vec::new();
    collect(text, Document::parse(text)?.as_table(), "", &mut found);
    found.sort_by_key(|secret| secret.place.start);
    Ok(found)
}

fn collect<'a>(text: &'a str, table: &dyn TableLike, section: &str, found: &mut Vec<Secret<'a>>) {
    for (key, item) in table.iter() {
        let key = if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") };
        if let Some(inner) = item.as_table_like() {
            collect(text, inner, &key, found);
        } else if let Some(tables) = item.as_array_of_tables() {
            tables.iter().for_each(|table| collect(text, table, &key, found));
        } else if let Some(value) = item.as_value()
            && is_secret(&key, value)
            && let Some(span) = value.span()
        {
            let end = text[span.end..].find('\n').map_or(text.len(), |length| span.end + length);
            found.push(Secret { key, text: &text[span.clone()], place: span.start..end });
        }
    }
}

fn is_secret(key: &str, value: &Value) -> bool {
    let value = json(value);
    redacted(key, value.clone()) != value
}

/// The value as the rules about secrets know it.
fn json(value: &Value) -> Json {
    match value {
        Value::Array(items) => items.iter().map(json).collect(),
        Value::InlineTable(table) => table.iter().map(|(key, value)| (key.to_owned(), json(value))).collect(),
        Value::String(text) => Json::String(text.value().clone()),
        other => Json::String(other.to_string()),
    }
}

fn hidden(text: &str, secrets: &[Secret<'_>], known: impl Fn(&Secret<'_>) -> bool) -> String {
    let (mut shown, mut at) = (String::new(), 0);
    for secret in secrets {
        // One that stands behind another on its line is hidden with it.
        if let Some(between) = text.get(at..secret.place.start) {
            shown.push_str(between);
            shown.push_str(if known(secret) { HIDDEN } else { NEW });
        }
        at = at.max(secret.place.end);
    }
    shown + &text[at..]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Secrets in every form, each beside something that changes.
    const BEFORE: &str = r#"
level = "info" # kept
# url = "postgres://u:canary-1@h/d"
url = "postgres://u:canary-2@h/d" # canary-3 before
size = 1
security_webhook = """
https://h/canary-4
"""
inline = { size = 1, password = "canary-5", url = "postgres://u:canary-6@h/d" }
urls = ["postgres://h/d", "postgres://u:canary-7@h/d"]
[[table]]
api_key = 123456
"#;

    #[test]
    fn no_secret_is_in_the_difference() {
        let after = BEFORE.replace("size = 1", "size = 2").replace("\"info\"", "\"warn\"");
        let found = between("a.toml", BEFORE, &after).expect("TOML");
        assert!(!found.contains("canary") && !found.contains("123456"), "{found}");
        assert!(found.contains("-level = \"info\" # kept\n+level = \"warn\" # kept\n"), "{found}");
        assert!(found.contains("-size = 1\n+size = 2\n"), "{found}");
        assert!(found.contains("+inline = { size = 2, password = \"***\"\n"), "{found}");
    }

    #[test]
    fn that_a_secret_changed_is_in_it() {
        let after = BEFORE.replace("canary-2", "canary-8").replace("123456", "654321").replace("canary-4", "canary-9");
        let found = between("a.toml", BEFORE, &after).expect("TOML");
        assert!(!found.contains("canary") && !found.contains("654321"), "{found}");
        for key in ["url", "security_webhook", "api_key"] {
            assert!(found.contains(&format!("-{key} = {HIDDEN}\n+{key} = {NEW}\n")), "{key} in {found}");
        }
        assert_eq!(found.matches("\n+").count(), 4, "the head and three lines: {found}");
    }
}
