//! What the plan consists of: requests with their answers, rows to compare the book with, and changes of the
//! instrument's state, in the order in which they take effect.
//!
//! Deliberately absent: how they are found ([`super::plan`]) and how they are sent ([`super::session`]).

use types::{InstrumentState, Price, Qty, Side};

use super::compare::{Cause, Window};
use super::depth::Row;
use super::mirror::Name;
use super::side::PerSide;

/// What to do next.
#[derive(Debug)]
pub(super) enum Item {
    /// Send a request; its answer is known already.
    Command(Planned),
    /// Everything before is answered: compare the book with a row of the file.
    Compare(Comparison),
    /// Everything before is answered: move the instrument to another state.
    State(InstrumentState),
}

/// A request and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    /// Line of the message file it is for, from 1.
    pub(super) line: usize,
    /// Number of the request, from 1; the client's id of the request is made of it.
    pub(super) serial: u64,
    /// What to send.
    pub(super) request: Request,
    /// What must come back.
    pub(super) expected: Expected,
}

/// What to send. Orders are named by the serial of the request that entered them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// An order that stays.
    Rest { name: Name, side: Side, price: Price, quantity: Qty },
    /// An order that takes what it can and goes.
    Take { side: Side, price: Price, quantity: Qty },
    /// An order leaves.
    Cancel { side: Side, entered: u64 },
    /// An order gets another total quantity.
    Replace { side: Side, entered: u64, price: Price, total: Qty },
}

/// What must come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// It stands in the book with this much open.
    Open(Qty),
    /// It is cancelled.
    Canceled,
    /// It is filled by exactly these, in this order.
    Fills(Vec<(Name, Price, Qty)>),
}

/// A row to compare the book with.
#[derive(Debug)]
pub(super) struct Comparison {
    /// Line of both files, from 1.
    pub(super) line: usize,
    /// What the file shows.
    pub(super) row: Row,
    /// What the rows before have shown.
    pub(super) window: PerSide<Window>,
    /// Fills of the last order that belong to later rows: the book had these still.
    pub(super) pending: Vec<(Side, Price, Qty)>,
    /// Why it may differ, if it does.
    pub(super) blame: Option<Cause>,
}
