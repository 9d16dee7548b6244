//! Holds what comes back against what was planned: every answer with its fills, and the exchange's book, as its
//! increments tell it, against every row of the order-book file.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use serde::Serialize;
use types::{Price, Qty, Side};
use wire::pb::marketdata::v1::BookLevel;
use wire::pb::orders::v1::{Fill, OrderReport, OrderStatus, RejectReason};

use super::compare::{Cause, Gap, gaps};
use super::item::{Comparison, Expected, Planned, Request};
use super::mirror::Name;
use super::side::{PerSide, SIDES, price_at, rank};

/// How many differences, and how many wrong answers, are kept for the report; the rest are only counted.
const LISTED: usize = 1_000;

/// Book and file differ at one price after one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    /// Line of both files, from 1.
    line: usize,
    /// `bid` or `ask`.
    side: &'static str,
    /// Level of the side, from 1.
    level: usize,
    /// Price, in price units.
    price: i64,
    /// Open quantity in the file.
    file: u64,
    /// Open quantity in the book.
    book: u64,
    /// Why; none if there is no explanation.
    cause: Option<Cause>,
}

impl Difference {
    /// Whether nothing explains it.
    pub(crate) const fn unexplained(&self) -> bool {
        self.cause.is_none()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, side, level, price, file, book, .. } = self;
        write!(f, "line {line}: {side} level {level} at {price} has {book}, in the file {file}")
    }
}

/// An answer that is not the one that must come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct WrongAnswer {
    /// Line of the message file, from 1.
    pub(super) line: usize,
    /// What was asked.
    pub(super) request: String,
    /// What should have come back.
    pub(super) expected: String,
    /// What came back.
    pub(super) answer: String,
}

/// What was found out so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Rows compared.
    pub(super) rows: u64,
    /// Rows and sides whose best price or its quantity differs although the rows before determine it.
    pub(super) best_mismatches: u64,
    /// Prices at which they differ although the rows before determine them, the best ones included.
    pub(super) level_mismatches: u64,
    /// Differences without a cause, and wrong answers.
    pub(super) unexplained: u64,
    /// Differences by cause.
    pub(super) causes: BTreeMap<Cause, u64>,
    /// The first differences.
    pub(super) differences: Vec<Difference>,
    /// The first wrong answers.
    pub(super) wrong_answers: Vec<WrongAnswer>,
    /// Orders that were accepted.
    pub(super) orders: u64,
    /// Fills received.
    pub(super) trades: u64,
}

/// The exchange's side of the matter.
#[derive(Debug, Default)]
pub(super) struct Verifier {
    /// The book: open quantity by rank of the price.
    book: PerSide<BTreeMap<i64, u64>>,
    /// The exchange's numbers of our resting orders.
    names: HashMap<u64, Name>,
    /// Prices that some row has shown.
    shown: PerSide<HashSet<i64>>,
    /// What was found.
    pub(super) findings: Findings,
}

impl Verifier {
    /// Checks an answer. Says whether the request changed the book.
    pub(super) fn answer(&mut self, planned: &Planned, report: &OrderReport) -> bool {
        let status = report.status();
        if let Request::Rest { name, .. } = planned.request {
            self.names.insert(report.order_id, name);
        }
        if matches!(planned.request, Request::Rest { .. } | Request::Take { .. }) && status != OrderStatus::Rejected {
            self.findings.orders += 1;
        }
        self.findings.trades += report.fills.len() as u64;
        let open = matches!(status, OrderStatus::New | OrderStatus::PartiallyFilled);
        let right = match &planned.expected {
            Expected::Open(leaves) => open && report.leaves_quantity == leaves.0 && report.fills.is_empty(),
            Expected::Canceled => status == OrderStatus::Canceled,
            Expected::Fills(fills) => status == OrderStatus::Filled && self.fills_are(report, fills),
        };
        if !right || report.duplicate {
            self.note_wrong(planned, report);
        }
        match planned.request {
            Request::Take { .. } => !report.fills.is_empty(),
            _ => status != OrderStatus::Rejected,
        }
    }

