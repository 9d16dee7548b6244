//! Values with every variant and every optional part, for the layouts.

use bytes::Bytes;
use journal_core::{ChainHash, Control, Entry, EntryKind, Tail, Voter, VoterConfig};
use types::{
    AccountId, AccountLimit, AccountSnapshot, Cancel, ClosedOrder, Command, Epoch, Fill, IdempotencyEntry, Incarnation,
    Instrument, InstrumentId, InstrumentSnapshot, InstrumentState, InstrumentStateChange, LogId, MassCancel, OrderId,
    OrderSnapshot, OrderStatus, OrderTarget, OrderType, Outcome, Place, Price, Qty, RejectReason, Replace, Rules,
    SelfTradePrevention, Seq, ShardId, Side, Snapshot, Submit, TimeInForce, Timestamp, TradeId,
};

pub(crate) fn epoch() -> Epoch {
    Epoch { number: 5, owner: Incarnation(0xa1a2_a3a4_a5a6_a7a8_a9aa_abac_adae_afb0) }
}

pub(crate) fn entry(payload: &[u8]) -> Entry {
    let payload = Bytes::copy_from_slice(payload);
    let prev = ChainHash([0xc5; 16]);
    Entry::seal(LogId(0xd1), epoch(), Seq(10), EntryKind::Batch, Timestamp(1_700_000_000_000_001), prev, payload)
}

fn instrument() -> Instrument {
    Instrument {
        symbol: "BTC-USD".parse().unwrap(),
        price_decimals: 2,
        quantity_decimals: 8,
        tick_size: 5,
        lot_size: 1_000,
        min_quantity: Qty(1_000),
        max_quantity: Qty(u64::MAX),
        max_notional: u128::MAX - 1,
        low_limit_price: Price(-3),
        high_limit_price: Price(i64::MAX),
        band_basis_points: 1_000,
        reference_price: Price(4_200_000),
        state: InstrumentState::Continuous,
    }
}

fn submit() -> Submit {
    Submit {
        account: AccountId(77),
        client_order_id: "order-1".parse().unwrap(),
        instrument: InstrumentId(3),
        side: Side::Buy,
        order_type: OrderType::Limit,
        time_in_force: TimeInForce::GoodTillCancel,
        post_only: true,
        price: Price(-12_345),
        quantity: Qty(1 << 60),
        self_trade_prevention: SelfTradePrevention::CancelOldest,
    }
}

pub(crate) fn commands() -> Vec<Command> {
    let (account, instrument_id) = (AccountId(77), InstrumentId(3));
    let client_order_id = "123e4567-e89b-12d3-a456-426614174000".parse().unwrap();
    let by_number = OrderTarget::OrderId(OrderId(u64::MAX));
    let by_client = OrderTarget::ClientOrderId("order-1".parse().unwrap());
    let mass = MassCancel { account, client_order_id, instrument: None, side: None };
    let market = Submit {
        side: Side::Sell,
        order_type: OrderType::Market,
        time_in_force: TimeInForce::ImmediateOrCancel,
        post_only: false,
        ..submit()
    };
    let mut commands = vec![
        Command::Submit(submit()),
        Command::Submit(market),
        Command::Cancel(Cancel { account, client_order_id, instrument: instrument_id, target: by_number }),
        Command::Cancel(Cancel { account, client_order_id, instrument: instrument_id, target: by_client }),
        Command::Replace(Replace {
            account,
            client_order_id,
            instrument: instrument_id,
            target: by_client,
            price: Price(9),
            quantity: Qty(8),
        }),
        Command::MassCancel(mass),
        Command::MassCancel(MassCancel { instrument: Some(InstrumentId(0)), side: Some(Side::Sell), ..mass }),
        Command::DefineInstrument(instrument()),
        Command::SetAccountLimit(AccountLimit { account, max_open_orders: 6 }),
        Command::SetRules(Rules::default()),
    ];
    let states = [
        InstrumentState::PreOpen,
        InstrumentState::Continuous,
        InstrumentState::Halted,
        InstrumentState::CancelOnly,
        InstrumentState::Closed,
    ];
    let change = |state| Command::SetInstrumentState(InstrumentStateChange { instrument: instrument_id, state });
    commands.extend(states.map(change));
    let preventions =
        [SelfTradePrevention::CancelNewest, SelfTradePrevention::CancelBoth, SelfTradePrevention::Decrement];
    commands.extend(preventions.map(|self_trade_prevention| {
        Command::Submit(Submit { self_trade_prevention, time_in_force: TimeInForce::FillOrKill, ..submit() })
    }));
    commands
}

