//! Requests about orders that exist: cancel, replace, mass cancel.

use crate::digest::{self, OpenOrder};
use crate::exchange::{Exchange, Output, Refusal};
use crate::limits;
use crate::table::Made;
use crate::trading::{self, Taken};
use types::{
    AccountId, Cancel, CancelCause, ClientOrderId, Command, Event, InstrumentId, InstrumentState, MassCancel, OrderId,
    OrderStatus, OrderTarget, Outcome, Qty, RejectReason, Replace, ReplaceEvent,
};

/// Answers about an order carry what is known of it, refusals too.
fn refuse(reason: RejectReason, order: &OpenOrder) -> Refusal {
    Refusal { reason, order_id: order.id, cumulative: order.cumulative, leaves: order.leaves }
}

impl Exchange {
    /// Takes one order off the book.
    pub(crate) fn cancel(&mut self, cancel: &Cancel, output: &mut Output<'_>) -> Result<Outcome, Refusal> {
        if cancel.account.0 == 0 {
            return Err(RejectReason::InvalidAccount.into());
        }
        if self.market(cancel.instrument)?.state == InstrumentState::Closed {
            return Err(RejectReason::InstrumentNotTrading.into());
        }
        let handle = self.find_open(cancel.account, cancel.instrument, cancel.target)?;
        let order = self.books.order(handle).open;
        self.cancel_resting(handle, CancelCause::Requested, output);
        Ok(trading::outcome(OrderStatus::Canceled, &order, Qty::ZERO))
    }

    /// Changes an order's price or total quantity.
    pub(crate) fn replace(&mut self, replace: &Replace, output: &mut Output<'_>) -> Result<Outcome, Refusal> {
        if replace.account.0 == 0 {
            return Err(RejectReason::InvalidAccount.into());
        }
        let state = self.market(replace.instrument)?.state;
        if !matches!(state, InstrumentState::Continuous | InstrumentState::CancelOnly) {
            return Err(RejectReason::InstrumentNotTrading.into());
        }
        let handle = self.find_open(replace.account, replace.instrument, replace.target)?;
        let before = self.books.order(handle).open;
        if replace.quantity <= before.cumulative {
            return Err(refuse(RejectReason::QuantityBelowFilled, &before));
        }
        // The new total counts from what is filled: what a decrement took away before is not taken away again.
        let leaves = Qty(replace.quantity.0 - before.cumulative.0);
        let kept_priority = replace.price == before.price && leaves <= before.leaves;
        self.check_replace(replace, &before, kept_priority).map_err(|reason| refuse(reason, &before))?;

        let mut order = OpenOrder { price: replace.price, quantity: replace.quantity, leaves, ..before };
        output.events.push(Event::Replaced(ReplaceEvent {
            order_id: order.id,
            account: order.account,
            client_order_id: replace.client_order_id,
            instrument: order.instrument,
            side: order.side,
            old_price: before.price,
            old_leaves: before.leaves,
            price: order.price,
            quantity: order.quantity,
            leaves,
            kept_priority,
        }));
        if kept_priority {
            let after = self.books.change(handle, &mut self.sums, |open| *open = order);
            return Ok(trading::outcome(trading::open_status(&after), &after, leaves));
        }
        self.books.dequeue(handle, &mut self.sums);
        let taken = self.take(&mut order, output);
        if order.leaves.is_zero() {
            self.finish(handle, &order, OrderStatus::Filled);
            return Ok(trading::outcome(OrderStatus::Filled, &order, Qty::ZERO));
        }
        if taken == Taken::SelfTrade {
            self.finish(handle, &order, OrderStatus::Canceled);
            output.events.push(trading::canceled(&order, false, CancelCause::SelfTrade));
            return Ok(trading::outcome(OrderStatus::Canceled, &order, Qty::ZERO));
        }
        order.priority = self.priority();
        self.books.enqueue(handle, order, &mut self.sums);
        output.events.push(trading::rested(&order));
        Ok(trading::outcome(trading::open_status(&order), &order, order.leaves))
    }

