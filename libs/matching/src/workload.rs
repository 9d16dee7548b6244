//! Command streams from a seed, for tests and benchmarks: the same seed gives the same stream on any machine.
//!
//! The generator is told what happened ([`Workload::observe`]) and so aims at orders that are open, at the price
//! of the other side, at the rest of a partly filled order. It leans towards what breaks books: many orders at one
//! price, cancels in the middle of a queue, sweeps, replaces that cross, orders that meet their own account, retries
//! and conflicts, prices at the ends of the range, states and limits changing under way.

mod profile;
mod unusual;

pub use self::profile::Profile;
use self::profile::Shape;
use crate::Exchange;
use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use types::{
    AccountId, Cancel, ClientOrderId, Command, Event, InstrumentId, InstrumentState, InstrumentStateChange, LogId,
    MassCancel, OrderId, OrderTarget, OrderType, Place, Price, Qty, Replace, SelfTradePrevention, Seq, ShardId, Side,
    Submit, TimeInForce, Timestamp,
};

/// Requests remembered for retries and conflicts.
const REMEMBERED: usize = 64;

/// A command with its place and time in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where it stands.
    pub place: Place,
    /// When it was put in order.
    pub timestamp: Timestamp,
    /// What it says.
    pub command: Command,
}

/// What the generator knows of an open order.
#[derive(Clone, Copy, Debug)]
struct Known {
    id: OrderId,
    client_order_id: ClientOrderId,
    account: AccountId,
    instrument: InstrumentId,
    side: Side,
    price: Price,
    leaves: Qty,
    cumulative: Qty,
}

/// See the module.
#[derive(Debug)]
pub struct Workload {
    random: ChaCha8Rng,
    profile: Profile,
    setup: std::vec::IntoIter<Command>,
    open: Vec<Known>,
    /// Where in `open` an order is.
    places: BTreeMap<OrderId, usize>,
    /// The last accepted order, until it rests.
    incoming: Option<Known>,
    remembered: Vec<Command>,
    halted: Option<InstrumentId>,
    narrowed: bool,
    requests: u64,
    steps: u64,
    now: u64,
}

