//! The exchange once more, slow and obviously right: its state is the snapshot itself, plain vectors, and every
//! question is answered by looking at all of it. Only requests are found by an index, since checkers replay logs of
//! millions of them. It shares no code with the fast one but the layouts of `digest`, and takes its state hash by a
//! full walk each time. The two must agree in every event, outcome and hash.

mod kept;
mod matching;
mod operator;
mod rules;

use self::kept::Kept;
use self::matching::{Step, match_order};
use crate::digest;
use crate::view::{Level, OrderView};
use types::{
    AccountId, Cancel, CancelCause, ClientOrderId, ClosedOrder, Command, Event, Fill, IdempotencyEntry, InstrumentId,
    InstrumentState, MassCancel, OrderId, OrderSnapshot, OrderStatus, OrderTarget, OrderType, Original, Outcome, Place,
    Price, Qty, RejectReason, Replace, ReplaceEvent, RestedEvent, Rules, ShardId, Side, Snapshot, StateHash, Submit,
    TimeInForce, Timestamp,
};

/// See the module.
#[derive(Clone, Debug)]
pub struct ReferenceExchange {
    state: Snapshot,
    kept: Kept,
}

/// Reason, and what is known of the order: id, cumulative, leaves.
type Refused = (RejectReason, OrderId, Qty, Qty);

const fn refused(reason: RejectReason) -> Refused {
    (reason, OrderId(0), Qty(0), Qty(0))
}

const fn answer(status: OrderStatus, order_id: OrderId, cumulative: Qty, leaves: Qty) -> Outcome {
    Outcome { status, reason: None, order_id, cumulative, leaves, canceled_orders: 0, original: None }
}

fn rejected((reason, order_id, cumulative, leaves): Refused, events: &mut Vec<Event>) -> Outcome {
    events.push(Event::Rejected { reason });
    Outcome { reason: Some(reason), ..answer(OrderStatus::Rejected, order_id, cumulative, leaves) }
}

const fn canceled(order: &OrderSnapshot, was_resting: bool, cause: CancelCause) -> Event {
    Event::Canceled {
        order_id: order.order_id,
        account: order.account,
        instrument: order.instrument,
        side: order.side,
        price: order.price,
        quantity: order.leaves,
        was_resting,
        cause,
    }
}

impl ReferenceExchange {
    /// As [`Exchange::new`](crate::Exchange::new).
    #[must_use]
    pub fn new(shard: ShardId) -> Self {
        Self::restore(&Snapshot {
            shard,
            now: Timestamp(0),
            rules: Rules::default(),
            next_order: 1,
            next_trade: 1,
            next_priority: 1,
            instruments: Vec::new(),
            accounts: Vec::new(),
            orders: Vec::new(),
            idempotency: Vec::new(),
        })
    }

    /// The exchange that `snapshot` describes, unchecked.
    #[must_use]
    pub fn restore(snapshot: &Snapshot) -> Self {
        Self { state: snapshot.clone(), kept: Kept::of(snapshot) }
    }

    /// As [`Exchange::snapshot`](crate::Exchange::snapshot).
    #[must_use]
    pub const fn snapshot(&self) -> &Snapshot {
        &self.state
    }

    /// As [`Exchange::state_hash`](crate::Exchange::state_hash), by a full walk.
    #[must_use]
    pub fn state_hash(&self) -> StateHash {
        digest::snapshot_hash(&self.state)
    }

    /// As [`Exchange::apply`](crate::Exchange::apply).
    pub fn apply(
        &mut self,
        place: Place,
        timestamp: Timestamp,
        command: &Command,
        events: &mut Vec<Event>,
        fills: &mut Vec<Fill>,
    ) -> Outcome {
        if timestamp > self.state.now {
            self.state.now = timestamp;
        }
        let outcome = match command.request() {
            None => match self.operate(command, events) {
                Ok(()) => answer(OrderStatus::Done, OrderId(0), Qty(0), Qty(0)),
                Err(reason) => rejected(refused(reason), events),
            },
            Some((account, id)) => self.request(place, account, id, command, events, fills),
        };
        self.forget_old();
        outcome
    }

