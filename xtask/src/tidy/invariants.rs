//! The system's invariants have names, written down once in docs/invariants.md. Code and documents that cite a name
//! cite one that exists.

use std::collections::BTreeSet;

use super::Violation;
use super::source::SourceFile;

/// How a name begins, put together here so that this file cites none.
const PREFIX: &str = concat!("INV", "-");

/// Looks for names that docs/invariants.md does not have.
pub(super) fn check(invariants: &str, files: &[SourceFile]) -> Vec<Violation> {
    let known: BTreeSet<_> = names(invariants).collect();
    let mut found = Vec::new();
    for file in files {
        for name in names(&file.text).filter(|name| !known.contains(name)).collect::<BTreeSet<_>>() {
            found.push(Violation::new(&file.path, format!("cites {name}, which docs/invariants.md does not have")));
        }
    }
    found
}

/// Every name in a text: the prefix and the capitals, digits and dashes after it.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(PREFIX).filter_map(|(at, _)| {
        let name = &text[at..];
        let part_of_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-';
        let end = name.find(|c| !part_of_name(c)).unwrap_or(name.len());
        let name = name[..end].trim_end_matches('-');
        (name.len() > PREFIX.len()).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_written_down_is_found() {
        let written = format!("## {PREFIX}ACK-DURABLE\n");
        let cites = |name: &str| SourceFile::planted("a.rs", &format!("// {PREFIX}{name}: because\n"));
        assert_eq!(check(&written, &[cites("ACK-DURABLE")]), []);
        assert_eq!(check(&written, &[cites("ACK-DURABLY")]).len(), 1);
        assert_eq!(check("", &[cites("ACK-DURABLE")]).len(), 1);
    }
}
