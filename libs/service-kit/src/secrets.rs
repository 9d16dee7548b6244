//! What nobody is shown, neither in a configuration nor in a record of an act. Absent: deciding who may see the rest.
//!
//! A value is secret by its name: one with `password`, `secret`, `token`, `credential`, `authorization`, `api_key` or
//! `private` in it, or that ends in `_key` or `webhook`, also in the plural or with `_url` behind it. A name that ends
//! in `_file` or `_dir` says where a secret is, and one in `_per_key` how much of something there is for each: both are
//! none. In texts under any name, URLs lose the password and what
//! their query calls one, and API keys (`hm_<id>_<secret>`) their secret.

use serde_json::Value;

/// What is shown instead.
const HIDDEN: &str = "***";

/// Parts of the names of secrets.
const PARTS: [&str; 8] = ["password", "passwd", "secret", "token", "credential", "authorization", "api_key", "private"];

/// What the names of other secrets end with, in the singular.
const ENDINGS: [&str; 2] = ["_key", "webhook"];

/// What a secret in the query of a URL is called; connection strings of databases have the first two.
const PARAMETERS: [&str; 5] = ["password", "sslpassword", "token", "secret", "key"];

/// Begins an API key.
const KEY_PREFIX: &str = "hm_";

/// Whether the value of this dotted name is a secret.
pub(crate) fn is_secret(name: &str) -> bool {
    name.to_ascii_lowercase().split('.').any(|part| {
        let name = part.strip_suffix("_url").unwrap_or(part);
        let singular = name.strip_suffix('s').unwrap_or(name);
        let where_it_is = name.ends_with("_file") || name.ends_with("_dir");
        let for_each = name.ends_with("_per_key");
        let by_ending = || ENDINGS.iter().any(|ending| singular.ends_with(ending));
        !where_it_is && !for_each && (by_ending() || PARTS.iter().any(|secret| name.contains(secret)))
    })
}

/// The value as it may be shown, with the tables and lists in it. What is not set is shown as not set.
#[must_use]
pub fn redacted(name: &str, value: Value) -> Value {
    match value {
        Value::Null | Value::Bool(_) => value,
        Value::String(given) if given.is_empty() => Value::String(given),
        Value::Array(items) if items.is_empty() => Value::Array(items),
        Value::Object(fields) if fields.is_empty() => Value::Object(fields),
        _ if is_secret(name) => Value::String(HIDDEN.to_owned()),
        Value::String(given) => Value::String(text(given)),
        Value::Array(items) => Value::Array(items.into_iter().map(|item| redacted("", item)).collect()),
        Value::Object(fields) => {
            let field = |(name, value): (String, Value)| {
                let value = redacted(&name, value);
                (name, value)
            };
            Value::Object(fields.into_iter().map(field).collect())
        }
        other @ Value::Number(_) => other,
    }
}

/// The text with what is secret in its URLs and API keys hidden.
pub(crate) fn text(given: String) -> String {
    if !given.contains("://") && !given.contains(KEY_PREFIX) {
        return given;
    }
    // What neither a URL nor a key has in it.
    let ends = |c: char| c.is_whitespace() || "\"<>".contains(c);
    let mut shown = String::with_capacity(given.len());
    for piece in given.split_inclusive(ends) {
        let word = piece.trim_end_matches(ends);
        let word_shown = if word.contains("://") { url(word) } else { keys(word) };
        shown.push_str(&word_shown);
        shown.push_str(&piece[word.len()..]);
    }
    shown
}

fn url(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else { return word.to_owned() };
    let (address, query) = rest.split_once('?').map_or((rest, None), |(address, query)| (address, Some(query)));
    // A password may hold any sign that the host cannot, so the last one separates them.
    let address = match address.rsplit_once('@') {
        Some((user_info, host)) => match user_info.split_once(':') {
            Some((user, _)) => format!("{user}:{HIDDEN}@{host}"),
            None => address.to_owned(),
        },
        None => address.to_owned(),
    };
    let query = query.map(|query| {
        let hidden = |pair: &str| match pair.split_once('=') {
            Some((name, _)) if PARAMETERS.contains(&name) => format!("{name}={HIDDEN}"),
            _ => pair.to_owned(),
        };
        format!("?{}", query.split('&').map(hidden).collect::<Vec<_>>().join("&"))
    });
    keys(&format!("{scheme}://{address}{}", query.unwrap_or_default()))
}

/// The text without the secrets of the API keys in it.
fn keys(word: &str) -> String {
    let mut parts = word.split(KEY_PREFIX);
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        shown.push_str(KEY_PREFIX);
        let Some((id, secret)) = part.split_once('_') else {
            shown.push_str(part);
            continue;
        };
        let end = secret.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(secret.len());
        shown.push_str(&format!("{id}_{HIDDEN}{}", &secret[end..]));
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_known_by_their_names() {
        for key in [
            "a.password",
            "a.api_key",
            "a.keys.api_keys",
            "s.tokens",
            "n.security_webhook_url",
            "x.secrets.b",
            "Password",
            "api_key_hash",
            "tls.private_key",
        ] {
            assert_eq!(redacted(key, json!("canary")), json!(HIDDEN), "{key}");
        }
        for key in [
            "a.password_file",
            "security.keys_dir",
            "a.secret_dir",
            "order_engine.keyboard",
            "max_connections",
            "security.limits.requests_per_second_per_key",
        ] {
            assert_eq!(redacted(key, json!("shown")), json!("shown"), "{key}");
        }
        assert_eq!(redacted("a.password", json!("")), json!(""), "that nothing is set is no secret");
        assert_eq!(redacted("a.token", json!(null)), json!(null));
        assert_eq!(redacted("a.token", json!(7)), json!(HIDDEN));
    }

    #[test]
    fn secrets_are_hidden_wherever_they_stand() {
        let given = json!({
            "url": "postgres://hive:canary@db:5432/hive", "nested": [{"api_key_hash": "canary"}],
            "receivers": [{"url": "http://u:canary@h/p", "token": "canary"}],
            "text": "used hm_ops_canary, then \"https://x:canary@y/z\" (hm_ops_canary)", "max_connections": 7,
        });
        let hidden = redacted("", given);
        assert!(!hidden.to_string().contains("canary"), "{hidden}");
        assert_eq!(hidden["url"], "postgres://hive:***@db:5432/hive");
        assert_eq!(hidden["receivers"], json!([{"url": "http://u:***@h/p", "token": "***"}]));
        assert_eq!(hidden["text"], "used hm_ops_***, then \"https://x:***@y/z\" (hm_ops_***)");
        assert_eq!(hidden["max_connections"], 7);
    }

    #[test]
    fn urls_lose_every_password() {
        for (url, shown) in [
            ("postgres://u:canary@h/db", "postgres://u:***@h/db"),
            (
                "postgres://u:c,a(n@ary@h/db?sslmode=require&password=x",
                "postgres://u:***@h/db?sslmode=require&password=***",
            ),
            ("postgres://u@h/db", "postgres://u@h/db"),
            ("http://h:1/p?a=b", "http://h:1/p?a=b"),
            ("https://h/hm_ops_canary", "https://h/hm_ops_***"),
            ("no url: a@b", "no url: a@b"),
        ] {
            assert_eq!(redacted("database.url", json!(url)), json!(shown));
        }
    }
}
