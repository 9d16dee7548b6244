//! Files and functions stay short enough to be read in one go. What is too long already stands in
//! xtask/ratchet.toml with its present size, which may only shrink.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};

use super::Violation;
use super::source::{Kind, SourceFile};

/// Lines a file may have. Most have 100 to 250; this is where one asks what a second file would be called.
const FILE_LINES: usize = 500;

/// Lines a function may have, signature and braces included: what two screens show.
const FUNCTION_LINES: usize = 80;

/// Where the exceptions are kept.
const RATCHET: &str = "xtask/ratchet.toml";

/// What is longer than allowed, with the size it had when that was written down.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Ratchet {
    /// Path to lines.
    files: BTreeMap<String, usize>,
    /// `path::function` to lines.
    functions: BTreeMap<String, usize>,
}

/// Reads the exceptions; no file means none.
pub(super) fn read(root: &Path) -> Result<Ratchet> {
    match fs::read_to_string(root.join(RATCHET)) {
        Ok(text) => toml::from_str(&text).context(RATCHET),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Ratchet::default()),
        Err(error) => Err(error).context(RATCHET),
    }
}

/// Writes down everything that is too long now.
pub(super) fn record(root: &Path, files: &[SourceFile]) -> Result<()> {
    let mut present = measure(files);
    present.files.retain(|_, lines| *lines > FILE_LINES);
    present.functions.retain(|_, lines| *lines > FUNCTION_LINES);
    let head =
        "# Too long when written down, and only ever shorter. `cargo xtask tidy --record` takes the present sizes.\n";
    let body = toml::to_string(&present).context("cannot write the ratchet")?;
    fs::write(root.join(RATCHET), format!("{head}{body}")).context(RATCHET)
}

/// Compares the tree with the limits and the exceptions.
pub(super) fn check(files: &[SourceFile], ratchet: &Ratchet) -> Vec<Violation> {
    let present = measure(files);
    let mut found = compare(&present.files, &ratchet.files, FILE_LINES);
    found.extend(compare(&present.functions, &ratchet.functions, FUNCTION_LINES));
    found
}

fn compare(present: &BTreeMap<String, usize>, excepted: &BTreeMap<String, usize>, limit: usize) -> Vec<Violation> {
    let mut found = Vec::new();
    for (place, &lines) in present {
        let allowed = excepted.get(place).copied().unwrap_or(limit);
        if lines > allowed {
            found.push(Violation::new(place, format!("{lines} lines long, {allowed} are allowed; split it")));
        }
    }
    for (place, &allowed) in excepted {
        let lines = present.get(place).copied().unwrap_or(0);
        if lines < allowed {
            let message =
                format!("{lines} lines long, {RATCHET} still allows {allowed}; run `cargo xtask tidy --record`");
            found.push(Violation::new(place, message));
        }
    }
    found
}

/// Lines of every Rust file and of every function in it. Of functions with the same name in one file the longest.
fn measure(files: &[SourceFile]) -> Ratchet {
    let mut sizes = Ratchet::default();
    for file in files.iter().filter(|file| file.kind == Kind::Rust) {
        sizes.files.insert(file.path.clone(), file.text.lines().count());
        // What does not parse does not compile, and the compiler says so better.
        if let Ok(parsed) = syn::parse_file(&file.text) {
            Functions { path: &file.path, sizes: &mut sizes.functions }.visit_file(&parsed);
        }
    }
    sizes
}

struct Functions<'a> {
    path: &'a str,
    sizes: &'a mut BTreeMap<String, usize>,
}

impl Functions<'_> {
    fn note(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let lines = body.span().end().line + 1 - signature.span().start().line;
        let longest = self.sizes.entry(format!("{}::{}", self.path, signature.ident)).or_default();
        *longest = lines.max(*longest);
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.note(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.note(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(body) = &function.default {
            self.note(&function.sig, body);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(lines: usize) -> SourceFile {
        let body = "    step();\n".repeat(lines - 2);
        SourceFile::planted("a.rs", &format!("impl A {{\n fn long() {{\n{body}}}\n}}\n"))
    }

    fn ratchet(file: Option<usize>, function: Option<usize>) -> Ratchet {
        let named =
            |name: &str, lines: Option<usize>| lines.map(|lines| (name.to_owned(), lines)).into_iter().collect();
        Ratchet { files: named("a.rs", file), functions: named("a.rs::long", function) }
    }

    #[test]
    fn a_long_file_is_found_unless_written_down() {
        let long = [SourceFile::planted("a.rs", &"// line\n".repeat(FILE_LINES + 1))];
        assert_eq!(check(&[SourceFile::planted("a.rs", &"// line\n".repeat(FILE_LINES))], &Ratchet::default()), []);
        assert_eq!(check(&long, &Ratchet::default()).len(), 1);
        assert_eq!(check(&long, &ratchet(Some(FILE_LINES + 1), None)), []);
    }

    #[test]
    fn a_long_function_is_found_unless_written_down() {
        assert_eq!(check(&[function(FUNCTION_LINES)], &Ratchet::default()), []);
        let found = check(&[function(FUNCTION_LINES + 1)], &Ratchet::default());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place, "a.rs::long");
        assert_eq!(check(&[function(FUNCTION_LINES + 9)], &ratchet(None, Some(FUNCTION_LINES + 9))), []);
    }

    #[test]
    fn what_is_written_down_may_not_grow_and_must_follow_when_it_shrinks() {
        let written = ratchet(None, Some(FUNCTION_LINES + 9));
        assert_eq!(check(&[function(FUNCTION_LINES + 10)], &written).len(), 1);
        assert_eq!(check(&[function(FUNCTION_LINES + 8)], &written).len(), 1);
        assert_eq!(check(&[], &written).len(), 1, "the file is gone");
    }
}
