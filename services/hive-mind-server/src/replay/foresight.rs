//! What the whole message file tells about each order before the first row is sent: which orders it names without
//! having shown their submission, how much of them there must be, and until which row an order is still spoken of.
//!
//! An order whose submission is not in the file stood before the first row, or was entered at a price too deep for the
//! file to show. The file's numbers grow with time, so the number tells which, and tells its place in the queue.

use std::collections::HashMap;

use types::{Price, Qty, Side};

use super::messages::{Action, FileOrder, Message};

/// An order whose submission the file does not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unseen {
    /// Its number.
    pub(super) order: FileOrder,
    /// Its side.
    pub(super) side: Side,
    /// Its price.
    pub(super) price: Price,
    /// What the file takes from it in all, so the least it can have.
    pub(super) quantity: Qty,
}

/// The result of reading ahead.
#[derive(Debug, Default)]
pub(super) struct Foresight {
    last_named: HashMap<FileOrder, usize>,
    taken: HashMap<FileOrder, Qty>,
    unseen: Vec<Unseen>,
}

impl Foresight {
    /// Reads all messages.
    pub(super) fn new(messages: &[Message]) -> Self {
        let mut ahead = Self::default();
        let mut shown: HashMap<FileOrder, bool> = HashMap::new();
        for (index, message) in messages.iter().enumerate() {
            match message.action {
                Action::Submit => {
                    shown.entry(message.order).or_insert(true);
                }
                Action::Reduce | Action::Delete | Action::Execute => {
                    ahead.last_named.insert(message.order, index);
                    ahead.taken.entry(message.order).or_default().0 += message.quantity.0;
                    shown.entry(message.order).or_insert_with(|| {
                        let Message { order, side, price, .. } = *message;
                        ahead.unseen.push(Unseen { order, side, price, quantity: Qty::ZERO });
                        false
                    });
                }
                Action::ExecuteHidden | Action::Cross | Action::Halt => {}
            }
        }
        for unseen in &mut ahead.unseen {
            unseen.quantity = ahead.taken.get(&unseen.order).copied().unwrap_or_default();
        }
        ahead.unseen.sort_by_key(|unseen| unseen.order);
        ahead
    }

    /// Orders whose submission is not in the file, in order of their numbers.
    pub(super) fn unseen(&self) -> &[Unseen] {
        &self.unseen
    }

    /// Whether a message after number `index` takes something from the order.
    pub(super) fn named_after(&self, order: FileOrder, index: usize) -> bool {
        self.last_named.get(&order).is_some_and(|last| *last > index)
    }

    /// What all messages together take from an order.
    pub(super) fn taken(&self, order: FileOrder) -> Qty {
        self.taken.get(&order).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::messages::parse;
    use super::*;

    #[test]
    fn unseen_orders_have_what_is_taken_from_them() {
        let text = "1,1,50,10,100,1\n2,4,7,3,101,-1\n3,3,50,10,100,1\n4,2,7,1,101,-1\n5,3,7,9,101,-1\n6,4,3,1,99,1";
        let ahead = Foresight::new(&parse(text).expect("rows"));
        let seven = Unseen { order: FileOrder(7), side: Side::Sell, price: Price(101), quantity: Qty(13) };
        let three = Unseen { order: FileOrder(3), side: Side::Buy, price: Price(99), quantity: Qty(1) };
        assert_eq!(ahead.unseen(), [three, seven]);
        assert!(ahead.named_after(FileOrder(50), 1) && !ahead.named_after(FileOrder(50), 2));
        assert_eq!(ahead.taken(FileOrder(50)), Qty(10));
    }
}
