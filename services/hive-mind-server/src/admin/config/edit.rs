//! Sets keys in the text of a TOML file; everything else in it stays as it was written. Absent: taking keys out; a
//! default is written out instead, so that the file says what is meant.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Error, Result, anyhow, bail};
use serde_json::Value as Json;
use service_kit::config::key_by_name;
use toml_edit::{DocumentMut, Item, Table, TableLike, Value};

use crate::config::{Misconfigured, ServerConfig};

/// A key and what it shall be.
#[derive(Debug)]
pub(super) struct Edit {
    key: String,
    value: Given,
}

#[derive(Debug)]
enum Given {
    /// From the command line: a text, or TOML for a key that takes no text.
    Text(String),
    /// From a file.
    Toml(Box<Value>),
}

/// Reads `key=value`.
pub(super) fn pair(text: &str) -> Result<Edit> {
    let (key, value) = text.split_once('=').with_context(|| format!("{text:?} is no KEY=VALUE"))?;
    Ok(Edit { key: known(key.trim())?, value: Given::Text(value.trim().to_owned()) })
}

/// Reads the keys of a piece of a file.
pub(super) fn fragment(path: &Path, text: &str) -> Result<Vec<Edit>> {
    let document = parse(path, text)?;
    let mut edits = Vec::new();
    collect(document.as_table(), "", &mut edits)?;
    Ok(edits)
}

fn collect(table: &dyn TableLike, section: &str, edits: &mut Vec<Edit>) -> Result<()> {
    for (key, item) in table.iter() {
        let key = if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") };
        match (item.as_table_like(), item.as_value()) {
            (Some(inner), _) => collect(inner, &key, edits)?,
            (None, Some(value)) => {
                edits.push(Edit { key: known(&key)?, value: Given::Toml(Box::new(value.clone())) });
            }
            (None, None) => bail!("{key} is a list of tables: write it into the file by hand"),
        }
    }
    Ok(())
}

/// The whole key of one that may be given by its last part.
fn known(key: &str) -> Result<String> {
    let tree = keys()?;
    let found = at(&tree, key);
    if key.contains('.') || found.is_some() {
        // An unknown one is refused with a suggestion when the result is checked.
        return Ok(key.to_owned());
    }
    key_by_name(&tree, key)
        .ok_or_else(|| anyhow!("there is no key {key}, or more than one that ends so: write it with its section"))
}

fn keys() -> Result<Json> {
    Ok(serde_json::to_value(ServerConfig::default())?)
}

fn at<'a>(tree: &'a Json, key: &str) -> Option<&'a Json> {
    key.split('.').try_fold(tree, |at, part| at.get(part))
}

/// The text with the edits made, if a node could use it.
pub(super) fn apply(path: &Path, text: &str, edits: &[Edit]) -> Result<String> {
    let mut document = parse(path, text)?;
    let tree = keys()?;
    for edit in edits {
        let value = match &edit.value {
            Given::Toml(value) => (**value).clone(),
            Given::Text(text) => read_value(text, at(&tree, &edit.key)),
        };
        let parts: Vec<&str> = edit.key.split('.').collect();
        set(document.as_table_mut(), &parts, value).map_err(|problem| refused(format!("{}: {problem}", edit.key)))?;
    }
    let after = document.to_string();
    ServerConfig::check_text(path, &after).context(Misconfigured)?;
    Ok(after)
}

/// A key whose default is a text takes the text as it stands; for others it is read as TOML if it is that.
fn read_value(text: &str, default: Option<&Json>) -> Value {
    let plain = Value::from(text);
    let quoted = text.len() > 1 && text.starts_with('"') && text.ends_with('"');
    match default {
        Some(Json::String(_)) if !quoted => plain,
        _ => text.parse().unwrap_or(plain),
    }
}

