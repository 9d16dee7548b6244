//! What clients asked and were told: workers that send requests one by one, try an unanswered one again under the
//! same id until it is answered, and keep every answer; and the checks over all of it.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::sync::watch;
use tonic::{Code, Status};
use wire::pb::history::v1::history_service_client::HistoryServiceClient;
use wire::pb::history::v1::{GetHistoryStatusRequest, HistoricalOrder, ListOrdersRequest};
use wire::pb::orders::v1::order_service_client::OrderServiceClient;
use wire::pb::orders::v1::order_session_request::Command;
use wire::pb::orders::v1::{OrderReport, OrderStatus, Place};
use wire::transport::Channel;

use crate::LOOK_AGAIN;
use crate::requests::{Requests, identity};

/// How long one try may take.
const TRY_LIMIT: Duration = Duration::from_secs(5);

/// How long a request may stay unanswered over all its tries.
const SETTLE_LIMIT: Duration = Duration::from_secs(120);

/// Between two tries while nobody answers.
const TRY_AGAIN: Duration = Duration::from_millis(25);

/// A request and its final answer.
#[derive(Clone, Debug)]
pub struct Answered {
    /// What was asked.
    pub command: Command,
    /// What was answered.
    pub report: OrderReport,
    /// Whether a try before it ended without an answer.
    pub in_doubt: bool,
}

/// Sends requests of one account until told to stop. `channels` always holds the channel of the node that runs now.
///
/// # Errors
/// When a request is answered by something that sending it again cannot mend.
pub async fn work(
    mut requests: Requests,
    mut channels: watch::Receiver<Channel>,
    mut stop: watch::Receiver<bool>,
) -> Result<Vec<Answered>> {
    let mut answered = Vec::new();
    while !*stop.borrow_and_update() {
        let Some(command) = requests.next() else { break };
        let one = settle(command, || channels.borrow_and_update().clone()).await?;
        requests.learn(&one.report);
        answered.push(one);
    }
    Ok(answered)
}

