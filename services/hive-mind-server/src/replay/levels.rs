//! What the order-book file tells beyond the messages: the levels before the first message, and levels that come into
//! view later, with orders that were entered or taken away where the file does not look. What it does not name is
//! entered as one order per price and occasion, behind those it names.

use types::{Price, Qty, Side};

use super::compare::gaps;
use super::depth::Row;
use super::messages::{Action, Message};
use super::mirror::Name;
use super::plan::Planner;
use super::side::{PerSide, SIDES, crosses};

impl Planner<'_> {
    /// Enters the levels of the first row without the effect of the first message.
    pub(super) fn enter_row_before(&mut self, row: &Row, first: &Message) {
        let mut levels: PerSide<Vec<(Price, Qty)>> = row.levels.clone();
        let touched = levels.get_mut(first.side);
        let at = touched.iter().position(|(price, _)| *price == first.price);
        match (first.action, at) {
            (Action::Submit, Some(at)) => touched[at].1 = Qty(touched[at].1.0.saturating_sub(first.quantity.0)),
            (Action::Reduce | Action::Delete | Action::Execute, Some(at)) => touched[at].1.0 += first.quantity.0,
            (Action::Reduce | Action::Delete | Action::Execute, None) => touched.push((first.price, first.quantity)),
            (Action::Submit | Action::ExecuteHidden | Action::Cross | Action::Halt, _) => {}
        }
        for side in SIDES {
            for &(price, quantity) in levels.get(side) {
                self.add(side, price, quantity);
            }
            *self.window.get_mut(side) = super::compare::Window::of(row, side);
        }
    }

    /// Brings the planned book to what the row shows.
    pub(super) fn follow(&mut self, row: &Row) {
        let found: Vec<_> = SIDES.iter().flat_map(|side| gaps(row, *side, self.mirror.levels(*side))).collect();
        // What has to go goes first, so that nothing entered can meet it.
        for gap in found.iter().filter(|gap| gap.book > gap.file) {
            self.take(gap.side, gap.price, Qty(gap.book.0 - gap.file.0));
        }
        for gap in found.iter().filter(|gap| gap.file > gap.book) {
            self.add(gap.side, gap.price, Qty(gap.file.0 - gap.book.0));
        }
    }

    /// More stands at a price: orders that the messages name later, as far as they fit, then one nobody names.
    /// A row that would make the book trade with itself is not followed, and stays a difference.
    fn add(&mut self, side: Side, price: Price, quantity: Qty) {
        if self.mirror.best(side.opposite()).is_some_and(|other| crosses(side, price, other)) {
            return;
        }
        let mut missing = quantity;
        for unseen in self.unentered_at(side, price) {
            if unseen.quantity <= missing {
                missing.0 -= unseen.quantity.0;
                self.tally.entered_unseen += 1;
                self.enter(Name::File(unseen.order), side, price, unseen.quantity);
            }
        }
        if !missing.is_zero() {
            self.fillers += 1;
            self.tally.entered_unnamed += 1;
            self.enter(Name::Filler(self.fillers), side, price, missing);
        }
    }

    /// Less stands at a price: first what nobody names, then orders the messages are done with, the newest first.
    fn take(&mut self, side: Side, price: Price, quantity: Qty) {
        let mut excess = quantity;
        let mut queue = self.mirror.queue(side, price);
        queue.reverse();
        queue.sort_by_key(|name| (self.named_later(*name), matches!(name, Name::File(_))));
        for name in queue {
            let Some(order) = self.mirror.get(name) else { continue };
            let less = excess.min(order.leaves);
            if less.is_zero() {
                break;
            }
            self.tally.vanished += 1;
            self.set_leaves(name, order, Qty(order.leaves.0 - less.0));
            excess.0 -= less.0;
        }
    }

    /// Gives up unnamed quantity at a price for an order that turns out to be part of it.
    pub(super) fn take_from_fillers(&mut self, side: Side, price: Price, quantity: Qty) {
        let mut wanted = quantity;
        for name in self.mirror.queue(side, price) {
            let Some(order) = self.mirror.get(name).filter(|_| matches!(name, Name::Filler(_))) else { continue };
            let less = wanted.min(order.leaves);
            if !less.is_zero() {
                self.set_leaves(name, order, Qty(order.leaves.0 - less.0));
                wanted.0 -= less.0;
            }
        }
    }
}
