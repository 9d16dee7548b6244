//! Reads a table and compares. A line is `command => events | answer`; lines that begin with `//` are remarks.
//!
//! Commands, words in brackets being optional and in any order:
//! - `submit ACCOUNT ID buy|sell QTY@PRICE [market] [ioc|fok] [post] [newest|oldest|both|decrement] [on N]`
//! - `cancel ACCOUNT ID TARGET [on N]`, `replace ACCOUNT ID TARGET QTY@PRICE [on N]`, a target being `#n` or a client id
//! - `mass ACCOUNT ID [buy|sell] [on N]`
//! - `define SYMBOL [key=value …]`, `state N STATE`, `limit ACCOUNT N`, `rules [open=] [window=] [capacity=]`
//! - `wait MICROSECONDS`; `book [on N]` shows levels as QTY@PRICE*ORDERS; `order ACCOUNT ID` shows an order;
//!   `kept` shows how many outcomes are; `next order|trade N` sets a counter (by way of a snapshot)
//!
//! Events: `accept #n`, `trade #maker #taker QTY@PRICE`, `rest #n QTY@PRICE`, `off #n QTY CAUSE` (out of the book),
//! `drop #n QTY CAUSE` (never was in it), `keep|move #n QTY@PRICE` (replaced, open quantity), `shrink #n by QTY to
//! QTY`, `no REASON`, `again`, `defined N`, `state N STATE`, `limit ACCOUNT N`, `rules`. The answer is `STATUS
//! CUMULATIVE/LEAVES`, and ` xN` after a mass cancel, ` fills N` where there are some.
//!
//! After every command the invariants are checked, and the slow exchange must have done the same.

use matching::Exchange;
use matching::reference::ReferenceExchange;
use std::fmt::Write;
use types::{
    AccountId, AccountLimit, Cancel, ClientOrderId, Command, Event, Fill, Instrument, InstrumentId, InstrumentState,
    InstrumentStateChange, LogId, MassCancel, OrderId, OrderTarget, OrderType, Outcome, Place, Price, Qty, Replace,
    Rules, SelfTradePrevention, Seq, ShardId, Side, Submit, Symbol, TimeInForce, Timestamp,
};

/// Runs a table over an exchange with one instrument that allows everything: `A`, number 0.
pub(crate) fn check(table: &str) {
    let mut desk = Desk::new();
    desk.command(&define(&["A"]));
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")) {
        let (command, expected) = line.split_once("=>").map_or((line, ""), |(left, right)| (left.trim(), right.trim()));
        let got = desk.line(command);
        assert_eq!(got, expected, "at line: {line}");
        desk.exchange.check_invariants().unwrap_or_else(|broken| panic!("{broken}, at line: {line}"));
        assert_eq!(desk.exchange.state_hash(), desk.slow.state_hash(), "at line: {line}");
    }
}

