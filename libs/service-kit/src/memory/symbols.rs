//! Addresses to names of functions and places in the source. Absent: which addresses.

use std::collections::HashMap;
use std::fmt;

/// Directory of the workspace when the program was built: places are told relative to it.
const BUILT_IN: &str = env!("CARGO_MANIFEST_DIR");

/// Names of functions that only pass an allocation on.
const PLUMBING: [&str; 15] = [
    "alloc::",
    "<alloc::",
    "core::",
    "<core::",
    "std::",
    "<std::",
    "hashbrown::",
    "<hashbrown::",
    "__rust",
    "_rjem",
    "prof_",
    "malloc",
    "calloc",
    "realloc",
    "je_",
];

/// One function on a stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Frame {
    /// Its name.
    pub(super) function: String,
    /// "path:line", or empty.
    pub(super) location: String,
    own: bool,
}

/// What addresses are known.
#[derive(Default)]
pub(super) struct Symbols(HashMap<usize, Vec<Frame>>);

impl Symbols {
    /// Makes addresses known.
    pub(super) fn resolve_all(&mut self, addresses: impl Iterator<Item = usize>) {
        let before = self.0.len();
        addresses.for_each(|address| self.resolve(address));
        if self.0.len() > before {
            // The line tables that were read take many times what the names do.
            backtrace::clear_symbol_cache();
        }
    }

    fn resolve(&mut self, address: usize) {
        self.0.entry(address).or_insert_with(|| {
            let mut frames = Vec::new();
            // A stack holds the addresses that functions return to; `resolve` itself looks one byte before, at the call.
            backtrace::resolve(address as *mut std::ffi::c_void, |symbol| frames.push(frame(symbol)));
            frames
        });
    }

    /// The functions at an address, the innermost of those that were inlined there first; none if it has no name.
    pub(super) fn frames(&self, address: usize) -> &[Frame] {
        self.0.get(&address).map_or(&[], Vec::as_slice)
    }
}

fn frame(symbol: &backtrace::Symbol) -> Frame {
    let function = symbol.name().map_or_else(|| "(no name)".to_owned(), |name| format!("{name:#}"));
    let file = symbol.filename().map(|path| path.display().to_string()).unwrap_or_default();
    let own = is_own(&file) && !function.contains("__rust");
    let root = BUILT_IN.strip_suffix("libs/service-kit").unwrap_or(BUILT_IN);
    let short = file.strip_prefix(root).unwrap_or(&file);
    let location = match symbol.lineno() {
        Some(line) if !short.is_empty() => format!("{short}:{line}"),
        _ => short.to_owned(),
    };
    Frame { function, location, own }
}

/// Neither a dependency's, nor the standard library's, nor of another language.
fn is_own(file: &str) -> bool {
    let foreign = ["/.cargo/", "/cargo/registry/", "/rustc/", "/rustlib/"];
    file.ends_with(".rs") && !file.starts_with("library/") && !foreign.iter().any(|part| file.contains(part))
}

impl Frame {
    /// Whether it is a function of this program, dependencies not counted.
    pub(super) fn is_own(&self) -> bool {
        self.own
    }

    /// Whether it belongs to the look itself, which holds line tables while it is taken.
    pub(super) fn is_of_the_look(&self) -> bool {
        self.location.starts_with("libs/service-kit/src/memory/symbols.rs")
    }

    /// Whether it only passes allocations on.
    pub(super) fn is_plumbing(&self) -> bool {
        self.location.contains("jemalloc") || PLUMBING.iter().any(|prefix| self.function.starts_with(prefix))
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.function)?;
        if self.location.is_empty() { Ok(()) } else { write!(f, " ({})", self.location) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_found_with_its_place() {
        let mut symbols = Symbols::default();
        let address = a_function_is_found_with_its_place as fn() as usize + 1;
        symbols.resolve(address);
        let frames = symbols.frames(address);
        let frame = frames.last().expect("resolved");
        assert!(frame.function.ends_with("a_function_is_found_with_its_place"), "{frame:?}");
        assert!(frame.location.starts_with("libs/service-kit/src/memory/symbols.rs:"), "{frame:?}");
        assert!(frame.is_own() && !frame.is_plumbing());
    }

    #[test]
    fn what_is_not_ours_is_told_from_what_is() {
        assert!(is_own("/build/libs/matching/src/book.rs") && is_own("libs/matching/src/book.rs"));
        let foreign = [
            "/somewhere/.cargo/registry/src/index/tokio-1/src/lib.rs",
            "/rustc/0123/library/alloc/src/vec/mod.rs",
            "library/alloc/src/vec/mod.rs",
            "src/prof.c",
            "",
        ];
        for file in foreign {
            assert!(!is_own(file), "{file}");
        }
    }
}
