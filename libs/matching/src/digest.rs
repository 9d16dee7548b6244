//! The bytes behind state hashes and payload hashes. They are the same on every machine and in every release that
//! can read the same journal: a change here is a change of the journal's format.
//!
//! **Items.** Every part of the state has a fixed little-endian layout that begins with its tag, and a digest,
//! XXH3-128 of it. Options are a byte 0, or a byte 1 and the value (absent values are not padded). Enums are one
//! byte, numbered in `digest/words.rs`.
//!
//! | tag | item | layout after the tag |
//! |---|---|---|
//! | 1 | instrument | id, definition |
//! | 2 | market | id, state, last price |
//! | 3 | account limit | account, limit |
//! | 4 | open order | id, request key of its submit, account, instrument, side, price, quantity, cumulative, leaves, priority, prevention, post-only |
//! | 5 | kept outcome | account, client id (36 bytes), payload hash, timestamp, place, outcome, number of fills, fold of the fills |
//! | 6 | closed order | request key, status, instrument, side, price, quantity, cumulative |
//!
//! A request key is XXH3-64 of account and client id (36 bytes).
//!
//! **Sums.** Instruments and markets, limits, open orders, closed orders are each summed up modulo 2^128, so that
//! the sum is kept up to date by one addition and one subtraction per change. Kept outcomes stand in a queue whose
//! order matters: their digests d₁ … dₙ, oldest first, give Σ dᵢ·Bⁿ⁻ⁱ with an odd constant B, which both a push at
//! the back and a removal at the front update in constant time.
//!
//! **State hash.** XXH3-128 of tag 0, [`LAYOUT_VERSION`], shard, now, rules, the next order, trade and priority
//! numbers, the numbers of instruments, limits, open orders and kept outcomes, and the sums. It depends on
//! everything that is in a [`Snapshot`] and on nothing else.

mod words;

use self::words::Word;
use types::{
    AccountId, AccountLimit, ClientOrderId, ClosedOrder, Command, Fill, Instrument, InstrumentId, InstrumentState,
    OrderId, OrderTarget, Outcome, Place, Price, Qty, Rules, SelfTradePrevention, ShardId, Side, Snapshot, StateHash,
    Timestamp,
};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// Goes into every state hash; changes with any layout of this module.
const LAYOUT_VERSION: u32 = 1;
/// Longest layout of all, that of the state (169 bytes), with room to spare.
const LONGEST: usize = 192;

/// Lays values out one after another.
struct Layout {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Layout {
    #[inline]
    fn new(tag: u8) -> Self {
        let mut layout = Self { bytes: [0; LONGEST], length: 1 };
        layout.bytes[0] = tag;
        layout
    }

    #[inline]
    fn raw<const N: usize>(&mut self, bytes: &[u8; N]) -> &mut Self {
        self.bytes[self.length..self.length + N].copy_from_slice(bytes);
        self.length += N;
        self
    }

    /// Replaces the tag.
    fn tag(&mut self, tag: u8) -> &mut Self {
        self.bytes[0] = tag;
        self
    }

    #[inline]
    fn byte(&mut self, value: u8) -> &mut Self {
        self.raw(&[value])
    }

    #[inline]
    fn word(&mut self, value: impl Word) -> &mut Self {
        self.byte(value.word())
    }

    #[inline]
    fn short(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    #[inline]
    fn long(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    #[inline]
    fn wide(&mut self, value: u128) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    #[inline]
    fn price(&mut self, value: Price) -> &mut Self {
        self.raw(&value.0.to_le_bytes())
    }

    #[inline]
    fn quantity(&mut self, value: Qty) -> &mut Self {
        self.long(value.0)
    }

    fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T) -> &mut Self) -> &mut Self {
        match value {
            None => self.byte(0),
            Some(value) => write(self.byte(1), value),
        }
    }

    fn definition(&mut self, definition: &Instrument) -> &mut Self {
        self.raw(definition.symbol.padded())
            .byte(definition.price_decimals)
            .byte(definition.quantity_decimals)
            .long(definition.tick_size)
            .long(definition.lot_size)
            .quantity(definition.min_quantity)
            .quantity(definition.max_quantity)
            .wide(definition.max_notional)
            .price(definition.low_limit_price)
            .price(definition.high_limit_price)
            .short(definition.band_basis_points)
            .price(definition.reference_price)
            .word(definition.state)
    }

    fn rules(&mut self, rules: &Rules) -> &mut Self {
        self.short(rules.max_open_orders).long(rules.idempotency_window_us).short(rules.idempotency_capacity)
    }

    fn target(&mut self, target: OrderTarget) -> &mut Self {
        match target {
            OrderTarget::OrderId(id) => self.byte(1).long(id.0),
            OrderTarget::ClientOrderId(id) => self.byte(2).raw(id.padded()),
        }
    }

