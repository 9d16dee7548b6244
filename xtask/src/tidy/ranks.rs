//! A crate imports only crates of a lower rank. The ranks are the table in ARCHITECTURE.md, so that what people read
//! is what is checked.

use std::collections::BTreeMap;

use super::{Package, Violation};

/// Compares every dependency among our crates with the table.
pub(super) fn check(architecture: &str, packages: &[Package]) -> Vec<Violation> {
    let ranks = parse_table(architecture);
    let mut found = Vec::new();
    if ranks.is_empty() {
        found.push(Violation::new("ARCHITECTURE.md", "has no table `| rank | crates |`"));
        return found;
    }
    for name in ranks.keys() {
        if !packages.iter().any(|package| package.name == *name) {
            found.push(Violation::new("ARCHITECTURE.md", format!("gives a rank to {name}, which is no crate here")));
        }
    }
    for package in packages {
        let Some(rank) = ranks.get(&package.name) else {
            found.push(Violation::new(&package.name, "has no rank in ARCHITECTURE.md"));
            continue;
        };
        for dependency in package.dependencies.iter().chain(&package.test_dependencies) {
            // A crate may name itself, to switch its own test features on for its own tests.
            let itself = *dependency == package.name && package.test_dependencies.contains(dependency);
            match ranks.get(dependency) {
                Some(below) if below >= rank && !itself => found.push(Violation::new(
                    &package.name,
                    format!("has rank {rank} and may not import {dependency} of rank {below}; only lower ranks"),
                )),
                _ => {}
            }
        }
    }
    found
}

/// Crate to rank, from the markdown table whose head is `rank | crates`.
fn parse_table(architecture: &str) -> BTreeMap<String, u32> {
    let mut ranks = BTreeMap::new();
    let lines = architecture.lines().skip_while(|line| cells(line) != ["rank", "crates"]);
    for line in lines.skip(2).take_while(|line| line.trim_start().starts_with('|')) {
        let cells = cells(line);
        let (Some(rank), Some(names)) = (cells.first(), cells.get(1)) else { continue };
        let Ok(rank) = rank.trim_start_matches('L').parse() else { continue };
        for name in names.split([',', ' ']).filter(|name| !name.is_empty()) {
            ranks.insert(name.to_owned(), rank);
        }
    }
    ranks
}

fn cells(line: &str) -> Vec<String> {
    let line = line.trim().trim_matches('|');
    line.split('|').map(|cell| cell.replace('`', "").trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str =
        "words\n\n| rank | crates |\n|---|---|\n| 0 | `types` |\n| L1 | matching, core |\n\nmore | text\n";

    fn package(name: &str, dependencies: &[&str], test_dependencies: &[&str]) -> Package {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Package {
            name: name.to_owned(),
            dependencies: owned(dependencies),
            test_dependencies: owned(test_dependencies),
            ..Package::default()
        }
    }

    fn messages(packages: &[Package]) -> Vec<String> {
        check(TABLE, packages).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn lower_ranks_and_oneself_in_tests_are_allowed() {
        let core = package("core", &["types", "serde"], &["core", "types"]);
        assert_eq!(messages(&[package("types", &[], &[]), package("matching", &["types"], &[]), core]), [""; 0]);
    }

    #[test]
    fn the_same_rank_is_refused_in_code_and_in_tests() {
        let types = package("types", &[], &[]);
        let core = package("core", &[], &[]);
        for wrong in [package("matching", &["core"], &[]), package("matching", &[], &["core"])] {
            let found = messages(&[types.clone(), wrong, core.clone()]);
            assert_eq!(found, ["matching: has rank 1 and may not import core of rank 1; only lower ranks"]);
        }
    }

    #[test]
    fn the_table_names_every_crate_and_no_other() {
        let found = messages(&[package("types", &[], &[]), package("core", &[], &[]), package("new", &[], &[])]);
        assert_eq!(
            found,
            [
                "ARCHITECTURE.md: gives a rank to matching, which is no crate here",
                "new: has no rank in ARCHITECTURE.md"
            ]
        );
        assert_eq!(check("", &[]).len(), 1, "no table at all");
    }
}
