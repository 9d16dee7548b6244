//! What a leader knows of one voter.

use std::collections::VecDeque;

use types::{Epoch, Seq};

use super::VoterId;
use crate::{Entry, FenceGranted, Tail, Voter};

/// Heartbeats without an answer after which a voter counts as unreachable: 500 ms.
pub(super) const QUIET_TICKS: u64 = 5;
/// Heartbeats without an answer to a fence after which it is sent again: 1 s.
pub(super) const FENCE_RETRY_TICKS: u64 = 10;
/// Heartbeats without an answer after which what is under way on a stream counts as lost: 3 s. A disk may take that
/// long; sending again costs nothing but the bytes.
pub(super) const STALL_TICKS: u64 = 30;
/// Longest time between two attempts to open a stream, in heartbeats: 1 s.
const MAX_BACKOFF_TICKS: u64 = 10;

/// How far the common ground with a voter is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Sending {
    /// No stream.
    Closed,
    /// A stream was asked for.
    Connecting,
    /// A request without entries asks whether the log up to before `next` is the same there.
    Probing {
        /// Whether it is under way.
        asked: bool,
        /// How far to go back if not.
        step: u64,
    },
    /// It was; entries are sent without waiting for each answer.
    Streaming,
}

/// One voter.
#[derive(Clone, Debug, Hash)]
pub(super) struct Peer {
    pub(super) id: VoterId,
    /// Its grant of this epoch.
    pub(super) granted: Option<FenceGranted>,
    /// The newer epoch it belongs to.
    pub(super) refused: Option<Epoch>,
    /// Whether it holds another history.
    pub(super) retired: bool,
    /// When it was asked for the epoch; `None` when it is to be asked at the next heartbeat.
    pub(super) fence_sent: Option<u64>,
    pub(super) sending: Sending,
    /// First seq that was not sent yet.
    pub(super) next: Seq,
    /// Up to here its log is durably equal to this leader's, as it said in this epoch.
    pub(super) matched: Seq,
    /// End and size of every request under way.
    pub(super) in_flight: VecDeque<(Seq, usize)>,
    pub(super) in_flight_bytes: usize,
    /// Replies still to come to requests that were given up.
    pub(super) stale_replies: usize,
    /// Entries read elsewhere for it.
    pub(super) fill: Vec<Entry>,
    /// Whether it lacks entries that are held nowhere.
    pub(super) stranded: bool,
    /// Place derived from its epochs that was asked about already.
    pub(super) tried: Option<Seq>,
    pub(super) sent_at: u64,
    pub(super) answered_at: Option<u64>,
    /// Round of reads that the last request sent to it belongs to.
    pub(super) asked_round: u64,
    /// Last round of reads of which it answered a request as this leader's voter.
    pub(super) answered_round: u64,
    reopen_at: u64,
    backoff: u64,
}

impl Peer {
    pub(super) fn new(id: VoterId) -> Self {
        Self {
            id,
            granted: None,
            refused: None,
            retired: false,
            fence_sent: None,
            sending: Sending::Closed,
            next: Seq(0),
            matched: Seq(0),
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            stale_replies: 0,
            fill: Vec::new(),
            stranded: false,
            tried: None,
            sent_at: 0,
            answered_at: None,
            asked_round: 0,
            answered_round: 0,
            reopen_at: 0,
            backoff: 0,
        }
    }

    /// Whether it is this voter, as it said itself when it granted the epoch (I14).
    pub(super) fn is(&self, voter: &Voter) -> bool {
        self.granted.as_ref().is_some_and(|granted| granted.voter == *voter)
    }

    /// Whether it is of no use to this leadership any more.
    pub(super) const fn lost(&self) -> bool {
        self.refused.is_some() || self.retired
    }

    pub(super) fn answered_since(&self, tick: u64) -> bool {
        !self.lost() && self.answered_at.is_some_and(|at| at >= tick)
    }

    /// Whether its log is this leader's up to `seq`: it said so in this epoch, or it holds the chosen log.
    pub(super) fn holds(&self, seq: Seq, adopted: Tail) -> bool {
        let adopted_there = || self.granted.as_ref().is_some_and(|granted| granted.last == adopted);
        self.matched >= seq || (seq <= adopted.seq && adopted_there())
    }

    /// Gives up what is under way on its stream.
    pub(super) fn reset_stream(&mut self, sending: Sending) {
        self.sending = sending;
        self.in_flight.clear();
        self.in_flight_bytes = 0;
        self.stale_replies = 0;
        self.tried = None;
        // What was under way may be lost: a question that counts on it is asked again.
        self.asked_round = 0;
    }

    pub(super) fn closed(&mut self, now: u64) {
        self.reset_stream(Sending::Closed);
        self.backoff = (self.backoff * 2).clamp(1, MAX_BACKOFF_TICKS);
        self.reopen_at = now + self.backoff;
    }

    pub(super) fn may_reopen(&self, now: u64) -> bool {
        self.sending == Sending::Closed && !self.lost() && now >= self.reopen_at
    }

    pub(super) fn answered(&mut self, now: u64) {
        self.answered_at = Some(now);
        self.backoff = 0;
    }

    pub(super) fn sent(&mut self, round: u64, end: Seq, bytes: usize, now: u64) {
        self.asked_round = round;
        if self.in_flight.is_empty() {
            // The stall is measured from the oldest request without an answer.
            self.sent_at = now;
        }
        self.in_flight.push_back((end, bytes));
        self.in_flight_bytes += bytes;
    }

    /// Drops the requests that an answer for `matched` covers.
    pub(super) fn settled(&mut self, matched: Seq, now: u64) {
        while let Some((end, bytes)) = self.in_flight.front()
            && *end <= matched
        {
            self.in_flight_bytes -= bytes;
            self.in_flight.pop_front();
        }
        self.sent_at = now;
    }
}