/// Both exchanges, and the log they read.
pub(crate) struct Desk {
    pub(crate) exchange: Exchange,
    slow: ReferenceExchange,
    seq: u64,
    now: u64,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self { exchange: Exchange::new(ShardId(0)), slow: ReferenceExchange::new(ShardId(0)), seq: 0, now: 1_000_000 }
    }

    /// Runs one line; what came of it in words.
    pub(crate) fn line(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let command = match words.as_slice() {
            ["submit", rest @ ..] => submit(rest),
            ["cancel", account, id, named, rest @ ..] => Command::Cancel(Cancel {
                account: self::account(account),
                client_order_id: text(id),
                instrument: on(rest).unwrap_or_default(),
                target: target(named),
            }),
            ["replace", account, id, named, what, rest @ ..] => Command::Replace(Replace {
                account: self::account(account),
                client_order_id: text(id),
                instrument: on(rest).unwrap_or_default(),
                target: target(named),
                price: quantity_at_price(what).1,
                quantity: quantity_at_price(what).0,
            }),
            ["mass", account, id, rest @ ..] => Command::MassCancel(MassCancel {
                account: self::account(account),
                client_order_id: text(id),
                instrument: on(rest),
                side: rest.iter().find_map(|word| side(word)),
            }),
            ["define", rest @ ..] => define(rest),
            ["state", number, state] => Command::SetInstrumentState(InstrumentStateChange {
                instrument: InstrumentId(parse(number)),
                state: self::state(state),
            }),
            ["limit", account, limit] => Command::SetAccountLimit(AccountLimit {
                account: self::account(account),
                max_open_orders: parse(limit),
            }),
            ["rules", rest @ ..] => Command::SetRules(rules(rest)),
            ["wait", time] => {
                self.now += parse::<u64>(time);
                return String::new();
            }
            ["book", rest @ ..] => return self.book(on(rest).unwrap_or_default()),
            ["order", account, id] => return self.order(self::account(account), text(id)),
            ["kept"] => return self.exchange.idempotency_entries().to_string(),
            ["next", which, number] => return self.set_counter(which, parse(number)),
            _ => panic!("not a command: {line}"),
        };
        self.command(&command)
    }

    pub(crate) fn command(&mut self, command: &Command) -> String {
        self.seq += 1;
        self.now += 1;
        let place = Place { log_id: LogId(1), epoch: 1, seq: Seq(self.seq), index: 0 };
        let (mut events, mut fills) = (Vec::new(), Vec::new());
        let outcome = self.exchange.apply(place, Timestamp(self.now), command, &mut events, &mut fills);
        let (mut slow_events, mut slow_fills) = (Vec::new(), Vec::new());
        let slow = self.slow.apply(place, Timestamp(self.now), command, &mut slow_events, &mut slow_fills);
        assert_eq!((outcome, &events, &fills), (slow, &slow_events, &slow_fills), "the slow exchange differs");
        let events: Vec<String> = events.iter().map(event).collect();
        format!("{} | {}", events.join(", "), answer(&outcome, &fills)).trim_start().to_owned()
    }

    fn book(&self, instrument: InstrumentId) -> String {
        let show = |side| {
            let levels = self.exchange.depth(instrument, side, usize::MAX);
            let levels = levels.map(|level| format!("{}@{}*{}", level.quantity, level.price, level.orders));
            levels.collect::<Vec<_>>().join(" ")
        };
        format!("{} / {}", show(Side::Buy), show(Side::Sell)).trim().to_owned()
    }

    fn order(&self, account: AccountId, id: ClientOrderId) -> String {
        let found = self.exchange.order_by_client_id(account, &id);
        assert_eq!(found, self.slow.order_by_client_id(account, &id), "the slow exchange differs");
        let Some(order) = found else { return "none".into() };
        assert_eq!(self.exchange.order(order.order_id), found);
        let side = if order.side == Side::Buy { "buy" } else { "sell" };
        format!(
            "#{} {side} {}@{} {:?} {}/{}",
            order.order_id, order.quantity, order.price, order.status, order.cumulative, order.leaves
        )
    }

    fn set_counter(&mut self, which: &str, number: u64) -> String {
        let mut snapshot = self.exchange.snapshot();
        match which {
            "order" => snapshot.next_order = number,
            _ => snapshot.next_trade = number,
        }
        self.exchange = Exchange::restore(&snapshot).expect("only a counter was raised");
        self.slow = ReferenceExchange::restore(&snapshot);
        String::new()
    }
}

fn parse<T: std::str::FromStr<Err: std::fmt::Debug>>(word: &str) -> T {
    word.parse().unwrap_or_else(|error| panic!("{word}: {error:?}"))
}

fn text(word: &str) -> ClientOrderId {
    parse(word)
}

fn account(word: &str) -> AccountId {
    AccountId(parse(word))
}

fn quantity_at_price(word: &str) -> (Qty, Price) {
    let (quantity, price) = word.split_once('@').expect("QTY@PRICE");
    (Qty(parse(quantity)), Price(parse(price)))
}

fn on(words: &[&str]) -> Option<InstrumentId> {
    let at = words.iter().position(|word| *word == "on")?;
    Some(InstrumentId(parse(words[at + 1])))
}

fn side(word: &str) -> Option<Side> {
    match word {
        "buy" => Some(Side::Buy),
        "sell" => Some(Side::Sell),
        _ => None,
    }
}

fn target(word: &str) -> OrderTarget {
    match word.strip_prefix('#') {
        Some(number) => OrderTarget::OrderId(OrderId(parse(number))),
        None => OrderTarget::ClientOrderId(text(word)),
    }
}

fn state(word: &str) -> InstrumentState {
    use InstrumentState::{CancelOnly, Closed, Continuous, Halted, PreOpen};
    let states = [PreOpen, Continuous, Halted, CancelOnly, Closed];
    states.into_iter().find(|state| format!("{state:?}") == word).expect("a state")
}

