//! How tests went, from a report in JUnit's form, as `cargo nextest run` leaves it. Absent: why.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use roxmltree::Document;

/// Whether each test passed, by the last part of its name; false if any of the same name did not.
pub(super) fn results(text: &str) -> Result<BTreeMap<String, bool>> {
    let document = Document::parse(text).context("not a report in JUnit's form")?;
    let mut results = BTreeMap::new();
    for case in document.descendants().filter(|node| node.has_tag_name("testcase")) {
        let Some(path) = case.attribute("name") else { continue };
        let name = path.rsplit("::").next().unwrap_or(path).to_owned();
        if case.children().any(|child| child.has_tag_name("skipped")) {
            continue;
        }
        let passed = !case.children().any(|child| child.has_tag_name("failure") || child.has_tag_name("error"));
        results.entry(name).and_modify(|all| *all &= passed).or_insert(passed);
    }
    Ok(results)
}
