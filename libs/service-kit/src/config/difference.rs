//! How two configurations differ, key by key, and which of the differences may come into force. Absent: applying them.

use std::collections::BTreeSet;

use serde_json::Value;
use wire::pb::admin::v1::ConfigChange;

use super::leaves;
use crate::secrets;

/// Whether a key may change while the process runs: it is one of `hot`, or below one.
pub(super) fn is_hot(hot: &[String], key: &str) -> bool {
    hot.iter().any(|hot| key.strip_prefix(hot.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

/// The keys whose values differ, in order; secrets are hidden.
pub(super) fn changes(before: &Value, after: &Value, hot: &[String]) -> Vec<ConfigChange> {
    let (before, after) = (leaves(before), leaves(after));
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let shown = |key: &str, value: Option<&Value>| {
        value.map_or(String::new(), |value| secrets::redacted(key, value.clone()).to_string())
    };
    keys.into_iter()
        .filter(|key| before.get(*key) != after.get(*key))
        .map(|key| ConfigChange {
            key: key.clone(),
            before: shown(key, before.get(key)),
            after: shown(key, after.get(key)),
            needs_restart: !is_hot(hot, key),
        })
        .collect()
}

/// `before` with the values that `after` has for the hot keys.
pub(super) fn merged(before: &Value, after: &Value, hot: &[String]) -> Value {
    let mut merged = before.clone();
    for key in hot {
        let path: Vec<&str> = key.split('.').collect();
        let value = path.iter().try_fold(after, |at, part| at.get(part));
        set(&mut merged, &path, value.cloned());
    }
    merged
}

fn set(tree: &mut Value, path: &[&str], value: Option<Value>) {
    let (Value::Object(map), Some((first, rest))) = (tree, path.split_first()) else { return };
    match (rest.is_empty(), value) {
        (true, Some(value)) => {
            map.insert((*first).to_owned(), value);
        }
        (true, None) => {
            map.remove(*first);
        }
        (false, value) => {
            if let Some(inner) = map.get_mut(*first) {
                set(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_hot_keys_are_taken_over() {
        let hot = ["a.hot".to_owned(), "labels".to_owned()];
        let before = json!({"a": {"hot": 1, "cold": 1, "hotter": 1}, "labels": {"x": "1"}, "password": "canary-1"});
        let after = json!({"a": {"hot": 2, "cold": 2, "hotter": 2}, "labels": {}, "password": "canary-2"});
        let expected = json!({"a": {"hot": 2, "cold": 1, "hotter": 1}, "labels": {}, "password": "canary-1"});
        assert_eq!(merged(&before, &after, &hot), expected);
        let found = changes(&before, &after, &hot);
        let rows: Vec<_> = found.iter().map(|c| (&*c.key, &*c.before, &*c.after, c.needs_restart)).collect();
        assert_eq!(
            rows,
            [
                ("a.cold", "1", "2", true),
                ("a.hot", "1", "2", false),
                ("a.hotter", "1", "2", true),
                ("labels", "", "{}", false),
                ("labels.x", "\"1\"", "", false),
                ("password", "\"***\"", "\"***\"", true),
            ]
        );
    }
}