    fn request(
        &mut self,
        place: Place,
        account: AccountId,
        client_order_id: ClientOrderId,
        command: &Command,
        events: &mut Vec<Event>,
        fills: &mut Vec<Fill>,
    ) -> Outcome {
        let payload_hash = digest::payload_hash(command);
        if let Some(entry) = self.entry(account, &client_order_id) {
            if entry.payload_hash != payload_hash {
                return rejected(refused(RejectReason::DuplicateClientOrderId), events);
            }
            events.push(Event::Duplicate { original: entry.place });
            fills.extend(&entry.fills);
            return Outcome {
                original: Some(Original { place: entry.place, timestamp: entry.timestamp }),
                ..entry.outcome
            };
        }
        let mut own_fills = Vec::new();
        // Recorded before it is executed, so that the end of an order finds its entry; the answer comes after.
        self.keep(IdempotencyEntry {
            account,
            client_order_id,
            payload_hash,
            timestamp: self.state.now,
            place,
            outcome: answer(OrderStatus::Rejected, OrderId(0), Qty(0), Qty(0)),
            fills: Vec::new(),
            closed: None,
        });
        let result = match command {
            Command::Submit(submit) => self.submit(submit, events, &mut own_fills),
            Command::Cancel(cancel) => self.cancel(cancel, events),
            Command::Replace(replace) => self.replace(replace, events, &mut own_fills),
            Command::MassCancel(request) => self.mass_cancel(request, events),
            _ => Err(refused(RejectReason::UnknownOrder)),
        };
        let outcome = result.unwrap_or_else(|refusal| rejected(refusal, events));
        fills.extend(&own_fills);
        if let Some(entry) = self.state.idempotency.last_mut() {
            entry.outcome = outcome;
            entry.fills = own_fills;
        }
        outcome
    }

    fn submit(&mut self, s: &Submit, events: &mut Vec<Event>, fills: &mut Vec<Fill>) -> Result<Outcome, Refused> {
        self.check_submit(s).map_err(refused)?;
        let order = OrderSnapshot {
            order_id: OrderId(u64::from(self.state.shard.0) * (1 << 48) + self.state.next_order),
            account: s.account,
            client_order_id: s.client_order_id,
            instrument: s.instrument,
            side: s.side,
            price: s.price,
            quantity: s.quantity,
            cumulative: Qty(0),
            leaves: s.quantity,
            priority: 0,
            self_trade_prevention: s.self_trade_prevention,
            post_only: s.post_only,
        };
        self.state.next_order += 1;
        self.kept.order(order.order_id, order.account, order.client_order_id);
        events.push(Event::Accepted { order_id: order.order_id, order: *s });
        let cause = match (s.order_type, s.time_in_force) {
            (OrderType::Market, _) => Some(CancelCause::MarketRemainder),
            (OrderType::Limit, TimeInForce::GoodTillCancel) => None,
            (OrderType::Limit, _) => Some(CancelCause::ImmediateOrCancel),
        };
        Ok(self.run(order, cause, events, fills))
    }

    /// Matches an order that is not in the book, then lets it rest or cancels the rest for `cause`.
    fn run(
        &mut self,
        mut order: OrderSnapshot,
        cause: Option<CancelCause>,
        events: &mut Vec<Event>,
        fills: &mut Vec<Fill>,
    ) -> Outcome {
        let mut self_trade = false;
        for step in match_order(&mut self.state.orders, &mut order) {
            match step {
                Step::Trade(mut trade, maker) => {
                    trade.trade_id.0 = u64::from(self.state.shard.0) * (1 << 48) + self.state.next_trade;
                    self.state.next_trade += 1;
                    self.state.instruments[trade.instrument.0 as usize].last_price = Some(trade.price);
                    events.push(Event::Trade(trade));
                    let (price, quantity) = (trade.price, trade.quantity);
                    fills.push(Fill { trade_id: trade.trade_id, price, quantity, maker: trade.maker });
                    if maker.leaves == Qty(0) {
                        self.note_end(&maker, OrderStatus::Filled);
                    }
                }
                Step::Decrement { maker, taker, by } => {
                    for lower in [&maker, &taker] {
                        events.push(Event::Decremented {
                            order_id: lower.order_id,
                            instrument: lower.instrument,
                            side: lower.side,
                            price: lower.price,
                            by,
                            leaves: lower.leaves,
                        });
                    }
                    if maker.leaves == Qty(0) {
                        self.note_end(&maker, OrderStatus::Filled);
                    }
                }
                Step::CancelMaker(maker) => {
                    events.push(canceled(&maker, true, CancelCause::SelfTrade));
                    self.note_end(&maker, OrderStatus::Canceled);
                }
                Step::CancelTaker => self_trade = true,
            }
        }
        let (id, cumulative) = (order.order_id, order.cumulative);
        if order.leaves == Qty(0) {
            self.note_end(&order, OrderStatus::Filled);
            return answer(OrderStatus::Filled, id, cumulative, Qty(0));
        }
        let cause = if self_trade { Some(CancelCause::SelfTrade) } else { cause };
        if let Some(cause) = cause {
            events.push(canceled(&order, false, cause));
            self.note_end(&order, OrderStatus::Canceled);
            return answer(OrderStatus::Canceled, id, cumulative, Qty(0));
        }
        order.priority = self.state.next_priority;
        self.state.next_priority += 1;
        events.push(Event::Rested(RestedEvent {
            order_id: id,
            account: order.account,
            instrument: order.instrument,
            side: order.side,
            price: order.price,
            leaves: order.leaves,
        }));
        let leaves = order.leaves;
        self.state.orders.push(order);
        self.state.orders.sort_by_key(|order| order.order_id);
        answer(status(&order), id, cumulative, leaves)
    }

