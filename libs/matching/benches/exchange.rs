//! `cargo bench -p matching`: commands per second of one core on a market of submits, cancels and replaces,
//! allocations per command once everything is warm, bytes per resting order. A plain program: the figures are of
//! long runs, not of single calls.
#![allow(clippy::print_stdout, reason = "it prints its figures")]
#![allow(unsafe_code, reason = "a counting allocator has to be one")]

use matching::Exchange;
use matching::workload::{Profile, Step, Workload};
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use types::{
    AccountId, ClientOrderId, Command, Event, InstrumentId, LogId, OrderType, Place, Price, Qty, Rules,
    SelfTradePrevention, Seq, ShardId, Side, Submit, TimeInForce, Timestamp,
};

/// Counts what the system's allocator is asked for.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static HELD: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged; counting touches nothing else.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        HELD.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller's promises about `layout` are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller's promises about `pointer` and `layout` are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Applied before anything is measured; more than the table keeps, so that it drops what it adds.
const WARM_UP: usize = 1_000_000;
const MEASURED: usize = 2_000_000;
/// Commands timed together: long enough for the clock, short enough that what else the machine does shows.
const BLOCK: usize = 50_000;
const RESTING: u64 = 1_000_000;

fn main() {
    // `cargo bench -p matching -- WORD` runs what has the word in its name.
    let word = std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_default();
    let wanted = |name: &str| name.contains(&word);
    let market = |open_orders, ticks, idempotency_capacity| {
        let rules = Rules { idempotency_capacity, ..Rules::default() };
        Profile { open_orders, ticks, rules, ..Profile::market() }
    };
    for (name, profile) in [
        ("core alone: 2,000 open orders, 2,000 outcomes kept", market(2_000, 100, 2_000)),
        ("market: 5,000 open orders, 200,000 outcomes kept", market(5_000, 100, 200_000)),
        ("crowd: 100,000 open orders, nothing dropped, the table grows", market(100_000, 1_000, 4_000_000)),
    ] {
        if wanted(name) {
            throughput(name, profile);
        }
    }
    if wanted("resting") {
        resting();
    }
}

fn throughput(name: &str, profile: Profile) {
    let steps = Workload::stream(1, profile, WARM_UP + MEASURED);
    let mut exchange = Exchange::new(ShardId(0));
    let mut events = Vec::with_capacity(1 << 16);
    let mut fills = Vec::with_capacity(1 << 16);
    let mut seen = BTreeMap::new();
    for step in &steps[..WARM_UP] {
        apply(&mut exchange, step, &mut events, &mut fills);
    }
    let allocations = ALLOCATIONS.load(Ordering::Relaxed);
    let mut happened = 0;
    let mut rates = Vec::with_capacity(MEASURED / BLOCK);
    for block in steps[WARM_UP..].chunks(BLOCK) {
        let started = Instant::now();
        for step in block {
            apply(&mut exchange, step, &mut events, &mut fills);
            happened += events.len();
        }
        rates.push(block.len() as f64 / started.elapsed().as_secs_f64());
    }
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - allocations;
    for step in &steps[WARM_UP..] {
        let kind = match step.command {
            Command::Submit(_) => "submit",
            Command::Cancel(_) => "cancel",
            Command::Replace(_) => "replace",
            _ => "other",
        };
        *seen.entry(kind).or_insert(0) += 1;
    }
    rates.sort_by(f64::total_cmp);
    let (rate, best) = (rates[rates.len() / 2], rates[rates.len() - 1]);
    println!("{name}");
    println!(
        "  {:.2} M commands/s, {:.0} ns each (median of blocks; best {:.2} M)",
        rate / 1e6,
        1e9 / rate,
        best / 1e6
    );
    println!("  {:.2} events per command, {seen:?}", happened as f64 / MEASURED as f64);
    println!("  {allocations} allocations, {:.6} per command", allocations as f64 / MEASURED as f64);
    println!(
        "  {} orders open, {} outcomes kept, {}",
        exchange.open_orders(),
        exchange.idempotency_entries(),
        exchange.state_hash()
    );
    exchange.check_invariants().expect("the structures agree");
}

fn apply(exchange: &mut Exchange, step: &Step, events: &mut Vec<Event>, fills: &mut Vec<types::Fill>) {
    events.clear();
    fills.clear();
    exchange.apply(step.place, step.timestamp, &step.command, events, fills);
}

/// A million orders that all rest, over ten thousand prices and a thousand accounts.
fn resting() {
    let mut exchange = Exchange::new(ShardId(0));
    let (mut events, mut fills) = (Vec::with_capacity(16), Vec::with_capacity(16));
    for command in Profile::market().setup() {
        exchange.apply(Place::default(), Timestamp(0), &command, &mut events, &mut fills);
    }
    let before = HELD.load(Ordering::Relaxed);
    for number in 0..RESTING {
        let side = if number % 2 == 0 { Side::Buy } else { Side::Sell };
        let away = (number / 2 % 5_000) as i64 * 5;
        let submit = Submit {
            account: AccountId(1 + number % 1_000),
            client_order_id: ClientOrderId::new(&format!("resting-{number}")).expect("printable and short"),
            instrument: InstrumentId(0),
            side,
            order_type: OrderType::Limit,
            time_in_force: TimeInForce::GoodTillCancel,
            post_only: false,
            price: Price(if side == Side::Buy { 500_000 - away } else { 500_005 + away }),
            quantity: Qty(10),
            self_trade_prevention: SelfTradePrevention::CancelNewest,
        };
        let place = Place { log_id: LogId(1), epoch: 1, seq: Seq(number), index: 0 };
        let step = Step { place, timestamp: Timestamp(number), command: Command::Submit(submit) };
        apply(&mut exchange, &step, &mut events, &mut fills);
    }
    let held = HELD.load(Ordering::Relaxed) - before;
    println!("{} resting orders, each with its outcome kept for retries", exchange.open_orders());
    println!("  {} bytes per order", held / RESTING);
}
