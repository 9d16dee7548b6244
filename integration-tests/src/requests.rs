//! A seeded stream of trading requests of one account: makers around a slowly moving price, takers, cancels,
//! replaces, now and then something that is refused.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use wire::pb::orders::v1::{
    CancelOrderRequest, MassCancelRequest, OrderReport, OrderSessionRequest, OrderType, ReplaceOrderRequest, Side,
    SubmitOrderRequest, TimeInForce, cancel_order_request, order_session_request::Command, replace_order_request,
};

/// Own orders a worker remembers for its cancels and replaces.
const REMEMBERED: usize = 64;

/// Generates the requests of one account.
#[derive(Debug)]
pub struct Requests {
    random: ChaCha8Rng,
    account: u64,
    run: String,
    symbols: Vec<String>,
    number: u64,
    /// Number of the order, and of the request it came by.
    open: Vec<(u64, u64)>,
}

impl Requests {
    /// A stream for `account`; `run` makes its request ids unique.
    #[must_use]
    pub fn new(seed: u64, account: u64, run: &str) -> Self {
        Self {
            random: ChaCha8Rng::seed_from_u64(seed ^ account.rotate_left(32)),
            account,
            run: run.to_owned(),
            symbols: ["BTC-USD", "ETH-USD"].map(str::to_owned).into(),
            number: 0,
            open: Vec::new(),
        }
    }

    /// The same on other instruments; the first is the most popular one.
    #[must_use]
    pub fn over(mut self, symbols: Vec<String>) -> Self {
        self.symbols = symbols;
        self
    }

    fn request(&mut self) -> Command {
        self.number += 1;
        let client_order_id = format!("{}-{}-{}", self.run, self.account, self.number);
        let symbol = self.symbol(self.number);
        match self.random.random_range(0..100) {
            0..20 if !self.open.is_empty() => {
                let (order, symbol) = self.pick();
                Command::Cancel(CancelOrderRequest {
                    account_id: self.account,
                    client_order_id,
                    symbol,
                    target: Some(cancel_order_request::Target::OrderId(order)),
                })
            }
            20..30 if !self.open.is_empty() => {
                let (order, symbol) = self.pick();
                Command::Replace(ReplaceOrderRequest {
                    account_id: self.account,
                    client_order_id,
                    symbol,
                    target: Some(replace_order_request::Target::OrderId(order)),
                    price: self.price(),
                    quantity: self.quantity(),
                })
            }
            30 => Command::MassCancel(MassCancelRequest {
                account_id: self.account,
                client_order_id,
                symbol,
                side: Side::Unspecified.into(),
            }),
            kind => {
                let side = if self.random.random_bool(0.5) { Side::Buy } else { Side::Sell };
                let (order_type, time_in_force) = match kind {
                    31..45 => (OrderType::Limit, TimeInForce::ImmediateOrCancel),
                    45..50 => (OrderType::Market, TimeInForce::ImmediateOrCancel),
                    50..53 => (OrderType::Limit, TimeInForce::FillOrKill),
                    _ => (OrderType::Limit, TimeInForce::GoodTillCancel),
                };
                Command::Submit(SubmitOrderRequest {
                    account_id: self.account,
                    client_order_id,
                    symbol,
                    side: side.into(),
                    order_type: order_type.into(),
                    time_in_force: time_in_force.into(),
                    post_only: kind >= 95,
                    price: self.price(),
                    quantity: self.quantity(),
                    self_trade_prevention: self.random.random_range(0..=4),
                })
            }
        }
    }

    /// Tells the stream what an order became, so that it cancels and replaces real orders.
    pub fn learn(&mut self, report: &OrderReport) {
        if report.leaves_quantity > 0 && report.order_id != 0 {
            if self.open.len() == REMEMBERED {
                self.open.remove(0);
            }
            let number = report.client_order_id.rsplit('-').next().and_then(|number| number.parse().ok());
            self.open.push((report.order_id, number.unwrap_or(0)));
        }
    }

    /// An order and its instrument; a replaced one may be looked for under another, which is refused.
    fn pick(&mut self) -> (u64, String) {
        let at = self.random.random_range(0..self.open.len());
        let (order, request) = self.open.swap_remove(at);
        (order, self.symbol(request))
    }

    /// The instrument of a request: with two of them seven out of ten are for the first.
    fn symbol(&self, number: u64) -> String {
        let at = if self.symbols.len() > 2 { number } else { u64::from(number % 10 >= 7) };
        self.symbols[usize::try_from(at).unwrap_or(0) % self.symbols.len()].clone()
    }

    /// Around 50,000.00, on tick but for one in a hundred.
    fn price(&mut self) -> i64 {
        let price = 5_000_000 + self.random.random_range(-20..=20) * 100;
        if self.random.random_bool(0.01) { price + 1_000_000_000_000 } else { price }
    }

    fn quantity(&mut self) -> u64 {
        self.random.random_range(1..=50) * 1_000_000
    }
}

impl Iterator for Requests {
    type Item = Command;

    /// The next request; there is always one.
    fn next(&mut self) -> Option<Command> {
        Some(self.request())
    }
}

/// The request's own id and account.
#[must_use]
pub fn identity(command: &Command) -> (u64, &str) {
    match command {
        Command::Submit(c) => (c.account_id, &c.client_order_id),
        Command::Cancel(c) => (c.account_id, &c.client_order_id),
        Command::Replace(c) => (c.account_id, &c.client_order_id),
        Command::MassCancel(c) => (c.account_id, &c.client_order_id),
    }
}

/// As a session sends it.
#[must_use]
pub fn in_session(client_seq: u64, command: Command) -> OrderSessionRequest {
    OrderSessionRequest { client_seq, command: Some(command), ..Default::default() }
}
