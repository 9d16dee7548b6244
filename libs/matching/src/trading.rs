//! Price-time priority: what happens when an order meets those of the other side, and how orders end.

use crate::digest::OpenOrder;
use crate::exchange::{Exchange, Output};
use crate::ladder::Rank;
use types::{
    CancelCause, ClosedOrder, Event, Fill, OrderStatus, Outcome, Qty, RestedEvent, SelfTradePrevention, Trade,
};

/// How the matching of an incoming order ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It has nothing left, or nothing more to trade with.
    Through,
    /// It met an order of its own account that ends it.
    SelfTrade,
}

impl Exchange {
    /// Trades an incoming order against the other side at `limit` or better, at the makers' prices. The order is
    /// not in the book; its quantities are kept in `taker`.
    pub(crate) fn take(&mut self, taker: &mut OpenOrder, output: &mut Output<'_>) -> Taken {
        let resting = taker.side.opposite();
        let limit = Rank::of(resting, taker.price);
        let mut last = None;
        let mut taken = Taken::Through;
        while !taker.leaves.is_zero() {
            let Some((rank, maker)) = self.books.best(taker.instrument, resting) else { break };
            if rank < limit {
                break;
            }
            if self.books.order(maker).open.account == taker.account {
                if self.prevent_self_trade(maker, taker, output) {
                    taken = Taken::SelfTrade;
                    break;
                }
                continue;
            }
            last = Some(rank.price(resting));
            self.trade(maker, taker, output);
        }
        if last.is_some() {
            let state = self.markets[taker.instrument.0 as usize].state;
            self.set_market(taker.instrument, state, last);
        }
        taken
    }

    fn trade(&mut self, maker: u32, taker: &mut OpenOrder, output: &mut Output<'_>) {
        let before = self.books.order(maker).open;
        let quantity = before.leaves.min(taker.leaves);
        let maker_leaves = Qty(before.leaves.0 - quantity.0);
        let maker_cumulative = Qty(before.cumulative.0 + quantity.0);
        taker.leaves.0 -= quantity.0;
        taker.cumulative.0 += quantity.0;
        let trade_id = self.trade_id();
        output.events.push(Event::Trade(Trade {
            trade_id,
            instrument: taker.instrument,
            price: before.price,
            quantity,
            maker: before.id,
            maker_account: before.account,
            maker_leaves,
            maker_cumulative,
            taker: taker.id,
            taker_account: taker.account,
            taker_side: taker.side,
            taker_leaves: taker.leaves,
            taker_cumulative: taker.cumulative,
        }));
        output.fills.push(Fill { trade_id, price: before.price, quantity, maker: before.id });
        if maker_leaves.is_zero() {
            let after = OpenOrder { leaves: Qty::ZERO, cumulative: maker_cumulative, ..before };
            self.take_off(maker, &after, OrderStatus::Filled);
        } else {
            self.books.change(maker, &mut self.sums, |open| {
                open.leaves = maker_leaves;
                open.cumulative = maker_cumulative;
            });
        }
    }

    /// Whether the incoming order is ended by it.
    fn prevent_self_trade(&mut self, maker: u32, taker: &mut OpenOrder, output: &mut Output<'_>) -> bool {
        match taker.self_trade_prevention {
            SelfTradePrevention::CancelNewest => true,
            SelfTradePrevention::CancelOldest => {
                self.cancel_resting(maker, CancelCause::SelfTrade, output);
                false
            }
            SelfTradePrevention::CancelBoth => {
                self.cancel_resting(maker, CancelCause::SelfTrade, output);
                true
            }
            SelfTradePrevention::Decrement => {
                let before = self.books.order(maker).open;
                let by = before.leaves.min(taker.leaves);
                taker.leaves.0 -= by.0;
                let leaves = Qty(before.leaves.0 - by.0);
                if leaves.is_zero() {
                    self.take_off(maker, &OpenOrder { leaves, ..before }, OrderStatus::Filled);
                } else {
                    self.books.change(maker, &mut self.sums, |open| open.leaves = leaves);
                }
                output.events.push(decremented(&before, by, leaves));
                output.events.push(decremented(taker, by, taker.leaves));
                false
            }
        }
    }

    /// Cancels an order that stands in the book.
    pub(crate) fn cancel_resting(&mut self, handle: u32, cause: CancelCause, output: &mut Output<'_>) {
        let open = self.books.order(handle).open;
        self.take_off(handle, &open, OrderStatus::Canceled);
        output.events.push(canceled(&open, true, cause));
    }

    /// Takes an order, as it is `after` its last change, off the book for good.
    fn take_off(&mut self, handle: u32, after: &OpenOrder, status: OrderStatus) {
        self.books.dequeue(handle, &mut self.sums);
        self.finish(handle, after, status);
    }

    /// Forgets an order that is in no queue, and notes in its submit's entry how it ended.
    pub(crate) fn finish(&mut self, handle: u32, after: &OpenOrder, status: OrderStatus) {
        let entry = self.books.order(handle).entry;
        self.books.forget(handle);
        self.table.close(entry, after.key, closed(after, status), &mut self.sums);
    }
}

/// What is remembered of an order that ended.
pub(crate) const fn closed(after: &OpenOrder, status: OrderStatus) -> ClosedOrder {
    ClosedOrder {
        status,
        instrument: after.instrument,
        side: after.side,
        price: after.price,
        quantity: after.quantity,
        cumulative: after.cumulative,
    }
}

/// Status of an order that is in the book.
pub(crate) const fn open_status(order: &OpenOrder) -> OrderStatus {
    if order.cumulative.is_zero() { OrderStatus::New } else { OrderStatus::PartiallyFilled }
}

/// The answer about one order.
pub(crate) const fn outcome(status: OrderStatus, order: &OpenOrder, leaves: Qty) -> Outcome {
    Outcome {
        status,
        reason: None,
        order_id: order.id,
        cumulative: order.cumulative,
        leaves,
        canceled_orders: 0,
        original: None,
    }
}

pub(crate) const fn canceled(order: &OpenOrder, was_resting: bool, cause: CancelCause) -> Event {
    Event::Canceled {
        order_id: order.id,
        account: order.account,
        instrument: order.instrument,
        side: order.side,
        price: order.price,
        quantity: order.leaves,
        was_resting,
        cause,
    }
}

pub(crate) const fn rested(order: &OpenOrder) -> Event {
    Event::Rested(RestedEvent {
        order_id: order.id,
        account: order.account,
        instrument: order.instrument,
        side: order.side,
        price: order.price,
        leaves: order.leaves,
    })
}

const fn decremented(order: &OpenOrder, by: Qty, leaves: Qty) -> Event {
    let OpenOrder { id: order_id, instrument, side, price, .. } = *order;
    Event::Decremented { order_id, instrument, side, price, by, leaves }
}
