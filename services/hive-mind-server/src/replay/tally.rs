//! What was counted while planning: every message in exactly one category, and what had to be added to them.

use serde::Serialize;

/// How many rows that could not be applied are kept for the report; the rest are only counted.
const NOT_APPLIED_LISTED: usize = 1_000;

/// Messages by what they were. Together with those not applied they are all messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct MessageCounts {
    /// New orders.
    pub(crate) submissions: u64,
    /// Orders that lost part of their size.
    pub(crate) partial_cancels: u64,
    /// Orders that left.
    pub(crate) deletions: u64,
    /// Trades of visible orders.
    pub(crate) executions: u64,
    /// Trades of hidden orders.
    pub(crate) hidden_executions: u64,
    /// Auctions.
    pub(crate) auctions: u64,
    /// Halts and resumptions.
    pub(crate) halts: u64,
    /// Could not be applied as they stand; listed with the reason.
    pub(crate) not_applied: u64,
}

impl MessageCounts {
    /// All of them.
    pub(crate) const fn sum(&self) -> u64 {
        let orders = self.submissions + self.partial_cancels + self.deletions + self.executions;
        orders + self.hidden_executions + self.auctions + self.halts + self.not_applied
    }
}

/// A message that could not be applied as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct NotApplied {
    /// Line of the message file, from 1.
    pub(crate) line: usize,
    /// Why.
    pub(crate) reason: &'static str,
}

/// All counts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Messages by category.
    pub(super) messages: MessageCounts,
    /// The first of those not applied.
    pub(super) not_applied: Vec<NotApplied>,
    /// Incoming orders made for executions.
    pub(super) incoming_orders: u64,
    /// Orders entered that the messages name without a submission.
    pub(super) entered_unseen: u64,
    /// Orders entered for quantity that only the order-book file shows.
    pub(super) entered_unnamed: u64,
    /// Orders taken off, or made smaller, that must have left unseen.
    pub(super) vanished: u64,
    /// Orders sent to the end of their queue because the file's exchange passed them over.
    pub(super) requeued: u64,
    /// Most orders in the book at one time.
    pub(super) most_open: usize,
}

impl Tally {
    /// Counts and keeps a message that could not be applied.
    pub(super) fn refuse(&mut self, index: usize, reason: &'static str) {
        self.messages.not_applied += 1;
        if self.not_applied.len() < NOT_APPLIED_LISTED {
            self.not_applied.push(NotApplied { line: index + 1, reason });
        }
    }
}
