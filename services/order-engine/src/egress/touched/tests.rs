//! Every level that a random command changed is among those its events touched.

use super::{Touched, collect};
use crate::config::InstrumentConfig;
use matching::Exchange;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use types::{
    AccountId, Cancel, ClientOrderId, Command, Event, InstrumentId, InstrumentState, InstrumentStateChange, MassCancel,
    OrderId, OrderTarget, OrderType, Place, Price, Qty, Replace, SelfTradePrevention, Seq, ShardId, Side, Submit,
    TimeInForce, Timestamp,
};

const INSTRUMENTS: [InstrumentId; 2] = [InstrumentId(0), InstrumentId(1)];

type Books = BTreeMap<Touched, (Qty, u32)>;

fn books(exchange: &Exchange) -> Books {
    let mut books = Books::new();
    for instrument in INSTRUMENTS {
        for side in [Side::Buy, Side::Sell] {
            for level in exchange.depth(instrument, side, usize::MAX) {
                books.insert(Touched { instrument, side, price: level.price }, (level.quantity, level.orders));
            }
        }
    }
    books
}

/// `made` orders were accepted before.
fn command(random: &mut ChaCha8Rng, n: u64, made: u64) -> Command {
    let account = AccountId(random.random_range(1..3));
    let client_order_id = ClientOrderId::new(&format!("o{n}")).expect("valid");
    let instrument = INSTRUMENTS[random.random_range(0..2)];
    let side = if random.random() { Side::Buy } else { Side::Sell };
    let price = Price(random.random_range(90..111));
    let quantity = Qty(random.random_range(1..20));
    let target = OrderTarget::OrderId(OrderId(random.random_range(made.saturating_sub(40)..made + 2)));
    match random.random_range(0..100) {
        0..50 => Command::Submit(Submit {
            account,
            client_order_id,
            instrument,
            side,
            order_type: if random.random_range(0..10) == 0 { OrderType::Market } else { OrderType::Limit },
            time_in_force: match random.random_range(0..10) {
                0 => TimeInForce::ImmediateOrCancel,
                1 => TimeInForce::FillOrKill,
                _ => TimeInForce::GoodTillCancel,
            },
            post_only: false,
            price,
            quantity,
            self_trade_prevention: [
                SelfTradePrevention::CancelNewest,
                SelfTradePrevention::CancelOldest,
                SelfTradePrevention::CancelBoth,
                SelfTradePrevention::Decrement,
            ][random.random_range(0..4)],
        }),
        50..60 => Command::Cancel(Cancel { account, client_order_id, instrument, target }),
        60..98 => Command::Replace(Replace { account, client_order_id, instrument, target, price, quantity }),
        98 => Command::MassCancel(MassCancel { account, client_order_id, instrument: None, side: None }),
        _ => {
            let state = if random.random() { InstrumentState::Halted } else { InstrumentState::Continuous };
            Command::SetInstrumentState(InstrumentStateChange { instrument, state })
        }
    }
}

#[test]
fn whatever_changed_was_touched() {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let mut exchange = Exchange::new(ShardId(0));
    let (mut events, mut fills, mut touched) = (Vec::new(), Vec::new(), Vec::new());
    let definitions = InstrumentConfig::examples().into_iter().take(2);
    let mut setup = definitions.map(|definition| Command::DefineInstrument(definition.to_instrument().expect("valid")));
    let (mut before, mut changes, mut made, mut replaced) = (books(&exchange), 0, 0, 0);
    for seq in 1..20_000 {
        let command = setup.next().unwrap_or_else(|| command(&mut random, seq, made));
        events.clear();
        fills.clear();
        let place = Place { seq: Seq(seq), ..Place::default() };
        exchange.apply(place, Timestamp(seq), &command, &mut events, &mut fills);
        made += u64::from(matches!(events.first(), Some(Event::Accepted { .. })));
        replaced += u64::from(matches!(events.first(), Some(Event::Replaced(_))));
        collect(&events, &mut touched);
        let after = books(&exchange);
        for level in before.keys().chain(after.keys()) {
            if before.get(level) != after.get(level) {
                changes += 1;
                assert!(touched.contains(level), "{level:?} changed by {command:?} unnoticed: {events:?}");
            }
        }
        assert!(touched.is_sorted() && touched.windows(2).all(|pair| pair[0] != pair[1]));
        before = after;
    }
    assert!(changes > 5_000 && replaced > 100, "{changes} changes, {replaced} replaces");
}