    fn cancel(&mut self, c: &Cancel, events: &mut Vec<Event>) -> Result<Outcome, Refused> {
        self.check_request(c.account, Some(c.instrument)).map_err(refused)?;
        let order = self.target(c.account, c.instrument, c.target)?;
        self.take_off(&order, CancelCause::Requested, events);
        Ok(answer(OrderStatus::Canceled, order.order_id, order.cumulative, Qty(0)))
    }

    fn replace(&mut self, r: &Replace, events: &mut Vec<Event>, fills: &mut Vec<Fill>) -> Result<Outcome, Refused> {
        self.check_request(r.account, Some(r.instrument)).map_err(refused)?;
        let state = self.state.instruments[r.instrument.0 as usize].state;
        if state == InstrumentState::PreOpen || state == InstrumentState::Halted {
            return Err(refused(RejectReason::InstrumentNotTrading));
        }
        let old = self.target(r.account, r.instrument, r.target)?;
        let about = |reason| (reason, old.order_id, old.cumulative, old.leaves);
        if r.quantity <= old.cumulative {
            return Err(about(RejectReason::QuantityBelowFilled));
        }
        let new =
            OrderSnapshot { price: r.price, quantity: r.quantity, leaves: Qty(r.quantity.0 - old.cumulative.0), ..old };
        let kept_priority = new.price == old.price && new.leaves <= old.leaves;
        self.check_replace(&old, &new, kept_priority).map_err(about)?;
        events.push(Event::Replaced(ReplaceEvent {
            order_id: old.order_id,
            account: old.account,
            client_order_id: r.client_order_id,
            instrument: old.instrument,
            side: old.side,
            old_price: old.price,
            old_leaves: old.leaves,
            price: new.price,
            quantity: new.quantity,
            leaves: new.leaves,
            kept_priority,
        }));
        if kept_priority {
            for order in &mut self.state.orders {
                if order.order_id == new.order_id {
                    *order = new;
                }
            }
            return Ok(answer(status(&new), new.order_id, new.cumulative, new.leaves));
        }
        self.state.orders.retain(|order| order.order_id != old.order_id);
        Ok(self.run(new, None, events, fills))
    }

    fn mass_cancel(&mut self, m: &MassCancel, events: &mut Vec<Event>) -> Result<Outcome, Refused> {
        self.check_request(m.account, m.instrument).map_err(refused)?;
        let meant: Vec<OrderSnapshot> = self
            .state
            .orders
            .iter()
            .filter(|order| order.account == m.account)
            .filter(|order| m.instrument.is_none() || m.instrument == Some(order.instrument))
            .filter(|order| m.side.is_none() || m.side == Some(order.side))
            .copied()
            .collect();
        for order in &meant {
            self.take_off(order, CancelCause::MassCancel, events);
        }
        let canceled_orders = meant.iter().map(|_| 1).sum();
        Ok(Outcome { canceled_orders, ..answer(OrderStatus::Canceled, OrderId(0), Qty(0), Qty(0)) })
    }

    fn take_off(&mut self, order: &OrderSnapshot, cause: CancelCause, events: &mut Vec<Event>) {
        self.state.orders.retain(|other| other.order_id != order.order_id);
        self.note_end(order, OrderStatus::Canceled);
        events.push(canceled(order, true, cause));
    }

    fn note_end(&mut self, order: &OrderSnapshot, status: OrderStatus) {
        if let Some(at) = self.kept.find(order.account, &order.client_order_id) {
            self.state.idempotency[at].closed = Some(ClosedOrder {
                status,
                instrument: order.instrument,
                side: order.side,
                price: order.price,
                quantity: order.quantity,
                cumulative: order.cumulative,
            });
        }
    }

    fn entry(&self, account: AccountId, id: &ClientOrderId) -> Option<&IdempotencyEntry> {
        self.kept.find(account, id).map(|at| &self.state.idempotency[at])
    }

