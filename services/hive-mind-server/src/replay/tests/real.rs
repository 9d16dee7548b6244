//! The real files, when `HIVE_LOBSTER_DIR` names the directory they are in. They are not part of the project; without
//! them these tests say that they did nothing.

use std::fs;
use std::path::PathBuf;

use super::play;

/// A file of the directory whose name ends so.
fn real_file(ending: &str) -> Option<String> {
    let directory = PathBuf::from(std::env::var_os("HIVE_LOBSTER_DIR").or_else(|| {
        println!("did nothing: HIVE_LOBSTER_DIR does not name a directory with LOBSTER files");
        None
    })?);
    let entries = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
    let found = entries.filter(|path| path.to_string_lossy().ends_with(ending)).min();
    let found = found.unwrap_or_else(|| panic!("{} has no file that ends in {ending}", directory.display()));
    Some(fs::read_to_string(found).unwrap())
}

#[test]
fn book_equals_the_file_after_every_row() {
    let Some(messages) = real_file("_first998_message_10.csv") else { return };
    let depth = real_file("_first998_orderbook_10.csv").unwrap();
    let (tally, findings) = play(&messages, Some(&depth));
    println!("{tally:#?}\n{findings:#?}");
    assert_eq!(findings.rows, tally.messages.sum());
    assert_eq!(findings.wrong_answers, []);
    assert_eq!((findings.best_mismatches, findings.level_mismatches, findings.unexplained), (0, 0, 0));
}

#[test]
fn an_hour_is_accounted_for() {
    let Some(messages) = real_file("_34200000_37800000_message_50.csv") else { return };
    let (tally, findings) = play(&messages, None);
    println!("{tally:#?}\n{findings:#?}");
    assert_eq!(findings.wrong_answers, []);
    assert_eq!(findings.trades, tally.messages.executions);
    assert_eq!(tally.messages.not_applied, 0);
}
