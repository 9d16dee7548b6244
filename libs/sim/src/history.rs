//! What clients did: when each operation began, when it came back and with what. One operation is one line of JSON,
//! so that the history of a failed run can be kept, read and judged again.
//!
//! Deliberately absent: clocks and files. The recorder gives the stamps: nanoseconds of one monotonic clock for the
//! whole run, so that of any two operations it is known whether one had come back before the other began.

use serde::{Deserialize, Serialize};

/// One thing a client wanted, over all attempts under one id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// Who. What one client reads from one process follows in order.
    pub client: u64,
    /// Shard it went to.
    pub shard: u32,
    /// Before the first attempt was sent.
    pub invoked: u64,
    /// After the answer had come; when the client gave up, for an outcome it never learnt.
    pub returned: u64,
    /// Attempts made.
    pub attempts: u32,
    /// What was wanted, and what came of it.
    pub call: Call,
}

/// See [`Operation::call`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
pub enum Call {
    /// A trading request.
    Request {
        /// Its account.
        account: u64,
        /// Its client order id.
        id: String,
        /// Digest of its content, `matching::payload_hash`.
        payload: u64,
        /// What came of it.
        outcome: Outcome,
    },
    /// A read of the best levels of a book.
    Book {
        /// Instrument.
        symbol: String,
        /// Levels asked for on each side.
        depth: usize,
        /// Whether an old state would have been good enough.
        stale: bool,
        /// Least position asked for, 0 for any.
        min_seq: u64,
        /// Position the answer is of.
        as_of_seq: u64,
        /// Best first: price, quantity, orders.
        bids: Vec<(i64, u64, u32)>,
        /// Best first: price, quantity, orders.
        asks: Vec<(i64, u64, u32)>,
    },
    /// A read of the digest of the state.
    Digest {
        /// Engine process that answered, for people.
        engine: String,
        /// Whether an old state would have been good enough.
        stale: bool,
        /// Position the answer is of.
        as_of_seq: u64,
        /// The digest, 32 hexadecimal digits.
        hash: String,
    },
}

/// What a client knows of its request in the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It was executed.
    Acknowledged(Answer),
    /// It was not executed, by none of the attempts.
    Refused {
        /// Why.
        error: String,
    },
    /// Nobody said.
    Unknown {
        /// Wall clock when the client gave up, microseconds.
        gave_up_us: u64,
    },
}

/// An acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Where it was executed: history, 32 hexadecimal digits.
    pub log_id: String,
    /// Where it was executed.
    pub epoch: u64,
    /// Where it was executed.
    pub seq: u64,
    /// Where it was executed.
    pub index: u32,
    /// As `types::OrderStatus` is spelt.
    pub status: String,
    /// As `types::RejectReason` is spelt; empty if accepted.
    pub reason: String,
    /// Number of the order.
    pub order_id: u64,
    /// Filled so far.
    pub cumulative: u64,
    /// Still open.
    pub leaves: u64,
    /// Orders cancelled by a mass cancel.
    pub canceled_orders: u32,
    /// Trade, price, quantity, maker.
    pub fills: Vec<(u64, i64, u64, u64)>,
    /// Log time of the execution, microseconds.
    pub time_us: u64,
}

impl Operation {
    /// As one line, without its end.
    ///
    /// # Errors
    /// Never for what this crate defines; serde cannot know.
    pub fn to_line(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// Reads what [`Self::to_line`] wrote.
    ///
    /// # Errors
    /// When it is something else.
    pub fn from_line(line: &str) -> serde_json::Result<Self> {
        serde_json::from_str(line)
    }

    /// The acknowledgement, if it is an acknowledged request.
    #[must_use]
    pub const fn answer(&self) -> Option<&Answer> {
        match &self.call {
            Call::Request { outcome: Outcome::Acknowledged(answer), .. } => Some(answer),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back() {
        let answer = Answer {
            log_id: "0".repeat(32),
            epoch: 1,
            seq: 2,
            index: 3,
            status: "New".to_owned(),
            reason: String::new(),
            order_id: 4,
            cumulative: 0,
            leaves: 10,
            canceled_orders: 0,
            fills: vec![(1, -5, 7, 3)],
            time_us: 9,
        };
        let outcomes = [
            Outcome::Acknowledged(answer),
            Outcome::Refused { error: "full".to_owned() },
            Outcome::Unknown { gave_up_us: 1 },
        ];
        for outcome in outcomes {
            let call = Call::Request { account: 1, id: "a-1".to_owned(), payload: u64::MAX, outcome };
            let operation = Operation { client: 1, shard: 0, invoked: 1, returned: 2, attempts: 1, call };
            let line = operation.to_line().expect("it is plain data");
            assert!(!line.contains('\n'));
            assert_eq!(Operation::from_line(&line).expect("as written"), operation);
        }
    }
}
