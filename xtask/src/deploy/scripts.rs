//! `scripts/production`, tested with bats: kubectl, docker and the binary are stand-ins that record how they are called.

use super::output;

/// Runs the bats tests whose names begin with the row.
fn bats(row: &str) {
    let said = output(&["bats", "--tap", "--filter", &format!("^{row}_"), "scripts/production/tests"], "");
    let passed = said.lines().filter(|line| line.starts_with("ok ")).count();
    assert!(passed > 0, "no test of {row} was run:\n{said}");
    assert!(!said.contains("# skip"), "a test of {row} was skipped:\n{said}");
}

#[test]
fn r79_a_backup_is_made_and_read_back() {
    bats("r79");
}

#[test]
fn r80_t14_a_restore_verifies_saves_and_undoes_what_fails() {
    bats("r80");
}

#[test]
fn r81_validation_catches_each_fault() {
    bats("r81");
}

#[test]
fn r82_a_load_is_judged_by_its_p99_and_its_errors() {
    bats("r82");
}

#[test]
fn r83_t08_a_rollback_takes_the_configuration_back_too() {
    bats("r83");
}

#[test]
fn r84_t02_what_was_scaled_stays_scaled() {
    bats("r84");
}

#[test]
fn r85_t01_t03_isolation_is_real_proven_and_undone() {
    bats("r85");
}

#[test]
fn r86_all_scripts_have_the_same_conventions() {
    bats("r86");
}
