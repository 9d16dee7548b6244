//! Events to rows: what each command means for the history.
//!
//! The ledger knows as much about open orders as rows need and events do not repeat. Deliberately absent: any rule of
//! the exchange; what happened is told by the events, nothing is decided here.

use std::collections::HashMap;

use types::{
    AccountId, ClientOrderId, Command, Event, Instrument, InstrumentId, OrderId, OrderStatus, Outcome, Price, Qty,
    RejectReason, Side, Snapshot, Symbol, Trade, TradeId,
};

use crate::history::{ExecutionKind, ExecutionRow, InstrumentRow, OrderChange, OrderRow, RowBatch, Stamp, TradeRow};

/// An event names an order or instrument that no event before it introduced: the log and the ledger disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The order is not open.
    #[error("an event names order {0}, which is not open: this program and the journal disagree")]
    UnknownOrder(OrderId),
    /// The instrument was not defined.
    #[error("an event names instrument {0}, which does not exist: this program and the journal disagree")]
    UnknownInstrument(InstrumentId),
}

/// What rows need to know about an open order.
#[derive(Clone, Copy, Debug)]
struct Open {
    account: AccountId,
    instrument: InstrumentId,
    side: Side,
    price: Price,
    quantity: Qty,
    cumulative: Qty,
    leaves: Qty,
}

/// Turns events into rows.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// By number; each in the state it is in now.
    instruments: Vec<Instrument>,
    open: HashMap<OrderId, Open>,
}

/// One command being recorded.
struct Request<'a> {
    stamp: Stamp,
    command: &'a Command,
    outcome: &'a Outcome,
    /// The order the request is about.
    own: OrderId,
    /// Number of the next execution.
    number: u32,
    rows: &'a mut RowBatch,
}

impl Request<'_> {
    fn execution(&mut self, row: ExecutionRow) {
        self.rows.execution(ExecutionRow { stamp: self.stamp, number: self.number, ..row });
        self.number += 1;
    }

    /// Client id of the request, if `order` is what it is about.
    fn client_order_id(&self, order: OrderId) -> Option<ClientOrderId> {
        let everything = matches!(self.command, Command::MassCancel(_));
        let (_, id) = self.command.request()?;
        (everything || order == self.own).then_some(id)
    }

    fn changed(&mut self, order_id: OrderId, order: &Open, status: OrderStatus) {
        let change = OrderChange {
            order_id,
            updated: self.stamp.at,
            price: order.price,
            quantity: order.quantity,
            cumulative: order.cumulative,
            leaves: order.leaves,
            status,
        };
        self.rows.change(self.stamp.place.seq, change);
    }
}

impl Open {
    /// FIX tag 39 of an order that was not cancelled.
    fn status(&self) -> OrderStatus {
        if self.leaves.is_zero() {
            OrderStatus::Filled
        } else if self.cumulative.is_zero() {
            OrderStatus::New
        } else {
            OrderStatus::PartiallyFilled
        }
    }
}

impl Ledger {
    /// A ledger that knows what is open in `snapshot`.
    pub(crate) fn restore(snapshot: &Snapshot) -> Self {
        let instruments = snapshot.instruments.iter();
        let orders = snapshot.orders.iter().map(|order| {
            let open = Open {
                account: order.account,
                instrument: order.instrument,
                side: order.side,
                price: order.price,
                quantity: order.quantity,
                cumulative: order.cumulative,
                leaves: order.leaves,
            };
            (order.order_id, open)
        });
        Self {
            instruments: instruments.map(|known| Instrument { state: known.state, ..known.definition }).collect(),
            open: orders.collect(),
        }
    }

