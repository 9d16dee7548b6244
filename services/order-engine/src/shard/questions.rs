//! Questions that wait: for the voters to confirm that this engine leads, or for the state to be as far as they ask.
//!
//! Deliberately absent: what the answers are (`reads`), and how leading is confirmed (the proposer's).

use super::lead::Phase;
use super::{Freshness, Question, Shard, reads};
use journal_core::proposer::Input;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Questions that may wait here; while there are so many, no more are taken out of their queue, which is bounded too.
const WAITING_MAX: usize = 4_096;

/// Longest wait. A round of the voters takes a few milliseconds, and a standby is not much longer behind.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// The questions of a shard.
#[derive(Debug, Default)]
pub(super) struct Questions {
    /// Number of the last one that was put to the voters.
    number: u64,
    /// Put to the voters, by their numbers.
    unconfirmed: VecDeque<(u64, Question)>,
    /// The state is not as far yet; with each, whether the answer will be stale.
    early: Vec<(Question, bool)>,
}

impl Questions {
    pub(super) fn have_room(&self) -> bool {
        self.unconfirmed.len() + self.early.len() < WAITING_MAX
    }

    /// Nothing will be confirmed any more. Dropped without an answer, which their handlers understand.
    pub(super) fn give_up(&mut self) {
        self.unconfirmed.clear();
    }
}

impl Shard {
    pub(super) fn on_question(&mut self, question: Question) {
        match question.freshness {
            Freshness::Applied => self.answer(question, true),
            Freshness::Confirmed if matches!(self.phase, Phase::Leading { .. } | Phase::Draining { .. }) => {
                self.questions.number += 1;
                let number = self.questions.number;
                self.questions.unconfirmed.push_back((number, question));
                self.drive(Input::Read { number });
            }
            // Dropped: somebody else may have acknowledged more.
            Freshness::Confirmed => {}
        }
    }

    /// The voters have confirmed that this engine led when these questions had come.
    pub(super) fn on_reads_confirmed(&mut self, up_to: u64) {
        while self.questions.unconfirmed.front().is_some_and(|(number, _)| *number <= up_to) {
            if let Some((_, question)) = self.questions.unconfirmed.pop_front() {
                self.answer(question, false);
            }
        }
    }

    fn answer(&mut self, question: Question, stale: bool) {
        if self.standby.is_readable() && self.applier.applied().seq >= question.min_seq {
            reads::answer(&mut self.applier, question.query, stale);
        } else {
            self.questions.early.push((question, stale));
        }
    }

    /// The state has gone on.
    pub(super) fn answer_early(&mut self) {
        if !self.questions.early.is_empty() {
            for (question, stale) in std::mem::take(&mut self.questions.early) {
                self.answer(question, stale);
            }
        }
    }

    /// Questions that have waited too long are dropped.
    pub(super) fn look_at_questions(&mut self, now: Instant) {
        let late = |question: &Question| now.saturating_duration_since(question.received) > WAIT_MAX;
        while self.questions.unconfirmed.front().is_some_and(|(_, question)| late(question)) {
            self.questions.unconfirmed.pop_front();
        }
        self.questions.early.retain(|(question, _)| !late(question));
    }
}
