//! The result of a bench in the terminal.
#![expect(clippy::print_stdout, reason = "the table is what the command is for")]

use super::Report;
use crate::load::{LatencyUs, grouped};

pub(super) fn print(report: &Report) {
    let findings = &report.findings;
    println!("  rate          {} orders/s asked, {:.0} answered", grouped(report.rate.into()), report.throughput_per_s);
    println!(
        "  orders        {} over {} connections in {:.2} s",
        grouped(report.orders),
        report.connections,
        report.duration_s
    );
    println!("  acknowledged  {}", grouped(report.acknowledged));
    println!("  rejected      {}", grouped(report.rejected));
    println!("  turned away   {}", grouped(report.turned_away));
    if let Some(error) = &report.last_error {
        println!("                {error}");
    }
    if report.resolved + report.unresolved > 0 {
        println!("  in doubt      {} found out, {} not", grouped(report.resolved), grouped(report.unresolved));
    }
    println!("  trades        {}", grouped(report.trades));
    println!("  latency       {}", latency(&report.latency_us));
    if let Some(disk) = &report.fdatasync_us {
        println!("  fdatasync     {}", latency(disk));
    }
    if let Some(floor) = &report.commit_floor_us {
        println!("  disk alone    {}", latency(floor));
    }
    println!(
        "  found again   {} in the engine, {} in the history, {} lost",
        grouped(findings.found_in_engine),
        grouped(findings.found_in_history),
        grouped(findings.lost)
    );
    for lost in &findings.lost_orders {
        println!("  lost          {lost}");
    }
    println!("  state hash    {}", report.state_hash);
}

fn latency(latency: &LatencyUs) -> String {
    let LatencyUs { p50, p99, p999, max } = latency;
    format!("p50 {} us, p99 {} us, p99.9 {} us, max {} us", grouped(*p50), grouped(*p99), grouped(*p999), grouped(*max))
}
