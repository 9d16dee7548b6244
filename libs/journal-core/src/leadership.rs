//! When an engine leads: from asking the coordinator, through fencing and recovery, to giving the leadership back.
//!
//! One machine per shard and engine process. It says what to ask of the coordinator and when the
//! [proposer](crate::proposer) begins or stops; it never decides whether an acknowledgement is final. A lease that
//! cannot be renewed is no reason to stop (H4): only being told of another leader is, by the coordinator or by a
//! majority of voters.

use types::Epoch;

use crate::VoterConfig;

/// Ticks of 100 ms between two attempts to become leader while somebody else leads: a standby notices a free
/// leadership within half a second.
pub const RETRY_TICKS: u32 = 5;
/// Ticks to wait when the coordinator does not answer or has no store: 1 s.
pub const FAILED_TICKS: u32 = 10;
/// Ticks to wait after having been deposed, so that two engines do not take turns: 1 s.
pub const DEPOSED_TICKS: u32 = 10;
/// Ticks after which a release is no longer waited for; the lease runs out by itself: 1 s.
pub const RELEASE_TICKS: u32 = 10;

/// What happens to an engine's leadership of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// 100 ms have passed.
    Tick,
    /// The coordinator gave the leadership.
    Acquired {
        /// The fencing token.
        epoch: Epoch,
        /// Who votes.
        config: VoterConfig,
    },
    /// Somebody else leads.
    Denied,
    /// The coordinator did not answer, or could not.
    AcquireFailed,
    /// The coordinator says that somebody else leads now, or nobody.
    LeaseLost,
    /// The proposer chose a log ([`crate::proposer::Effect::Adopted`]).
    Adopted,
    /// The proposer is open ([`crate::proposer::Effect::Opened`]).
    Opened,
    /// A majority of voters belongs to a newer epoch ([`crate::proposer::Effect::Deposed`]).
    Deposed {
        /// Newest epoch heard of.
        promised: Epoch,
    },
    /// The proposer must not go on ([`crate::proposer::Effect::Halt`]).
    Halted,
    /// What made it halt was repaired (a newer snapshot was loaded): stand again.
    Resume,
    /// The coordinator took the leadership back, or did not answer.
    Released,
    /// The process ends: give the leadership back and do not stand again.
    Stop,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask the coordinator; answered by `Acquired`, `Denied` or `AcquireFailed`.
    Acquire {
        /// Highest epoch number seen promised; the new one must be higher.
        highest_promised: u64,
    },
    /// Let the proposer begin.
    Lead {
        /// The fencing token.
        epoch: Epoch,
        /// Who votes.
        config: VoterConfig,
    },
    /// Let the proposer stop; what waits has an unknown outcome.
    StepDown {
        /// Why, for people.
        reason: &'static str,
    },
    /// Give the leadership back; answered by `Released`.
    Release {
        /// Which one.
        epoch: Epoch,
    },
    /// Nothing is left to do.
    Stopped,
}

/// Where an engine stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not leading; asks again after so many ticks.
    Follower {
        /// Ticks left.
        wait: u32,
    },
    /// Asked the coordinator.
    Acquiring,
    /// Has an epoch, asks the voters for it.
    Fencing {
        /// The epoch.
        epoch: Epoch,
    },
    /// Has chosen a log, begins its epoch and catches up.
    Recovering {
        /// The epoch.
        epoch: Epoch,
    },
    /// Takes requests.
    Leading {
        /// The epoch.
        epoch: Epoch,
    },
    /// Gives the leadership back.
    Releasing {
        /// The epoch.
        epoch: Epoch,
        /// Ticks until that is given up.
        wait: u32,
        /// What comes then.
        then: After,
    },
    /// Found something that must not be built upon.
    Halted,
    /// The process ends.
    Stopped,
}

/// What comes after a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Stand again later.
    Follow,
    /// Wait for somebody to repair what was found.
    Halt,
    /// End.
    Stop,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Leadership {
    state: State,
    highest_promised: u64,
    stopping: bool,
}

impl Default for Leadership {
    fn default() -> Self {
        Self::new()
    }
}