    /// Orders that are open, with their executed and open quantity.
    pub(crate) fn open_orders(&self) -> impl Iterator<Item = (OrderId, Qty, Qty)> + '_ {
        self.open.iter().map(|(id, order)| (*id, order.cumulative, order.leaves))
    }

    /// Instruments, each in the state it is in now.
    pub(crate) fn instruments(&self) -> &[Instrument] {
        &self.instruments
    }

    /// Adds the rows of one command.
    ///
    /// # Errors
    /// When the events do not fit what was recorded before.
    pub(crate) fn record(
        &mut self,
        stamp: Stamp,
        command: &Command,
        outcome: &Outcome,
        events: &[Event],
        rows: &mut RowBatch,
    ) -> Result<(), LedgerError> {
        let mut request = Request { stamp, command, outcome, own: outcome.order_id, number: 0, rows };
        events.iter().try_for_each(|event| self.event(&mut request, event))
    }

    fn event(&mut self, request: &mut Request<'_>, event: &Event) -> Result<(), LedgerError> {
        match *event {
            Event::Accepted { order_id, .. } => self.accepted(request, order_id),
            Event::Rejected { reason } => {
                self.rejected(request, reason);
                Ok(())
            }
            Event::Trade(trade) => self.trade(request, &trade),
            Event::Decremented { order_id, by, leaves, .. } => {
                let order = self.find(order_id)?;
                order.leaves = leaves;
                let order = *order;
                self.touched(request, order_id, &order, ExecutionKind::Decremented, order.price, by)
            }
            Event::Canceled { order_id, quantity, .. } => {
                let order = self.find(order_id)?;
                order.leaves = Qty::ZERO;
                let order = *order;
                self.touched(request, order_id, &order, ExecutionKind::Canceled, order.price, quantity)
            }
            Event::Replaced(replaced) => {
                let order = self.find(replaced.order_id)?;
                order.price = replaced.price;
                order.quantity = replaced.quantity;
                order.leaves = replaced.leaves;
                let order = *order;
                let kind = ExecutionKind::Replaced;
                self.touched(request, replaced.order_id, &order, kind, replaced.price, replaced.quantity)
            }
            Event::InstrumentDefined { instrument, definition } => {
                if instrument.0 as usize != self.instruments.len() {
                    return Err(LedgerError::UnknownInstrument(instrument));
                }
                self.instruments.push(definition);
                request.rows.instrument(InstrumentRow { stamp: request.stamp, instrument, definition });
                Ok(())
            }
            Event::InstrumentStateChanged(change) => {
                let known = self.instruments.get_mut(change.instrument.0 as usize);
                let known = known.ok_or(LedgerError::UnknownInstrument(change.instrument))?;
                known.state = change.state;
                let (instrument, definition) = (change.instrument, *known);
                request.rows.instrument(InstrumentRow { stamp: request.stamp, instrument, definition });
                Ok(())
            }
            // A rest changes no column; limits are not history; a retry left no trace.
            Event::Rested(_) | Event::AccountLimitChanged(_) | Event::RulesChanged(_) | Event::Duplicate { .. } => {
                Ok(())
            }
        }
    }

    fn find(&mut self, order: OrderId) -> Result<&mut Open, LedgerError> {
        self.open.get_mut(&order).ok_or(LedgerError::UnknownOrder(order))
    }

    fn symbol(&self, instrument: InstrumentId) -> Option<Symbol> {
        self.instruments.get(instrument.0 as usize).map(|known| known.symbol)
    }

    fn accepted(&mut self, request: &mut Request<'_>, order_id: OrderId) -> Result<(), LedgerError> {
        // Only submits are accepted.
        let Command::Submit(submit) = request.command else { return Err(LedgerError::UnknownOrder(order_id)) };
        let symbol = self.symbol(submit.instrument).ok_or(LedgerError::UnknownInstrument(submit.instrument))?;
        let order = Open {
            account: submit.account,
            instrument: submit.instrument,
            side: submit.side,
            price: submit.price,
            quantity: submit.quantity,
            cumulative: Qty::ZERO,
            leaves: submit.quantity,
        };
        self.open.insert(order_id, order);
        request.own = order_id;
        request.rows.create(OrderRow {
            stamp: request.stamp,
            updated: request.stamp.at,
            order_id,
            account: submit.account,
            client_order_id: submit.client_order_id,
            symbol: Some(symbol),
            side: submit.side,
            order_type: submit.order_type,
            time_in_force: submit.time_in_force,
            price: submit.price,
            quantity: submit.quantity,
            cumulative: Qty::ZERO,
            leaves: submit.quantity,
            status: OrderStatus::New,
            reject_reason: None,
        });
        let row = self.execution(request, order_id, &order, ExecutionKind::New, submit.price, submit.quantity);
        request.execution(row);
        Ok(())
    }

    fn rejected(&self, request: &mut Request<'_>, reason: RejectReason) {
        // Refused operator requests are in the journal and the audit; they are nobody's executions.
        let Some((account, client_order_id)) = request.command.request() else { return };
        let known = self.open.get(&request.outcome.order_id);
        let (instrument, side, price, quantity) = match request.command {
            Command::Submit(submit) => {
                request.rows.create(OrderRow {
                    stamp: request.stamp,
                    updated: request.stamp.at,
                    order_id: OrderId(0),
                    account,
                    client_order_id,
                    symbol: self.symbol(submit.instrument),
                    side: submit.side,
                    order_type: submit.order_type,
                    time_in_force: submit.time_in_force,
                    price: submit.price,
                    quantity: submit.quantity,
                    cumulative: Qty::ZERO,
                    leaves: Qty::ZERO,
                    status: OrderStatus::Rejected,
                    reject_reason: Some(reason),
                });
                (Some(submit.instrument), Some(submit.side), submit.price, submit.quantity)
            }
            Command::Replace(replace) => {
                (Some(replace.instrument), known.map(|order| order.side), replace.price, replace.quantity)
            }
            Command::Cancel(cancel) => (Some(cancel.instrument), known.map(|order| order.side), Price(0), Qty::ZERO),
            Command::MassCancel(mass_cancel) => (mass_cancel.instrument, mass_cancel.side, Price(0), Qty::ZERO),
            Command::DefineInstrument(_)
            | Command::SetInstrumentState(_)
            | Command::SetAccountLimit(_)
            | Command::SetRules(_) => return,
        };
        let row = ExecutionRow {
            stamp: request.stamp,
            number: request.number,
            kind: ExecutionKind::Rejected,
            order_id: request.outcome.order_id,
            account,
            client_order_id: Some(client_order_id),
            symbol: instrument.and_then(|instrument| self.symbol(instrument)),
            side,
            price,
            quantity,
            cumulative: request.outcome.cumulative,
            leaves: request.outcome.leaves,
            trade_id: TradeId(0),
            reject_reason: Some(reason),
        };
        request.execution(row);
    }

    fn trade(&mut self, request: &mut Request<'_>, trade: &Trade) -> Result<(), LedgerError> {
        let symbol = self.symbol(trade.instrument).ok_or(LedgerError::UnknownInstrument(trade.instrument))?;
        request.rows.trade(TradeRow {
            stamp: request.stamp,
            number: request.number,
            trade_id: trade.trade_id,
            symbol,
            price: trade.price,
            quantity: trade.quantity,
            maker: trade.maker,
            maker_account: trade.maker_account,
            taker: trade.taker,
            taker_account: trade.taker_account,
            taker_side: trade.taker_side,
        });
        let sides = [
            (trade.taker, trade.taker_cumulative, trade.taker_leaves),
            (trade.maker, trade.maker_cumulative, trade.maker_leaves),
        ];
        for (order_id, cumulative, leaves) in sides {
            let order = self.find(order_id)?;
            order.cumulative = cumulative;
            order.leaves = leaves;
            let order = *order;
            let row = self.execution(request, order_id, &order, ExecutionKind::Trade, trade.price, trade.quantity);
            request.execution(ExecutionRow { trade_id: trade.trade_id, ..row });
            request.changed(order_id, &order, order.status());
            if order.leaves.is_zero() {
                self.open.remove(&order_id);
            }
        }
        Ok(())
    }

    /// Records a change of an order other than by a trade.
    fn touched(
        &mut self,
        request: &mut Request<'_>,
        order_id: OrderId,
        order: &Open,
        kind: ExecutionKind,
        price: Price,
        quantity: Qty,
    ) -> Result<(), LedgerError> {
        let row = self.execution(request, order_id, order, kind, price, quantity);
        request.execution(row);
        let status = if kind == ExecutionKind::Canceled { OrderStatus::Canceled } else { order.status() };
        request.changed(order_id, order, status);
        if order.leaves.is_zero() {
            self.open.remove(&order_id);
        }
        Ok(())
    }

    fn execution(
        &self,
        request: &Request<'_>,
        order_id: OrderId,
        order: &Open,
        kind: ExecutionKind,
        price: Price,
        quantity: Qty,
    ) -> ExecutionRow {
        ExecutionRow {
            stamp: request.stamp,
            number: request.number,
            kind,
            order_id,
            account: order.account,
            client_order_id: request.client_order_id(order_id),
            symbol: self.symbol(order.instrument),
            side: Some(order.side),
            price,
            quantity,
            cumulative: order.cumulative,
            leaves: order.leaves,
            trade_id: TradeId(0),
            reject_reason: None,
        }
    }
}