    fn digest(&self) -> u128 {
        xxh3_128(&self.bytes[..self.length])
    }
}

/// Hash of the key a request is idempotent by.
pub(crate) fn request_key(account: AccountId, client_order_id: &ClientOrderId) -> u64 {
    let mut bytes = [0; 44];
    bytes[..8].copy_from_slice(&account.0.to_le_bytes());
    bytes[8..].copy_from_slice(client_order_id.padded());
    xxh3_64(&bytes)
}

/// Digest of everything a command says: two requests with one id are the same if this is the same.
#[must_use]
pub fn payload_hash(command: &Command) -> u64 {
    let mut layout = Layout::new(0);
    match command {
        Command::Submit(c) => layout
            .tag(1)
            .long(c.account.0)
            .raw(c.client_order_id.padded())
            .short(c.instrument.0)
            .word(c.side)
            .word(c.order_type)
            .word(c.time_in_force)
            .byte(u8::from(c.post_only))
            .price(c.price)
            .quantity(c.quantity)
            .word(c.self_trade_prevention),
        Command::Cancel(c) => {
            layout.tag(2).long(c.account.0).raw(c.client_order_id.padded()).short(c.instrument.0).target(c.target)
        }
        Command::Replace(c) => layout
            .tag(3)
            .long(c.account.0)
            .raw(c.client_order_id.padded())
            .short(c.instrument.0)
            .target(c.target)
            .price(c.price)
            .quantity(c.quantity),
        Command::MassCancel(c) => layout
            .tag(4)
            .long(c.account.0)
            .raw(c.client_order_id.padded())
            .option(c.instrument, |layout, id| layout.short(id.0))
            .option(c.side, Layout::word),
        Command::DefineInstrument(definition) => layout.tag(5).definition(definition),
        Command::SetInstrumentState(change) => layout.tag(6).short(change.instrument.0).word(change.state),
        Command::SetAccountLimit(limit) => layout.tag(7).long(limit.account.0).short(limit.max_open_orders),
        Command::SetRules(rules) => layout.tag(8).rules(rules),
    };
    xxh3_64(&layout.bytes[..layout.length])
}

pub(crate) fn instrument(id: InstrumentId, definition: &Instrument) -> u128 {
    Layout::new(1).short(id.0).definition(definition).digest()
}

pub(crate) fn market(id: InstrumentId, state: InstrumentState, last: Option<Price>) -> u128 {
    Layout::new(2).short(id.0).word(state).option(last, Layout::price).digest()
}

pub(crate) fn account_limit(limit: AccountLimit) -> u128 {
    Layout::new(3).long(limit.account.0).short(limit.max_open_orders).digest()
}

/// What is hashed, and snapshotted, of an open order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenOrder {
    pub(crate) id: OrderId,
    /// [`request_key`] of its submit, which says which client id names it.
    pub(crate) key: u64,
    pub(crate) account: AccountId,
    pub(crate) instrument: InstrumentId,
    pub(crate) side: Side,
    pub(crate) price: Price,
    pub(crate) quantity: Qty,
    pub(crate) cumulative: Qty,
    pub(crate) leaves: Qty,
    pub(crate) priority: u64,
    pub(crate) self_trade_prevention: SelfTradePrevention,
    pub(crate) post_only: bool,
}

pub(crate) fn open_order(order: &OpenOrder) -> u128 {
    Layout::new(4)
        .long(order.id.0)
        .long(order.key)
        .long(order.account.0)
        .short(order.instrument.0)
        .word(order.side)
        .price(order.price)
        .quantity(order.quantity)
        .quantity(order.cumulative)
        .quantity(order.leaves)
        .long(order.priority)
        .word(order.self_trade_prevention)
        .byte(u8::from(order.post_only))
        .digest()
}

/// What is hashed of a kept outcome, apart from its fills and its order's end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeptRequest {
    pub(crate) account: AccountId,
    pub(crate) client_order_id: ClientOrderId,
    pub(crate) payload_hash: u64,
    pub(crate) timestamp: Timestamp,
    pub(crate) place: Place,
    pub(crate) outcome: Outcome,
}

pub(crate) fn kept_outcome(request: &KeptRequest, fills: impl Iterator<Item = Fill>) -> u128 {
    let (mut count, mut fold) = (0, 0);
    for fill in fills {
        count += 1;
        fold = Layout::new(0)
            .wide(fold)
            .long(fill.trade_id.0)
            .price(fill.price)
            .quantity(fill.quantity)
            .long(fill.maker.0)
            .digest();
    }
    let KeptRequest { place, outcome, .. } = request;
    Layout::new(5)
        .long(request.account.0)
        .raw(request.client_order_id.padded())
        .long(request.payload_hash)
        .long(request.timestamp.0)
        .wide(place.log_id.0)
        .long(place.epoch)
        .long(place.seq.0)
        .short(place.index)
        .word(outcome.status)
        .option(outcome.reason, Layout::word)
        .long(outcome.order_id.0)
        .quantity(outcome.cumulative)
        .quantity(outcome.leaves)
        .short(outcome.canceled_orders)
        .short(count)
        .wide(fold)
        .digest()
}

/// `key` is the [`request_key`] of the order's submit.
pub(crate) fn closed_order(key: u64, closed: &ClosedOrder) -> u128 {
    Layout::new(6)
        .long(key)
        .word(closed.status)
        .short(closed.instrument.0)
        .word(closed.side)
        .price(closed.price)
        .quantity(closed.quantity)
        .quantity(closed.cumulative)
        .digest()
}

