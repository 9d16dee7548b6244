//! The complete state of an exchange as bytes: one front, then fixed layouts section by section, then a checksum over
//! everything before it.
//!
//! ```text
//! head (magic, version, counts, scalars) | instruments | accounts | orders | requests, each followed by its fills | BLAKE3 (32)
//! ```

use types::{
    AccountId, AccountSnapshot, ClosedOrder, Fill, IdempotencyEntry, InstrumentId, InstrumentSnapshot, OrderId,
    OrderSnapshot, Outcome, Price, Qty, ShardId, Snapshot, Timestamp, TradeId,
};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{I64, U32, U64};

use super::layout::{
    AccountLimitLayout, InstrumentLayout, PlaceLayout, RulesLayout, client_order_id, flag, layout, prevention,
    prevention_number, reason, reason_number, side, side_number, state, state_number, status, status_number, unused,
};
use super::{CodecError, take, take_many};

/// Version of the layout that is written.
pub const VERSION: u32 = 1;

const WHAT: &str = "snapshot";
const MAGIC: [u8; 8] = *b"HMSNAP\r\n";
const CHECKSUM_BYTES: usize = 32;

layout!(/** Front of a snapshot. */ Head, 96, {
    magic: [u8; 8], version: U32, shard: U32, now: U64, next_order: U64, next_trade: U64, next_priority: U64,
    instruments: U64, accounts: U64, orders: U64, requests: U64, rules: RulesLayout,
});
layout!(/** An instrument. */ InstrumentEntry, 128, {
    definition: InstrumentLayout, last_price: I64, has_last_price: u8, state: u8, unused: [u8; 14],
});
layout!(/** An open order. */ OrderEntry, 104, {
    order_id: U64, account: U64, client_order_id: [u8; 36], instrument: U32, price: I64, quantity: U64,
    cumulative: U64, leaves: U64, priority: U64, side: u8, self_trade_prevention: u8, post_only: u8, unused: [u8; 5],
});
layout!(/** An outcome. */ OutcomeLayout, 32, {
    order_id: U64, cumulative: U64, leaves: U64, canceled_orders: U32, status: u8, reason: u8, unused: [u8; 2],
});
layout!(/** How an order ended; all zero if it did not, or none belongs to the request. */ ClosedLayout, 32, {
    price: I64, quantity: U64, cumulative: U64, instrument: U32, status: u8, side: u8, present: u8, unused: u8,
});
layout!(/** A request and its answer; `fills` fills follow. */ RequestEntry, 176, {
    account: U64, client_order_id: [u8; 36], fills: U32, payload_hash: U64, timestamp: U64, place: PlaceLayout,
    original: u8, unused: [u8; 7], outcome: OutcomeLayout, closed: ClosedLayout,
});
layout!(/** A fill. */ FillLayout, 32, { trade_id: U64, price: I64, quantity: U64, maker: U64 });

/// The encoding of `snapshot`.
///
/// # Panics
/// If an outcome in it points to an original: a kept outcome is the original.
#[must_use]
pub fn encode(snapshot: &Snapshot) -> Vec<u8> {
    let fills: usize = snapshot.idempotency.iter().map(|entry| entry.fills.len()).sum();
    let mut out = Vec::with_capacity(
        size_of::<Head>()
            + snapshot.instruments.len() * size_of::<InstrumentEntry>()
            + snapshot.accounts.len() * size_of::<AccountLimitLayout>()
            + snapshot.orders.len() * size_of::<OrderEntry>()
            + snapshot.idempotency.len() * size_of::<RequestEntry>()
            + fills * size_of::<FillLayout>()
            + CHECKSUM_BYTES,
    );
    let head = Head {
        magic: MAGIC,
        version: VERSION.into(),
        shard: snapshot.shard.0.into(),
        now: snapshot.now.0.into(),
        next_order: snapshot.next_order.into(),
        next_trade: snapshot.next_trade.into(),
        next_priority: snapshot.next_priority.into(),
        instruments: (snapshot.instruments.len() as u64).into(),
        accounts: (snapshot.accounts.len() as u64).into(),
        orders: (snapshot.orders.len() as u64).into(),
        requests: (snapshot.idempotency.len() as u64).into(),
        rules: (&snapshot.rules).into(),
    };
    out.extend_from_slice(head.as_bytes());
    for instrument in &snapshot.instruments {
        out.extend_from_slice(InstrumentEntry::from(instrument).as_bytes());
    }
    for account in &snapshot.accounts {
        let (id, max_open_orders) = (account.account.0.into(), account.max_open_orders.into());
        out.extend_from_slice(AccountLimitLayout { account: id, max_open_orders, unused: [0; 4] }.as_bytes());
    }
    for order in &snapshot.orders {
        out.extend_from_slice(OrderEntry::from(order).as_bytes());
    }
    for request in &snapshot.idempotency {
        out.extend_from_slice(RequestEntry::from(request).as_bytes());
        for fill in &request.fills {
            out.extend_from_slice(FillLayout::from(fill).as_bytes());
        }
    }
    let checksum = blake3::hash(&out);
    out.extend_from_slice(checksum.as_bytes());
    out
}

