//! Snapshots: everything in them matters to the hash, and what contradicts itself is refused.

use crate::check::Desk;
use matching::{Exchange, RestoreError, snapshot_hash};
use types::{
    AccountId, ClientOrderId, InstrumentState, LogId, OrderId, OrderStatus, Original, Price, Qty, RejectReason,
    SelfTradePrevention, Seq, ShardId, Side, Snapshot, Timestamp, TradeId,
};

/// Open orders on both sides, a filled one, a refusal, a replace, two instruments, two limits.
fn snapshot() -> Snapshot {
    let mut desk = Desk::new();
    for line in [
        "define A",
        "define B tick=5 lot=5 min=5 notional=100000 band=1000 reference=100 low=-1000 high=1000",
        "limit 8 5",
        "limit 9 5",
        "submit 1 a sell 5@110",
        "submit 2 b buy 8@110 ioc",
        "submit 1 c sell 9@112 both",
        "submit 1 d sell 9@111 post",
        "replace 1 e c 8@111",
        "submit 2 f buy 3@111",
        "submit 2 g buy 5@100",
        "submit 2 h buy 5@100 on 7",
        "submit 2 i buy 5@100 on 1 decrement",
        "state 1 Halted",
        "mass 2 j on 1",
    ] {
        desk.line(line);
    }
    desk.exchange.snapshot()
}

/// One change of every part.
const CHANGES: &[fn(&mut Snapshot)] = &[
    |s| s.shard = ShardId(1),
    |s| s.now.0 += 1,
    |s| s.rules.max_open_orders += 1,
    |s| s.rules.idempotency_window_us += 1,
    |s| s.rules.idempotency_capacity += 1,
    |s| s.next_order += 1,
    |s| s.next_trade += 1,
    |s| s.next_priority += 1,
    |s| s.instruments.swap(0, 1),
    |s| s.instruments[1].state = InstrumentState::PreOpen,
    |s| s.instruments[1].last_price = Some(Price(0)),
    |s| s.instruments[0].last_price = None,
    |s| s.instruments[1].definition.symbol = "C".parse().expect("valid"),
    |s| s.instruments[1].definition.price_decimals += 1,
    |s| s.instruments[1].definition.quantity_decimals += 1,
    |s| s.instruments[1].definition.tick_size += 1,
    |s| s.instruments[1].definition.lot_size -= 1,
    |s| s.instruments[1].definition.min_quantity.0 += 1,
    |s| s.instruments[1].definition.max_quantity.0 -= 1,
    |s| s.instruments[1].definition.max_notional += 1,
    |s| s.instruments[1].definition.low_limit_price.0 += 1,
    |s| s.instruments[1].definition.high_limit_price.0 += 1,
    |s| s.instruments[1].definition.band_basis_points += 1,
    |s| s.instruments[1].definition.reference_price.0 += 1,
    |s| s.instruments[1].definition.state = InstrumentState::PreOpen,
    |s| s.accounts[0].account = AccountId(7),
    |s| s.accounts[0].max_open_orders += 1,
    |s| s.accounts.truncate(1),
    |s| s.orders[0].order_id = OrderId(1),
    |s| s.orders[0].account.0 += 1,
    |s| s.orders[0].client_order_id = ClientOrderId::new("x").expect("valid"),
    |s| s.orders[0].instrument.0 += 1,
    |s| s.orders[0].side = Side::Buy,
    |s| s.orders[0].price.0 += 1,
    |s| s.orders[0].quantity.0 += 1,
    |s| s.orders[0].cumulative.0 += 1,
    |s| s.orders[0].leaves.0 -= 1,
    |s| s.orders[0].priority -= 1,
    |s| s.orders[0].self_trade_prevention = SelfTradePrevention::CancelOldest,
    |s| s.orders[0].post_only = true,
    |s| s.orders.truncate(1),
    |s| s.idempotency.swap(0, 1),
    |s| s.idempotency.swap(2, 5),
    |s| drop(s.idempotency.pop()),
    |s| drop(s.idempotency.remove(0)),
    |s| s.idempotency[1].account.0 += 1,
    |s| s.idempotency[1].client_order_id = ClientOrderId::new("x").expect("valid"),
    |s| s.idempotency[1].payload_hash += 1,
    |s| s.idempotency[1].timestamp = Timestamp(1),
    |s| s.idempotency[1].place.log_id = LogId(2),
    |s| s.idempotency[1].place.epoch += 1,
    |s| s.idempotency[1].place.seq = Seq(99),
    |s| s.idempotency[1].place.index += 1,
    |s| s.idempotency[1].outcome.status = OrderStatus::Filled,
    |s| s.idempotency[1].outcome.reason = Some(RejectReason::UnknownOrder),
    |s| s.idempotency[1].outcome.order_id.0 += 1,
    |s| s.idempotency[1].outcome.cumulative.0 += 1,
    |s| s.idempotency[1].outcome.leaves.0 += 1,
    |s| s.idempotency[1].outcome.canceled_orders += 1,
    |s| s.idempotency[1].fills[0].trade_id = TradeId(9),
    |s| s.idempotency[1].fills[0].price.0 += 1,
    |s| s.idempotency[1].fills[0].quantity.0 += 1,
    |s| s.idempotency[1].fills[0].maker.0 += 1,
    |s| s.idempotency[1].fills.clear(),
    |s| s.idempotency[1].closed = None,
];

