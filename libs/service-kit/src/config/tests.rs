//! The errors people will meet, one by one, and the order of the layers.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Example {
    name: String,
    roles: Vec<String>,
    labels: BTreeMap<String, String>,
    engine: Engine,
    loose: Loose,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Engine {
    queue_bound: u32,
    flush: bool,
    timeout: HumanDuration,
    segment: ByteSize,
    database_url: String,
    replica: Option<String>,
    store: Store,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Store {
    File { sync: bool },
    Postgres { url: String, pool: u32 },
}

/// Does not refuse unknown keys by itself.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Loose {
    interval: u64,
}

impl Default for Example {
    fn default() -> Self {
        Self {
            name: "one".to_owned(),
            roles: vec!["all".to_owned()],
            labels: BTreeMap::new(),
            engine: Engine::default(),
            loose: Loose::default(),
        }
    }
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            queue_bound: 64,
            flush: true,
            timeout: HumanDuration::from_secs(30),
            segment: ByteSize::from_mib(64),
            database_url: String::new(),
            replica: None,
            store: Store::File { sync: true },
        }
    }
}

fn load_text(text: &str, variables: &[(&str, &str)]) -> Result<Loaded<Example>, ConfigError> {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("hive.toml");
    fs::write(&file, text).expect("written");
    load_from(Some(&file), "HIVE", variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
}

/// The error's text without the temporary directory.
fn refusal(text: &str, variables: &[(&str, &str)]) -> String {
    let message = load_text(text, variables).expect_err("must be refused").to_string();
    match message.split_once("hive.toml") {
        Some((_, rest)) => format!("hive.toml{rest}"),
        None => message,
    }
}

#[test]
fn what_is_wrong_in_the_file_is_named_with_its_place() {
    for (text, expected) in [
        ("nmae = \"x\"", "hive.toml:1:1: unknown key nmae, did you mean name?"),
        (
            "[engine]\nflush = true\n  queue_bund = 1\n",
            "hive.toml:3:3: unknown key engine.queue_bund, did you mean engine.queue_bound?",
        ),
        ("[engin]\nflush = true\n", "hive.toml:1:2: unknown key engin, did you mean engine?"),
        ("[engine]\nzzz = 1\n", "hive.toml:2:1: unknown key engine.zzz"),
        ("[loose]\nintervall = 1\n", "hive.toml:2:1: unknown key loose.intervall, did you mean loose.interval?"),
        (
            "[engine]\nqueue_bound = \"many\"\n",
            "hive.toml:2:15: engine.queue_bound: invalid type: string \"many\", expected u32",
        ),
        ("engine.queue_bound = -1\n", "hive.toml:1:22: engine.queue_bound: invalid value: integer `-1`, expected u32"),
        ("engine = 5\n", "hive.toml:1:10: engine: invalid type: integer `5`, expected struct Engine"),
        (
            "[engine]\ntimeout = 30\n",
            "hive.toml:2:11: engine.timeout: invalid type: integer `30`, expected a duration like \"30s\"",
        ),
        (
            "[engine]\ntimeout = \"30\"\n",
            "hive.toml:2:11: engine.timeout: \"30\" is no duration: write a whole number with us, ms, s, m, h or d, like \"30s\"",
        ),
        (
            "[engine]\nsegment = \"64Mib\"\n",
            "hive.toml:2:11: engine.segment: \"64Mib\" is no size: write a whole number with B, KiB, MiB, GiB or TiB, like \"64MiB\"",
        ),
        ("name = \"ö\"\nroles = [\"a\", 3]\n", "hive.toml:2:15: roles: invalid type: integer `3`, expected a string"),
    ] {
        assert_eq!(refusal(text, &[]), expected, "{text}");
    }
    assert!(refusal("name = \n", &[]).starts_with("hive.toml:1:"), "{}", refusal("name = \n", &[]));
    assert!(refusal("name = \"a\"\nname = \"b\"\n", &[]).starts_with("hive.toml:2:1: duplicate key"));
}

#[test]
fn what_is_wrong_in_the_environment_is_named_with_its_variable() {
    for (variable, value, expected) in [
        ("HIVE__ENGINE__QUEUE_BOUND", "many", "engine.queue_bound: invalid type: string \"many\", expected u32"),
        (
            "HIVE__ENGINE__TIMEOUT",
            "30",
            "engine.timeout: \"30\" is no duration: write a whole number with us, ms, s, m, h or d, like \"30s\"",
        ),
        ("HIVE__ENGNE__FLUSH", "true", "unknown key engne, did you mean engine?"),
        ("HIVE__ENGINE__FLUHS", "true", "unknown key engine.fluhs, did you mean engine.flush?"),
        ("HIVE__LOOSE__INTERVALL", "1", "unknown key loose.intervall, did you mean loose.interval?"),
        ("HIVE__NAME__FIRST", "x", "name.first: expected a section, found a value"),
    ] {
        let message = refusal("name = \"file\"", &[("HIVE__ENGINE__FLUSH", "false"), (variable, value)]);
        let expected = format!("environment variable {variable}: {expected}");
        assert_eq!(message, expected);
    }
}

#[test]
fn environment_goes_over_file_goes_over_default() {
    let text = "name = \"file\"\n[engine]\nqueue_bound = 7\ntimeout = \"1m30s\"\n";
    let variables = [
        ("HIVE__ENGINE__QUEUE_BOUND", "8"),
        ("HIVE__ENGINE__FLUSH", "false"),
        ("HIVE__ROLES", "[\"a\", \"b\"]"),
        ("HIVE__ENGINE__DATABASE_URL", "postgres://u:secret@h/db"),
        ("HIVE__ENGINE__REPLICA", "5432"),
        ("HIVE__LABELS__ZONE", "north"),
        ("HIVE_CONFIG", "not for us"),
        ("HIVEX__NAME", "not for us"),
    ];
    let loaded = load_text(text, &variables).expect("good");
    let engine = &loaded.value.engine;
    assert_eq!(loaded.value.name, "file");
    assert_eq!((engine.queue_bound, engine.flush), (8, false));
    assert_eq!((engine.timeout.0, engine.segment.bytes()), (Duration::from_secs(90), 64 << 20));
    assert_eq!(loaded.value.roles, ["a", "b"]);
    assert_eq!(engine.replica.as_deref(), Some("5432"), "digits for a key that takes text stay text");
    assert_eq!(loaded.value.labels["zone"], "north");

    let origin = |key: &str| loaded.origins[key].to_string();
    assert_eq!(origin("engine.queue_bound"), "HIVE__ENGINE__QUEUE_BOUND");
    assert_eq!(origin("engine.segment"), "default");
    assert!(origin("engine.timeout").ends_with("hive.toml:4"));
    assert!(origin("name").ends_with("hive.toml:1"));
}

#[test]
fn two_variables_may_be_right_only_together() {
    let variables = [
        ("HIVE__ENGINE__STORE__KIND", "postgres"),
        ("HIVE__ENGINE__STORE__URL", "u"),
        ("HIVE__ENGINE__STORE__POOL", "3"),
    ];
    let loaded = load_text("", &variables).expect("good");
    assert_eq!(loaded.value.engine.store, Store::Postgres { url: "u".to_owned(), pool: 3 });
    let message = refusal("", &variables[..2]);
    assert!(message.starts_with("environment variable HIVE__ENGINE__STORE__KIND: "), "{message}");
    assert!(message.contains("missing field `url`") || message.contains("missing field `pool`"), "{message}");
}

#[test]
fn show_lists_every_value_and_hides_passwords() {
    let loaded = load_text("", &[("HIVE__ENGINE__DATABASE_URL", "postgres://u:secret@h/db")]).expect("good");
    let shown = loaded.entries();
    let value = |key: &str| shown.iter().find(|entry| entry.key == key).map(|entry| entry.value.clone());
    assert_eq!(value("engine.database_url"), Some(json!("postgres://u:***@h/db")));
    assert_eq!(value("engine.timeout"), Some(json!("30s")));
    assert_eq!(value("engine.replica"), Some(json!(null)));
    assert_eq!(value("labels"), Some(json!({})));
    assert_eq!(shown.len(), 12, "{shown:#?}");
}

#[test]
fn a_missing_file_is_an_error_and_no_file_is_not() {
    let missing = load_from::<Example>(Some(Path::new("/nowhere/hive.toml")), "HIVE", []);
    assert!(matches!(missing, Err(ConfigError::Read { .. })));
    let none = load_from::<Example>(None, "HIVE", []).expect("defaults");
    assert_eq!(none.value, Example::default());
    assert!(none.origins.values().all(|origin| *origin == Origin::Default));
}

#[test]
fn durations_and_sizes_read_back_what_they_write() {
    for (text, micros) in [("0s", 0), ("250us", 250), ("1ms", 1_000), ("1m30s", 90_000_000), ("2d", 172_800_000_000)] {
        let duration: HumanDuration = text.parse().expect(text);
        assert_eq!((duration.0.as_micros(), duration.to_string()), (micros, text.to_owned()));
    }
    for (text, bytes) in [("0B", 0), ("1000B", 1000), ("64MiB", 64 << 20), ("1536KiB", 1536 << 10), ("1TiB", 1 << 40)] {
        let size: ByteSize = text.parse().expect(text);
        assert_eq!((size.bytes(), size.to_string()), (bytes, text.to_owned()));
    }
    assert_eq!("5 MB".parse(), Ok(ByteSize(5_000_000)));
    for text in ["", "s", "1", "-1s", "1.5s", "1s1m", "1s1s", "1x", "99999999999999d"] {
        assert!(text.parse::<HumanDuration>().is_err(), "{text}");
    }
    for text in ["", "MiB", "1", "1MiB2", "1mib", "99999999TiB"] {
        assert!(text.parse::<ByteSize>().is_err(), "{text}");
    }
}
