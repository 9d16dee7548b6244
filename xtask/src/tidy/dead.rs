//! Nothing lies about: every Rust file of a crate is reached by `mod` from something cargo compiles, every other file
//! beside sources or tests is named by some source of its crate.

use std::collections::BTreeSet;

use syn::visit::{self, Visit};

use super::source::{Kind, SourceFile};
use super::{Package, Violation};

/// Files that cargo and tools find by themselves.
const FOUND_BY_NAME: [&str; 3] = ["Cargo.toml", "Cargo.lock", "README.md"];

/// Directories whose files are read without being named one by one.
const READ_AS_A_WHOLE: [&str; 1] = ["migrations"];

/// Looks through every crate's directory.
pub(super) fn check(files: &[SourceFile], packages: &[Package]) -> Vec<Violation> {
    let mut found = Vec::new();
    for package in packages {
        let directory = format!("{}/", package.directory);
        let own: Vec<_> = files.iter().filter(|file| file.path.starts_with(&directory)).collect();
        let reached = reach(&own, &package.roots);
        for file in &own {
            if file.kind == Kind::Rust {
                if !reached.contains(&file.path) {
                    found.push(Violation::new(&file.path, "no `mod` leads to it; declare it or delete it"));
                }
            } else if !FOUND_BY_NAME.contains(&file.name()) && !named(file, &own) {
                found.push(Violation::new(&file.path, "no source of its crate names it; use it or delete it"));
            }
        }
    }
    found
}

/// Whether a source of the crate has the file's name, its name without extension, or the name of the directory it
/// lies in (for those that are read as a whole, like migrations) in a string.
fn named(file: &SourceFile, own: &[&SourceFile]) -> bool {
    let name = file.name();
    let stem = name.split('.').next().unwrap_or(name);
    let whole = file.path.split('/').find(|directory| READ_AS_A_WHOLE.contains(directory));
    own.iter().filter(|source| source.kind == Kind::Rust || source.name() == "Cargo.toml").any(|source| {
        let quoted =
            |word: &str| source.text.contains(&format!("\"{word}")) || source.text.contains(&format!("/{word}"));
        quoted(name) || quoted(stem) || whole.is_some_and(quoted)
    })
}

/// Every file that the roots lead to.
fn reach(own: &[&SourceFile], roots: &[String]) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut waiting: Vec<(String, bool)> = roots.iter().map(|root| (root.clone(), true)).collect();
    while let Some((path, is_root)) = waiting.pop() {
        let Some(file) = own.iter().find(|file| file.path == path) else { continue };
        if !reached.insert(path.clone()) {
            continue;
        }
        let Ok(parsed) = syn::parse_file(&file.text) else { continue };
        let mut modules = Modules {
            places: vec![directory_of_modules(&path, is_root)],
            beside: path.rsplit_once('/').map(|(directory, _)| directory.to_owned()).unwrap_or_default(),
            found: Vec::new(),
        };
        modules.visit_file(&parsed);
        waiting.extend(modules.found.into_iter().map(|path| (path, false)));
    }
    reached
}

/// Where the modules declared in a file lie: beside a root or `mod.rs`, below the others.
fn directory_of_modules(path: &str, is_root: bool) -> String {
    match path.rsplit_once('/') {
        Some((directory, _)) if is_root || path.ends_with("/mod.rs") => directory.to_owned(),
        _ => path.trim_end_matches(".rs").to_owned(),
    }
}

struct Modules {
    /// Directories of the inline modules around us, the file's first.
    places: Vec<String>,
    /// The file's own directory, which `#[path]` is relative to.
    beside: String,
    found: Vec<String>,
}

impl<'ast> Visit<'ast> for Modules {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let here = self.places.last().cloned().unwrap_or_default();
        let name = item.ident.to_string();
        if item.content.is_some() {
            self.places.push(format!("{here}/{name}"));
            visit::visit_item_mod(self, item);
            self.places.pop();
        } else if let Some(path) = item.attrs.iter().find_map(path_attribute) {
            self.found.push(normal(&format!("{}/{path}", self.beside)));
        } else {
            self.found.push(format!("{here}/{name}.rs"));
            self.found.push(format!("{here}/{name}/mod.rs"));
        }
    }
}

/// The file named by `#[path = "…"]`.
fn path_attribute(attribute: &syn::Attribute) -> Option<String> {
    let syn::Meta::NameValue(pair) = &attribute.meta else { return None };
    let syn::Expr::Lit(literal) = &pair.value else { return None };
    let syn::Lit::Str(text) = &literal.lit else { return None };
    pair.path.is_ident("path").then(|| text.value())
}

/// The path without `.` and `..`.
fn normal(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(planted: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<_> = planted.iter().map(|(path, text)| SourceFile::planted(path, text)).collect();
        let package = Package {
            directory: "libs/a".into(),
            roots: vec!["libs/a/src/lib.rs".into(), "libs/a/tests/rules.rs".into()],
            ..Package::default()
        };
        check(&files, &[package]).into_iter().map(|violation| violation.place).collect()
    }

    #[test]
    fn a_file_without_a_declaration_is_found() {
        let tree = [
            ("libs/a/src/lib.rs", "mod b; mod c { mod d; } #[path = \"../odd.rs\"] mod odd;"),
            ("libs/a/src/b.rs", "mod e;"),
            ("libs/a/src/b/e.rs", ""),
            ("libs/a/src/c/d.rs", ""),
            ("libs/a/odd.rs", ""),
            ("libs/a/tests/rules.rs", "mod table;"),
            ("libs/a/tests/table/mod.rs", ""),
        ];
        assert_eq!(complaints(&tree), [""; 0]);
        let mut with_dead = tree.to_vec();
        with_dead.extend([("libs/a/src/e.rs", ""), ("libs/a/src/b/f.rs", "")]);
        assert_eq!(complaints(&with_dead), ["libs/a/src/e.rs", "libs/a/src/b/f.rs"]);
    }

    #[test]
    fn data_that_nothing_names_is_found() {
        let data = ("libs/a/tests/golden/batch_v1.bin", "");
        let names =
            |text| [("libs/a/tests/rules.rs", text), ("libs/a/src/lib.rs", ""), data, ("libs/a/Cargo.toml", "")];
        assert_eq!(complaints(&names("include_bytes!(\"golden/batch_v1.bin\")")), [""; 0]);
        assert_eq!(complaints(&names("golden(\"batch_v1\")")), [""; 0]);
        assert_eq!(complaints(&names("golden(\"batch_v2\")")), [data.0]);
        let migration =
            [("libs/a/src/lib.rs", "migrate!(\"migrations\")"), ("libs/a/migrations/sqlite/1_start.sql", "")];
        assert_eq!(complaints(&migration), [""; 0]);
    }
}
