//! Which tests count for what, and what is said of it.

use std::collections::BTreeMap;

use super::tests_found::{by_row, rows_of};
use super::{Contract, Item, Outcome, ROWS, judge, report};
use crate::tidy::source::SourceFile;

#[test]
fn all_items_of_the_contract_are_there_once() {
    let contract: Contract = toml::from_str(ROWS).expect("rows");
    let names: Vec<String> = contract.row.into_iter().map(|item| item.name).collect();
    let rows = (1..=103).map(|number| format!("R{number}"));
    let traps = (1..=14).map(|number| format!("T{number}"));
    assert_eq!(names, rows.chain(traps).collect::<Vec<_>>());
}

#[test]
fn a_name_says_what_a_test_is_about() {
    for (name, rows) in [
        ("r54_r55_t07_leaders", &["R54", "R55", "T7"][..]),
        ("r103_mixed", &["R103"]),
        ("r2d2_speaks", &[]),
        ("restart", &[]),
        ("a_test_of_r25", &[]),
    ] {
        assert_eq!(rows_of(name), rows, "{name}");
    }
}

#[test]
fn only_tests_count() {
    let text = "#[tokio::test]\nasync fn r41_one() {}\nfn r42_helper() {}\n#[test]\n#[cfg(unix)]\nfn r43_two() {}";
    let found = by_row(&[SourceFile::planted("a.rs", text), SourceFile::planted("a.md", "#[test]\nfn r44_x()")]);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["R41", "R43"]);
}

#[test]
fn an_item_is_as_good_as_its_worst_test() {
    let item = |name: &str, cluster| Item { name: name.to_owned(), about: String::new(), cluster };
    let tests = |row: &str, names: &[&str]| (row.to_owned(), names.iter().map(|&name| name.to_owned()).collect());
    let tests: BTreeMap<String, Vec<String>> =
        [tests("R1", &["a", "b"]), tests("R2", &["a", "c"]), tests("R3", &["a", "d"])].into();
    let text = r#"<testsuites><testsuite><testcase name="m::a"/><testcase name="b"/>
        <testcase name="c"><failure>no</failure></testcase></testsuite></testsuites>"#;
    let results = report::results(text).expect("a report");
    let items = [item("R1", true), item("R2", false), item("R3", false), item("R4", true), item("R5", false)];
    let outcomes: Vec<Outcome> = judge(items.into(), &tests, &results).into_iter().map(|row| row.result).collect();
    assert_eq!(
        outcomes,
        [Outcome::Passed, Outcome::Failed, Outcome::Missing, Outcome::NeedsCluster, Outcome::Missing],
        "d was not run"
    );
}