pub(crate) fn control() -> Control {
    let voter = |number: u8| Voter { gateway: format!("gateway-{number}"), disk_id: u128::from(number) << 64 };
    Control {
        log_id: LogId(0xd1),
        disk_id: 0xe1,
        promised: epoch(),
        config: VoterConfig { generation: 3, current: vec![voter(1), voter(2), voter(3)], pending: vec![voter(4)] },
        base: Tail { epoch: Epoch { number: 4, owner: Incarnation(2) }, seq: Seq(99), chain: ChainHash([7; 16]) },
        quarantined: false,
    }
}

pub(crate) fn snapshot() -> Snapshot {
    let outcome = Outcome {
        status: OrderStatus::PartiallyFilled,
        reason: None,
        order_id: OrderId(12),
        cumulative: Qty(4),
        leaves: Qty(6),
        canceled_orders: 0,
        original: None,
    };
    let fill = |number| Fill { trade_id: TradeId(number), price: Price(-5), quantity: Qty(2), maker: OrderId(8) };
    let request = IdempotencyEntry {
        account: AccountId(77),
        client_order_id: "order-1".parse().unwrap(),
        payload_hash: 0xabcd,
        timestamp: Timestamp(1_000),
        place: Place { log_id: LogId(0xd1), epoch: 5, seq: Seq(10), index: 2 },
        outcome,
        fills: vec![fill(1), fill(2)],
        closed: None,
    };
    let closed = ClosedOrder {
        status: OrderStatus::Filled,
        instrument: InstrumentId(0),
        side: Side::Sell,
        price: Price(17),
        quantity: Qty(10),
        cumulative: Qty(10),
    };
    let rejected = Outcome { status: OrderStatus::Rejected, reason: Some(RejectReason::PriceOutsideBand), ..outcome };
    let refused = IdempotencyEntry { outcome: rejected, fills: Vec::new(), ..request };
    let over = IdempotencyEntry { closed: Some(closed), ..request.clone() };
    Snapshot {
        shard: ShardId(1),
        now: Timestamp(2_000),
        rules: Rules::default(),
        next_order: 13,
        next_trade: 3,
        next_priority: 40,
        instruments: [Some(Price(-5)), None]
            .map(|last_price| InstrumentSnapshot {
                definition: instrument(),
                state: InstrumentState::Halted,
                last_price,
            })
            .to_vec(),
        accounts: vec![AccountSnapshot { account: AccountId(77), max_open_orders: 5 }],
        orders: vec![OrderSnapshot {
            order_id: OrderId(12),
            account: AccountId(77),
            client_order_id: "order-1".parse().unwrap(),
            instrument: InstrumentId(1),
            side: Side::Buy,
            price: Price(-5),
            quantity: Qty(10),
            cumulative: Qty(4),
            leaves: Qty(6),
            priority: 39,
            self_trade_prevention: SelfTradePrevention::CancelNewest,
            post_only: false,
        }],
        idempotency: vec![request, refused, over],
    }
}

/// Makes the checksums of changed bytes right again, so that the fields behind them are read.
pub(crate) fn repair(bytes: &mut [u8]) {
    let crc = |bytes: &[u8]| crc_fast::crc32_iscsi(bytes).to_le_bytes();
    if bytes.starts_with(b"HMSNAP")
        && let Some((content, sum)) = bytes.split_last_chunk_mut::<32>()
    {
        sum.copy_from_slice(blake3::hash(content).as_bytes());
    } else if bytes.starts_with(b"HMCTRL")
        && let Some((content, sum)) = bytes.split_last_chunk_mut::<4>()
    {
        *sum = crc(content);
    } else if bytes.starts_with(b"HMJ")
        && let Some((header, content)) = bytes.split_first_chunk_mut::<64>()
    {
        header[56..60].copy_from_slice(&crc(content));
        let sum = crc(&header[..60]);
        header[60..].copy_from_slice(&sum);
    }
}