/// Reads a snapshot; refuses it as a whole if a single byte is not what was written.
pub fn decode(bytes: &[u8]) -> Result<Snapshot, CodecError> {
    let needed = size_of::<Head>() + CHECKSUM_BYTES;
    let Some((mut rest, checksum)) = bytes.split_last_chunk::<CHECKSUM_BYTES>() else {
        return Err(CodecError::Truncated { what: WHAT, needed, given: bytes.len() });
    };
    let content = rest;
    let head = take::<Head>(&mut rest, WHAT)?;
    if head.magic != MAGIC {
        return Err(CodecError::Magic { what: WHAT });
    }
    if head.version.get() != VERSION {
        return Err(CodecError::Version { what: WHAT, version: head.version.get() });
    }
    if blake3::hash(content) != *checksum {
        return Err(CodecError::Checksum { what: WHAT });
    }
    let instruments = take_many::<InstrumentEntry>(&mut rest, count(head.instruments)?, WHAT)?;
    let accounts = take_many::<AccountLimitLayout>(&mut rest, count(head.accounts)?, WHAT)?;
    let orders = take_many::<OrderEntry>(&mut rest, count(head.orders)?, WHAT)?;
    let requests = count(head.requests)?;
    let mut idempotency = Vec::with_capacity(requests.min(rest.len() / size_of::<RequestEntry>()));
    for _ in 0..requests {
        idempotency.push(read_request(&mut rest)?);
    }
    if !rest.is_empty() {
        return Err(CodecError::Invalid { what: WHAT, field: "length" });
    }
    Ok(Snapshot {
        shard: ShardId(head.shard.get()),
        now: Timestamp(head.now.get()),
        rules: (&head.rules).into(),
        next_order: head.next_order.get(),
        next_trade: head.next_trade.get(),
        next_priority: head.next_priority.get(),
        instruments: instruments.iter().map(InstrumentEntry::read).collect::<Result<_, _>>()?,
        accounts: accounts.iter().map(read_account).collect::<Result<_, _>>()?,
        orders: orders.iter().map(OrderEntry::read).collect::<Result<_, _>>()?,
        idempotency,
    })
}

fn count(number: U64) -> Result<usize, CodecError> {
    usize::try_from(number.get()).map_err(|_| CodecError::Invalid { what: WHAT, field: "count" })
}

fn read_account(layout: &AccountLimitLayout) -> Result<AccountSnapshot, CodecError> {
    unused(&layout.unused, WHAT)?;
    Ok(AccountSnapshot { account: AccountId(layout.account.get()), max_open_orders: layout.max_open_orders.get() })
}

fn read_request(rest: &mut &[u8]) -> Result<IdempotencyEntry, CodecError> {
    let entry = take::<RequestEntry>(rest, WHAT)?;
    unused(&entry.unused, WHAT)?;
    unused(&[entry.original], WHAT)?;
    let fills = usize::try_from(entry.fills.get()).map_err(|_| CodecError::Invalid { what: WHAT, field: "count" })?;
    let fills = take_many::<FillLayout>(rest, fills, WHAT)?;
    Ok(IdempotencyEntry {
        account: AccountId(entry.account.get()),
        client_order_id: client_order_id(&entry.client_order_id, WHAT)?,
        payload_hash: entry.payload_hash.get(),
        timestamp: Timestamp(entry.timestamp.get()),
        place: entry.place.read(WHAT)?,
        outcome: entry.outcome.read()?,
        fills: fills.iter().map(Fill::from).collect(),
        closed: entry.closed.read()?,
    })
}

impl From<&InstrumentSnapshot> for InstrumentEntry {
    fn from(instrument: &InstrumentSnapshot) -> Self {
        Self {
            definition: (&instrument.definition).into(),
            last_price: instrument.last_price.map_or(0, |price| price.0).into(),
            has_last_price: instrument.last_price.is_some().into(),
            state: state_number(instrument.state),
            unused: [0; 14],
        }
    }
}

impl InstrumentEntry {
    fn read(&self) -> Result<InstrumentSnapshot, CodecError> {
        unused(&self.unused, WHAT)?;
        let last_price = if flag(self.has_last_price, WHAT, "last price flag")? {
            Some(Price(self.last_price.get()))
        } else {
            unused(self.last_price.as_bytes(), WHAT)?;
            None
        };
        Ok(InstrumentSnapshot { definition: self.definition.read(WHAT)?, state: state(self.state, WHAT)?, last_price })
    }
}

