//! The result of a demo in the terminal.
#![expect(clippy::print_stdout, reason = "the table is what the command is for")]

use wire::pb::marketdata::v1::{BookLevel, Instrument};

use super::Report;
use crate::load::{decimal, grouped};

/// Columns of the longest bar.
const BAR: usize = 32;

pub(super) fn print(report: &Report) {
    println!("{}", figures(report));
    if let Some(instrument) = report.shown() {
        println!("{}", book(report, instrument));
    }
}

fn figures(report: &Report) -> String {
    let others = report.orders - report.new_orders;
    let latency = &report.latency_us;
    let mut lines = vec![
        format!(
            "  orders        {} sent ({} new, {} replaces and cancels)",
            grouped(report.orders),
            grouped(report.new_orders),
            grouped(others)
        ),
        format!("  acknowledged  {}, each durable before its answer", grouped(report.acknowledged)),
        format!("  rejected      {}{}", grouped(report.rejected), reasons(report)),
        format!("  trades        {}", grouped(report.trades)),
        format!("  throughput    {:.0} orders/s over {:.2} s", report.throughput_per_s, report.duration_s),
        format!(
            "  latency       p50 {} us, p99 {} us, p99.9 {} us, max {} us",
            grouped(latency.p50),
            grouped(latency.p99),
            grouped(latency.p999),
            grouped(latency.max)
        ),
        format!("  state hash    {}", report.state_hash),
    ];
    lines.insert(0, String::new());
    lines.join("\n")
}

fn reasons(report: &Report) -> String {
    if report.reasons.is_empty() {
        return String::new();
    }
    let named: Vec<String> =
        report.reasons.iter().map(|(reason, count)| format!("{reason} {}", grouped(*count))).collect();
    format!(" ({})", named.join(", "))
}

/// Asks above bids, best prices in the middle, the quantities as bars.
pub(super) fn book(report: &Report, instrument: &Instrument) -> String {
    let book = &report.book;
    let most = book.bids.iter().chain(&book.asks).map(|level| level.quantity).max().unwrap_or(1).max(1);
    let mut lines = vec![format!("\n  {} after entry {} of the journal", book.symbol, grouped(book.as_of_seq))];
    lines.extend(book.asks.iter().rev().map(|level| line("ask", level, most, instrument)));
    lines.push(format!("       {:->14}", ""));
    lines.extend(book.bids.iter().map(|level| line("bid", level, most, instrument)));
    lines.join("\n")
}

fn line(side: &str, level: &BookLevel, most: u64, instrument: &Instrument) -> String {
    let share = u128::from(level.quantity) * BAR as u128 / u128::from(most);
    let bar = "#".repeat(usize::try_from(share).unwrap_or(BAR).clamp(1, BAR));
    let price = decimal(level.price.into(), instrument.price_decimals);
    let quantity = decimal(level.quantity.into(), instrument.quantity_decimals);
    format!("  {side}  {price:>14}  {quantity:>16}  {:>4} orders  {bar}", level.orders)
}