fn set(table: &mut dyn TableLike, path: &[&str], mut value: Value) -> Result<(), String> {
    let (last, sections) = path.split_last().ok_or("an empty key")?;
    let mut at = table;
    for section in sections {
        let item = at.entry(section).or_insert_with(|| {
            let mut table = Table::new();
            // Its header is written only if it holds values itself.
            table.set_implicit(true);
            Item::Table(table)
        });
        at = item.as_table_like_mut().ok_or_else(|| format!("{section} is a value in the file, not a section"))?;
    }
    match at.get_mut(last) {
        Some(Item::Value(old)) => {
            // The comment behind a value is decoration of the value.
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        Some(Item::Table(_) | Item::ArrayOfTables(_)) => return Err("is a section, not a value".to_owned()),
        Some(Item::None) | None => {
            at.insert(last, Item::Value(value));
        }
    }
    Ok(())
}

fn parse(path: &Path, text: &str) -> Result<DocumentMut> {
    // The checker's words for what is no TOML have the place, and a hint.
    text.parse().map_err(|error: toml_edit::TomlError| {
        let said = ServerConfig::check_text(path, text).err().map_or_else(|| error.to_string(), |e| format!("{e:#}"));
        refused(said)
    })
}

fn refused(problem: String) -> Error {
    Error::msg(problem).context(Misconfigured)
}

/// Puts the text in the file's place in one step. A mounted file, which cannot be replaced, says so.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    // Links stay links: what they lead to is replaced.
    let path = fs::canonicalize(path).with_context(|| format!("cannot find {}", path.display()))?;
    let directory = path.parent().context("a file has a directory")?;
    let failed = || {
        format!(
            "cannot write {}: if it is mounted from elsewhere, change it there, with --config - in between",
            path.display()
        )
    };
    let mut file = tempfile::NamedTempFile::new_in(directory).with_context(failed)?;
    file.write_all(text.as_bytes()).with_context(failed)?;
    file.as_file().sync_all().with_context(failed)?;
    fs::set_permissions(file.path(), fs::metadata(&path)?.permissions()).with_context(failed)?;
    file.persist(&path).with_context(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# The whole cluster has this file.
[log]
level = \"info\" # change it at run time with admin log-level

[persistence_gateway.database]
max_connections = 20   # of 100 on the server
connection_timeout = \"5s\"
";

    fn edited(pairs: &[&str]) -> Result<String> {
        let edits = pairs.iter().map(|text| pair(text)).collect::<Result<Vec<_>>>()?;
        apply(Path::new("production.toml"), FILE, &edits)
    }

    #[test]
    fn t07_keys_are_merged_into_a_file_that_stays_as_it_was() {
        let after = edited(&["max_connections=100", "connection_timeout=30s", "order_engine.unanswered_max=5000"]);
        let after = after.expect("a usable file");
        let expected =
            FILE.replace("= 20 ", "= 100 ").replace("\"5s\"\n", "\"30s\"\n\n[order_engine]\nunanswered_max = 5000\n");
        assert_eq!(after, expected);
        assert_eq!(edited(&["log.level=info"]).expect("usable"), FILE, "the same again is no change");
    }

    #[test]
    fn t07_what_no_node_could_use_is_refused() {
        for (pairs, says) in [
            (&["log.levle=debug"][..], "unknown key log.levle, did you mean log.level?"),
            (&["max_connections=many"], "persistence_gateway.database.max_connections: invalid type"),
            (&["max_connections=1"], "max_connections: at least 2"),
            (&["log=debug"], "is a section, not a value"),
            (&["level=debug", "verbosity=3"], "there is no key verbosity"),
            (&["nonsense"], "is no KEY=VALUE"),
        ] {
            let error = edited(pairs).expect_err("not usable");
            assert!(format!("{error:#}").contains(says), "{error:#}");
        }
        let pasted = "...max_connections = 100\nconnection_timeout = \"30s\"...";
        let error = fragment(Path::new("patch"), pasted).expect_err("the literal words of a runbook");
        let error = format!("{error:#}");
        assert!(error.contains("patch:2:27: ") && error.contains("admin config set"), "{error}");
    }

    #[test]
    fn a_fragment_names_its_keys_by_section_or_by_name() {
        let edits = fragment(Path::new("patch"), "max_connections = 100\n[log]\nlevel = \"debug\"\n").expect("read");
        let after = apply(Path::new("production.toml"), FILE, &edits).expect("usable");
        assert!(after.contains("max_connections = 100   # of 100 on the server"), "{after}");
        assert!(after.contains("level = \"debug\" # change it"), "{after}");
    }
}
