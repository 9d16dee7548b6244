//! After a run: every order that was acknowledged must be found, as it was acknowledged or further on.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use tokio::time::{Instant, sleep};
use wire::client::{Cluster, OrderClient, RetryPolicy};
use wire::pb::history::v1::history_service_client::HistoryServiceClient;
use wire::pb::history::v1::{GetHistoryStatusRequest, ListOrdersRequest};
use wire::pb::orders::v1::get_order_request::Key;
use wire::pb::orders::v1::{GetOrderRequest, Order};
use wire::transport::Channel;

use super::tally::Expected;

/// Look-ups under way at one time: enough to keep a node busy, a fraction of the calls one connection may have.
const LOOKUPS: usize = 64;

/// How long the history may need to catch up with the journal.
const CATCH_UP: Duration = Duration::from_secs(120);

/// Between two looks at how far the history is.
const CATCH_UP_PAUSE: Duration = Duration::from_millis(50);

/// Lost orders that are described one by one.
const DESCRIBED: usize = 10;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Findings {
    /// Orders found in the engine.
    pub(crate) found_in_engine: u64,
    /// Orders found in the history, after the engine had forgotten them.
    pub(crate) found_in_history: u64,
    /// Orders not found, or found in a state that contradicts the acknowledgement.
    pub(crate) lost: u64,
    /// The first of these, described.
    pub(crate) lost_orders: Vec<String>,
}

/// Looks up every order of `expected`. `last_seq` is the position that the history must have reached before it is
/// believed not to know an order.
pub(crate) async fn find_afterwards(
    cluster: &Cluster,
    expected: &BTreeMap<u64, Expected>,
    last_seq: u64,
) -> Result<Findings> {
    let client = OrderClient::of(cluster.clone(), RetryPolicy::default());
    let mut findings = Findings::default();
    let mut forgotten = Vec::new();
    let mut lookups = stream::iter(expected)
        .map(|(order_id, expected)| {
            let client = &client;
            async move {
                let key = Some(Key::ClientOrderId(expected.client_order_id.clone()));
                let request = GetOrderRequest { account_id: expected.account_id, key, ..Default::default() };
                let found = client.get(&request).await.context("cannot look up an order")?;
                Ok::<_, anyhow::Error>((*order_id, expected, found.and_then(|response| response.order)))
            }
        })
        .buffer_unordered(LOOKUPS);
    while let Some((order_id, expected, found)) = lookups.try_next().await? {
        match found {
            Some(found) => findings.compare(order_id, expected, Some(&found), Place::Engine),
            None => forgotten.push((order_id, expected)),
        }
    }
    drop(lookups);
    if !forgotten.is_empty() {
        let mut history = HistoryServiceClient::new(cluster.any().channel);
        caught_up(&mut history, last_seq).await?;
        for (order_id, expected) in forgotten {
            let found = in_history(&mut history, order_id, expected).await?;
            findings.compare(order_id, expected, found.as_ref(), Place::History);
        }
    }
    Ok(findings)
}

#[derive(Clone, Copy)]
enum Place {
    Engine,
    History,
}

impl Findings {
    fn compare(&mut self, order_id: u64, expected: &Expected, found: Option<&Order>, place: Place) {
        let contradiction = match found {
            None => Some("is neither in the engine nor in the history".to_owned()),
            Some(found) if found.order_id != order_id => Some(format!("has the number {} now", found.order_id)),
            Some(found) => expected.contradiction(found),
        };
        match (contradiction, place) {
            (None, Place::Engine) => self.found_in_engine += 1,
            (None, Place::History) => self.found_in_history += 1,
            (Some(what), _) => {
                self.lost += 1;
                if self.lost_orders.len() < DESCRIBED {
                    self.lost_orders.push(format!("order {order_id} ({}): {what}", expected.client_order_id));
                }
            }
        }
    }
}

async fn caught_up(history: &mut HistoryServiceClient<Channel>, last_seq: u64) -> Result<()> {
    let deadline = Instant::now() + CATCH_UP;
    loop {
        let status = history.get_history_status(GetHistoryStatusRequest::default()).await;
        let status = status.context("cannot ask how far the history is")?.into_inner();
        if status.projected_seq >= last_seq {
            return Ok(());
        }
        let at = status.projected_seq;
        ensure!(
            Instant::now() < deadline,
            "the history stands at {at} and does not reach {last_seq}: {}",
            status.error
        );
        sleep(CATCH_UP_PAUSE).await;
    }
}

async fn in_history(
    history: &mut HistoryServiceClient<Channel>,
    order_id: u64,
    expected: &Expected,
) -> Result<Option<Order>> {
    let request = ListOrdersRequest { account_id: expected.account_id, order_id, ..Default::default() };
    let response = history.list_orders(request).await.context("cannot look up an order in the history")?;
    Ok(response.into_inner().orders.into_iter().next().and_then(|row| row.order))
}
