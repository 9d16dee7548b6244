//! The pure crates compute: no clock, no chance, no threads, no files, no network, no output, no map whose order
//! changes from run to run. Replaying the same log must give the same state on every machine.

use super::source::{Kind, SourceFile};
use super::{Package, Violation, paths};

/// The pure crates.
const PURE: [&str; 3] = ["types", "matching", "journal-core"];

/// What they may be built on besides one another: computation only.
const BUILT_ON: [&str; 11] = [
    "types",
    "bytes",
    "blake3",
    "crc",
    "crc-fast",
    "hashbrown",
    "thiserror",
    "xxhash-rust",
    "zerocopy",
    "smallvec",
    "arrayvec",
];

/// What they may not name, and why. A path matches itself and everything below it.
const BANNED: [(&str, &str); 19] = [
    ("std::time", "time comes in as an argument"),
    ("SystemTime", "time comes in as an argument"),
    ("Instant", "time comes in as an argument"),
    ("std::thread", "the shell owns the threads"),
    ("std::sync::mpsc", "the shell owns the queues"),
    ("std::fs", "the shell reads and writes"),
    ("std::net", "the shell reads and writes"),
    ("std::io", "the shell reads and writes"),
    ("std::env", "configuration comes in as an argument"),
    ("std::process", "the shell ends the process"),
    ("std::collections::HashMap", "its order differs from run to run; use BTreeMap or a fixed hasher"),
    ("std::collections::HashSet", "its order differs from run to run; use BTreeSet or a fixed hasher"),
    ("std::collections::hash_map", "its order differs from run to run; use BTreeMap or a fixed hasher"),
    ("RandomState", "its order differs from run to run"),
    ("rand", "random numbers come in as an argument"),
    ("thread_rng", "random numbers come in as an argument"),
    ("tokio", "nothing here waits"),
    ("tracing", "events and effects tell what happened"),
    ("metrics", "the shell counts"),
];

/// Macros they may not use.
const BANNED_MACROS: [&str; 5] = ["println!", "eprintln!", "print!", "eprint!", "dbg!"];

/// Looks for what they may not be built on.
pub(super) fn check_dependencies(packages: &[Package]) -> Vec<Violation> {
    let mut found = Vec::new();
    for package in packages.iter().filter(|package| PURE.contains(&package.name.as_str())) {
        for dependency in package.dependencies.iter().filter(|name| !BUILT_ON.contains(&name.as_str())) {
            let message = format!("is pure and may not be built on {dependency}; see xtask/src/tidy/pure.rs");
            found.push(Violation::new(&package.name, message));
        }
    }
    found
}

/// Looks for what they may not name. Their tests may.
pub(super) fn check_calls(files: &[SourceFile]) -> Vec<Violation> {
    let mut found = Vec::new();
    let for_tests = directories_for_tests(files);
    for file in files.iter().filter(|file| is_pure(file)) {
        if for_tests
            .iter()
            .any(|module| file.path.starts_with(&format!("{module}/")) || file.path == format!("{module}.rs"))
        {
            continue;
        }
        let Ok(parsed) = syn::parse_file(&file.text) else { continue };
        for used in paths::used(&parsed) {
            if let Some(why) = reason(&used.path) {
                let place = format!("{}:{}", file.path, used.line);
                found.push(Violation::new(place, format!("a pure crate may not name {}: {why}", used.path)));
            }
        }
    }
    found
}

fn is_pure(file: &SourceFile) -> bool {
    let of_pure_crate = PURE.iter().any(|name| file.path.starts_with(&format!("libs/{name}/src/")));
    let of_tests = file.path.contains("/tests/") || file.path.ends_with("/tests.rs");
    file.kind == Kind::Rust && of_pure_crate && !of_tests
}

/// Modules, as paths without ending, that a pure crate's root declares under a condition on `test-util`.
fn directories_for_tests(files: &[SourceFile]) -> Vec<String> {
    let mut found = Vec::new();
    for root in files.iter().filter(|file| is_pure(file) && file.name() == "lib.rs") {
        let Ok(parsed) = syn::parse_file(&root.text) else { continue };
        let directory = root.path.trim_end_matches("/lib.rs");
        for item in parsed.items {
            let syn::Item::Mod(module) = item else { continue };
            let conditions = module.attrs.iter().filter_map(|attribute| attribute.meta.require_list().ok());
            if conditions
                .filter(|list| list.path.is_ident("cfg"))
                .any(|list| list.tokens.to_string().contains("test-util"))
            {
                found.push(format!("{directory}/{}", module.ident));
            }
        }
    }
    found
}

fn reason(path: &str) -> Option<&'static str> {
    if BANNED_MACROS.contains(&path) {
        return Some("events and effects tell what happened");
    }
    let below = |banned: &str| path.strip_prefix(banned).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    BANNED.iter().find(|(banned, _)| below(banned)).map(|(_, why)| *why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(path: &str, text: &str) -> usize {
        check_calls(&[SourceFile::planted(path, text)]).len()
    }

    #[test]
    fn what_a_pure_crate_may_not_name_is_found() {
        let planted = [
            "use std::time::SystemTime;",
            "use std::{fmt, thread};",
            "use std::collections::{BTreeMap, HashMap};",
            "fn a() { let now = Instant::now(); }",
            "fn a() { std::fs::read(\"x\"); }",
            "fn a() { println!(\"x\"); }",
            "fn a() { assert!(tokio::spawn(b())); }",
            "fn a() -> std::collections::HashSet<u8> { b() }",
        ];
        for text in planted {
            assert_eq!(complaints("libs/matching/src/book.rs", text), 1, "{text}");
            assert_eq!(complaints("libs/wire/src/book.rs", text), 0, "{text}");
        }
    }

    #[test]
    fn what_is_only_similar_is_not() {
        for text in ["use hashbrown::HashMap;", "use crate::time::Now;", "fn a() { instant(); }", "use std::fmt;"] {
            assert_eq!(complaints("libs/matching/src/book.rs", text), 0, "{text}");
        }
        assert_eq!(complaints("libs/matching/src/book.rs", "#[cfg(test)]\nmod tests { use std::fs; }"), 0);
        assert_eq!(complaints("libs/matching/tests/rules.rs", "use std::fs;"), 0);
    }

    #[test]
    fn what_only_tests_switch_on_is_free() {
        let complaints = |condition: &str| {
            let root = format!("#[cfg({condition})]\npub mod workload;\n");
            let workload = SourceFile::planted("libs/matching/src/workload/mix.rs", "use rand::Rng;");
            check_calls(&[SourceFile::planted("libs/matching/src/lib.rs", &root), workload]).len()
        };
        assert_eq!(complaints("any(test, feature = \"test-util\")"), 0);
        assert_eq!(complaints("unix"), 1);
    }

    #[test]
    fn a_dependency_that_does_more_than_compute_is_found() {
        let built_on = |name: &str| Package {
            name: "matching".into(),
            dependencies: vec!["types".into(), name.into()],
            test_dependencies: vec!["rand".into()],
            ..Package::default()
        };
        assert_eq!(check_dependencies(&[built_on("hashbrown")]), []);
        assert_eq!(check_dependencies(&[built_on("tokio")]).len(), 1);
    }
}
