//! When an engine leads: from asking the coordinator, through fencing and recovery, to giving the leadership back.
//!
//! One machine per shard and engine process. It says what to ask of the coordinator, when the
//! [proposer](crate::proposer) begins or must end, and how long to stay away; it never decides whether an
//! acknowledgement is final. Signs of life are the process's, for all shards at once, and not of this machine. A coordinator that falls silent is no reason to stop (H4): only being told of another
//! leader is, by the coordinator or by a majority of voters.
//!
//! For the shell:
//! - It asks one thing of the coordinator at a time: a new [`Effect::Acquire`] or [`Effect::Release`] makes the answer
//!   to an earlier one worthless.
//! - After [`Effect::Lead`] there is exactly one [`Input::Ended`] that counts, by itself or as the answer to
//!   [`Effect::StepDown`] or [`Effect::Drain`]. Until it comes nothing is given back and nothing asked for, so that a
//!   process never leads twice.
//! - Signs of life name [`Leadership::epoch`]; a coordinator is told when it changes.

#[cfg(test)]
mod tests;

use types::Epoch;

use crate::VoterConfig;

/// Ticks of 100 ms between two attempts to become leader while somebody else leads: 2 s. A coordinator offers a free
/// shard at once; asking unasked is for the case that its offer was lost.
pub const RETRY_TICKS: u32 = 20;
/// Ticks to wait when the coordinator does not answer or has no store: 500 ms. It may be starting beside the engine.
pub const FAILED_TICKS: u32 = 5;
/// Ticks to wait after having lost the leadership: 1 s. Whoever took it shall have time to open, and two engines do
/// not take turns.
pub const DEPOSED_TICKS: u32 = 10;
/// Ticks after which a release is no longer waited for; the lease runs out by itself: 3 s.
pub const RELEASE_TICKS: u32 = 30;
/// Ticks after which an engine that ends no longer waits for the answer to its last question: 1 s. A leadership that
/// was given meanwhile runs out by itself.
pub const ABANDON_TICKS: u32 = 10;

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
    /// The coordinator says that the shard is free, and that this engine should ask for it.
    Offered,
    /// The coordinator asks to give the shard up in order: finish what was accepted, then release.
    Resign {
        /// Number of the epoch that is meant.
        epoch: u64,
    },
    /// The coordinator says that somebody else leads now, or nobody.
    LeaseLost,
    /// The proposer chose a log ([`crate::proposer::Effect::Adopted`]).
    Adopted {
        /// Under which epoch.
        epoch: Epoch,
    },
    /// The proposer is open ([`crate::proposer::Effect::Opened`]).
    Opened {
        /// Under which epoch.
        epoch: Epoch,
    },
    /// The proposer leads no longer: it was told to end, a majority of voters belongs to a newer epoch
    /// ([`crate::proposer::Effect::Deposed`]), or the state must be built again before it can go on.
    Ended {
        /// Under which epoch it led.
        epoch: Epoch,
        /// Highest epoch number a voter is known to have promised; 0 if none is known.
        promised: u64,
    },
    /// The coordinator took the leadership back, or did not answer.
    Released,
    /// The process ends: finish what was accepted, give the leadership back, do not stand again.
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
    /// Let the proposer end at once; what waits has an unknown outcome. Answered by `Ended`.
    StepDown {
        /// Under which epoch it leads.
        epoch: Epoch,
        /// Why, for people.
        reason: &'static str,
    },
    /// Take nothing new, finish what was accepted, then let the proposer end. Answered by `Ended`.
    Drain {
        /// Under which epoch it leads.
        epoch: Epoch,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Not leading; asks again after so many ticks.
    Follower {
        /// Ticks left.
        wait: u32,
    },
    /// Asked the coordinator.
    Acquiring,
    /// The process ends, and a question is still with the coordinator.
    Abandoning {
        /// Ticks until its answer is given up.
        wait: u32,
    },
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
    /// The proposer was told to end.
    Ending {
        /// The epoch.
        epoch: Epoch,
        /// Whether the leadership is still this engine's to give back.
        held: bool,
    },
    /// Gives the leadership back.
    Releasing {
        /// Ticks until that is given up.
        wait: u32,
    },
    /// The process ends.
    Stopped,
}

impl State {
    /// One word for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Follower { .. } => "follower",
            Self::Acquiring | Self::Abandoning { .. } => "acquiring",
            Self::Fencing { .. } => "fencing",
            Self::Recovering { .. } => "recovering",
            Self::Leading { .. } => "leading",
            Self::Ending { .. } => "ending",
            Self::Releasing { .. } => "releasing",
            Self::Stopped => "stopped",
        }
    }
}