impl From<&OrderSnapshot> for OrderEntry {
    fn from(order: &OrderSnapshot) -> Self {
        Self {
            order_id: order.order_id.0.into(),
            account: order.account.0.into(),
            client_order_id: *order.client_order_id.padded(),
            instrument: order.instrument.0.into(),
            price: order.price.0.into(),
            quantity: order.quantity.0.into(),
            cumulative: order.cumulative.0.into(),
            leaves: order.leaves.0.into(),
            priority: order.priority.into(),
            side: side_number(order.side),
            self_trade_prevention: prevention_number(order.self_trade_prevention),
            post_only: order.post_only.into(),
            unused: [0; 5],
        }
    }
}

impl OrderEntry {
    fn read(&self) -> Result<OrderSnapshot, CodecError> {
        unused(&self.unused, WHAT)?;
        Ok(OrderSnapshot {
            order_id: OrderId(self.order_id.get()),
            account: AccountId(self.account.get()),
            client_order_id: client_order_id(&self.client_order_id, WHAT)?,
            instrument: InstrumentId(self.instrument.get()),
            side: side(self.side, WHAT)?,
            price: Price(self.price.get()),
            quantity: Qty(self.quantity.get()),
            cumulative: Qty(self.cumulative.get()),
            leaves: Qty(self.leaves.get()),
            priority: self.priority.get(),
            self_trade_prevention: prevention(self.self_trade_prevention, WHAT)?,
            post_only: flag(self.post_only, WHAT, "post-only flag")?,
        })
    }
}

impl From<&Outcome> for OutcomeLayout {
    fn from(outcome: &Outcome) -> Self {
        Self {
            order_id: outcome.order_id.0.into(),
            cumulative: outcome.cumulative.0.into(),
            leaves: outcome.leaves.0.into(),
            canceled_orders: outcome.canceled_orders.into(),
            status: status_number(outcome.status),
            reason: outcome.reason.map_or(0, reason_number),
            unused: [0; 2],
        }
    }
}

impl OutcomeLayout {
    fn read(&self) -> Result<Outcome, CodecError> {
        unused(&self.unused, WHAT)?;
        Ok(Outcome {
            status: status(self.status, WHAT)?,
            reason: if self.reason == 0 { None } else { Some(reason(self.reason, WHAT)?) },
            order_id: OrderId(self.order_id.get()),
            cumulative: Qty(self.cumulative.get()),
            leaves: Qty(self.leaves.get()),
            canceled_orders: self.canceled_orders.get(),
            original: None,
        })
    }
}

impl From<&Option<ClosedOrder>> for ClosedLayout {
    fn from(closed: &Option<ClosedOrder>) -> Self {
        closed.as_ref().map_or_else(
            || Self {
                price: 0.into(),
                quantity: 0.into(),
                cumulative: 0.into(),
                instrument: 0.into(),
                status: 0,
                side: 0,
                present: 0,
                unused: 0,
            },
            |closed| Self {
                price: closed.price.0.into(),
                quantity: closed.quantity.0.into(),
                cumulative: closed.cumulative.0.into(),
                instrument: closed.instrument.0.into(),
                status: status_number(closed.status),
                side: side_number(closed.side),
                present: 1,
                unused: 0,
            },
        )
    }
}

impl ClosedLayout {
    fn read(&self) -> Result<Option<ClosedOrder>, CodecError> {
        unused(&[self.unused], WHAT)?;
        if !flag(self.present, WHAT, "closed flag")? {
            return unused(self.as_bytes(), WHAT).map(|()| None);
        }
        Ok(Some(ClosedOrder {
            status: status(self.status, WHAT)?,
            instrument: InstrumentId(self.instrument.get()),
            side: side(self.side, WHAT)?,
            price: Price(self.price.get()),
            quantity: Qty(self.quantity.get()),
            cumulative: Qty(self.cumulative.get()),
        }))
    }
}

impl From<&IdempotencyEntry> for RequestEntry {
    fn from(entry: &IdempotencyEntry) -> Self {
        assert!(entry.outcome.original.is_none(), "a kept outcome is the original");
        let fills = u32::try_from(entry.fills.len()).expect("one command makes far fewer than 2^32 fills");
        Self {
            account: entry.account.0.into(),
            client_order_id: *entry.client_order_id.padded(),
            fills: fills.into(),
            payload_hash: entry.payload_hash.into(),
            timestamp: entry.timestamp.0.into(),
            place: entry.place.into(),
            original: 0,
            unused: [0; 7],
            outcome: (&entry.outcome).into(),
            closed: (&entry.closed).into(),
        }
    }
}

impl From<&Fill> for FillLayout {
    fn from(fill: &Fill) -> Self {
        Self {
            trade_id: fill.trade_id.0.into(),
            price: fill.price.0.into(),
            quantity: fill.quantity.0.into(),
            maker: fill.maker.0.into(),
        }
    }
}

impl From<&FillLayout> for Fill {
    fn from(layout: &FillLayout) -> Self {
        Self {
            trade_id: TradeId(layout.trade_id.get()),
            price: Price(layout.price.get()),
            quantity: Qty(layout.quantity.get()),
            maker: OrderId(layout.maker.get()),
        }
    }
}
