//! A seeded market: makers quote around a wandering price, takers cross the spread, orders are moved and cancelled.
//! The same seed gives the same requests, whatever is answered: orders are named by their client ids.
//!
//! Deliberately absent: the answers. Some cancels therefore come too late, as in life.

use anyhow::{Result, ensure};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use wire::pb::marketdata::v1::{Instrument, InstrumentState, InstrumentStatus};
use wire::pb::orders::v1 as pb;
use wire::pb::orders::v1::order_session_request::Command;

/// Orders that one connection believes to be open. Enough for books of some depth, and far below the 10,000 that an
/// account may have by default.
const OPEN_MAX: usize = 1_500;

/// Accounts that make and accounts that take, for each connection: an account seldom meets itself.
const MAKERS: u64 = 4;
const TAKERS: u64 = 2;

/// First account; below it are accounts that people use by hand.
const FIRST_ACCOUNT: u64 = 1_000;

/// Ticks the price wanders from where it began, at the most.
const WANDER_TICKS: i64 = 40;

/// Requests on an instrument between two moves of its price, on average.
const WANDER_EVERY: u32 = 32;

/// Ticks between the middle and the worst quote.
const QUOTE_TICKS: i64 = 12;

/// Open orders that are looked at to find one to cancel: the one farthest from the middle, which has most likely not
/// been traded yet.
const CANCEL_CANDIDATES: usize = 4;

/// What is traded.
#[derive(Clone, Debug)]
pub(crate) struct Market {
    instruments: Vec<Traded>,
    seed: u64,
    /// Begins every client order id, so that runs against one node do not meet.
    run: String,
}

/// One instrument and the scale of its orders.
#[derive(Clone, Debug)]
struct Traded {
    symbol: String,
    tick: i64,
    lot: u64,
    /// Quantities are 1 to 10 times this many lots.
    lots: u64,
    least: u64,
    most: u64,
    max_notional: u128,
    low: i64,
    high: i64,
    middle: i64,
}

/// The requests of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    market: Market,
    random: ChaCha8Rng,
    prefix: String,
    number: u64,
    accounts: u64,
    offsets: Vec<i64>,
    open: Vec<Open>,
}

/// An order believed to be open.
#[derive(Clone, Debug)]
struct Open {
    account: u64,
    client_order_id: String,
    instrument: usize,
    side: pb::Side,
    price: i64,
    /// Total quantity, and how much of it is open.
    quantity: u64,
    open: u64,
}

/// A mark for one run, eight hexadecimal digits drawn at random.
pub(crate) fn run_mark() -> String {
    format!("{:08x}", rand::random::<u32>())
}

impl Market {
    /// A market on those of `instruments` that are trading. `run` has at most 12 characters.
    pub(crate) fn new(instruments: &[InstrumentStatus], seed: u64, run: &str) -> Result<Self> {
        ensure!(run.len() <= 12, "the mark of a run has at most 12 characters");
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut traded = Vec::new();
        for status in instruments {
            let Some(definition) = &status.instrument else { continue };
            if definition.state() == InstrumentState::Continuous {
                let start =
                    10_i64.saturating_pow(definition.price_decimals).saturating_mul(random.random_range(50..500));
                traded.push(Traded::new(definition, status.last_price.unwrap_or(start)));
            }
        }
        ensure!(!traded.is_empty(), "no instrument of this node is trading: define one, or resume one");
        Ok(Self { instruments: traded, seed, run: run.to_owned() })
    }

    /// The requests of connection number `connection`.
    pub(crate) fn flow(&self, connection: usize) -> Flow {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        let stream = connection as u64 + 1;
        random.set_stream(stream);
        Flow {
            random,
            prefix: format!("{}-{connection}-", self.run),
            number: 0,
            accounts: FIRST_ACCOUNT + connection as u64 * (MAKERS + TAKERS),
            offsets: vec![0; self.instruments.len()],
            open: Vec::with_capacity(OPEN_MAX),
            market: self.clone(),
        }
    }

    /// Symbol of the first instrument.
    pub(crate) fn first_symbol(&self) -> &str {
        &self.instruments[0].symbol
    }
}