    fn check_replace(&self, replace: &Replace, before: &OpenOrder, kept_priority: bool) -> Result<(), RejectReason> {
        let market = self.market(replace.instrument)?;
        if market.state == InstrumentState::CancelOnly && !kept_priority {
            return Err(RejectReason::InstrumentNotTrading);
        }
        // An order may stay where it is after the band has moved away from it.
        if replace.price != before.price {
            limits::check_price(&market.definition, market.last, replace.price)?;
        }
        limits::check_quantity(&market.definition, replace.price, replace.quantity)?;
        if kept_priority {
            return Ok(());
        }
        self.check_trade_numbers()?;
        if before.post_only && self.books.crosses(before.instrument, before.side, replace.price) {
            return Err(RejectReason::WouldTakeLiquidity);
        }
        Ok(())
    }

    /// Takes every order that is meant off the book, ascending by order id.
    pub(crate) fn mass_cancel(&mut self, request: &MassCancel, output: &mut Output<'_>) -> Result<Outcome, Refusal> {
        if request.account.0 == 0 {
            return Err(RejectReason::InvalidAccount.into());
        }
        if let Some(instrument) = request.instrument
            && self.market(instrument)?.state == InstrumentState::Closed
        {
            return Err(RejectReason::InstrumentNotTrading.into());
        }
        let meant = |order: &OpenOrder| {
            request.instrument.is_none_or(|instrument| instrument == order.instrument)
                && request.side.is_none_or(|side| side == order.side)
        };
        let mut canceled_orders = 0;
        let mut next = self.books.of_account(request.account).next();
        while let Some(handle) = next {
            next = self.books.after_in_account(handle);
            if meant(&self.books.order(handle).open) {
                self.cancel_resting(handle, CancelCause::MassCancel, output);
                canceled_orders += 1;
            }
        }
        Ok(Outcome {
            status: OrderStatus::Canceled,
            reason: None,
            order_id: OrderId(0),
            cumulative: Qty::ZERO,
            leaves: Qty::ZERO,
            canceled_orders,
            original: None,
        })
    }

    /// The open order that a request means.
    fn find_open(&self, account: AccountId, instrument: InstrumentId, target: OrderTarget) -> Result<u32, Refusal> {
        let unknown = Refusal::plain(RejectReason::UnknownOrder);
        let entry = match target {
            OrderTarget::OrderId(id) => self.table.find_order(id),
            OrderTarget::ClientOrderId(id) => self.named(account, &id),
        };
        let entry = self.table.get(entry.ok_or(unknown)?);
        if entry.account != account {
            return Err(unknown);
        }
        match entry.made {
            Made::Open(handle) if self.books.order(handle).open.instrument == instrument => Ok(handle),
            Made::Closed(closed) if closed.instrument == instrument => Err(Refusal {
                reason: RejectReason::OrderClosed,
                order_id: entry.names().unwrap_or_default(),
                cumulative: closed.cumulative,
                leaves: Qty::ZERO,
            }),
            Made::Nothing | Made::Open(_) | Made::Closed(_) => Err(unknown),
        }
    }

    /// The submit of the order that a client id of an account names.
    pub(crate) fn named(&self, account: AccountId, id: &ClientOrderId) -> Option<u32> {
        let handle = self.table.find(digest::request_key(account, id), account, id)?;
        let entry = self.table.get(handle);
        match entry.made {
            Made::Open(_) | Made::Closed(_) => Some(handle),
            Made::Nothing => self.table.find_order(entry.names()?),
        }
    }

    /// Begins to load what the command will look for, so that several waits pass side by side. Without it a command
    /// waits for memory three or four times, one after the other.
    pub(crate) fn anticipate(&self, command: &Command) {
        let (account, target) = match command {
            Command::Cancel(cancel) => (cancel.account, cancel.target),
            Command::Replace(replace) => (replace.account, replace.target),
            _ => return,
        };
        match target {
            OrderTarget::OrderId(id) => self.table.touch_order(id),
            OrderTarget::ClientOrderId(id) => self.table.touch_request(digest::request_key(account, &id)),
        }
    }
}