#[test]
fn every_part_of_a_snapshot_is_in_the_hash() {
    let whole = snapshot();
    let hash = Exchange::restore(&whole).expect("valid").state_hash();
    assert_eq!(snapshot_hash(&whole), hash);
    for (number, change) in CHANGES.iter().enumerate() {
        let mut changed = whole.clone();
        change(&mut changed);
        assert_ne!(changed, whole, "change {number} changes nothing");
        assert_ne!(snapshot_hash(&changed), hash, "change {number} is not in the hash");
    }
    let closed = |change: fn(&mut types::ClosedOrder)| {
        let mut changed = whole.clone();
        change(changed.idempotency[1].closed.as_mut().expect("an order that ended"));
        assert_ne!(changed, whole);
        assert_ne!(snapshot_hash(&changed), hash);
    };
    closed(|c| c.status = OrderStatus::Filled);
    closed(|c| c.instrument.0 += 1);
    closed(|c| c.side = Side::Sell);
    closed(|c| c.price.0 += 1);
    closed(|c| c.quantity.0 += 1);
    closed(|c| c.cumulative.0 += 1);
}

#[test]
fn what_contradicts_itself_is_not_restored() {
    type Change = fn(&mut Snapshot);
    let first = OrderId(3);
    let cases: &[(Change, RestoreError)] = &[
        (|s| s.shard = ShardId(65_536), RestoreError::Shard),
        (|s| s.rules.idempotency_capacity = 0, RestoreError::Rules),
        (|s| s.next_order = 0, RestoreError::Counter),
        (|s| s.next_trade = (1 << 48) + 1, RestoreError::Counter),
        (|s| s.next_priority = 0, RestoreError::Counter),
        (|s| s.instruments[1].definition.symbol = s.instruments[0].definition.symbol, RestoreError::Instrument(1)),
        (|s| s.instruments[0].definition.tick_size = 0, RestoreError::Instrument(0)),
        (|s| s.accounts[1].account = AccountId(8), RestoreError::Account(1)),
        (|s| s.accounts[0].account = AccountId(0), RestoreError::Account(0)),
        (|s| s.orders.swap(0, 1), RestoreError::Order(OrderId(3))),
        (|s| s.orders[0].account = AccountId(0), RestoreError::Order(OrderId(3))),
        (|s| s.orders[0].account = AccountId(5), RestoreError::Order(OrderId(3))),
        (|s| s.orders[0].client_order_id = ClientOrderId::new("x").expect("valid"), RestoreError::Order(OrderId(3))),
        (|s| s.orders[0].leaves = Qty(0), RestoreError::Order(OrderId(3))),
        (|s| s.orders[0].leaves = Qty(u64::MAX), RestoreError::Order(OrderId(3))),
        (|s| s.orders[0].priority = s.next_priority, RestoreError::Order(OrderId(3))),
        (|s| s.orders[0].priority = 0, RestoreError::Order(OrderId(3))),
        (|s| s.orders[1].priority = s.orders[0].priority, RestoreError::Order(OrderId(4))),
        (|s| s.orders[0].instrument.0 = 2, RestoreError::Order(OrderId(3))),
        (|s| s.instruments[0].state = InstrumentState::Closed, RestoreError::Order(OrderId(3))),
        (|s| s.orders[0].price = Price(100), RestoreError::Crossed(0)),
        (|s| s.orders[2].order_id = OrderId(9), RestoreError::Order(OrderId(9))),
        (|s| drop(s.idempotency.remove(2)), RestoreError::Order(OrderId(3))),
        (|s| s.idempotency[1] = s.idempotency[0].clone(), RestoreError::Outcome(1)),
        (|s| s.idempotency[1].timestamp.0 = s.now.0 + 1, RestoreError::Outcome(1)),
        (|s| s.idempotency[1].outcome.reason = Some(RejectReason::UnknownOrder), RestoreError::Outcome(1)),
        (
            |s| {
                s.idempotency[1].outcome.original =
                    Some(Original { place: s.idempotency[1].place, timestamp: Timestamp(1) });
            },
            RestoreError::Outcome(1),
        ),
        (|s| s.idempotency[1].outcome.order_id = OrderId(99), RestoreError::Outcome(1)),
        (|s| s.idempotency[1].outcome.order_id = OrderId(1), RestoreError::Outcome(1)),
        (|s| s.idempotency[2].closed = s.idempotency[1].closed, RestoreError::Outcome(2)),
    ];
    assert_eq!(snapshot().orders[0].order_id, first);
    for (number, (change, expected)) in cases.iter().enumerate() {
        let mut changed = snapshot();
        change(&mut changed);
        match Exchange::restore(&changed) {
            Ok(_) => panic!("change {number} was not noticed, expected {expected:?}"),
            Err(error) => assert_eq!(error, *expected, "change {number}"),
        }
    }
}
