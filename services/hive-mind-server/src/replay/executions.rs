//! Executions name resting orders; the incoming order that traded with them is not in the file. Consecutive ones at one
//! time stamp on one side are one incoming order: immediate-or-cancel, priced at the worst of them, for their sum. Its
//! fills must be exactly the named orders in the named order, so the planner looks which others stand before them and
//! sends those to the end of their queue first.
//!
//! Who stands before a named order without being named? Orders that the exchange had put back with an older time of
//! entry than their submission's place in the file tells (the batch after the opening auction), and orders that its own
//! rules passed over. An order at a better price that is never named again has left unseen.

use types::{Price, Qty, Side};

use super::item::{Expected, Request};
use super::messages::{Action, Message};
use super::mirror::{Name, Resting};
use super::plan::Planner;

/// A fill and the index of its message.
type Fill = (usize, (Name, Price, Qty));

/// One incoming order while its messages are being gathered.
struct Group {
    side: Side,
    fills: Vec<Fill>,
    /// Price that is being traded at.
    price: Price,
    /// How far into the queue at that price the last named order stands.
    position: usize,
    /// Orders at that price that stand before a named one.
    passed: Vec<Name>,
    /// The same of the prices before; they keep the incoming order from going on to a worse price.
    exhausted: bool,
}

impl Planner<'_> {
    /// Plans the group that begins with the present message. Returns the index of its last message and its fills.
    pub(super) fn execute(&mut self) -> (usize, Vec<Fill>) {
        let first = self.index();
        let message = self.messages[first];
        let Some(group) = self.start(&message) else { return (first, Vec::new()) };
        let (last, group) = self.gather(group, first);
        for index in first..=last {
            match self.messages[index].action {
                Action::Execute => self.tally.messages.executions += 1,
                _ => self.tally.messages.hidden_executions += 1,
            }
        }
        for &name in &group.passed {
            if let Some(order) = self.mirror.get(name) {
                self.requeue(name, order);
            }
        }
        let fills: Vec<_> = group.fills.iter().map(|(_, fill)| *fill).collect();
        let quantity = Qty(fills.iter().map(|(_, _, quantity)| quantity.0).sum());
        for (name, _, quantity) in &fills {
            self.fill(*name, *quantity);
        }
        self.tally.incoming_orders += 1;
        let request = Request::Take { side: group.side.opposite(), price: group.price, quantity };
        self.command(request, Expected::Fills(fills));
        (last, group.fills)
    }

    /// The group of the first message alone; none if it cannot be a trade.
    fn start(&mut self, message: &Message) -> Option<Group> {
        let index = self.index();
        let name = Name::File(message.order);
        let Some(order) = self.present(message.order) else {
            self.tally.refuse(index, "execution of an order that is not in the book");
            return None;
        };
        if message.quantity > order.leaves {
            self.tally.refuse(index, "execution of more than is open");
            return None;
        }
        let better = self.mirror.ahead(order.side, order.price, false);
        if !self.remove_vanished(&better) {
            // Nobody could trade past a better price here: the order only loses the quantity.
            self.tally.refuse(index, "execution past a better price that the file keeps; taken off without a trade");
            self.set_leaves(name, order, Qty(order.leaves.0 - message.quantity.0));
            return None;
        }
        let queue = self.mirror.queue(order.side, order.price);
        let position = queue.iter().position(|other| *other == name)?;
        Some(Group {
            side: order.side,
            fills: vec![(index, (name, order.price, message.quantity))],
            price: order.price,
            position,
            passed: queue[..position].to_vec(),
            exhausted: message.quantity == order.leaves,
        })
    }

    /// Takes in the messages that follow as long as one incoming order explains them.
    fn gather(&mut self, mut group: Group, first: usize) -> (usize, Group) {
        let mut last = first;
        for index in first + 1..self.messages.len() {
            let message = self.messages[index];
            if message.time != self.messages[first].time {
                break;
            }
            match message.action {
                // A hidden order in between traded with the same incoming one.
                Action::ExecuteHidden => continue,
                Action::Execute if message.side == group.side && group.exhausted => {}
                _ => break,
            }
            let name = Name::File(message.order);
            let Some(order) = self.mirror.get(name) else { break };
            if message.quantity > order.leaves || !self.extend(&mut group, name, order) {
                break;
            }
            group.fills.push((index, (name, order.price, message.quantity)));
            group.exhausted = message.quantity == order.leaves;
            last = index;
        }
        (last, group)
    }

    /// Moves the group on to its next resting order; says false, changing nothing, if it cannot be the next.
    fn extend(&self, group: &mut Group, name: Name, order: Resting) -> bool {
        let queue = self.mirror.queue(group.side, order.price);
        let Some(position) = queue.iter().position(|other| *other == name) else { return false };
        if order.price == group.price {
            if position <= group.position {
                return false;
            }
            group.passed.extend_from_slice(&queue[group.position + 1..position]);
        } else {
            let before = self.mirror.queue(group.side, group.price);
            let traded = group.fills.iter().filter(|(_, (_, price, _))| *price == group.price).count();
            let next = self.mirror.next_worse(group.side, group.price);
            if traded < before.len() || next != Some(order.price) {
                return false;
            }
            group.price = order.price;
            group.passed.extend_from_slice(&queue[..position]);
        }
        group.position = position;
        true
    }
}