/// Sends a request until it is answered, each time over the channel that `channel` gives.
///
/// # Errors
/// When it is answered by something that sending it again cannot mend.
pub async fn settle(command: Command, mut channel: impl FnMut() -> Channel) -> Result<Answered> {
    let mut in_doubt = false;
    let begin = Instant::now();
    loop {
        ensure!(begin.elapsed() < SETTLE_LIMIT, "{command:?} was not answered within {SETTLE_LIMIT:?}");
        match tokio::time::timeout(TRY_LIMIT, send(channel(), command.clone())).await {
            Ok(Ok(report)) => return Ok(Answered { command, report, in_doubt }),
            Ok(Err(status)) => {
                let again = matches!(
                    status.code(),
                    Code::Unavailable
                        | Code::Unknown
                        | Code::Cancelled
                        | Code::DeadlineExceeded
                        | Code::ResourceExhausted
                );
                ensure!(again, "{command:?} was answered {status:?}");
                // Only a refusal at the door says that it was not executed.
                in_doubt |= !matches!(status.code(), Code::ResourceExhausted);
            }
            Err(_) => in_doubt = true,
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

/// Sends one request by its unary call.
///
/// # Errors
/// The status of the call.
pub async fn send(channel: Channel, command: Command) -> Result<OrderReport, Status> {
    let mut client = OrderServiceClient::new(channel);
    let report = match command {
        Command::Submit(c) => client.submit_order(c).await?.into_inner().report,
        Command::Cancel(c) => client.cancel_order(c).await?.into_inner().report,
        Command::Replace(c) => client.replace_order(c).await?.into_inner().report,
        Command::MassCancel(c) => client.mass_cancel(c).await?.into_inner().report,
    };
    report.ok_or_else(|| Status::internal("an answer without a report"))
}

/// Every answer's place is its own.
///
/// # Errors
/// Names the first two requests that share one.
pub fn check_places(answered: &[Answered]) -> Result<()> {
    let mut seen: HashMap<(String, u64, u32), &str> = HashMap::new();
    for one in answered {
        let place = place(&one.report)?;
        let id = identity(&one.command).1;
        if let Some(other) = seen.insert((place.log_id.clone(), place.seq, place.index), id) {
            anyhow::bail!("{id} and {other} were both executed at seq {} index {}", place.seq, place.index);
        }
    }
    Ok(())
}

/// Sending every request once more gives the answer it had.
///
/// # Errors
/// Names the first request that is answered otherwise.
pub async fn check_retries(answered: &[Answered], channel: &Channel) -> Result<()> {
    for one in answered {
        let again = send(channel.clone(), one.command.clone()).await.context("send a request again")?;
        // Whether the journal's database is away is a matter of now.
        let expected = OrderReport { duplicate: true, volatile: again.volatile, ..one.report.clone() };
        ensure!(again == expected, "a retry was answered otherwise\nfirst {:?}\nthen  {again:?}", one.report);
    }
    Ok(())
}

/// Every accepted order is in history, at its place, at least as far as it was acknowledged.
///
/// # Errors
/// Names the first order that is missing or less than it was.
pub async fn check_history(answered: &[Answered], channel: &Channel) -> Result<()> {
    let last = answered.iter().filter_map(|one| one.report.place.as_ref()).map(|p| p.seq).max().unwrap_or(0);
    wait_projected(channel, last).await?;
    let history = all_orders(channel).await?;
    for one in answered {
        let Command::Submit(submit) = &one.command else { continue };
        if one.report.status() == OrderStatus::Rejected {
            continue;
        }
        let found = history.get(&one.report.order_id).with_context(|| format!("{submit:?} is not in history"))?;
        let order = found.order.as_ref().context("a row holds an order")?;
        ensure!(order.client_order_id == submit.client_order_id, "{submit:?} has another's number: {order:?}");
        ensure!(found.place == one.report.place, "{submit:?} stands elsewhere in history: {:?}", found.place);
        ensure!(
            order.cumulative_quantity >= one.report.cumulative_quantity,
            "{submit:?} was filled by {} and is filled by {} in history",
            one.report.cumulative_quantity,
            order.cumulative_quantity
        );
    }
    Ok(())
}

/// Waits until history holds everything up to `seq`.
///
/// # Errors
/// When it does not within a minute.
pub async fn wait_projected(channel: &Channel, seq: u64) -> Result<()> {
    let mut client = HistoryServiceClient::new(channel.clone());
    for _ in 0..1_200 {
        let status = client.get_history_status(GetHistoryStatusRequest::default()).await?.into_inner();
        if status.projected_seq >= seq {
            return Ok(());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    anyhow::bail!("history did not reach seq {seq} within a minute")
}

/// Every order of history by its number.
///
/// # Errors
/// When a page fails or an order stands on two pages.
pub async fn all_orders(channel: &Channel) -> Result<HashMap<u64, HistoricalOrder>> {
    let mut client = HistoryServiceClient::new(channel.clone());
    let mut orders = HashMap::new();
    let mut tokens = HashSet::new();
    let mut page_token = String::new();
    loop {
        let page = client
            .list_orders(ListOrdersRequest { page_size: 1_000, page_token, ..ListOrdersRequest::default() })
            .await?
            .into_inner();
        for row in page.orders {
            let id = row.order.as_ref().context("a row holds an order")?.order_id;
            if id != 0 {
                ensure!(orders.insert(id, row).is_none(), "order {id} stands on two pages");
            }
        }
        if page.next_page_token.is_empty() {
            return Ok(orders);
        }
        ensure!(tokens.insert(page.next_page_token.clone()), "a page token came twice");
        page_token = page.next_page_token;
    }
}

fn place(report: &OrderReport) -> Result<&Place> {
    report.place.as_ref().with_context(|| format!("an answer without a place: {report:?}"))
}
