//! Orders that come and go where the file does not look: those named without a submission are entered, those that
//! stand where they cannot have stayed are taken off.

use types::{Price, Qty, Side};

use super::foresight::Unseen;
use super::messages::FileOrder;
use super::mirror::{Name, Resting};
use super::plan::Planner;
use super::side::crosses;

impl Planner<'_> {
    /// Enters the orders without a submission whose numbers the file has passed, where no row says otherwise.
    pub(super) fn enter_born(&mut self) {
        while let Some(&unseen) = self.foresight.unseen().get(self.born).filter(|unseen| unseen.order <= self.newest) {
            self.born += 1;
            let Unseen { order, side, price, quantity } = unseen;
            let visible = self.window.get(side).shows(side, price);
            let trades = self.mirror.best(side.opposite()).is_some_and(|other| crosses(side, price, other));
            if self.pending.contains_key(&order) && !visible && !trades {
                self.tally.entered_unseen += 1;
                self.enter(Name::File(order), side, price, quantity);
            }
        }
    }

    /// Orders without a submission that stood when the newest was entered, at one price, in order of priority.
    pub(super) fn unentered_at(&self, side: Side, price: Price) -> Vec<Unseen> {
        let stood = self.pending.values().filter(|unseen| unseen.order <= self.newest);
        stood.filter(|unseen| unseen.side == side && unseen.price == price).copied().collect()
    }

    /// The order if it is in the book, or once it is, if it only has not been entered yet.
    pub(super) fn present(&mut self, order: FileOrder) -> Option<Resting> {
        let name = Name::File(order);
        if let Some(unseen) = self.pending.get(&order).copied().filter(|_| self.mirror.get(name).is_none()) {
            if !self.make_way(unseen.side, unseen.price) {
                return None;
            }
            self.tally.entered_unseen += 1;
            self.take_from_fillers(unseen.side, unseen.price, unseen.quantity);
            self.enter(name, unseen.side, unseen.price, unseen.quantity);
        }
        self.mirror.get(name)
    }

    /// Removes orders of the other side that an order would trade with, unless the file still speaks of one.
    pub(super) fn make_way(&mut self, side: Side, price: Price) -> bool {
        let blocking = self.mirror.ahead(side.opposite(), price, true);
        self.remove_vanished(&blocking)
    }

    /// Removes orders that must have left unseen; changes nothing and says false if the file still speaks of one.
    pub(super) fn remove_vanished(&mut self, blocking: &[Name]) -> bool {
        if blocking.iter().any(|name| self.named_later(*name)) {
            return false;
        }
        for &name in blocking {
            self.tally.vanished += 1;
            if let Some(order) = self.mirror.get(name) {
                self.set_leaves(name, order, Qty::ZERO);
            }
        }
        true
    }

    /// Whether a message from the present one on names the order.
    pub(super) fn named_later(&self, name: Name) -> bool {
        match name {
            Name::File(order) => self.index() == 0 || self.foresight.named_after(order, self.index() - 1),
            Name::Filler(_) => false,
        }
    }
}
