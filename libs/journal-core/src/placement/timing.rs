//! The times that the rules of placement go by. Absent: clocks.

use core::time::Duration;

/// Times. The defaults are those of the protocol, 3.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a lease lasts without a sign of life.
    pub lease: Duration,
    /// Silence on an open stream after which its engine is suspected: three missed signs of life.
    pub silence: Duration,
    /// How long a leader may report that no majority of voters answers it, while another engine reaches them.
    pub unreachable: Duration,
    /// The same for a leader that is still opening: its first fence may wait for a slow disk.
    pub unopened: Duration,
    /// Between two questions to the voters about a suspect.
    pub ask_pause: Duration,
    /// How long a leader whose lease ran out is waited for, while its stream is up or the store was away.
    pub head_start: Duration,
    /// After this, any live engine may have a free shard: whom it was meant for does not take it.
    pub open_to_all: Duration,
    /// How long a leader may take to give up a shard when an operator forces it; then it is taken away.
    pub patience: Duration,
    /// How long an engine that was deposed is asked last.
    pub cooldown: Duration,
    /// Between two moves that only spread leaderships.
    pub balance_pause: Duration,
    /// After this an offer or a request to give up is said again.
    pub repeat: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(5),
            silence: Duration::from_millis(1_500),
            unreachable: Duration::from_millis(500),
            unopened: Duration::from_secs(5),
            ask_pause: Duration::from_millis(100),
            head_start: Duration::from_secs(1),
            open_to_all: Duration::from_millis(1_500),
            patience: Duration::from_secs(1),
            cooldown: Duration::from_secs(5),
            balance_pause: Duration::from_secs(5),
            repeat: Duration::from_millis(500),
        }
    }
}
