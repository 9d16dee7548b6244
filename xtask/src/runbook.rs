//! `cargo xtask runbook`: which items of the runbook's contract have a test, and how it went. Tests are named after what
//! they show (`r25_…`, `t07_…`, `r54_r55_…`); `runbook/rows.toml` has all items. How they went is read from the report of
//! the last `cargo nextest run` (JUnit), if there is one.
//!
//! Absent: running the tests; `cargo xtask test` does.

#[cfg(test)]
mod commands;
mod report;
mod review;
#[cfg(test)]
mod tests;
mod tests_found;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::tidy::source;

/// Where nextest leaves its report, see `.config/nextest.toml`.
const REPORT: &str = "target/nextest/default/junit.xml";

const ROWS: &str = include_str!("runbook/rows.toml");

/// What the contract has.
#[derive(Deserialize)]
struct Contract {
    row: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    /// "R25", "T7".
    name: String,
    about: String,
    /// Only a Kubernetes API server can show it.
    #[serde(default)]
    cluster: bool,
}

/// How an item stands. The JSON is `{"rows": […]}`.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Row {
    row: String,
    /// Names of its tests, by commas; empty if there is none.
    test: String,
    result: Outcome,
    #[serde(skip)]
    about: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Passed,
    Failed,
    /// No test here can show it.
    NeedsCluster,
    /// There is no test, or no report says how it went.
    Missing,
}

#[derive(Serialize)]
struct Coverage {
    rows: Vec<Row>,
}

/// Prints the coverage; fails if a test failed.
pub(crate) fn run(root: &Path, report: Option<&Path>, json: bool) -> Result<()> {
    let contract: Contract = toml::from_str(ROWS).context("runbook/rows.toml")?;
    let tests = tests_found::by_row(&source::read_tree(root)?);
    let path = report.map_or_else(|| root.join(REPORT), Path::to_owned);
    let results = match std::fs::read_to_string(&path) {
        Ok(text) => report::results(&text).with_context(|| path.display().to_string())?,
        Err(error) if report.is_some() => bail!("{}: {error}", path.display()),
        Err(_) => BTreeMap::new(),
    };
    let coverage = Coverage { rows: judge(contract.row, &tests, &results) };
    if json {
        println!("{}", serde_json::to_string(&coverage)?);
    } else {
        print(&coverage, results.is_empty());
    }
    if let Some(overdue) = review::overdue(root)? {
        eprintln!("{overdue}");
    }
    let failed = coverage.rows.iter().filter(|row| row.result == Outcome::Failed).count();
    if failed > 0 {
        bail!("{failed} items of the runbook have a failed test");
    }
    Ok(())
}

fn judge(items: Vec<Item>, tests: &BTreeMap<String, Vec<String>>, results: &BTreeMap<String, bool>) -> Vec<Row> {
    let row = |Item { name, about, cluster }: Item| {
        let names = tests.get(&name).map(Vec::as_slice).unwrap_or_default();
        let told: Vec<bool> = names.iter().filter_map(|test| results.get(test).copied()).collect();
        let result = if told.contains(&false) {
            Outcome::Failed
        } else if !names.is_empty() && told.len() == names.len() {
            Outcome::Passed
        } else if cluster && names.is_empty() {
            Outcome::NeedsCluster
        } else {
            Outcome::Missing
        };
        Row { row: name, test: names.join(", "), result, about }
    };
    items.into_iter().map(row).collect()
}

fn print(coverage: &Coverage, unreported: bool) {
    let count = |result| coverage.rows.iter().filter(|row| row.result == result).count();
    for Row { row, test, result, about } in &coverage.rows {
        let word = match result {
            Outcome::Passed => "passed",
            Outcome::Failed => "FAILED",
            Outcome::NeedsCluster => "needs a cluster",
            Outcome::Missing if test.is_empty() => "missing",
            Outcome::Missing => "not run",
        };
        println!("{row:<5} {word:<16} {about}");
        if !test.is_empty() {
            println!("      {test}");
        }
    }
    let tested = coverage.rows.iter().filter(|row| !row.test.is_empty()).count();
    println!(
        "{tested} of {} items have a test: {} passed, {} failed; {} need a cluster",
        coverage.rows.len(),
        count(Outcome::Passed),
        count(Outcome::Failed),
        count(Outcome::NeedsCluster)
    );
    if unreported {
        println!("no report of a run was found: `cargo nextest run --workspace` leaves one in {REPORT}");
    }
}