/// The machine.
#[derive(Clone, Debug, Hash)]
pub struct Leadership {
    state: State,
    highest_promised: u64,
    /// Whether a shard was offered while the answer to a question was awaited.
    offered: bool,
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
        Self { state: State::Follower { wait: 0 }, highest_promised: 0, offered: false, stopping: false }
    }

    /// Where it stands.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// The epoch the proposer has: leading, on the way there, or about to end.
    #[must_use]
    pub const fn epoch(&self) -> Option<Epoch> {
        match self.state {
            State::Fencing { epoch }
            | State::Recovering { epoch }
            | State::Leading { epoch }
            | State::Ending { epoch, .. } => Some(epoch),
            _ => None,
        }
    }

    /// Takes one input; appends what is to be done to `out`. Inputs that do not fit the state are late and ignored.
    pub fn step(&mut self, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Tick => self.tick(out),
            Input::Acquired { epoch, config } => self.acquired(epoch, config, out),
            Input::Denied => self.not_acquired(RETRY_TICKS, out),
            Input::AcquireFailed => self.not_acquired(FAILED_TICKS, out),
            Input::Offered => self.offered(out),
            Input::Resign { epoch } => {
                if self.epoch().is_some_and(|own| own.number == epoch) {
                    self.drain(out);
                }
            }
            Input::LeaseLost => self.lost(out),
            Input::Adopted { epoch } => {
                if self.state == (State::Fencing { epoch }) {
                    self.state = State::Recovering { epoch };
                }
            }
            Input::Opened { epoch } => {
                if self.state == (State::Fencing { epoch }) || self.state == (State::Recovering { epoch }) {
                    self.state = State::Leading { epoch };
                }
            }
            Input::Ended { epoch, promised } => self.ended(epoch, promised, out),
            Input::Released => {
                if let State::Releasing { .. } = self.state {
                    self.rest(out);
                }
            }
            Input::Stop => self.stop(out),
        }
    }

    fn tick(&mut self, out: &mut Vec<Effect>) {
        match &mut self.state {
            State::Follower { wait: 0 } => self.ask(out),
            State::Releasing { wait: 0 } | State::Abandoning { wait: 0 } => self.rest(out),
            State::Follower { wait } | State::Releasing { wait } | State::Abandoning { wait } => *wait -= 1,
            State::Acquiring
            | State::Fencing { .. }
            | State::Recovering { .. }
            | State::Leading { .. }
            | State::Ending { .. }
            | State::Stopped => {}
        }
    }

    fn ask(&mut self, out: &mut Vec<Effect>) {
        self.state = State::Acquiring;
        self.offered = false;
        out.push(Effect::Acquire { highest_promised: self.highest_promised });
    }

    fn offered(&mut self, out: &mut Vec<Effect>) {
        match self.state {
            State::Follower { .. } => self.ask(out),
            // The question may have come too early for the offer.
            State::Acquiring => self.offered = true,
            _ => {}
        }
    }

    fn acquired(&mut self, epoch: Epoch, config: VoterConfig, out: &mut Vec<Effect>) {
        match self.state {
            State::Acquiring if epoch.number > self.highest_promised => {
                self.highest_promised = epoch.number;
                self.state = State::Fencing { epoch };
                out.push(Effect::Lead { epoch, config });
            }
            // A coordinator that went back in time: ask again, it is told how far it must go (H3).
            State::Acquiring | State::Abandoning { .. } => self.release(epoch, out),
            _ => {}
        }
    }

    fn not_acquired(&mut self, wait: u32, out: &mut Vec<Effect>) {
        match self.state {
            State::Acquiring if self.offered => self.ask(out),
            State::Acquiring => self.state = State::Follower { wait },
            State::Abandoning { .. } => self.rest(out),
            _ => {}
        }
    }

    fn lost(&mut self, out: &mut Vec<Effect>) {
        match self.state {
            State::Fencing { epoch } | State::Recovering { epoch } | State::Leading { epoch } => {
                self.state = State::Ending { epoch, held: false };
                out.push(Effect::StepDown { epoch, reason: "the coordinator names another leader, or none" });
            }
            // It was draining: what waits gets its answer if the voters still take it, which they decide.
            State::Ending { epoch, .. } => self.state = State::Ending { epoch, held: false },
            _ => {}
        }
    }

    fn ended(&mut self, epoch: Epoch, promised: u64, out: &mut Vec<Effect>) {
        self.highest_promised = self.highest_promised.max(promised);
        if self.epoch() != Some(epoch) {
            return;
        }
        if let State::Ending { held: false, .. } = self.state {
            self.rest(out);
        } else {
            self.release(epoch, out);
        }
    }

    fn release(&mut self, epoch: Epoch, out: &mut Vec<Effect>) {
        self.state = State::Releasing { wait: RELEASE_TICKS };
        out.push(Effect::Release { epoch });
    }

    /// Has no leadership, nor anything to do with one: stands again later, or ends.
    fn rest(&mut self, out: &mut Vec<Effect>) {
        if self.stopping {
            self.state = State::Stopped;
            out.push(Effect::Stopped);
        } else {
            self.state = State::Follower { wait: DEPOSED_TICKS };
        }
    }

    fn drain(&mut self, out: &mut Vec<Effect>) {
        if let State::Fencing { epoch } | State::Recovering { epoch } | State::Leading { epoch } = self.state {
            self.state = State::Ending { epoch, held: true };
            out.push(Effect::Drain { epoch });
        }
    }

    fn stop(&mut self, out: &mut Vec<Effect>) {
        self.stopping = true;
        match self.state {
            State::Fencing { .. } | State::Recovering { .. } | State::Leading { .. } => self.drain(out),
            State::Follower { .. } => self.rest(out),
            State::Acquiring => self.state = State::Abandoning { wait: ABANDON_TICKS },
            State::Abandoning { .. } | State::Ending { .. } | State::Releasing { .. } | State::Stopped => {}
        }
    }
}