/// Digest of a queue that grows at the back and shrinks at the front. See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueSum {
    sum: u128,
    /// B to the power of the length.
    power: u128,
}

impl QueueSum {
    /// An arbitrary odd number: the first digits of the golden ratio's fraction.
    const B: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
    const B_INVERSE: u128 = inverse(Self::B);

    pub(crate) const fn new() -> Self {
        Self { sum: 0, power: 1 }
    }

    pub(crate) const fn push_back(&mut self, digest: u128) {
        self.sum = self.sum.wrapping_mul(Self::B).wrapping_add(digest);
        self.power = self.power.wrapping_mul(Self::B);
    }

    /// `digest` is that of the oldest.
    pub(crate) const fn pop_front(&mut self, digest: u128) {
        self.power = self.power.wrapping_mul(Self::B_INVERSE);
        self.sum = self.sum.wrapping_sub(digest.wrapping_mul(self.power));
    }
}

/// Inverse of an odd number modulo 2^128, by Newton's iteration: each step doubles the number of right bits.
const fn inverse(odd: u128) -> u128 {
    let mut x = odd;
    let mut step = 0;
    while step < 7 {
        x = x.wrapping_mul(2_u128.wrapping_sub(odd.wrapping_mul(x)));
        step += 1;
    }
    x
}

const _: () = assert!(QueueSum::B.wrapping_mul(QueueSum::B_INVERSE) == 1);

/// The sums over all items. See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) instruments: u128,
    pub(crate) limits: u128,
    pub(crate) orders: u128,
    pub(crate) closed: u128,
    pub(crate) outcomes: QueueSum,
}

impl Sums {
    pub(crate) const fn new() -> Self {
        Self { instruments: 0, limits: 0, orders: 0, closed: 0, outcomes: QueueSum::new() }
    }
}

/// The part of the state that is not items.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) shard: ShardId,
    pub(crate) now: Timestamp,
    pub(crate) rules: Rules,
    pub(crate) next_order: u64,
    pub(crate) next_trade: u64,
    pub(crate) next_priority: u64,
    /// Numbers of instruments, limits, open orders, kept outcomes.
    pub(crate) counts: [u64; 4],
}

pub(crate) fn state(header: &Header, sums: &Sums) -> StateHash {
    let mut layout = Layout::new(0);
    layout
        .short(LAYOUT_VERSION)
        .short(header.shard.0)
        .long(header.now.0)
        .rules(&header.rules)
        .long(header.next_order)
        .long(header.next_trade)
        .long(header.next_priority);
    for count in header.counts {
        layout.long(count);
    }
    for sum in [sums.instruments, sums.limits, sums.orders, sums.closed, sums.outcomes.sum] {
        layout.wide(sum);
    }
    StateHash(layout.digest())
}

/// The state hash of the exchange that `snapshot` describes, without restoring it.
#[must_use]
pub fn snapshot_hash(snapshot: &Snapshot) -> StateHash {
    let mut sums = Sums::new();
    for (number, entry) in (0..).zip(&snapshot.instruments) {
        let id = InstrumentId(number);
        sums.instruments = sums.instruments.wrapping_add(instrument(id, &entry.definition));
        sums.instruments = sums.instruments.wrapping_add(market(id, entry.state, entry.last_price));
    }
    for entry in &snapshot.accounts {
        let limit = AccountLimit { account: entry.account, max_open_orders: entry.max_open_orders };
        sums.limits = sums.limits.wrapping_add(account_limit(limit));
    }
    for order in &snapshot.orders {
        sums.orders = sums.orders.wrapping_add(open_order(&OpenOrder {
            id: order.order_id,
            key: request_key(order.account, &order.client_order_id),
            account: order.account,
            instrument: order.instrument,
            side: order.side,
            price: order.price,
            quantity: order.quantity,
            cumulative: order.cumulative,
            leaves: order.leaves,
            priority: order.priority,
            self_trade_prevention: order.self_trade_prevention,
            post_only: order.post_only,
        }));
    }
    for entry in &snapshot.idempotency {
        let request = KeptRequest {
            account: entry.account,
            client_order_id: entry.client_order_id,
            payload_hash: entry.payload_hash,
            timestamp: entry.timestamp,
            place: entry.place,
            outcome: entry.outcome,
        };
        sums.outcomes.push_back(kept_outcome(&request, entry.fills.iter().copied()));
        if let Some(closed) = &entry.closed {
            sums.closed =
                sums.closed.wrapping_add(closed_order(request_key(entry.account, &entry.client_order_id), closed));
        }
    }
    let counts = [
        snapshot.instruments.len() as u64,
        snapshot.accounts.len() as u64,
        snapshot.orders.len() as u64,
        snapshot.idempotency.len() as u64,
    ];
    let header = Header {
        shard: snapshot.shard,
        now: snapshot.now,
        rules: snapshot.rules,
        next_order: snapshot.next_order,
        next_trade: snapshot.next_trade,
        next_priority: snapshot.next_priority,
        counts,
    };
    state(&header, &sums)
}
