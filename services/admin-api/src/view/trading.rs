//! `POST /admin/trading/…`: what became of every instrument that was meant.

use serde::Serialize;
use wire::pb::admin::v1 as pb;

use super::given;
use super::market::state_word;

/// The whole answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TradingView {
    /// Whether this is only what would be done.
    pub dry_run: bool,
    /// In order of definition.
    pub changes: Vec<ChangeView>,
}

/// An instrument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangeView {
    /// Its name.
    pub symbol: String,
    /// Its state before.
    pub before: String,
    /// Its state now.
    pub after: String,
    /// Orders in its book when the order was given. A kill cancels all of them.
    pub resting_orders: u64,
    /// Why it was not changed; null if it was.
    pub note: Option<String>,
    /// Whether something failed.
    pub failed: bool,
}

impl TradingView {
    /// The answer to an order.
    #[must_use]
    pub fn new(response: pb::SetTradingResponse, dry_run: bool) -> Self {
        let change = |change: pb::TradingChange| ChangeView {
            before: state_word(change.before()),
            after: state_word(change.after()),
            symbol: change.symbol,
            resting_orders: change.resting_orders,
            note: given(change.note),
            failed: change.failed,
        };
        Self { dry_run, changes: response.changes.into_iter().map(change).collect() }
    }
}