impl Leadership {
    /// An engine that will ask at the first tick.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: State::Follower { wait: 0 }, highest_promised: 0, stopping: false }
    }

    /// Where it stands.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// The epoch it has, leading or on the way there.
    #[must_use]
    pub const fn epoch(&self) -> Option<Epoch> {
        match self.state {
            State::Fencing { epoch } | State::Recovering { epoch } | State::Leading { epoch } => Some(epoch),
            _ => None,
        }
    }

    /// Whether it takes requests.
    #[must_use]
    pub const fn is_leading(&self) -> bool {
        matches!(self.state, State::Leading { .. })
    }

    /// Takes one input; appends what is to be done to `out`. Inputs that do not fit the state are late and ignored.
    pub fn step(&mut self, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Tick => self.tick(out),
            Input::Acquired { epoch, config } => self.acquired(epoch, config, out),
            Input::Denied => self.not_acquired(RETRY_TICKS, out),
            Input::AcquireFailed => self.not_acquired(FAILED_TICKS, out),
            Input::LeaseLost => {
                if self.epoch().is_some() {
                    out.push(Effect::StepDown { reason: "the coordinator names another leader, or none" });
                    self.state = State::Follower { wait: DEPOSED_TICKS };
                }
            }
            Input::Adopted => {
                if let State::Fencing { epoch } = self.state {
                    self.state = State::Recovering { epoch };
                }
            }
            Input::Opened => {
                if let State::Fencing { epoch } | State::Recovering { epoch } = self.state {
                    self.state = State::Leading { epoch };
                }
            }
            Input::Deposed { promised } => {
                self.highest_promised = self.highest_promised.max(promised.number);
                self.release(After::Follow, out);
            }
            Input::Halted => self.release(After::Halt, out),
            Input::Resume => {
                if self.state == State::Halted {
                    self.state = State::Follower { wait: 0 };
                }
            }
            Input::Released => {
                if let State::Releasing { then, .. } = self.state {
                    self.released(then, out);
                }
            }
            Input::Stop => self.stop(out),
        }
    }

    fn tick(&mut self, out: &mut Vec<Effect>) {
        match &mut self.state {
            State::Follower { wait: 0 } => {
                self.state = State::Acquiring;
                out.push(Effect::Acquire { highest_promised: self.highest_promised });
            }
            State::Follower { wait } => *wait -= 1,
            State::Releasing { wait: 0, then, .. } => {
                let then = *then;
                self.released(then, out);
            }
            State::Releasing { wait, .. } => *wait -= 1,
            _ => {}
        }
    }

    fn acquired(&mut self, epoch: Epoch, config: VoterConfig, out: &mut Vec<Effect>) {
        if self.state != State::Acquiring {
            return;
        }
        if self.stopping {
            self.state = State::Fencing { epoch };
            return self.release(After::Stop, out);
        }
        if epoch.number <= self.highest_promised {
            // A coordinator that went back in time: ask again, it is told how far it must go (H3).
            self.state = State::Fencing { epoch };
            return self.release(After::Follow, out);
        }
        self.highest_promised = epoch.number;
        self.state = State::Fencing { epoch };
        out.push(Effect::Lead { epoch, config });
    }

    fn not_acquired(&mut self, wait: u32, out: &mut Vec<Effect>) {
        if self.state != State::Acquiring {
            return;
        }
        if self.stopping { self.released(After::Stop, out) } else { self.state = State::Follower { wait } }
    }

    fn release(&mut self, then: After, out: &mut Vec<Effect>) {
        let Some(epoch) = self.epoch() else { return };
        self.state = State::Releasing { epoch, wait: RELEASE_TICKS, then };
        out.push(Effect::Release { epoch });
    }

    fn released(&mut self, then: After, out: &mut Vec<Effect>) {
        self.state = match then {
            _ if self.stopping => State::Stopped,
            After::Stop => State::Stopped,
            After::Follow => State::Follower { wait: DEPOSED_TICKS },
            After::Halt => State::Halted,
        };
        if self.state == State::Stopped {
            out.push(Effect::Stopped);
        }
    }

    fn stop(&mut self, out: &mut Vec<Effect>) {
        self.stopping = true;
        match self.state {
            State::Fencing { .. } | State::Recovering { .. } | State::Leading { .. } => {
                out.push(Effect::StepDown { reason: "the process ends" });
                self.release(After::Stop, out);
            }
            State::Follower { .. } | State::Halted => self.released(After::Stop, out),
            State::Acquiring | State::Releasing { .. } | State::Stopped => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use types::Incarnation;

    use super::*;

    fn epoch(number: u64) -> Epoch {
        Epoch { number, owner: Incarnation(1) }
    }

    fn acquired(number: u64) -> Input {
        Input::Acquired { epoch: epoch(number), config: VoterConfig::default() }
    }

    /// Feeds inputs and gives back every effect.
    fn feed(leadership: &mut Leadership, inputs: impl IntoIterator<Item = Input>) -> Vec<Effect> {
        let mut out = Vec::new();
        inputs.into_iter().for_each(|input| leadership.step(input, &mut out));
        out
    }

    fn leading() -> Leadership {
        let mut leadership = Leadership::new();
        let effects = feed(&mut leadership, [Input::Tick, acquired(4), Input::Adopted, Input::Opened]);
        let lead = Effect::Lead { epoch: epoch(4), config: VoterConfig::default() };
        assert_eq!(effects, [Effect::Acquire { highest_promised: 0 }, lead]);
        assert_eq!(leadership.state(), State::Leading { epoch: epoch(4) });
        leadership
    }

    #[test]
    fn asks_again_while_somebody_else_leads() {
        let mut leadership = Leadership::new();
        feed(&mut leadership, [Input::Tick, Input::Denied]);
        let quiet = feed(&mut leadership, vec![Input::Tick; RETRY_TICKS as usize]);
        assert_eq!(quiet, []);
        assert_eq!(feed(&mut leadership, [Input::Tick]), [Effect::Acquire { highest_promised: 0 }]);
        assert_eq!(feed(&mut leadership, vec![Input::Tick; 50]), [], "one question at a time");
    }

    #[test]
    fn deposed_by_voters_it_asks_for_a_higher_epoch() {
        let mut leadership = leading();
        let effects = feed(&mut leadership, [Input::Deposed { promised: epoch(9) }]);
        assert_eq!(effects, [Effect::Release { epoch: epoch(4) }]);
        feed(&mut leadership, [Input::Released]);
        let effects = feed(&mut leadership, vec![Input::Tick; DEPOSED_TICKS as usize + 1]);
        assert_eq!(effects, [Effect::Acquire { highest_promised: 9 }]);
        let effects = feed(&mut leadership, [acquired(9)]);
        assert_eq!(effects, [Effect::Release { epoch: epoch(9) }], "not above what was promised");
    }

    #[test]
    fn a_lost_lease_ends_the_leadership_without_a_release() {
        let mut leadership = leading();
        let effects = feed(&mut leadership, [Input::LeaseLost]);
        assert!(matches!(effects[..], [Effect::StepDown { .. }]));
        assert_eq!(leadership.state(), State::Follower { wait: DEPOSED_TICKS });
        assert_eq!(feed(&mut leadership, [Input::LeaseLost, Input::Opened]), [], "late");
    }

    #[test]
    fn stopping_gives_back_and_ends_even_if_nobody_answers() {
        let mut leadership = leading();
        let effects = feed(&mut leadership, [Input::Stop]);
        assert!(matches!(effects[..], [Effect::StepDown { .. }, Effect::Release { .. }]));
        let effects = feed(&mut leadership, vec![Input::Tick; RELEASE_TICKS as usize + 1]);
        assert_eq!(effects, [Effect::Stopped]);
        assert_eq!(feed(&mut leadership, vec![Input::Tick; 100]), []);
    }

    #[test]
    fn an_acquisition_that_crosses_a_stop_is_given_back() {
        let mut leadership = Leadership::new();
        assert_eq!(feed(&mut leadership, [Input::Tick, Input::Stop, acquired(1)]).len(), 2);
        assert_eq!(feed(&mut leadership, [Input::Released]), [Effect::Stopped]);
    }

    #[test]
    fn halted_it_stands_again_only_when_told() {
        let mut leadership = leading();
        feed(&mut leadership, [Input::Halted, Input::Released]);
        assert_eq!(leadership.state(), State::Halted);
        assert_eq!(feed(&mut leadership, vec![Input::Tick; 100]), []);
        assert_eq!(feed(&mut leadership, [Input::Resume, Input::Tick]), [Effect::Acquire { highest_promised: 4 }]);
    }
}
