//! Scenarios of a voter whose storage is written by others too.

use super::{Acceptor, SHARD, check_with, recovered};

fn check(script: &str) {
    check_with(Acceptor::new(SHARD, "me", recovered(&[], 0)).sharing(), script);
}

/// Promised first, then read: what the leader before wrote elsewhere until then is in the grant (I3).
#[test]
fn a_grant_names_what_others_wrote() {
    check(
        "let a = 1 1 1
         fence 1 2 => promise 2
         persisted => reload
         # nothing is granted by what this gateway remembers
         append 9 1 a 4..3 =>
         reload a 2 => committed 3; 1 granted last 3 commit 3; 9 refused 2
         # asked again, it is read again
         fence 2 2 => reload
         reload a 3 => 2 refused 3",
    );
}

#[test]
fn a_fence_finds_a_newer_promise_or_is_tried_again() {
    check(
        "let a = 1 1 1
         fence 1 2 => promise 2
         fenced 3 => 1 refused 3; reload
         reload a 3 => committed 3
         fence 1 4 => promise 4
         # the configuration changed meanwhile, say
         moved => reload
         reload a 3 => promise 4
         persisted => reload
         reload a 4 => 1 granted last 3 commit 3",
    );
}

/// I2: another gateway may have promised a newer epoch, so that a heartbeat is answered only after a look.
#[test]
fn heartbeats_are_confirmed_by_the_storage() {
    check(
        "let a = 1 1
         fence 1 1 => promise 1
         persisted => reload
         reload a 1 => committed 2; 1 granted last 2 commit 2
         append 2 1 a 3..2 => confirm 1
         append 3 1 a 3..2 =>
         persisted => 2 ok 2; confirm 1
         fenced 2 => 3 refused 2; reload
         append 2 1 a 3..2 =>
         reload a 2 => 2 refused 2
         # entries that are here already are no better
         append 2 1 a 2..2 => 2 refused 2",
    );
}

/// A leader that comes from another gateway is ahead of what this one knows.
#[test]
fn a_leader_from_another_gateway_goes_on() {
    check(
        "let a = 1 1 1 1 1
         let b = 1 1 1
         let c = 1 1 1x
         # its epoch was promised elsewhere
         append 1 1 a 4..3 => promise 1
         # a mismatch is looked up before it is said
         persisted => reload
         reload b 1 => committed 3; confirm 1
         append 1 1 a 4..5 =>
         persisted => 1 ok 3; write 4..5
         persisted => 1 ok 5; committed 5
         append 1 1 c 4..3 => reload
         reload a 1 => 1 mismatch last 5
         append 1 1 c 4..3 => reload
         reload a 1 => 1 mismatch last 5",
    );
}

/// What the same leader wrote through another gateway is recognised, in the order in which it was sent.
#[test]
fn entries_written_elsewhere_are_duplicates() {
    check(
        "let a = 1 1 1 1
         let b = 1 1
         fence 1 1 => promise 1
         persisted => reload
         reload b 1 => committed 2; 1 granted last 2 commit 2
         append 1 1 a 3..3 => write 3..3
         append 1 1 a 4..4 =>
         moved => reload
         reload a 1 => committed 4; confirm 1
         persisted => 1 ok 3; 1 ok 4",
    );
}

#[test]
fn only_part_of_a_unit_was_written_elsewhere() {
    check(
        "let a = 1 1 1 1
         let b = 1 1 1
         append 1 1 a 1..4 => promise 1
         persisted => write 1..4
         moved => reload
         reload b 1 => committed 3; write 4..4
         persisted => 1 ok 4; committed 4",
    );
}

/// While the storage cannot be read, everybody hears so at once; afterwards it goes on.
#[test]
fn a_storage_that_is_away_leaves_nobody_waiting() {
    check(
        "let a = 1 1
         fence 1 1 => promise 1
         persisted => reload
         fence 2 2 =>
         unread => 1 failed; 2 failed
         fence 1 3 => 1 failed
         append 1 1 a 1..2 => 1 failed
         reload a 1 => committed 2
         append 1 1 a 3..2 => confirm 1
         failed => 1 failed; quarantine input/output error
         reload a 1 =>
         append 1 1 a 3..2 => confirm 1",
    );
}

/// A database that was put back to an older state is not taken for a healthy one, however often it is read (I12).
#[test]
fn a_storage_that_forgot_stays_refused() {
    check(
        "let a = 1 1 1
         let b = 1 1
         let c = 1 1 1x
         reload a 1 => committed 3
         reload b 1 => quarantine I12
         fence 1 2 => 1 failed
         reload b 1 => quarantine I12
         reload c 1 => quarantine I12
         # the right one is back
         reload a 1 =>
         fence 1 2 => promise 2",
    );
}

/// What was volatile is no promise: the storage is right without it, and everybody is served by what it holds.
#[test]
fn what_was_volatile_may_be_superseded() {
    check(
        "let a = 1 1 1
         let b = 1 2
         fence 1 3 => promise 3
         persisted => reload
         reload a 3 => committed 3; 1 granted last 3 commit 3
         fence 2 3 => reload
         superseded b 2 => 2 failed; committed 2
         # read again, it is as it should be
         reload b 2 =>
         append 3 1 a 3..3 => 3 refused 2
         fence 4 4 => promise 4
         persisted => reload
         reload b 4 => 4 granted last 2 commit 2",
    );
}

/// A snapshot made elsewhere may be ahead of what this gateway has read.
#[test]
fn a_base_beyond_what_is_known_waits_for_the_entries() {
    check(
        "let a = 1 1 1
         trim a 2 =>
         reload a 1 => committed 3
         trim a 2 =>
         append 1 1 a 1..1 => reload",
    );
}
