//! The directory of the keys: every `*.toml` in it lists keys by their hashes, `node.key` holds the key that the processes
//! of the cluster show each other. A file that cannot be read counts for nothing: its keys are refused.
//!
//! Deliberately absent: watching. Whoever reads again sees what is there, also behind the symbolic links of a mounted
//! secret.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use wire::api_key::{ApiKey, is_id};

use super::key::KeyHash;
use crate::caller::{Accounts, Role};
use crate::clock;

/// File with the key of the cluster's processes.
pub(super) const NODE_KEY_FILE: &str = "node.key";

/// Largest file that is read, bytes: some thousand keys.
const FILE_MAX: u64 = 1 << 20;

/// A key as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) id: String,
    pub(super) role: Role,
    pub(super) accounts: Accounts,
    pub(super) hash: KeyHash,
    /// From then on it is refused, microseconds since the Unix epoch.
    pub(super) expires_us: Option<u64>,
}

impl Given {
    /// Whether its time is over.
    pub(super) fn is_over(&self, now_us: u64) -> bool {
        self.expires_us.is_some_and(|expires_us| expires_us <= now_us)
    }
}

/// What a directory holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) keys: Vec<Given>,
    pub(super) node: Option<ApiKey>,
    /// What is wrong with which file. Never holds a key.
    pub(super) problems: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    key: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    role: Role,
    hash: String,
    accounts: Option<AccountsEntry>,
    expires: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a list of accounts, or \"all\"")]
enum AccountsEntry {
    Only(Vec<u64>),
    All(All),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum All {
    All,
}

/// Reads a directory. One that is not there holds nothing.
pub(super) fn read(directory: &Path) -> Found {
    let mut found = Found::default();
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            found.problems.push(format!("cannot read {}: {error}", directory.display()));
            return found;
        }
    };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let outcome = match name {
            // The generations of a mounted secret.
            _ if name.starts_with('.') => Ok(()),
            NODE_KEY_FILE => text(&path).and_then(|text| {
                found.node = Some(text.trim().parse().map_err(|error| format!("{error}"))?);
                Ok(())
            }),
            _ if name.ends_with(".toml") => text(&path).and_then(|text| {
                found.keys.extend(keys(&text)?);
                Ok(())
            }),
            _ => Ok(()),
        };
        if let Err(problem) = outcome {
            found.problems.push(format!("{}: {problem}", path.display()));
        }
    }
    found
}

fn text(path: &Path) -> Result<String, String> {
    let read = || -> io::Result<String> {
        let length = fs::metadata(path)?.len();
        if length > FILE_MAX {
            return Err(io::Error::other(format!("has {length} bytes, allowed are {FILE_MAX}")));
        }
        fs::read_to_string(path)
    };
    read().map_err(|error| error.to_string())
}

fn keys(text: &str) -> Result<Vec<Given>, String> {
    let file: File = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        // The parser's own text quotes the line, which may hold what somebody put there by mistake.
        format!("line {line}: not a list of keys: {}", kind(error.message()))
    })?;
    file.key.into_iter().map(|entry| given(entry).map_err(|(id, why)| format!("key {id:?}: {why}"))).collect()
}

/// The message of the parser, unless it repeats a value.
fn kind(message: &str) -> &str {
    if message.contains("unknown variant") {
        "there is no such role"
    } else if message.starts_with("invalid type") {
        "a value is of the wrong type"
    } else {
        message
    }
}

fn given(entry: Entry) -> Result<Given, (String, String)> {
    let Entry { id, role, hash, accounts, expires } = entry;
    if !is_id(&id) {
        return Err((String::from("?"), "id must be 1 to 32 lower-case letters, digits or hyphens".to_owned()));
    }
    let hash = match hash.parse() {
        Ok(hash) => hash,
        Err(error) => return Err((id, format!("hash: {error}"))),
    };
    let expires_us = match expires.as_deref().map(clock::parse_rfc3339) {
        None => None,
        Some(Some(us)) => Some(us),
        // Not what was written: it may be anything.
        Some(None) => return Err((id, "expires must be a time like \"2027-01-31T00:00:00Z\"".to_owned())),
    };
    let accounts = match (role, accounts) {
        (Role::Trader, None) => return Err((id, "a trader needs accounts: a list, or \"all\"".to_owned())),
        (Role::Trader, Some(AccountsEntry::Only(mut accounts))) => {
            accounts.sort_unstable();
            accounts.dedup();
            Accounts::Only(Arc::from(accounts))
        }
        (Role::Trader, Some(AccountsEntry::All(All::All))) | (_, None) => Accounts::All,
        (_, Some(_)) => return Err((id, "only a trader has accounts".to_owned())),
    };
    Ok(Given { id, role, accounts, hash, expires_us })
}

