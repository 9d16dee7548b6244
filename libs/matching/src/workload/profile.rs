//! What a stream is like: how many accounts and instruments, how deep the books, how long outcomes are kept.

use types::{Command, Instrument, InstrumentId, InstrumentState, Price, Qty, Rules, Symbol};

/// See the module.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Accounts, numbered from 1.
    pub accounts: u64,
    /// Instruments, numbered from 0. The first is an ordinary one, the second may cost less than nothing, the third
    /// takes all prices and quantities that there are, the fourth has a band; then they repeat.
    pub instruments: u32,
    /// About how many orders are open at one time.
    pub open_orders: usize,
    /// Ticks on each side of the middle over which orders spread.
    pub ticks: i64,
    /// Most lots of an order that takes everything in its way.
    pub sweep_lots: u64,
    /// Limits of the shard.
    pub rules: Rules,
    /// Time that passes once in a while, microseconds.
    pub pause_us: u64,
    /// Whether there are invalid and conflicting requests, and states and limits change under way.
    pub faults: bool,
}

/// Where orders of one instrument are.
pub(super) struct Shape {
    pub(super) middle: i64,
    pub(super) tick: i64,
    pub(super) ticks: i64,
    pub(super) lot: u64,
    pub(super) far_prices: [Price; 4],
    pub(super) large_quantities: [Qty; 2],
}

impl Profile {
    /// Few orders, few accounts, few outcomes kept, everything happening: small enough for the slow exchange.
    #[must_use]
    pub fn small() -> Self {
        Self {
            accounts: 5,
            instruments: 4,
            open_orders: 40,
            ticks: 6,
            sweep_lots: 100,
            rules: Rules { max_open_orders: 30, idempotency_window_us: 30_000, idempotency_capacity: 60 },
            pause_us: 20_000,
            faults: true,
        }
    }

    /// One instrument and queues that are long for the slow exchange.
    #[must_use]
    pub fn deep() -> Self {
        Self { instruments: 1, open_orders: 300, accounts: 12, ticks: 3, sweep_lots: 1_500, ..Self::small() }
    }

    /// A market as an exchange sees it: many accounts, books of thousands of orders, no faults.
    #[must_use]
    pub fn market() -> Self {
        Self {
            accounts: 1_000,
            instruments: 1,
            open_orders: 5_000,
            ticks: 100,
            sweep_lots: 500,
            rules: Rules { idempotency_capacity: 200_000, ..Rules::default() },
            pause_us: 1_000,
            faults: false,
        }
    }

    /// The commands that set the exchange up.
    #[must_use]
    pub fn setup(&self) -> Vec<Command> {
        let instruments = (0..self.instruments).map(|number| Command::DefineInstrument(self.definition(number)));
        instruments.chain([Command::SetRules(self.rules)]).collect()
    }

    fn definition(&self, number: u32) -> Instrument {
        let ordinary = Instrument {
            symbol: Symbol::new(&format!("TEST-{number}")).expect("printable and short"),
            price_decimals: 2,
            quantity_decimals: 0,
            tick_size: 5,
            lot_size: 10,
            min_quantity: Qty(10),
            max_quantity: Qty(100_000),
            max_notional: 0,
            low_limit_price: Price(5),
            high_limit_price: Price(1_000_000),
            band_basis_points: 0,
            reference_price: Price(0),
            state: InstrumentState::Continuous,
        };
        match number % 4 {
            0 => ordinary,
            1 => Instrument {
                tick_size: 1,
                lot_size: 1,
                min_quantity: Qty(2),
                low_limit_price: Price(-1_000),
                high_limit_price: Price(1_000),
                max_notional: 50_000,
                ..ordinary
            },
            2 => Instrument {
                tick_size: 1,
                lot_size: 1,
                min_quantity: Qty(1),
                max_quantity: Qty(u64::MAX),
                low_limit_price: Price(i64::MIN),
                high_limit_price: Price(i64::MAX),
                ..ordinary
            },
            _ => Instrument { band_basis_points: 100, reference_price: Price(10_000), ..ordinary },
        }
    }

    pub(super) fn shape(&self, instrument: InstrumentId) -> Shape {
        let definition = self.definition(instrument.0);
        let tick = i64::try_from(definition.tick_size).unwrap_or(1);
        let middle = match instrument.0 % 4 {
            1 => 0,
            2 => -5_000_000_000_000_000_000,
            _ => 10_000,
        };
        let (low, high) = (definition.low_limit_price, definition.high_limit_price);
        Shape {
            middle,
            tick,
            ticks: self.ticks,
            lot: definition.lot_size,
            far_prices: [low, high, Price(middle - 50 * tick), Price(middle + 50 * tick)],
            large_quantities: [definition.max_quantity, Qty(definition.lot_size * 1_000)],
        }
    }
}
