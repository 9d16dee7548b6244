//! Names of metrics: those that expressions use, and those that the product emits. Absent: a parser of PromQL; promtool is
//! one, and the tests ask it whether an expression is one.

use std::collections::{BTreeMap, BTreeSet};

use crate::tidy::source::{Kind, SourceFile};

/// Words that stand where a name may stand, and are none. Functions are told by their bracket.
const WORDS: [&str; 19] = [
    "and",
    "or",
    "unless",
    "bool",
    "offset",
    "sum",
    "min",
    "max",
    "avg",
    "count",
    "group",
    "topk",
    "bottomk",
    "quantile",
    "stddev",
    "inf",
    "nan",
    "group_left",
    "group_right",
];

/// Words before brackets with names of labels.
const BEFORE_LABELS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// Names of metrics in an expression.
pub(super) fn names(expr: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut rest = expr;
    while let Some(first) = rest.chars().next() {
        rest = match first {
            '"' => behind(&rest[1..], '"'),
            '{' => behind_labels(&rest[1..]),
            '[' => behind(&rest[1..], ']'),
            _ if is_part(first) => {
                let end = rest.find(|one| !is_part(one)).unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                let bracket = after.trim_start().strip_prefix('(');
                match bracket {
                    Some(labels) if BEFORE_LABELS.contains(&word) => behind(labels, ')'),
                    _ => {
                        let number = first.is_ascii_digit();
                        if !number && bracket.is_none() && !WORDS.contains(&word.to_lowercase().as_str()) {
                            names.insert(word.to_owned());
                        }
                        after
                    }
                }
            }
            _ => &rest[first.len_utf8()..],
        };
    }
    names
}

/// A letter of a name. The dot is one of numbers.
fn is_part(one: char) -> bool {
    one.is_ascii_alphanumeric() || matches!(one, '_' | ':' | '.')
}

fn behind(text: &str, mark: char) -> &str {
    text.split_once(mark).map_or("", |(_, after)| after)
}

/// Behind the closing brace; one in quotes is none.
fn behind_labels(mut text: &str) -> &str {
    loop {
        let Some(at) = text.find(['"', '}']) else { return "" };
        let (mark, after) = text[at..].split_at(1);
        if mark == "}" {
            return after;
        }
        text = behind(after, '"');
    }
}

/// What a metric is: a histogram has series of other names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Plain,
    Histogram,
}

/// What the product emits, by the sources of its crates: the first argument of a macro or of a function of the names
/// below, and the pairs of a name and a type that are written out.
#[derive(Debug)]
pub(super) struct Emitted(BTreeMap<String, Type>);

impl Emitted {
    pub(super) fn find(files: &[SourceFile]) -> Self {
        let product = |file: &&SourceFile| {
            let shipped = file.path.starts_with("libs/") || file.path.starts_with("services/");
            file.kind == Kind::Rust && shipped && file.path.contains("/src/")
        };
        let mut found = BTreeMap::new();
        for file in files.iter().filter(product) {
            let text = &file.text;
            for (kind, of) in [("counter", Type::Plain), ("gauge", Type::Plain), ("histogram", Type::Histogram)] {
                let calls = [format!("{kind}!("), format!("{kind}(")];
                let literals = calls.iter().flat_map(|call| text.split(call.as_str()).skip(1)).filter_map(literal);
                found.extend(literals.map(|name| (name.to_owned(), of)));
                let pair = format!("\"{kind}\"");
                let before = text.split(pair.as_str()).filter_map(last_literal);
                found.extend(before.map(|name| (name.to_owned(), of)));
            }
        }
        Self(found)
    }

    /// Whether there is such a series.
    pub(super) fn has(&self, series: &str) -> bool {
        let of = |name: &str| self.0.get(name).copied();
        let part = ["_bucket", "_count", "_sum"].iter().find_map(|suffix| series.strip_suffix(suffix));
        of(series) == Some(Type::Plain) || part.is_some_and(|name| of(name) == Some(Type::Histogram))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The string that the text begins with.
fn literal(text: &str) -> Option<&str> {
    metric(text.trim_start().strip_prefix('"')?.split('"').next()?)
}

/// The string that the text ends with, a comma behind it.
fn last_literal(text: &str) -> Option<&str> {
    metric(text.trim_end().strip_suffix("\",")?.rsplit('"').next()?)
}

fn metric(name: &str) -> Option<&str> {
    let letters = name.chars().all(|one| one.is_ascii_lowercase() || one.is_ascii_digit() || one == '_');
    (letters && name.contains('_')).then_some(name)
}