/// The lines of a file that list this key.
pub(super) fn entry(given: &Given) -> String {
    let accounts = match (&given.accounts, given.role) {
        (Accounts::Only(accounts), _) => format!("accounts = {accounts:?}\n"),
        (Accounts::All, Role::Trader) => "accounts = \"all\"\n".to_owned(),
        (Accounts::All, _) => String::new(),
    };
    let expires = given.expires_us.map(|us| format!("expires = \"{}\"\n", clock::rfc3339(us))).unwrap_or_default();
    format!("[[key]]\nid = \"{}\"\nrole = \"{}\"\nhash = \"{}\"\n{accounts}{expires}", given.id, given.role, given.hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::key;

    #[test]
    fn entries_are_read_as_they_are_written() {
        let hash = KeyHash::of(&key::generate("ann").expect("an id"));
        for (role, accounts) in [
            (Role::Viewer, Accounts::All),
            (Role::Trader, Accounts::All),
            (Role::Trader, Accounts::Only([3, 7].into())),
            (Role::Operator, Accounts::All),
            (Role::Admin, Accounts::All),
            (Role::Node, Accounts::All),
        ] {
            for expires_us in [None, Some(1_800_000_000_000_000)] {
                let given = Given { id: "ann".to_owned(), role, accounts: accounts.clone(), hash, expires_us };
                assert_eq!(keys(&entry(&given)), Ok(vec![given]));
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_what_was_written() {
        let hash = KeyHash::of(&key::generate("ann").expect("an id"));
        let whole = key::generate("ann").expect("an id");
        let whole = whole.reveal();
        for (text, said) in [
            ("[[key]]\nid = ", "line 2"),
            ("[[key]]\nid = \"a\"\nrole = \"viewer\"\n", "hash"),
            (&format!("[[key]]\nid = \"a\"\nrole = \"viewer\"\nhash = \"{whole}\"\n"), "key \"a\": hash"),
            (&format!("[[key]]\nid = \"{whole}\"\nrole = \"viewer\"\nhash = \"{hash}\"\n"), "id must be"),
            (&format!("[[key]]\nid = \"a\"\nrole = \"{whole}\"\nhash = \"{hash}\"\n"), "no such role"),
            (&format!("[[key]]\nid = \"a\"\nrole = \"trader\"\nhash = \"{hash}\"\n"), "needs accounts"),
            (&format!("[[key]]\nid = \"a\"\nrole = \"viewer\"\naccounts = [1]\nhash = \"{hash}\"\n"), "only a trader"),
            (
                &format!("[[key]]\nid = \"a\"\nrole = \"viewer\"\nexpires = \"{whole}\"\nhash = \"{hash}\"\n"),
                "a time like",
            ),
            (&format!("key = \"{whole}\"\n"), "wrong type"),
            (&format!("key = [\"{whole}\"]\n"), "wrong type"),
            (
                &format!("[[key]]\nid = \"a\"\nrole = \"trader\"\naccounts = \"{whole}\"\nhash = \"{hash}\"\n"),
                "accounts",
            ),
        ] {
            let error = keys(text).expect_err(text);
            assert!(error.contains(said), "{error}");
            assert!(!error.contains(&whole[8..]), "{error}");
        }
    }

    #[test]
    fn a_broken_file_counts_for_nothing_and_the_others_do() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        assert_eq!(read(&at("away")).problems.len(), 1);
        assert_eq!(read(directory.path()), Found::default());
        let (one, node) = (key::generate("one").expect("an id"), key::generate("node").expect("an id"));
        let given = Given {
            id: "one".to_owned(),
            role: Role::Viewer,
            accounts: Accounts::All,
            hash: KeyHash::of(&one),
            expires_us: None,
        };
        for (name, text) in [
            ("keys.toml", entry(&given)),
            ("broken.toml", "[[key".to_owned()),
            ("node.key", format!("{}\n", node.reveal())),
            ("readme.txt", "not a key".to_owned()),
            (".hidden.toml", "[[".to_owned()),
        ] {
            fs::write(at(name), text).expect("written");
        }
        let found = read(directory.path());
        assert_eq!((found.keys, found.node), (vec![given], Some(node)));
        assert!(found.problems.len() == 1 && found.problems[0].contains("broken.toml"), "{:?}", found.problems);
    }
}