impl Traded {
    fn new(definition: &Instrument, middle: i64) -> Self {
        let tick = i64::try_from(definition.tick_size).unwrap_or(i64::MAX).max(1);
        let lot = definition.lot_size.max(1);
        // A hundredth of the base asset, or a lot if that is more.
        let hundredth = 10_u64.saturating_pow(definition.quantity_decimals) / 100;
        let banded = definition.band_basis_points > 0 && definition.reference_price != 0;
        let middle = if banded { definition.reference_price } else { middle };
        // Room for the wandering and the quotes on both sides, where the limits leave any.
        let room = tick.saturating_mul(WANDER_TICKS + QUOTE_TICKS + 1);
        let (low, high) = (definition.low_limit_price, definition.high_limit_price);
        let (least, most) = (low.saturating_add(room), high.saturating_sub(room));
        let middle = if least <= most { middle.clamp(least, most) } else { low.midpoint(high) };
        Self {
            symbol: definition.symbol.clone(),
            tick,
            lot,
            lots: (hundredth / lot).max(1),
            least: definition.min_quantity,
            most: definition.max_quantity,
            max_notional: definition.max_notional.parse().unwrap_or(0),
            low,
            high,
            middle,
        }
    }

    /// The nearest allowed price.
    fn price(&self, wanted: i64) -> i64 {
        let clamped = wanted.clamp(self.low, self.high.max(self.low));
        let on_tick = clamped - clamped.rem_euclid(self.tick);
        if on_tick < self.low { on_tick.saturating_add(self.tick) } else { on_tick }
    }

    /// The nearest allowed quantity at this price.
    fn quantity(&self, wanted: u64, price: i64) -> u64 {
        let mut quantity = wanted.clamp(self.least, self.most.max(self.least));
        if self.max_notional > 0 && price != 0 {
            let most = self.max_notional / u128::from(price.unsigned_abs());
            quantity = quantity.min(u64::try_from(most).unwrap_or(u64::MAX));
        }
        (quantity - quantity % self.lot).max(self.lot)
    }
}

impl Flow {
    /// The next request.
    pub(crate) fn next_request(&mut self) -> Command {
        let instrument = self.random.random_range(0..self.market.instruments.len());
        self.wander(instrument);
        let full = self.open.len() >= OPEN_MAX;
        match self.random.random_range(0..100) {
            _ if full => self.cancel(),
            0..50 => self.make(instrument),
            50..75 => self.cancel(),
            75..85 => self.replace(),
            _ => self.take(instrument),
        }
    }

    /// Moves the middle by a tick now and then.
    fn wander(&mut self, instrument: usize) {
        if self.random.random_range(0..WANDER_EVERY) > 0 {
            return;
        }
        let step = self.random.random_range(-1..=1);
        let offset = &mut self.offsets[instrument];
        *offset = (*offset + step).clamp(-WANDER_TICKS, WANDER_TICKS);
    }

    fn middle(&self, instrument: usize) -> i64 {
        let traded = &self.market.instruments[instrument];
        traded.middle.saturating_add(self.offsets[instrument].saturating_mul(traded.tick))
    }

    fn client_order_id(&mut self) -> String {
        self.number += 1;
        format!("{}{}", self.prefix, self.number)
    }

    fn quantity(&mut self, instrument: usize, price: i64, factor: u64) -> u64 {
        let times = self.random.random_range(1..=10) * factor;
        let traded = &self.market.instruments[instrument];
        traded.quantity(traded.lot.saturating_mul(traded.lots).saturating_mul(times), price)
    }

    fn side(&mut self) -> pb::Side {
        if self.random.random_bool(0.5) { pb::Side::Buy } else { pb::Side::Sell }
    }

    /// `ticks` away from the middle: towards the own side of the book if positive, across the spread if negative.
    fn price(&self, instrument: usize, side: pb::Side, ticks: i64) -> i64 {
        let traded = &self.market.instruments[instrument];
        let away = ticks.saturating_mul(traded.tick);
        let wanted = match side {
            pb::Side::Sell => self.middle(instrument).saturating_add(away),
            pb::Side::Buy | pb::Side::Unspecified => self.middle(instrument).saturating_sub(away),
        };
        traded.price(wanted)
    }

    fn make(&mut self, instrument: usize) -> Command {
        let side = self.side();
        let ticks = self.random.random_range(1..=QUOTE_TICKS);
        let price = self.price(instrument, side, ticks);
        let quantity = self.quantity(instrument, price, 1);
        let account = self.accounts + self.random.random_range(0..MAKERS);
        let client_order_id = self.client_order_id();
        let open = self.trade(instrument, side, price, quantity);
        if open > 0 {
            let client_order_id = client_order_id.clone();
            self.open.push(Open { account, client_order_id, instrument, side, price, quantity, open });
        }
        Command::Submit(pb::SubmitOrderRequest {
            account_id: account,
            client_order_id,
            symbol: self.market.instruments[instrument].symbol.clone(),
            side: side.into(),
            order_type: pb::OrderType::Limit.into(),
            time_in_force: pb::TimeInForce::GoodTillCancel.into(),
            post_only: false,
            price,
            quantity,
            self_trade_prevention: pb::SelfTradePrevention::CancelOldest.into(),
        })
    }

