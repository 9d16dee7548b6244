//! What stands in the text of files: every Rust file says at its top what it is for, and no file names a directory of
//! the machine it was written on.

use super::Violation;
use super::source::{Kind, SourceFile};

/// Beginnings of people's own directories, put together here so that this file names none.
const HOMES: [&str; 3] = [concat!("/ho", "me/"), concat!("/Us", "ers/"), concat!("/ro", "ot/")];

/// Looks at every file.
pub(super) fn check(files: &[SourceFile]) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in files {
        if file.kind == Kind::Rust && !has_headline(&file.text) {
            found.push(Violation::new(&file.path, "does not begin with `//!` saying what the file is for"));
        }
        for (number, line) in file.text.lines().enumerate() {
            if HOMES.iter().any(|home| line.contains(home)) {
                let place = format!("{}:{}", file.path, number + 1);
                found.push(Violation::new(place, "names a home directory; take paths from the environment"));
            }
        }
    }
    found
}

/// Whether the first line that is not empty, an attribute or `#!` is a module comment with text in it.
fn has_headline(text: &str) -> bool {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("#!"));
    first.and_then(|line| line.strip_prefix("//!")).is_some_and(|words| words.trim().len() > 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(path: &str, text: &str) -> usize {
        check(&[SourceFile::planted(path, text)]).len()
    }

    #[test]
    fn a_rust_file_without_a_headline_is_found() {
        assert_eq!(complaints("a.rs", "//! What this file is for.\nfn a() {}\n"), 0);
        assert_eq!(complaints("a.rs", "#![allow(missing_docs)]\n//! What this file is for.\n"), 0);
        assert_eq!(complaints("a.rs", "fn a() {}\n//! What this file is for.\n"), 1);
        assert_eq!(complaints("a.rs", "//! \nfn a() {}\n"), 1);
        assert_eq!(complaints("a.rs", ""), 1);
    }

    #[test]
    fn a_home_directory_is_found() {
        assert_eq!(complaints("a.toml", "path = \"libs/types\"\n"), 0);
        for home in HOMES {
            assert_eq!(complaints("a.toml", &format!("path = \"{home}someone\"\n")), 1);
        }
    }
}
