//! Questions to a leader, and which answers of the voters confirm them. The words are those of the proposer's tests.

use crate::proposer::tests::{OPEN_ALONE, check};

#[test]
fn a_read_waits_for_an_answer_to_what_was_sent_after_it() {
    let script = format!(
        "{OPEN_ALONE}
         tick => v0 append 2..1 commit 1
         read 1 => v0 append 2..1 commit 1 round 1
         # the answer to the heartbeat before
         ok v0 1 =>
         # these come too late for the round under way, and share the next one with each other
         read 2 =>
         read 3 =>
         ok v0 1 round 1 => read 1; v0 append 2..1 commit 1 round 2
         # an entry carries the round as well
         propose => v0 append 2..2 commit 1 round 2
         ok v0 2 epoch 9 round 2 =>
         ok v0 1 round 2 => read 3
         ok v0 2 round 2 => committed 2"
    );
    check(1, &script);
}

#[test]
fn a_read_needs_a_majority_that_has_not_promised_more() {
    check(
        3,
        "let empty =
         elect 1 => v0 fence 1; v1 fence 1; v2 fence 1
         read 1 =>
         grant v0 empty =>
         grant v1 empty => adopted 0; v0 open; v1 open; v2 open
         opened v0 => v0 append 1..0 commit 0
         opened v1 => v1 append 1..0 commit 0
         ok v0 0 => v0 append 1..1 commit 0
         ok v1 0 => v1 append 1..1 commit 0
         ok v0 1 =>
         ok v1 1 => committed 1; opened
         read 2 => v0 append 2..1 commit 1 round 1; v1 append 2..1 commit 1 round 1
         ok v0 1 round 1 =>
         refuse v1 3 =>
         # the third one is reached in the end
         opened v2 => v2 append 1..0 commit 1 round 1
         ok v2 0 round 1 => read 2; v2 append 1..1 commit 1 round 1
         read 3 => v0 append 2..1 commit 1 round 2; v2 append 2..1 commit 1 round 2
         refuse v2 3 => deposed 3
         ok v0 1 round 2 =>",
    );
}

#[test]
fn a_read_whose_request_was_lost_is_asked_again() {
    let script = format!(
        "{OPEN_ALONE}
         read 1 => v0 append 2..1 commit 1 round 1
         closed v0 =>
         tick => v0 open
         opened v0 => v0 append 2..1 commit 1 round 1
         ok v0 1 round 1 => read 1"
    );
    check(1, &script);
}
