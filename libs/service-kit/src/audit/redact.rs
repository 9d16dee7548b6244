//! Keeps secrets out of the records, whoever put them into an act. Absent: what a secret is to whom; names and forms
//! that are secret anywhere are.

use serde_json::Value;

const HIDDEN: &str = "***";
/// Parts of field names whose values are never recorded.
const SECRET_NAMES: [&str; 7] = ["password", "passwd", "secret", "token", "authorization", "api_key", "private"];
/// Begins an API key: `hm_<id>_<secret>`.
const KEY_PREFIX: &str = "hm_";

/// The value without what is secret in it.
pub(super) fn value(value: Value) -> Value {
    match value {
        Value::String(given) => Value::String(text(given)),
        Value::Array(items) => Value::Array(items.into_iter().map(self::value).collect()),
        Value::Object(fields) => {
            let field = |(name, value): (String, Value)| {
                let value = if is_secret(&name) { Value::String(HIDDEN.to_owned()) } else { self::value(value) };
                (name, value)
            };
            Value::Object(fields.into_iter().map(field).collect())
        }
        other => other,
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|secret| name.contains(secret))
}

/// The text with passwords of URLs and secrets of API keys hidden.
pub(super) fn text(given: String) -> String {
    if !given.contains("://") && !given.contains(KEY_PREFIX) {
        return given;
    }
    let ends = |c: char| c.is_whitespace() || "\"',;()<>".contains(c);
    let mut out = String::with_capacity(given.len());
    for piece in given.split_inclusive(ends) {
        let word = piece.trim_end_matches(ends);
        out.push_str(&url(word).or_else(|| key(word)).unwrap_or_else(|| word.to_owned()));
        out.push_str(&piece[word.len()..]);
    }
    out
}

fn url(word: &str) -> Option<String> {
    let (scheme, rest) = word.split_once("://")?;
    let authority = rest.find('/').map_or(rest, |end| &rest[..end]);
    let (user_info, host) = authority.rsplit_once('@')?;
    let user = user_info.split_once(':')?.0;
    Some(format!("{scheme}://{user}:{HIDDEN}@{host}{}", &rest[authority.len()..]))
}

fn key(word: &str) -> Option<String> {
    let at = word.find(KEY_PREFIX)?;
    let (id, _) = word[at + KEY_PREFIX.len()..].split_once('_')?;
    Some(format!("{}{KEY_PREFIX}{id}_{HIDDEN}", &word[..at]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_hidden_wherever_they_stand() {
        let given = json!({
            "url": "postgres://hive:canary@db:5432/hive", "Password": "canary", "nested": [{"api_key_hash": "canary"}],
            "text": "used hm_ops_canary, then https://x:canary@y/z", "max_connections": 7,
        });
        let hidden = value(given);
        assert!(!hidden.to_string().contains("canary"), "{hidden}");
        assert_eq!(hidden["url"], "postgres://hive:***@db:5432/hive");
        assert_eq!(hidden["text"], "used hm_ops_***, then https://x:***@y/z");
        assert_eq!(hidden["max_connections"], 7);
    }
}