    fn take(&mut self, instrument: usize) -> Command {
        let side = self.side();
        let price = self.price(instrument, side, -QUOTE_TICKS);
        // One taker in ten sweeps several levels.
        let factor = if self.random.random_range(0..10) == 0 { 6 } else { 1 };
        let quantity = self.quantity(instrument, price, factor);
        self.trade(instrument, side, price, quantity);
        let market = self.random.random_bool(0.3);
        let order_type = if market { pb::OrderType::Market } else { pb::OrderType::Limit };
        Command::Submit(pb::SubmitOrderRequest {
            account_id: self.accounts + MAKERS + self.random.random_range(0..TAKERS),
            client_order_id: self.client_order_id(),
            symbol: self.market.instruments[instrument].symbol.clone(),
            side: side.into(),
            order_type: order_type.into(),
            time_in_force: pb::TimeInForce::ImmediateOrCancel.into(),
            post_only: false,
            price,
            quantity,
            self_trade_prevention: pb::SelfTradePrevention::CancelNewest.into(),
        })
    }

    fn cancel(&mut self) -> Command {
        match self.farthest() {
            Some(order) => self.cancel_one(order),
            None => self.make(0),
        }
    }

    fn cancel_one(&mut self, order: Open) -> Command {
        Command::Cancel(pb::CancelOrderRequest {
            account_id: order.account,
            client_order_id: self.client_order_id(),
            symbol: self.market.instruments[order.instrument].symbol.clone(),
            target: Some(pb::cancel_order_request::Target::OriginalClientOrderId(order.client_order_id)),
        })
    }

    /// Moves an order a tick towards the other side, or makes it smaller so that it keeps its place.
    fn replace(&mut self) -> Command {
        let Some(mut order) = self.farthest() else { return self.make(0) };
        let traded = &self.market.instruments[order.instrument];
        let filled = order.quantity - order.open;
        let smaller = traded.quantity(filled + order.open / 2, order.price);
        let moved = self.random.random_bool(0.5) || smaller <= filled;
        if moved {
            let towards = if order.side == pb::Side::Sell { -traded.tick } else { traded.tick };
            order.price = traded.price(order.price.saturating_add(towards));
            order.quantity = traded.quantity(order.quantity, order.price);
        } else {
            order.quantity = smaller;
        }
        if order.quantity <= filled {
            return self.cancel_one(order);
        }
        order.open = order.quantity - filled;
        if moved {
            order.open = self.trade(order.instrument, order.side, order.price, order.open);
        }
        let command = Command::Replace(pb::ReplaceOrderRequest {
            account_id: order.account,
            client_order_id: self.client_order_id(),
            symbol: self.market.instruments[order.instrument].symbol.clone(),
            target: Some(pb::replace_order_request::Target::OriginalClientOrderId(order.client_order_id.clone())),
            price: order.price,
            quantity: order.quantity,
        });
        // It can still be named by the id of its submit, which holds even if the replace is refused.
        if order.open > 0 {
            self.open.push(order);
        }
        command
    }

    /// Takes out, of some open orders, the one farthest from the middle.
    fn farthest(&mut self) -> Option<Open> {
        if self.open.is_empty() {
            return None;
        }
        let candidates: [usize; CANCEL_CANDIDATES] =
            std::array::from_fn(|_| self.random.random_range(0..self.open.len()));
        let away = |at: &usize| {
            let order = &self.open[*at];
            let distance = order.price.abs_diff(self.middle(order.instrument));
            distance / self.market.instruments[order.instrument].tick.unsigned_abs()
        };
        candidates.into_iter().max_by_key(away).map(|at| self.open.remove(at))
    }

    /// Trades an incoming order with the open ones as the exchange would if there were no other connections; gives
    /// what is left of it.
    fn trade(&mut self, instrument: usize, side: pb::Side, price: i64, mut quantity: u64) -> u64 {
        let crosses = |order: &Open| {
            order.instrument == instrument
                && match side {
                    pb::Side::Sell => order.side == pb::Side::Buy && order.price >= price,
                    pb::Side::Buy | pb::Side::Unspecified => order.side == pb::Side::Sell && order.price <= price,
                }
        };
        while quantity > 0 {
            let crossing = self.open.iter().enumerate().filter(|(_, order)| crosses(order));
            // The first of the best: orders stand in order of time.
            let best = match side {
                pb::Side::Sell => crossing.rev().max_by_key(|(_, order)| order.price),
                pb::Side::Buy | pb::Side::Unspecified => crossing.min_by_key(|(_, order)| order.price),
            };
            let Some((at, _)) = best else { break };
            let traded = quantity.min(self.open[at].open);
            quantity -= traded;
            self.open[at].open -= traded;
            if self.open[at].open == 0 {
                self.open.remove(at);
            }
        }
        quantity
    }
}