fn submit(words: &[&str]) -> Command {
    let [account, id, way, what, rest @ ..] = words else { panic!("not enough words: {words:?}") };
    let has = |word| rest.contains(&word);
    let (quantity, price) = quantity_at_price(what);
    let time_in_force = match (has("ioc"), has("fok")) {
        (true, _) => TimeInForce::ImmediateOrCancel,
        (_, true) => TimeInForce::FillOrKill,
        _ => TimeInForce::GoodTillCancel,
    };
    let prevention = match (has("oldest"), has("both"), has("decrement")) {
        (true, ..) => SelfTradePrevention::CancelOldest,
        (_, true, _) => SelfTradePrevention::CancelBoth,
        (_, _, true) => SelfTradePrevention::Decrement,
        _ => SelfTradePrevention::CancelNewest,
    };
    Command::Submit(Submit {
        account: self::account(account),
        client_order_id: text(id),
        instrument: on(rest).unwrap_or_default(),
        side: side(way).expect("buy or sell"),
        order_type: if has("market") { OrderType::Market } else { OrderType::Limit },
        time_in_force,
        post_only: has("post"),
        price,
        quantity,
        self_trade_prevention: prevention,
    })
}

fn define(words: &[&str]) -> Command {
    let mut definition = Instrument {
        symbol: Symbol::new(words[0]).expect("a symbol"),
        price_decimals: 2,
        quantity_decimals: 0,
        tick_size: 1,
        lot_size: 1,
        min_quantity: Qty(1),
        max_quantity: Qty(u64::MAX),
        max_notional: 0,
        low_limit_price: Price(i64::MIN),
        high_limit_price: Price(i64::MAX),
        band_basis_points: 0,
        reference_price: Price(0),
        state: InstrumentState::Continuous,
    };
    for (key, value) in words[1..].iter().map(|word| word.split_once('=').expect("key=value")) {
        match key {
            "tick" => definition.tick_size = parse(value),
            "lot" => definition.lot_size = parse(value),
            "min" => definition.min_quantity = Qty(parse(value)),
            "max" => definition.max_quantity = Qty(parse(value)),
            "notional" => definition.max_notional = parse(value),
            "low" => definition.low_limit_price = Price(parse(value)),
            "high" => definition.high_limit_price = Price(parse(value)),
            "band" => definition.band_basis_points = parse(value),
            "reference" => definition.reference_price = Price(parse(value)),
            "decimals" => definition.price_decimals = parse(value),
            "state" => definition.state = state(value),
            _ => panic!("not a field: {key}"),
        }
    }
    Command::DefineInstrument(definition)
}

fn rules(words: &[&str]) -> Rules {
    let mut rules = Rules::default();
    for (key, value) in words.iter().map(|word| word.split_once('=').expect("key=value")) {
        match key {
            "open" => rules.max_open_orders = parse(value),
            "window" => rules.idempotency_window_us = parse(value),
            "capacity" => rules.idempotency_capacity = parse(value),
            _ => panic!("not a field: {key}"),
        }
    }
    rules
}

fn event(event: &Event) -> String {
    match event {
        Event::Accepted { order_id, .. } => format!("accept #{order_id}"),
        Event::Rejected { reason } => format!("no {reason:?}"),
        Event::Trade(trade) => format!("trade #{} #{} {}@{}", trade.maker, trade.taker, trade.quantity, trade.price),
        Event::Rested(rested) => format!("rest #{} {}@{}", rested.order_id, rested.leaves, rested.price),
        Event::Decremented { order_id, by, leaves, .. } => format!("shrink #{order_id} by {by} to {leaves}"),
        Event::Canceled { order_id, quantity, was_resting, cause, .. } => {
            let word = if *was_resting { "off" } else { "drop" };
            format!("{word} #{order_id} {quantity} {cause:?}")
        }
        Event::Replaced(replaced) => {
            let word = if replaced.kept_priority { "keep" } else { "move" };
            format!("{word} #{} {}@{}", replaced.order_id, replaced.leaves, replaced.price)
        }
        Event::InstrumentDefined { instrument, .. } => format!("defined {instrument}"),
        Event::InstrumentStateChanged(change) => format!("state {} {:?}", change.instrument, change.state),
        Event::AccountLimitChanged(limit) => format!("limit {} {}", limit.account, limit.max_open_orders),
        Event::RulesChanged(_) => "rules".into(),
        Event::Duplicate { .. } => "again".into(),
    }
}

fn answer(outcome: &Outcome, fills: &[Fill]) -> String {
    let mut words = format!("{:?} {}/{}", outcome.status, outcome.cumulative, outcome.leaves);
    if outcome.canceled_orders > 0 {
        write!(words, " x{}", outcome.canceled_orders).expect("a string takes everything");
    }
    if !fills.is_empty() {
        write!(words, " fills {}", fills.len()).expect("a string takes everything");
    }
    words
}
