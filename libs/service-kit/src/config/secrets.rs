//! What of a configuration nobody is shown. Absent: deciding who may see the rest.
//!
//! A value is secret by the name of its key: one that ends in `password`, `secret`, `token`, `credentials`, `_key` or
//! `webhook`, also in the plural or with `_url` behind it. A name that ends in `_file` or `_dir` says where a secret is,
//! which is none. URLs under any key lose the password and what their query calls one.

use serde_json::Value;

/// What is shown instead.
pub(super) const HIDDEN: &str = "***";

/// What the name of a secret ends with, in the singular.
const ENDINGS: [&str; 6] = ["password", "secret", "token", "credential", "_key", "webhook"];

/// What a secret in the query of a URL is called; connection strings of databases have the first two.
const PARAMETERS: [&str; 5] = ["password", "sslpassword", "token", "secret", "key"];

/// Whether the value of this dotted key is a secret.
pub(super) fn is_secret(key: &str) -> bool {
    key.split('.').any(|part| {
        let name = part.strip_suffix("_url").unwrap_or(part);
        let singular = name.strip_suffix('s').unwrap_or(name);
        ENDINGS.iter().any(|ending| name.ends_with(ending) || singular.ends_with(ending))
    })
}

/// The value as it may be shown. What is not set is shown as not set.
pub(super) fn redacted(key: &str, value: Value) -> Value {
    if !is_secret(key) {
        return public(value);
    }
    match value {
        Value::Null | Value::Bool(_) => value,
        Value::String(text) if text.is_empty() => Value::String(text),
        Value::Array(items) if items.is_empty() => Value::Array(items),
        Value::Object(map) if map.is_empty() => Value::Object(map),
        _ => Value::String(HIDDEN.to_owned()),
    }
}

/// A value that is not secret by its name, nor, in lists of tables, by the names in it.
fn public(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(url_without_secrets(text)),
        Value::Array(items) => Value::Array(items.into_iter().map(public).collect()),
        Value::Object(map) => {
            Value::Object(map.into_iter().map(|(key, value)| (key.clone(), redacted(&key, value))).collect())
        }
        other => other,
    }
}

fn url_without_secrets(text: String) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text };
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
    format!("{scheme}://{address}{}", query.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_known_by_their_names() {
        for key in ["a.password", "a.api_key", "a.keys.api_keys", "s.tokens", "n.security_webhook_url", "x.secrets.b"] {
            assert_eq!(redacted(key, json!("canary")), json!(HIDDEN), "{key}");
        }
        for key in ["a.password_file", "security.keys_dir", "a.secret_dir", "order_engine.keyboard"] {
            assert_eq!(redacted(key, json!("shown")), json!("shown"), "{key}");
        }
        assert_eq!(redacted("a.password", json!("")), json!(""), "that nothing is set is no secret");
        assert_eq!(redacted("a.token", json!(null)), json!(null));
        let list = json!([{"url": "http://u:canary@h/p", "token": "canary"}]);
        assert_eq!(redacted("n.receivers", list), json!([{"url": "http://u:***@h/p", "token": "***"}]));
    }

    #[test]
    fn urls_lose_every_password() {
        for (url, shown) in [
            ("postgres://u:canary@h/db", "postgres://u:***@h/db"),
            (
                "postgres://u:can@ary@h/db?sslmode=require&password=x",
                "postgres://u:***@h/db?sslmode=require&password=***",
            ),
            ("postgres://u@h/db", "postgres://u@h/db"),
            ("http://h:1/p?a=b", "http://h:1/p?a=b"),
            ("no url: a@b", "no url: a@b"),
        ] {
            assert_eq!(redacted("database.url", json!(url)), json!(shown));
        }
    }
}
