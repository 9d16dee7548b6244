//! Every way through a leadership, input by input.

use types::Incarnation;

use super::*;

fn epoch(number: u64) -> Epoch {
    Epoch { number, owner: Incarnation(1) }
}

fn acquired(number: u64) -> Input {
    Input::Acquired { epoch: epoch(number), config: VoterConfig::default() }
}

fn adopted(number: u64) -> Input {
    Input::Adopted { epoch: epoch(number) }
}

fn opened(number: u64) -> Input {
    Input::Opened { epoch: epoch(number) }
}

fn ended(number: u64, promised: u64) -> Input {
    Input::Ended { epoch: epoch(number), promised }
}

fn ticks(count: u32) -> Vec<Input> {
    vec![Input::Tick; count as usize]
}

/// Feeds inputs and gives back every effect.
fn feed(leadership: &mut Leadership, inputs: impl IntoIterator<Item = Input>) -> Vec<Effect> {
    let mut out = Vec::new();
    inputs.into_iter().for_each(|input| leadership.step(input, &mut out));
    out
}

fn leading() -> Leadership {
    let mut leadership = Leadership::new();
    let effects = feed(&mut leadership, [Input::Tick, acquired(4)]);
    let lead = Effect::Lead { epoch: epoch(4), config: VoterConfig::default() };
    assert_eq!(effects, [Effect::Acquire { highest_promised: 0 }, lead]);
    assert_eq!(leadership.state(), State::Fencing { epoch: epoch(4) });
    assert_eq!(feed(&mut leadership, [adopted(4)]), []);
    assert_eq!(leadership.state(), State::Recovering { epoch: epoch(4) });
    assert_eq!(feed(&mut leadership, [opened(4)]), []);
    assert_eq!(leadership.state(), State::Leading { epoch: epoch(4) });
    leadership
}

#[test]
fn asks_again_while_somebody_else_leads() {
    let mut leadership = Leadership::new();
    feed(&mut leadership, [Input::Tick, Input::Denied]);
    let quiet = feed(&mut leadership, ticks(RETRY_TICKS));
    assert_eq!(quiet, []);
    assert_eq!(feed(&mut leadership, [Input::Tick]), [Effect::Acquire { highest_promised: 0 }]);
    assert_eq!(feed(&mut leadership, ticks(50)), [], "one question at a time");
    assert_eq!(feed(&mut leadership, [Input::AcquireFailed]), []);
    assert_eq!(leadership.state(), State::Follower { wait: FAILED_TICKS });
}

#[test]
fn deposed_by_voters_it_asks_for_a_higher_epoch() {
    let mut leadership = leading();
    let effects = feed(&mut leadership, [ended(4, 9)]);
    assert_eq!(effects, [Effect::Release { epoch: epoch(4) }]);
    feed(&mut leadership, [Input::Released]);
    let effects = feed(&mut leadership, ticks(DEPOSED_TICKS + 1));
    assert_eq!(effects, [Effect::Acquire { highest_promised: 9 }]);
    let effects = feed(&mut leadership, [acquired(9)]);
    assert_eq!(effects, [Effect::Release { epoch: epoch(9) }], "not above what was promised");
    assert_eq!(leadership.epoch(), None);
}

#[test]
fn a_lost_lease_ends_the_leadership_without_a_release() {
    let mut leadership = leading();
    let effects = feed(&mut leadership, [Input::LeaseLost]);
    assert!(matches!(effects[..], [Effect::StepDown { epoch: of, .. }] if of == epoch(4)));
    assert_eq!(feed(&mut leadership, [Input::LeaseLost, opened(4)]), [], "late");
    assert_eq!(feed(&mut leadership, ticks(100)), [], "no question before it has ended");
    assert_eq!(feed(&mut leadership, [ended(4, 0)]), []);
    assert_eq!(leadership.state(), State::Follower { wait: DEPOSED_TICKS });
    assert_eq!(feed(&mut leadership, [Input::LeaseLost, opened(4), ended(4, 0)]), [], "late");
    assert_eq!(leadership.state(), State::Follower { wait: DEPOSED_TICKS });
}

#[test]
fn what_an_earlier_leadership_reports_does_not_touch_the_present_one() {
    let mut leadership = leading();
    feed(&mut leadership, [ended(4, 6), Input::Released]);
    feed(&mut leadership, ticks(DEPOSED_TICKS + 1));
    feed(&mut leadership, [acquired(7)]);
    assert_eq!(feed(&mut leadership, [adopted(4), opened(4), ended(4, 8)]), []);
    assert_eq!(leadership.state(), State::Fencing { epoch: epoch(7) });
    assert_eq!(feed(&mut leadership, [ended(7, 0)]), [Effect::Release { epoch: epoch(7) }]);
    feed(&mut leadership, [Input::Released]);
    let effects = feed(&mut leadership, ticks(DEPOSED_TICKS + 1));
    assert_eq!(effects, [Effect::Acquire { highest_promised: 8 }], "but what was promised counts");
}

