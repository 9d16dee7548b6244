//! The paths a Rust file uses: `use` trees spelt out, paths in code, names of macros. Code under `#[cfg(test)]` is left
//! out. A path stands as written, so that a rule sees `std::time::Instant` in the import and `Instant::now` in the code.

use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};

/// A path and the line it stands on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UsedPath {
    /// Segments joined by `::`; a macro's ends in `!`.
    pub(super) path: String,
    /// Line, from 1.
    pub(super) line: usize,
}

/// All of them, in the order they stand in.
pub(super) fn used(file: &syn::File) -> Vec<UsedPath> {
    let mut collector = Collector { found: Vec::new() };
    collector.visit_file(file);
    collector.found
}

/// Whether an item is compiled for tests only.
fn test_only(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || (attribute.path().is_ident("cfg")
                && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test")))
    })
}

struct Collector {
    found: Vec<UsedPath>,
}

impl Collector {
    fn push(&mut self, path: String, line: usize) {
        self.found.push(UsedPath { path, line });
    }

    fn spell_out(&mut self, prefix: &str, tree: &syn::UseTree) {
        let join = |name: &syn::Ident| if prefix.is_empty() { name.to_string() } else { format!("{prefix}::{name}") };
        let line = tree.span().start().line;
        match tree {
            syn::UseTree::Path(part) => self.spell_out(&join(&part.ident), &part.tree),
            syn::UseTree::Name(name) => self.push(join(&name.ident), line),
            syn::UseTree::Rename(name) => self.push(join(&name.ident), line),
            syn::UseTree::Glob(_) => self.push(format!("{prefix}::*"), line),
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.spell_out(prefix, tree);
                }
            }
        }
    }
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !test_only(&item.attrs) {
            self.spell_out("", &item.tree);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !test_only(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !test_only(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.push(names.join("::"), path.span().start().line);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, used: &'ast syn::Macro) {
        let names: Vec<_> = used.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.push(format!("{}!", names.join("::")), used.path.span().start().line);
        // What stands inside the brackets is no syntax tree; its identifiers joined by `::` are enough here.
        for path in paths_of_tokens(used.tokens.clone()) {
            self.push(path, used.path.span().start().line);
        }
    }
}

/// Runs of identifiers joined by `::` in a stream of tokens, groups included.
fn paths_of_tokens(tokens: proc_macro2::TokenStream) -> Vec<String> {
    let mut found = Vec::new();
    let mut run = String::new();
    let mut colons = 0;
    for token in tokens {
        match token {
            proc_macro2::TokenTree::Ident(name) if colons == 2 && !run.is_empty() => {
                run = format!("{run}::{name}");
                colons = 0;
            }
            proc_macro2::TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
            other => {
                if !run.is_empty() {
                    found.push(std::mem::take(&mut run));
                }
                colons = 0;
                match other {
                    proc_macro2::TokenTree::Ident(name) => run = name.to_string(),
                    proc_macro2::TokenTree::Group(group) => found.extend(paths_of_tokens(group.stream())),
                    proc_macro2::TokenTree::Punct(_) | proc_macro2::TokenTree::Literal(_) => {}
                }
            }
        }
    }
    if !run.is_empty() {
        found.push(run);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_calls_and_macros_are_spelt_out_and_tests_left_out() {
        let text = "use std::{time::{Duration, Instant as I}, fs::*};\nfn a() { b::c(); print!(\"{}\", d::e()) }\n\
                    #[cfg(test)]\nmod tests { fn f() { g::h() } }\n#[test]\nfn i() { j::k() }\n";
        let found = used(&syn::parse_file(text).expect("it parses"));
        let paths: Vec<_> = found.iter().map(|used| used.path.as_str()).collect();
        assert_eq!(paths, ["std::time::Duration", "std::time::Instant", "std::fs::*", "b::c", "print!", "d::e"]);
        assert_eq!(found[3].line, 2);
    }
}