    /// The entry of the submit of an order that is no longer open.
    fn closed(&self, id: OrderId) -> Option<(&IdempotencyEntry, ClosedOrder)> {
        let (account, client_order_id) = self.kept.submit(id)?;
        let entry = self.entry(account, &client_order_id).filter(|entry| entry.outcome.order_id == id)?;
        Some((entry, entry.closed?))
    }

    fn keep(&mut self, entry: IdempotencyEntry) {
        self.kept.push(&entry);
        self.state.idempotency.push(entry);
    }

    fn named(&self, account: AccountId, id: &ClientOrderId) -> Option<OrderId> {
        let entry = self.entry(account, id)?;
        (entry.outcome.status != OrderStatus::Rejected).then_some(entry.outcome.order_id)
    }

    fn target(
        &self,
        account: AccountId,
        instrument: InstrumentId,
        target: OrderTarget,
    ) -> Result<OrderSnapshot, Refused> {
        let id = match target {
            OrderTarget::OrderId(id) => id,
            OrderTarget::ClientOrderId(id) => self.named(account, &id).ok_or(refused(RejectReason::UnknownOrder))?,
        };
        for order in &self.state.orders {
            if order.order_id == id && order.account == account && order.instrument == instrument {
                return Ok(*order);
            }
        }
        if let Some((entry, closed)) = self.closed(id)
            && entry.account == account
            && closed.instrument == instrument
        {
            return Err((RejectReason::OrderClosed, id, closed.cumulative, Qty(0)));
        }
        Err(refused(RejectReason::UnknownOrder))
    }

    fn forget_old(&mut self) {
        for _ in 0..4 {
            let Some(oldest) = self.state.idempotency.first() else { return };
            let droppable = self.state.idempotency.len() - self.state.orders.len();
            let too_many = droppable as u64 > u64::from(self.state.rules.idempotency_capacity);
            let too_old = self.state.now.0 - oldest.timestamp.0 > self.state.rules.idempotency_window_us;
            if !too_many && !too_old {
                return;
            }
            let oldest = self.state.idempotency.remove(0);
            self.kept.forget(&oldest);
            let open = self
                .state
                .orders
                .iter()
                .any(|order| order.account == oldest.account && order.client_order_id == oldest.client_order_id);
            if open {
                self.keep(oldest);
            }
        }
    }

    /// The levels of one side, best first.
    #[must_use]
    pub fn depth(&self, instrument: InstrumentId, side: Side) -> Vec<Level> {
        let mut levels: Vec<Level> = Vec::new();
        for order in matching::in_turn(&self.state.orders, instrument, side) {
            match levels.last_mut() {
                Some(level) if level.price == order.price => {
                    level.quantity = Qty(level.quantity.0.saturating_add(order.leaves.0));
                    level.orders += 1;
                }
                _ => levels.push(Level { price: order.price, quantity: order.leaves, orders: 1 }),
            }
        }
        levels
    }

    /// As [`Exchange::order_by_client_id`](crate::Exchange::order_by_client_id).
    #[must_use]
    pub fn order_by_client_id(&self, account: AccountId, id: &ClientOrderId) -> Option<OrderView> {
        let order_id = self.named(account, id)?;
        let open = self.state.orders.iter().find(|order| order.order_id == order_id);
        let submit = match open {
            Some(order) => self.entry(order.account, &order.client_order_id)?,
            None => self.closed(order_id)?.0,
        };
        let (instrument, side, price, quantity, cumulative, leaves, status) = match (open, submit.closed) {
            (Some(o), _) => (o.instrument, o.side, o.price, o.quantity, o.cumulative, o.leaves, status(o)),
            (None, Some(c)) => (c.instrument, c.side, c.price, c.quantity, c.cumulative, Qty(0), c.status),
            (None, None) => return None,
        };
        Some(OrderView {
            order_id,
            account: submit.account,
            client_order_id: submit.client_order_id,
            instrument,
            side,
            price,
            quantity,
            cumulative,
            leaves,
            status,
            place: submit.place,
            accepted: submit.timestamp,
        })
    }
}

fn status(order: &OrderSnapshot) -> OrderStatus {
    if order.cumulative > Qty(0) { OrderStatus::PartiallyFilled } else { OrderStatus::New }
}

/// Whether an order on `side` may trade at `price` of the other side.
fn acceptable(side: Side, limit: Price, price: Price) -> bool {
    match side {
        Side::Buy => price <= limit,
        Side::Sell => price >= limit,
    }
}
