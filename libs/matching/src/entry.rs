//! New orders.

use crate::digest::OpenOrder;
use crate::exchange::{Applied, COUNTER_END, Exchange, MAX_OPEN_ORDERS, Output};
use crate::limits;
use crate::slab::NONE;
use crate::table::Made;
use crate::trading::{self, Taken};
use types::{
    CancelCause, Event, InstrumentState, OrderId, OrderStatus, OrderType, Qty, RejectReason, Submit, TimeInForce,
};

impl Exchange {
    /// A new order. Checks come first, in the order of this function; nothing happens before all have passed.
    pub(crate) fn submit(
        &mut self,
        key: u64,
        submit: &Submit,
        output: &mut Output<'_>,
    ) -> Result<Applied, RejectReason> {
        let mut order = OpenOrder {
            id: OrderId(0),
            key,
            account: submit.account,
            instrument: submit.instrument,
            side: submit.side,
            price: submit.price,
            quantity: submit.quantity,
            cumulative: Qty::ZERO,
            leaves: submit.quantity,
            priority: 0,
            self_trade_prevention: submit.self_trade_prevention,
            post_only: submit.post_only,
        };
        self.check_submit(submit, &order)?;
        order.id = self.order_id();
        output.events.push(Event::Accepted { order_id: order.id, order: *submit });
        let taken = self.take(&mut order, output);
        if order.leaves.is_zero() {
            let status = OrderStatus::Filled;
            let made = Made::Closed(trading::closed(&order, status));
            return Ok(Applied { outcome: trading::outcome(status, &order, Qty::ZERO), made });
        }
        let cause = match (taken, submit.order_type, submit.time_in_force) {
            (Taken::SelfTrade, _, _) => CancelCause::SelfTrade,
            (Taken::Through, OrderType::Market, _) => CancelCause::MarketRemainder,
            (Taken::Through, OrderType::Limit, TimeInForce::GoodTillCancel) => {
                order.priority = self.priority();
                // The entry of this submit is made when its outcome is known, and named to the order then.
                let handle = self.books.admit(order, NONE);
                self.books.enqueue(handle, order, &mut self.sums);
                output.events.push(trading::rested(&order));
                let outcome = trading::outcome(trading::open_status(&order), &order, order.leaves);
                return Ok(Applied { outcome, made: Made::Open(handle) });
            }
            (Taken::Through, OrderType::Limit, _) => CancelCause::ImmediateOrCancel,
        };
        output.events.push(trading::canceled(&order, false, cause));
        let status = OrderStatus::Canceled;
        let made = Made::Closed(trading::closed(&order, status));
        Ok(Applied { outcome: trading::outcome(status, &order, Qty::ZERO), made })
    }

    fn check_submit(&self, submit: &Submit, order: &OpenOrder) -> Result<(), RejectReason> {
        if submit.account.0 == 0 {
            return Err(RejectReason::InvalidAccount);
        }
        let market = self.market(submit.instrument)?;
        limits::check_combination(submit)?;
        if market.state != InstrumentState::Continuous {
            return Err(RejectReason::InstrumentNotTrading);
        }
        limits::check_price(&market.definition, market.last, submit.price)?;
        limits::check_quantity(&market.definition, submit.price, submit.quantity)?;
        if submit.time_in_force == TimeInForce::GoodTillCancel {
            self.check_open_orders(submit)?;
        }
        if self.next_order >= COUNTER_END {
            return Err(RejectReason::CapacityExhausted);
        }
        self.check_trade_numbers()?;
        if submit.post_only && self.books.crosses(submit.instrument, submit.side, submit.price) {
            return Err(RejectReason::WouldTakeLiquidity);
        }
        if submit.time_in_force == TimeInForce::FillOrKill && !self.books.can_fill(order, submit.price, submit.quantity)
        {
            return Err(RejectReason::NotEnoughLiquidity);
        }
        Ok(())
    }

    /// The cap is checked when an order that may rest comes in, whether or not it would trade first: the answer
    /// does not depend on the other side of the book.
    fn check_open_orders(&self, submit: &Submit) -> Result<(), RejectReason> {
        let owner = self.books.accounts.find(submit.account).map(|handle| self.books.accounts.get(handle));
        let limit = owner.and_then(|account| account.limit).unwrap_or(self.rules.max_open_orders);
        if owner.map_or(0, |account| account.open_orders) >= limit {
            return Err(RejectReason::TooManyOpenOrders);
        }
        if self.books.len() >= MAX_OPEN_ORDERS {
            return Err(RejectReason::CapacityExhausted);
        }
        Ok(())
    }
}