impl Workload {
    /// A stream that begins with the profile's instruments and rules.
    #[must_use]
    pub fn new(seed: u64, profile: Profile) -> Self {
        Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            setup: profile.setup().into_iter(),
            profile,
            open: Vec::new(),
            places: BTreeMap::new(),
            incoming: None,
            remembered: Vec::new(),
            halted: None,
            narrowed: false,
            requests: 0,
            steps: 0,
            now: 1_700_000_000_000_000,
        }
    }

    /// The first `length` steps of a stream, as an exchange of shard 0 makes them.
    #[must_use]
    pub fn stream(seed: u64, profile: Profile, length: usize) -> Vec<Step> {
        let mut workload = Self::new(seed, profile);
        let mut exchange = Exchange::new(ShardId(0));
        let (mut events, mut fills) = (Vec::new(), Vec::new());
        let mut steps = Vec::with_capacity(length);
        for _ in 0..length {
            let step = workload.next_step();
            events.clear();
            fills.clear();
            exchange.apply(step.place, step.timestamp, &step.command, &mut events, &mut fills);
            workload.observe(&events);
            steps.push(step);
        }
        steps
    }

    /// The next command.
    pub fn next_step(&mut self) -> Step {
        let command = self.setup.next().unwrap_or_else(|| self.command());
        if command.request().is_some() {
            if self.remembered.len() < REMEMBERED {
                self.remembered.push(command);
            } else {
                let at = self.random.random_range(0..REMEMBERED);
                self.remembered[at] = command;
            }
        }
        self.steps += 1;
        self.now += if self.one_in(500) { self.profile.pause_us } else { self.random.random_range(1..200) };
        let seq = Seq(self.steps / 8 + 1);
        let index = u32::from((self.steps % 8) as u8);
        let place = Place { log_id: LogId(0x7e57 << 64 | 1), epoch: self.steps / 10_000 + 1, seq, index };
        Step { place, timestamp: Timestamp(self.now), command }
    }

    /// What the last command did.
    pub fn observe(&mut self, events: &[Event]) {
        for event in events {
            match event {
                Event::Accepted { order_id, order } => {
                    self.incoming = Some(Known {
                        id: *order_id,
                        client_order_id: order.client_order_id,
                        account: order.account,
                        instrument: order.instrument,
                        side: order.side,
                        price: order.price,
                        leaves: order.quantity,
                        cumulative: Qty::ZERO,
                    });
                }
                Event::Trade(trade) => {
                    self.update(trade.maker, trade.maker_leaves, Some(trade.maker_cumulative));
                    self.update(trade.taker, trade.taker_leaves, Some(trade.taker_cumulative));
                }
                Event::Decremented { order_id, leaves, .. } => self.update(*order_id, *leaves, None),
                Event::Canceled { order_id, .. } => self.update(*order_id, Qty::ZERO, None),
                Event::Replaced(replaced) => {
                    self.update(replaced.order_id, replaced.leaves, None);
                    if let Some(known) = self.places.get(&replaced.order_id).map(|at| &mut self.open[*at]) {
                        known.price = replaced.price;
                        // Where outcomes are dropped early, the name that a replace gave is soon unknown.
                        if self.profile.faults {
                            known.client_order_id = replaced.client_order_id;
                        }
                    }
                }
                Event::Rested(rested) => {
                    if let Some(known) = self.incoming.take_if(|known| known.id == rested.order_id) {
                        self.places.insert(known.id, self.open.len());
                        self.open.push(known);
                    }
                }
                _ => {}
            }
        }
        self.incoming = None;
    }

    fn update(&mut self, id: OrderId, leaves: Qty, cumulative: Option<Qty>) {
        let place = self.places.get(&id).copied();
        let incoming = self.incoming.as_mut().filter(|known| known.id == id);
        if let Some(known) = incoming.or_else(|| place.map(|at| &mut self.open[at])) {
            known.leaves = leaves;
            known.cumulative = cumulative.unwrap_or(known.cumulative);
        }
        if leaves.is_zero()
            && let Some(at) = self.places.remove(&id)
        {
            self.open.swap_remove(at);
            if let Some(moved) = self.open.get(at) {
                self.places.insert(moved.id, at);
            }
        }
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.random.random_ratio(1, n)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.random.random_range(0..from.len())]
    }

    fn client_order_id(&mut self) -> ClientOrderId {
        self.requests += 1;
        ClientOrderId::new(&format!("r-{}", self.requests)).expect("printable and short")
    }

    fn account(&mut self) -> AccountId {
        AccountId(self.random.random_range(1..=self.profile.accounts))
    }

    fn side(&mut self) -> Side {
        self.pick(&[Side::Buy, Side::Sell])
    }

    fn instrument(&mut self) -> InstrumentId {
        InstrumentId(self.random.random_range(0..self.profile.instruments))
    }

    fn prevention(&mut self) -> SelfTradePrevention {
        use SelfTradePrevention::{CancelBoth, CancelNewest, CancelOldest, Decrement};
        self.pick(&[CancelNewest, CancelOldest, CancelBoth, Decrement])
    }

    fn command(&mut self) -> Command {
        if !self.profile.faults {
            return self.market_command();
        }
        if let Some(instrument) = self.halted
            && self.one_in(20)
        {
            self.halted = None;
            let state = InstrumentState::Continuous;
            return Command::SetInstrumentState(InstrumentStateChange { instrument, state });
        }
        // A full book is emptied, a thin one filled.
        let crowded = self.open.len() >= self.profile.open_orders;
        if self.open.len() < self.profile.open_orders * 9 / 10 && self.one_in(3) {
            return Command::Submit(self.maker());
        }
        match self.random.random_range(0..1000) {
            0..100 if crowded => self.sweep(),
            100..460 if crowded => self.cancel(),
            0..460 => Command::Submit(self.submit()),
            460..680 => self.cancel(),
            680..850 => self.replace(),
            850..870 => self.sweep(),
            870..876 => self.mass_cancel(),
            876..910 => self.retry(),
            910..950 => self.conflict(),
            950..990 => self.invalid(),
            990..994 => self.operator(),
            _ => Command::Submit(self.submit()),
        }
    }

    /// As markets are: most orders come to rest and are taken back, some are changed, one in twenty trades.
    fn market_command(&mut self) -> Command {
        let submits = if self.open.len() < self.profile.open_orders { 480 } else { 380 };
        match self.random.random_range(0..1000) {
            at if at < submits => Command::Submit(self.maker()),
            at if at < submits + 50 => {
                let mut submit = self.submit();
                submit.quantity.0 *= 2;
                Command::Submit(submit)
            }
            at if at < submits + 190 => self.replace_near(),
            at if at < submits + 200 => self.retry(),
            _ => self.cancel(),
        }
    }

    /// Less at the same price, or some ticks away.
    fn replace_near(&mut self) -> Command {
        let Some(known) = self.known() else { return Command::Submit(self.maker()) };
        let shape = self.profile.shape(known.instrument);
        let price = if self.one_in(2) { known.price } else { self.behind(&shape, known.side) };
        let lots = self.random.random_range(1..=(known.leaves.0 / shape.lot).max(1));
        Command::Replace(Replace {
            account: known.account,
            client_order_id: self.client_order_id(),
            instrument: known.instrument,
            target: self.target(&known),
            price,
            quantity: Qty(known.cumulative.0.saturating_add(lots * shape.lot)),
        })
    }

    /// Mostly an order near the others, of any kind.
    fn submit(&mut self) -> Submit {
        let instrument = self.instrument();
        let side = self.side();
        let (order_type, time_in_force, post_only) = match self.random.random_range(0..20) {
            0..12 => (OrderType::Limit, TimeInForce::GoodTillCancel, false),
            12..14 => (OrderType::Limit, TimeInForce::GoodTillCancel, true),
            14..16 => (OrderType::Limit, TimeInForce::ImmediateOrCancel, false),
            16..18 => (OrderType::Limit, TimeInForce::FillOrKill, false),
            18 => (OrderType::Market, TimeInForce::ImmediateOrCancel, false),
            _ => (OrderType::Market, TimeInForce::FillOrKill, false),
        };
        Submit {
            account: self.account(),
            client_order_id: self.client_order_id(),
            instrument,
            side,
            order_type,
            time_in_force,
            post_only,
            price: self.price(instrument, side),
            quantity: self.quantity(instrument),
            self_trade_prevention: self.prevention(),
        }
    }

    /// An order that is meant to rest.
    fn maker(&mut self) -> Submit {
        let mut submit = self.submit();
        let shape = self.profile.shape(submit.instrument);
        submit.order_type = OrderType::Limit;
        submit.time_in_force = TimeInForce::GoodTillCancel;
        submit.price = self.behind(&shape, submit.side);
        submit
    }

    /// A price on the own side of the middle.
    fn behind(&mut self, shape: &Shape, side: Side) -> Price {
        let away = self.random.random_range(0..shape.ticks) * shape.tick;
        match side {
            Side::Buy => Price(shape.middle - away),
            Side::Sell => Price(shape.middle + shape.tick + away),
        }
    }

    /// Makers stand behind the middle, a few ticks apart; one order in three reaches over.
    fn price(&mut self, instrument: InstrumentId, side: Side) -> Price {
        let shape = self.profile.shape(instrument);
        if self.one_in(100) {
            return self.pick(&shape.far_prices);
        }
        let ahead = if self.one_in(3) {
            self.random.random_range(1..=shape.ticks)
        } else {
            -self.random.random_range(0..shape.ticks)
        };
        let ticks = match side {
            Side::Buy => ahead,
            Side::Sell => 1 - ahead,
        };
        Price(shape.middle + ticks * shape.tick)
    }

    fn quantity(&mut self, instrument: InstrumentId) -> Qty {
        let shape = self.profile.shape(instrument);
        if self.one_in(50) {
            return self.pick(&shape.large_quantities);
        }
        Qty(self.random.random_range(1..=20) * shape.lot)
    }

    /// An order that takes everything in its way.
    fn sweep(&mut self) -> Command {
        let mut submit = self.submit();
        let shape = self.profile.shape(submit.instrument);
        let reach = shape.ticks * shape.tick;
        submit.post_only = false;
        submit.order_type = self.pick(&[OrderType::Limit, OrderType::Market]);
        submit.time_in_force = TimeInForce::ImmediateOrCancel;
        if self.one_in(4) {
            submit.time_in_force = TimeInForce::FillOrKill;
        }
        submit.price.0 = match submit.side {
            Side::Buy => shape.middle + reach,
            Side::Sell => shape.middle - reach,
        };
        submit.quantity = Qty(self.random.random_range(10..=self.profile.sweep_lots) * shape.lot);
        Command::Submit(submit)
    }

    fn known(&mut self) -> Option<Known> {
        (!self.open.is_empty()).then(|| {
            let at = self.random.random_range(0..self.open.len());
            self.open[at]
        })
    }

    fn target(&mut self, known: &Known) -> OrderTarget {
        if self.one_in(2) { OrderTarget::OrderId(known.id) } else { OrderTarget::ClientOrderId(known.client_order_id) }
    }

    fn cancel(&mut self) -> Command {
        let Some(known) = self.known() else { return Command::Submit(self.submit()) };
        Command::Cancel(Cancel {
            account: known.account,
            client_order_id: self.client_order_id(),
            instrument: known.instrument,
            target: self.target(&known),
        })
    }

    /// Less at the same price, more, elsewhere, or over to the other side.
    fn replace(&mut self) -> Command {
        let Some(known) = self.known() else { return Command::Submit(self.submit()) };
        let shape = self.profile.shape(known.instrument);
        let lots = known.leaves.0 / shape.lot;
        let fewer = if lots > 1 { self.random.random_range(1..lots) } else { 1 };
        let (price, leaves) = match self.random.random_range(0..6) {
            0..2 => (known.price, Qty(fewer * shape.lot)),
            2 => (known.price, Qty(known.leaves.0.saturating_add(shape.lot))),
            3 => (self.price(known.instrument, known.side), known.leaves),
            _ => {
                let over = self.random.random_range(0..shape.ticks) * shape.tick;
                let price = match known.side {
                    Side::Buy => shape.middle + over,
                    Side::Sell => shape.middle - over,
                };
                (Price(price), self.quantity(known.instrument))
            }
        };
        Command::Replace(Replace {
            account: known.account,
            client_order_id: self.client_order_id(),
            instrument: known.instrument,
            target: self.target(&known),
            price,
            quantity: if self.one_in(40) { known.cumulative } else { Qty(known.cumulative.0.saturating_add(leaves.0)) },
        })
    }

    fn mass_cancel(&mut self) -> Command {
        let instrument = if self.one_in(2) { Some(self.instrument()) } else { None };
        let side = if self.one_in(2) { Some(self.side()) } else { None };
        Command::MassCancel(MassCancel {
            account: self.account(),
            client_order_id: self.client_order_id(),
            instrument,
            side,
        })
    }
}