    fn fills_are(&self, report: &OrderReport, expected: &[(Name, Price, Qty)]) -> bool {
        let received = report.fills.iter().map(|fill| {
            let name = self.names.get(&fill.maker_order_id).copied();
            name.map(|name| (name, Price(fill.price), Qty(fill.quantity)))
        });
        received.eq(expected.iter().map(|fill| Some(*fill)))
    }

    fn note_wrong(&mut self, planned: &Planned, report: &OrderReport) {
        let reason = match report.reject_reason() {
            RejectReason::Unspecified => String::new(),
            reason => format!(" {}", reason.as_str_name()),
        };
        let name = |fill: &Fill| (self.names.get(&fill.maker_order_id).copied(), fill.price, fill.quantity);
        let fills: Vec<_> = report.fills.iter().map(name).collect();
        let leaves = report.leaves_quantity;
        self.note_unexplained(WrongAnswer {
            line: planned.line,
            request: format!("{:?}", planned.request),
            expected: format!("{:?}", planned.expected),
            answer: format!("{}{reason}, {leaves} open, fills {fills:?}", report.status().as_str_name()),
        });
    }

    /// The book has changed at these prices.
    pub(super) fn change_book(&mut self, bids: &[BookLevel], asks: &[BookLevel]) {
        for (side, levels) in [(Side::Buy, bids), (Side::Sell, asks)] {
            for level in levels {
                let at = rank(side, Price(level.price));
                let book = self.book.get_mut(side);
                let _before = if level.quantity == 0 { book.remove(&at) } else { book.insert(at, level.quantity) };
            }
        }
    }

    /// Prices and open quantities, best first.
    pub(super) fn levels(&self, side: Side) -> impl Iterator<Item = (Price, Qty)> + '_ {
        self.book.get(side).iter().map(move |(rank, quantity)| (price_at(side, *rank), Qty(*quantity)))
    }

    /// Counts something that nothing explains.
    pub(super) fn note_unexplained(&mut self, what: WrongAnswer) {
        self.findings.unexplained += 1;
        if self.findings.wrong_answers.len() < LISTED {
            self.findings.wrong_answers.push(what);
        }
    }

    /// Compares the book with a row of the file.
    pub(super) fn compare(&mut self, comparison: &Comparison) {
        self.findings.rows += 1;
        for (side, price, quantity) in &comparison.pending {
            *self.book.get_mut(*side).entry(rank(*side, *price)).or_default() += quantity.0;
        }
        for side in SIDES {
            let found = gaps(&comparison.row, side, self.levels(side));
            let determined = |gap: &&Gap| comparison.window.get(side).shows(side, gap.price);
            self.findings.level_mismatches += found.iter().filter(determined).count() as u64;
            self.findings.best_mismatches += u64::from(found.iter().filter(determined).any(|gap| gap.best));
            for gap in &found {
                let cause = if determined(&gap) {
                    comparison.blame
                } else if self.shown.get(side).contains(&gap.price.0) {
                    Some(Cause::ChangedOutOfView)
                } else {
                    Some(Cause::LevelRevealed)
                };
                self.note_difference(comparison.line, gap, cause);
            }
            self.shown.get_mut(side).extend(comparison.row.levels.get(side).iter().map(|(price, _)| price.0));
        }
        for (side, price, quantity) in &comparison.pending {
            let levels = self.book.get_mut(*side);
            let at = rank(*side, *price);
            let left = levels.get(&at).copied().unwrap_or_default().saturating_sub(quantity.0);
            if left == 0 {
                levels.remove(&at);
            } else {
                levels.insert(at, left);
            }
        }
    }

    fn note_difference(&mut self, line: usize, gap: &Gap, cause: Option<Cause>) {
        match cause {
            Some(cause) => *self.findings.causes.entry(cause).or_default() += 1,
            None => self.findings.unexplained += 1,
        }
        if self.findings.differences.len() < LISTED {
            let side = match gap.side {
                Side::Buy => "bid",
                Side::Sell => "ask",
            };
            let Gap { level, price, file, book, .. } = *gap;
            let difference = Difference { line, side, level, price: price.0, file: file.0, book: book.0, cause };
            self.findings.differences.push(difference);
        }
    }
}
