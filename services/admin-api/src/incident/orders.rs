//! What became of orders in a time, from the history. Absent: orders that never reached the log; metrics count those.

use std::collections::BTreeSet;

use tonic::Status;
use wire::pb::admin::v1 as pb;
use wire::pb::history::v1::history_service_client::HistoryServiceClient;
use wire::pb::history::v1::{ListOrdersRequest, ListTradesRequest};
use wire::pb::orders::v1::OrderStatus;
use wire::transport::Channel;

use super::first_that_answers;

/// Rows of a page, the most there are.
const PAGE: u32 = 1_000;
/// Pages that are read: a report is not worth more of the database's time.
const PAGES: usize = 100;

pub(super) async fn affected(gateways: &[Channel], from_us: u64, to_us: u64) -> Result<pb::IncidentOrders, String> {
    first_that_answers(gateways, |channel| count(channel, from_us, to_us)).await
}

async fn count(channel: Channel, from_us: u64, to_us: u64) -> Result<pb::IncidentOrders, Status> {
    let mut client = HistoryServiceClient::new(channel);
    let mut found = pb::IncidentOrders::default();
    let mut accounts = BTreeSet::new();
    let mut times = BTreeSet::from([from_us, to_us]);
    let mut page_token = String::new();
    for page in 1..=PAGES {
        let request = ListOrdersRequest { from_us, to_us, page_size: PAGE, page_token, ..Default::default() };
        let answer = client.list_orders(request).await?.into_inner();
        for row in answer.orders {
            found.submitted += 1;
            times.insert(row.created_us);
            if let Some(order) = row.order {
                found.rejected += u64::from(order.status() == OrderStatus::Rejected);
                accounts.insert(order.account_id);
            }
        }
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
        found.truncated = page == PAGES;
    }
    let mut page_token = String::new();
    for page in 1..=PAGES {
        let request = ListTradesRequest { from_us, to_us, page_size: PAGE, page_token, ..Default::default() };
        let answer = client.list_trades(request).await?.into_inner();
        found.trades += answer.trades.len() as u64;
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
        found.truncated |= page == PAGES;
    }
    found.accounts = accounts.len() as u64;
    let gaps = times.iter().zip(times.iter().skip(1)).map(|(before, after)| after - before);
    found.longest_gap_us = gaps.max().unwrap_or(0);
    Ok(found)
}
