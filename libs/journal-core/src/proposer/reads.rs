//! Confirmed reads (H8): whether this leader still led after a question had come.
//!
//! The state of a leader that was deposed a moment ago may lack what its successor has acknowledged. So a question is
//! answered only when enough voters have said, to something sent after it came, that this epoch is the one they
//! promised: a successor that had acknowledged anything before had been promised more by one of them. Many questions
//! share one round of requests.
//!
//! Deliberately absent: the questions. The shell keeps them, and answers from what is applied when they are confirmed.

#[cfg(test)]
mod tests;

use super::{Effect, Phase, Proposer};

/// The rounds of one leadership.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Reads {
    /// Number of the last round. Every request carries it, and its answer too: what carries it was sent after the
    /// questions of that round had come.
    round: u64,
    /// The newest question of a round that is not confirmed.
    asked: Option<u64>,
    /// The newest question that came after that round had begun.
    waiting: Option<u64>,
}

impl Reads {
    pub(super) const fn round(&self) -> u64 {
        self.round
    }
}

impl Proposer {
    pub(super) fn read(&mut self, number: u64, out: &mut Vec<Effect>) {
        if self.phase != Phase::Open {
            return;
        }
        self.reads.waiting = Some(number);
        if self.reads.asked.is_none() {
            self.ask(out);
        }
    }

    /// Begins a round for the questions that wait.
    fn ask(&mut self, out: &mut Vec<Effect>) {
        let Some(read) = self.reads.waiting.take() else { return };
        self.reads.asked = Some(read);
        self.reads.round += 1;
        for index in 0..self.peers.len() {
            self.ask_voter(index, out);
        }
    }

    fn ask_voter(&mut self, index: usize, out: &mut Vec<Effect>) {
        let peer = &self.peers[index];
        // Whoever is being asked for common ground answers that first, and is asked at the next heartbeat.
        if peer.sending == super::peer::Sending::Streaming {
            self.send_empty(peer.id, out);
        }
    }

    /// Asks again those voters that have been sent nothing since the round began: they have just been reached.
    pub(super) fn ask_again(&mut self, out: &mut Vec<Effect>) {
        if self.reads.asked.is_none() {
            return;
        }
        for index in 0..self.peers.len() {
            if self.peers[index].asked_round < self.reads.round {
                self.ask_voter(index, out);
            }
        }
    }

    /// A voter has answered a request of this epoch: perhaps enough of them have.
    pub(super) fn confirm(&mut self, out: &mut Vec<Effect>) {
        let Some(read) = self.reads.asked else { return };
        let round = self.reads.round;
        if self.phase == Phase::Open && self.is_quorum(|peer| peer.answered_round >= round) {
            self.reads.asked = None;
            out.push(Effect::ReadsConfirmed { up_to: read });
            self.ask(out);
        }
    }
}
