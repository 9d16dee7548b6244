//! What became of the requests of one connection, and what must be true afterwards because it was acknowledged.

use std::collections::BTreeMap;

use anyhow::Result;
use wire::pb::orders::v1 as pb;
use wire::pb::orders::v1::order_session_request::Command;

use super::latency::Recorder;

/// Counts of a run.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    /// Requests sent: new orders, replaces, cancels.
    pub(crate) sent: u64,
    /// Of these, new orders.
    pub(crate) new_orders: u64,
    /// Answered by a report that is no refusal.
    pub(crate) acknowledged: u64,
    /// Refused by the exchange.
    pub(crate) rejected: u64,
    /// Refused by the exchange, by reason.
    pub(crate) reasons: BTreeMap<&'static str, u64>,
    /// Turned away before they reached the log; the error says why.
    pub(crate) turned_away: u64,
    /// Why the last one was turned away.
    pub(crate) last_error: Option<String>,
    /// In doubt when the session ended, and found out about afterwards.
    pub(crate) resolved: u64,
    /// In doubt to the end.
    pub(crate) unresolved: u64,
    /// Trades these requests caused.
    pub(crate) trades: u64,
    /// From the scheduled time to the answer.
    pub(crate) latency: Recorder,
    /// Orders that were acknowledged, by the exchange's number.
    pub(crate) expected: BTreeMap<u64, Expected>,
    /// Highest seq of any report.
    pub(crate) last_seq: u64,
}

/// What an acknowledged order must look like from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    /// Its account.
    pub(crate) account_id: u64,
    /// Client id of its submit.
    pub(crate) client_order_id: String,
    /// At least this much is filled; exactly this much if it is closed.
    pub(crate) cumulative_quantity: u64,
    /// How it ended, if it was acknowledged to have.
    pub(crate) closed: Option<pb::OrderStatus>,
}

impl Tally {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            sent: 0,
            new_orders: 0,
            acknowledged: 0,
            rejected: 0,
            reasons: BTreeMap::new(),
            turned_away: 0,
            last_error: None,
            resolved: 0,
            unresolved: 0,
            trades: 0,
            latency: Recorder::new()?,
            expected: BTreeMap::new(),
            last_seq: 0,
        })
    }

    /// A request was sent.
    pub(crate) fn sent(&mut self, command: &Command) {
        self.sent += 1;
        self.new_orders += u64::from(matches!(command, Command::Submit(_)));
    }

    /// A request was answered.
    pub(crate) fn answered(&mut self, command: &Command, report: &pb::OrderReport) {
        self.trades += report.fills.len() as u64;
        self.last_seq = self.last_seq.max(report.place.as_ref().map_or(0, |place| place.seq));
        if report.status() == pb::OrderStatus::Rejected {
            self.rejected += 1;
            *self.reasons.entry(report.reject_reason().as_str_name()).or_default() += 1;
            return;
        }
        self.acknowledged += 1;
        if let Command::Submit(submit) = command {
            self.expected.insert(
                report.order_id,
                Expected {
                    account_id: submit.account_id,
                    client_order_id: submit.client_order_id.clone(),
                    cumulative_quantity: 0,
                    closed: None,
                },
            );
        }
        // A cancel or replace of an order whose own submit was never answered says enough about the order, too, but
        // not the client id of its submit.
        if let Some(expected) = self.expected.get_mut(&report.order_id) {
            expected.cumulative_quantity = expected.cumulative_quantity.max(report.cumulative_quantity);
            if let status @ (pb::OrderStatus::Filled | pb::OrderStatus::Canceled) = report.status() {
                expected.closed = Some(status);
            }
        }
    }

    /// Adds what another connection counted.
    pub(crate) fn add(&mut self, other: Self) -> Result<()> {
        self.sent += other.sent;
        self.new_orders += other.new_orders;
        self.acknowledged += other.acknowledged;
        self.rejected += other.rejected;
        for (reason, count) in other.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
        self.turned_away += other.turned_away;
        self.last_error = self.last_error.take().or(other.last_error);
        self.resolved += other.resolved;
        self.unresolved += other.unresolved;
        self.trades += other.trades;
        self.latency.merge(&other.latency)?;
        self.expected.extend(other.expected);
        self.last_seq = self.last_seq.max(other.last_seq);
        Ok(())
    }
}

impl Expected {
    /// What contradicts the acknowledgement in the order as it was found; `None` if nothing does.
    pub(crate) fn contradiction(&self, found: &pb::Order) -> Option<String> {
        if found.client_order_id != self.client_order_id || found.account_id != self.account_id {
            return Some(format!("belongs to {} of account {}", found.client_order_id, found.account_id));
        }
        let filled = found.cumulative_quantity;
        if let Some(status) = self.closed {
            if found.status() != status || filled != self.cumulative_quantity {
                let (found, wanted) = (found.status().as_str_name(), status.as_str_name());
                return Some(format!("{found} with {filled} filled, not {wanted} with {}", self.cumulative_quantity));
            }
        } else if filled < self.cumulative_quantity {
            return Some(format!("{filled} filled, not {} or more", self.cumulative_quantity));
        }
        None
    }
}
