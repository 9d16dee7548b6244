//! What becomes of what is under way when a stream is lost, replaced or slow.

use super::{OPEN_ALONE, check};

#[test]
fn a_reopened_stream_goes_on_where_it_matched() {
    let script = format!(
        "{OPEN_ALONE}
         propose => v0 append 2..2 commit 1
         propose => v0 append 3..3 commit 1
         ok v0 2 => committed 2
         closed v0 =>
         propose =>
         tick => v0 open
         closed v0 =>
         tick =>
         tick => v0 open
         opened v0 => v0 append 3..2 commit 2
         ok v0 2 => v0 append 3..4 commit 2
         ok v0 4 => committed 4"
    );
    check(1, &script);
}

/// Another way to the same voter: what was under way on the lost stream is sent again at once.
#[test]
fn a_stream_in_the_place_of_a_lost_one_goes_on_where_it_matched() {
    let script = format!(
        "{OPEN_ALONE}
         propose => v0 append 2..2 commit 1
         propose => v0 append 3..3 commit 1
         ok v0 2 => committed 2
         opened v0 => v0 append 3..2 commit 2
         propose =>
         ok v0 2 => v0 append 3..4 commit 2
         ok v0 4 => committed 4"
    );
    check(1, &script);
}

/// A disk that takes its time must not look like a leader that is gone.
#[test]
fn signs_of_life_go_on_while_answers_are_awaited() {
    let script = format!(
        "{OPEN_ALONE}
         propose => v0 append 2..2 commit 1
         tick => v0 append 3..2 commit 1
         tick => v0 append 3..2 commit 1
         ok v0 2 => committed 2
         ok v0 2 =>
         tick => v0 append 3..2 commit 2"
    );
    check(1, &script);
}
