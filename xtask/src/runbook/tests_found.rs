//! Which tests there are, by the items they are named after. Absent: what they do.

use std::collections::BTreeMap;

use crate::tidy::source::{Kind, SourceFile};

/// Names of tests by item, in order.
pub(super) fn by_row(files: &[SourceFile]) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.kind == Kind::Rust) {
        let mut marked = false;
        for line in file.text.lines().map(str::trim) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                marked = true;
            } else if let Some(name) = function(line) {
                if marked {
                    for row in rows_of(name) {
                        let tests = found.entry(row).or_default();
                        if !tests.iter().any(|known| known == name) {
                            tests.push(name.to_owned());
                        }
                    }
                }
                marked = false;
            }
        }
    }
    found
}

fn function(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
    rest.split(['(', '<']).next()
}

/// `r54_r55_t07_leaders` is about R54, R55 and T7.
pub(super) fn rows_of(name: &str) -> Vec<String> {
    let number = |word: &str| {
        let digits = word.get(1..)?;
        let kind = match word.as_bytes().first()? {
            b'r' => 'R',
            b't' => 'T',
            _ => return None,
        };
        let number: u32 = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
        Some(format!("{kind}{number}"))
    };
    name.split('_').map_while(number).collect()
}