#[test]
fn an_offer_is_taken_at_once() {
    let mut leadership = Leadership::new();
    feed(&mut leadership, [Input::Tick, Input::Denied]);
    assert_eq!(feed(&mut leadership, [Input::Offered]), [Effect::Acquire { highest_promised: 0 }]);
    assert_eq!(feed(&mut leadership, [Input::Offered]), [], "one question at a time");
    let again = feed(&mut leadership, [Input::Denied]);
    assert_eq!(again, [Effect::Acquire { highest_promised: 0 }], "the answer was older than the offer");
    assert_eq!(feed(&mut leadership, [Input::Denied]), []);
    assert_eq!(leadership.state(), State::Follower { wait: RETRY_TICKS });
    feed(&mut leadership, [Input::Offered, acquired(4)]);
    assert_eq!(feed(&mut leadership, [Input::Offered]), [], "it leads");
    assert_eq!(leadership.state(), State::Fencing { epoch: epoch(4) });
}

#[test]
fn an_offer_after_a_stop_is_for_somebody_else() {
    let mut leadership = Leadership::new();
    feed(&mut leadership, [Input::Tick, Input::Stop]);
    assert_eq!(feed(&mut leadership, [Input::Offered, Input::Denied]), [Effect::Stopped]);
    assert_eq!(feed(&mut leadership, [Input::Offered]), []);
}

#[test]
fn a_leader_that_is_asked_to_resign_drains_releases_and_follows() {
    for reached in 0..3 {
        let mut leadership = Leadership::new();
        feed(&mut leadership, [Input::Tick, acquired(4)]);
        feed(&mut leadership, [adopted(4), opened(4)].into_iter().take(reached));
        assert_eq!(feed(&mut leadership, [Input::Resign { epoch: 3 }]), [], "another epoch is meant");
        assert_eq!(feed(&mut leadership, [Input::Resign { epoch: 4 }]), [Effect::Drain { epoch: epoch(4) }]);
        assert_eq!(feed(&mut leadership, [Input::Resign { epoch: 4 }]), [], "it is draining");
        assert_eq!(leadership.epoch(), Some(epoch(4)), "it holds the shard until everything is answered");
        assert_eq!(feed(&mut leadership, [ended(4, 0)]), [Effect::Release { epoch: epoch(4) }]);
        assert_eq!(feed(&mut leadership, [Input::Released]), []);
        assert_eq!(leadership.state(), State::Follower { wait: DEPOSED_TICKS });
        assert_eq!(feed(&mut leadership, [Input::Resign { epoch: 4 }]), []);
    }
}

#[test]
fn stopping_finishes_gives_back_and_ends_even_if_nobody_answers() {
    for reached in 0..3 {
        let mut leadership = Leadership::new();
        feed(&mut leadership, [Input::Tick, acquired(4)]);
        feed(&mut leadership, [adopted(4), opened(4)].into_iter().take(reached));
        assert_eq!(feed(&mut leadership, [Input::Stop]), [Effect::Drain { epoch: epoch(4) }]);
        assert_eq!(feed(&mut leadership, [ended(4, 0)]), [Effect::Release { epoch: epoch(4) }]);
        let effects = feed(&mut leadership, ticks(RELEASE_TICKS + 1));
        assert_eq!(effects, [Effect::Stopped]);
        assert_eq!(feed(&mut leadership, ticks(100)), []);
    }
}

#[test]
fn a_lease_lost_while_draining_is_not_given_back() {
    let mut leadership = leading();
    feed(&mut leadership, [Input::Stop]);
    assert_eq!(feed(&mut leadership, [Input::LeaseLost]), [], "the voters decide what still becomes final");
    assert_eq!(feed(&mut leadership, [ended(4, 0)]), [Effect::Stopped]);
}

#[test]
fn a_stop_while_stepping_down_or_following_ends_it() {
    let mut leadership = leading();
    feed(&mut leadership, [Input::LeaseLost]);
    assert_eq!(feed(&mut leadership, [Input::Stop]), [], "it is ending already");
    assert_eq!(feed(&mut leadership, [ended(4, 0)]), [Effect::Stopped]);
    let mut leadership = Leadership::new();
    assert_eq!(feed(&mut leadership, [Input::Stop]), [Effect::Stopped]);
    assert_eq!(feed(&mut leadership, ticks(100)), []);
}

#[test]
fn an_acquisition_that_crosses_a_stop_is_given_back() {
    let mut leadership = Leadership::new();
    let effects = feed(&mut leadership, [Input::Tick, Input::Stop, acquired(1)]);
    assert_eq!(effects, [Effect::Acquire { highest_promised: 0 }, Effect::Release { epoch: epoch(1) }]);
    assert_eq!(feed(&mut leadership, [Input::Released]), [Effect::Stopped]);
}

#[test]
fn a_question_that_nobody_answers_does_not_hold_up_a_stop() {
    let mut leadership = Leadership::new();
    feed(&mut leadership, [Input::Tick, Input::Stop]);
    assert_eq!(feed(&mut leadership, ticks(ABANDON_TICKS)), []);
    assert_eq!(feed(&mut leadership, ticks(1)), [Effect::Stopped]);
    assert_eq!(feed(&mut leadership, [acquired(1)]), [], "late");
    let mut leadership = Leadership::new();
    assert_eq!(feed(&mut leadership, [Input::Tick, Input::Stop, Input::Denied])[1..], [Effect::Stopped]);
}
