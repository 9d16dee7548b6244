//! The result of a replay, and how it looks to people.

use std::collections::BTreeMap;

use serde::Serialize;

use super::compare::Cause;
use super::tally::{MessageCounts, NotApplied, Tally};
use super::verify::{Difference, Findings, WrongAnswer};
use crate::load::{LatencyUs, grouped, rounded};

/// Differences shown in the table; the JSON document has more.
const SHOWN: usize = 10;

/// What happened.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Messages in the file.
    pub(crate) messages: u64,
    /// The same by what they were; their sum is `messages`.
    pub(crate) accounted: MessageCounts,
    /// Rows of the order-book file the book was compared with.
    pub(crate) rows_compared: u64,
    /// Rows and sides whose best price or its quantity differed although the rows before determine it.
    pub(crate) best_mismatches: u64,
    /// Prices that differed although the rows before determine them, the best ones included.
    pub(crate) level_mismatches: u64,
    /// Differences without a cause, and answers or books that are not the ones that must come.
    pub(crate) unexplained: u64,
    /// Differences by cause, at prices that the rows before do not determine, or after a message that could not be
    /// applied.
    pub(crate) causes: BTreeMap<Cause, u64>,
    /// New orders in the message file.
    pub(crate) submissions: u64,
    /// Trades of visible orders in the message file.
    pub(crate) executions: u64,
    /// Orders accepted: submissions, incoming orders, and those that the messages only imply.
    pub(crate) orders: u64,
    /// Fills received. Each was the one the file has, or is among the wrong answers.
    pub(crate) trades: u64,
    /// Incoming orders that the executions imply.
    pub(crate) incoming_orders: u64,
    /// Orders that the messages name without a submission.
    pub(crate) entered_unseen: u64,
    /// Orders entered for quantity that only the order-book file shows.
    pub(crate) entered_unnamed: u64,
    /// Orders that must have left, or lost quantity, out of view.
    pub(crate) vanished: u64,
    /// Orders sent behind others because the file's exchange passed them over.
    pub(crate) requeued: u64,
    /// Most orders in the book at one time.
    pub(crate) open_orders_max: u64,
    /// Differences, the first thousand.
    pub(crate) differences: Vec<Difference>,
    /// Answers and books that are not the ones that must come, the first thousand.
    pub(crate) wrong_answers: Vec<WrongAnswer>,
    /// Messages that could not be applied as they stand, the first thousand.
    pub(crate) not_applied: Vec<NotApplied>,
    /// What was traded.
    pub(crate) symbol: String,
    /// Messages per second.
    pub(crate) throughput_per_s: f64,
    /// How fast it went, and where it ended.
    #[serde(flatten)]
    pub(crate) run: Run,
}

/// How fast a run went, and where it ended.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    /// Requests sent.
    pub(crate) requests: u64,
    /// Times the whole book was compared with the one its increments tell.
    pub(crate) books_compared: u64,
    /// Requests under way at the most.
    pub(crate) in_flight: usize,
    /// From sending a request to its answer.
    pub(crate) latency_us: LatencyUs,
    /// How long it took.
    pub(crate) duration_s: f64,
    /// Digest of the exchange's state at the end.
    pub(crate) state_hash: String,
}

impl Report {
    /// Puts together what was planned, what was found and how it went.
    pub(super) fn new(symbol: String, tally: Tally, findings: Findings, run: Run) -> Self {
        let messages = tally.messages.sum();
        Self {
            messages,
            accounted: tally.messages,
            rows_compared: findings.rows,
            best_mismatches: findings.best_mismatches,
            level_mismatches: findings.level_mismatches,
            unexplained: findings.unexplained,
            causes: findings.causes,
            submissions: tally.messages.submissions,
            executions: tally.messages.executions,
            orders: findings.orders,
            trades: findings.trades,
            incoming_orders: tally.incoming_orders,
            entered_unseen: tally.entered_unseen,
            entered_unnamed: tally.entered_unnamed,
            vanished: tally.vanished,
            requeued: tally.requeued,
            open_orders_max: tally.most_open as u64,
            differences: findings.differences,
            wrong_answers: findings.wrong_answers,
            not_applied: tally.not_applied,
            symbol,
            throughput_per_s: rounded(messages as f64 / run.duration_s.max(f64::EPSILON), 1),
            run,
        }
    }
}

/// Prints the result for people.
#[expect(clippy::print_stdout, reason = "the table is the result")]
pub(crate) fn print_table(report: &Report) {
    let accounted = &report.accounted;
    println!("replayed {} messages of {}", grouped(report.messages), report.symbol);
    println!("  submissions        {:>10}", grouped(accounted.submissions));
    println!("  partial cancels    {:>10}", grouped(accounted.partial_cancels));
    println!("  deletions          {:>10}", grouped(accounted.deletions));
    println!(
        "  executions         {:>10}   by {} incoming orders",
        grouped(accounted.executions),
        grouped(report.incoming_orders)
    );
    println!("  hidden executions  {:>10}", grouped(accounted.hidden_executions));
    println!("  auctions, halts    {:>10}", grouped(accounted.auctions + accounted.halts));
    println!("  not applied        {:>10}", grouped(accounted.not_applied));
    println!(
        "\nentered besides: {} orders the messages name without a submission, {} for quantity they never name",
        grouped(report.entered_unseen),
        grouped(report.entered_unnamed)
    );
    println!("left out of view: {}; sent behind others: {}", grouped(report.vanished), grouped(report.requeued));
    print_comparison(report);
    println!("\nrequests      {} ({} under way at the most)", grouped(report.run.requests), report.run.in_flight);
    println!("trades        {}", grouped(report.trades));
    let LatencyUs { p50, p99, p999, max } = report.run.latency_us;
    println!("latency       p50 {p50} us, p99 {p99} us, p99.9 {p999} us, max {max} us");
    println!("duration      {:.2} s, {:.0} messages/s", report.run.duration_s, report.throughput_per_s);
    println!("state hash    {}", report.run.state_hash);
}

#[expect(clippy::print_stdout, reason = "the table is the result")]
fn print_comparison(report: &Report) {
    if report.rows_compared == 0 {
        println!("\nno order-book file: the book was compared with the planned one only");
    } else {
        println!("\nbook compared with the file after {} rows", grouped(report.rows_compared));
        println!("  best price or size differs  {:>6}", report.best_mismatches);
        println!("  any known level differs     {:>6}", report.level_mismatches);
        for (cause, count) in &report.causes {
            println!("  {:<26}  {count:>6}", cause.words());
        }
    }
    println!("unexplained   {}", report.unexplained);
    for difference in report.differences.iter().filter(|difference| difference.unexplained()).take(SHOWN) {
        println!("  {difference}");
    }
    for wrong in report.wrong_answers.iter().take(SHOWN) {
        println!("  line {}: {}; expected {}, got {}", wrong.line, wrong.request, wrong.expected, wrong.answer);
    }
    for message in report.not_applied.iter().take(SHOWN) {
        println!("  line {}: {}", message.line, message.reason);
    }
}
