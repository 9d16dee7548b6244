//! HistoryService: requests checked, questions asked, rows as messages.
//!
//! Every answer says how far the history goes; that is read before the rows, so that all of it is in them. Deliberately
//! absent: the books as they are now; the engine answers about those.

use service_kit::auth::permit;
use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;
use tonic::{Request, Response, Status};
use types::{Seq, ShardId};
use wire::convert;
use wire::pb::history::v1::{self as pb, history_service_server::HistoryService};
use wire::pb::orders::v1 as orders;
use wire::status::{ApiError, ErrorCode};

use super::store::Rows;
use super::{
    Cursor, ExecutionFilter, ExecutionKind, ExecutionRow, HistoryError, HistoryReader, OrderFilter, OrderRow, Page,
    PageToken, Replica, Stamp, TradeFilter, TradeRow, query,
};
use crate::projector::Standstill;

/// How long the replica may take to say how it is: it is not what was asked for.
const REPLICA_STATUS: Duration = Duration::from_secs(1);

/// What a shard can say about its history beside the database.
#[derive(Clone, Debug)]
pub struct ShardProgress {
    /// Highest committed seq the gateway knows.
    pub commit: watch::Receiver<Seq>,
    /// Why projecting stands still.
    pub standstill: Standstill,
}

/// Serves HistoryService.
#[derive(Clone, Debug)]
pub struct HistoryQueries {
    reader: HistoryReader,
    replica: Option<Replica>,
    shards: BTreeMap<ShardId, ShardProgress>,
}

impl HistoryQueries {
    /// Serves what `reader` reads; `shards` are those of this gateway.
    #[must_use]
    pub fn new(reader: HistoryReader, shards: BTreeMap<ShardId, ShardProgress>) -> Self {
        Self { reader, replica: None, shards }
    }

    /// Asks `replica` what may be asked there.
    pub(crate) fn with_replica(self, replica: Option<Replica>) -> Self {
        Self { replica, ..self }
    }

    /// Asks the replica if that may be, and the primary if not, or if the replica does not answer.
    async fn ask<T, F>(&self, from_primary: bool, ask: impl Fn(HistoryReader) -> F) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, HistoryError>>,
    {
        if let Some(replica) = self.replica.as_ref().filter(|_| !from_primary)
            && let Some(answer) = replica.ask(&ask).await
        {
            return answer.map_err(|error| refuse(&error));
        }
        ask(self.reader.clone()).await.map_err(|error| refuse(&error))
    }

    /// How the replica is, beside a primary that is as far as `projected`.
    async fn replica_status(&self, projected: Option<Seq>, only: Option<ShardId>) -> Option<pb::ReadReplica> {
        let replica = self.replica.as_ref()?;
        let mut status = pb::ReadReplica { in_use: replica.is_on(), ..pb::ReadReplica::default() };
        let asked = async {
            let cursor = self.cursor(replica.reader(), only).await?;
            Ok::<_, HistoryError>((cursor, replica.reader().replay_lag_ms().await?))
        };
        let late = |_| Err(HistoryError::Unavailable(format!("no answer within {REPLICA_STATUS:?}")));
        match tokio::time::timeout(REPLICA_STATUS, asked).await.unwrap_or_else(late) {
            Ok((cursor, lag_ms)) => {
                status.projected_seq = cursor.map_or(0, |(_, cursor)| cursor.seq.0);
                status.lag_entries = projected.map_or(0, |seq| seq.0.saturating_sub(status.projected_seq));
                status.lag_ms = if status.lag_entries == 0 { 0 } else { lag_ms };
            }
            Err(error) => status.error = error.to_string(),
        }
        metrics::gauge!("history_replica_lag_entries").set(crate::metrics::gauge(status.lag_entries));
        Some(status)
    }

    /// The cursor of one shard, or of the shard of this gateway that is furthest behind: all shards' history goes at
    /// least so far.
    async fn cursor(
        &self,
        reader: &HistoryReader,
        only: Option<ShardId>,
    ) -> Result<Option<(ShardId, Cursor)>, HistoryError> {
        let cursors = reader.cursors().await?;
        let wanted = |shard: &ShardId| only.map_or_else(|| self.shards.contains_key(shard), |only| only == *shard);
        let ours = cursors.into_iter().filter(|(shard, _)| wanted(shard));
        Ok(ours.min_by_key(|(_, cursor)| cursor.seq))
    }

    async fn as_of(&self, reader: &HistoryReader) -> Result<u64, HistoryError> {
        Ok(self.cursor(reader, None).await?.map_or(0, |(_, cursor)| cursor.seq.0))
    }
}

fn refuse(error: &HistoryError) -> ApiError {
    match error {
        HistoryError::Unavailable(_) => ApiError::not_ready(format!("{error}: try again")),
        HistoryError::Refused(_) | HistoryError::Migration(_) => {
            tracing::warn!(%error, "database query failed");
            ApiError::not_ready("the history database cannot answer yet: try again")
        }
        HistoryError::Damaged(_) | HistoryError::Foreign { .. } => {
            tracing::error!(%error, "database query failed");
            ApiError::new(ErrorCode::DataLoss, "the history database is damaged: the log of the node says how")
        }
        HistoryError::Configuration(_) => ApiError::internal(error),
    }
}

fn page(page: &convert::Page, question: u64) -> Result<Page, ApiError> {
    let after = match page.token.as_str() {
        "" => None,
        token => Some(PageToken::decode(token, question).map_err(|why| ApiError::invalid("page_token", why))?),
    };
    Ok(Page { size: page.size, after })
}

fn next<T>(rows: &Rows<T>, question: u64) -> String {
    rows.next.map(|token| token.encode(question)).unwrap_or_default()
}

#[tonic::async_trait]
impl HistoryService for HistoryQueries {
    async fn list_orders(
        &self,
        request: Request<pb::ListOrdersRequest>,
    ) -> Result<Response<pb::ListOrdersResponse>, Status> {
        permit(request.extensions(), request.get_ref().account_id)?;
        let (given, wanted) = convert::list_orders(request.get_ref())?;
        let filter = OrderFilter {
            account: given.account,
            symbol: given.symbol,
            status: given.status,
            client_order_id: given.client_order_id,
            order_id: given.order_id,
            from: given.period.from,
            to: given.period.to,
        };
        let question = query::question("orders", &filter);
        let page = page(&wanted, question)?;
        let (filter, page) = (&filter, &page);
        let asked = self.ask(request.get_ref().from_primary, |reader: HistoryReader| async move {
            Ok((self.as_of(&reader).await?, reader.orders(filter, page).await?))
        });
        let (as_of_seq, rows) = asked.await?;
        let next_page_token = next(&rows, question);
        let orders = rows.rows.iter().map(order).collect();
        Ok(Response::new(pb::ListOrdersResponse { orders, next_page_token, as_of_seq }))
    }

    async fn list_executions(
        &self,
        request: Request<pb::ListExecutionsRequest>,
    ) -> Result<Response<pb::ListExecutionsResponse>, Status> {
        permit(request.extensions(), request.get_ref().account_id)?;
        let (given, wanted) = convert::list_executions(request.get_ref())?;
        let filter = ExecutionFilter {
            account: given.account,
            symbol: given.symbol,
            order_id: given.order_id,
            kind: given.kind.and_then(ExecutionKind::from_proto),
            from: given.period.from,
            to: given.period.to,
        };
        let question = query::question("executions", &filter);
        let page = page(&wanted, question)?;
        let (filter, page) = (&filter, &page);
        let asked = self.ask(request.get_ref().from_primary, |reader: HistoryReader| async move {
            Ok((self.as_of(&reader).await?, reader.executions(filter, page).await?))
        });
        let (as_of_seq, rows) = asked.await?;
        let next_page_token = next(&rows, question);
        let executions = rows.rows.iter().map(execution).collect();
        Ok(Response::new(pb::ListExecutionsResponse { executions, next_page_token, as_of_seq }))
    }

    async fn list_trades(
        &self,
        request: Request<pb::ListTradesRequest>,
    ) -> Result<Response<pb::ListTradesResponse>, Status> {
        permit(request.extensions(), request.get_ref().account_id)?;
        let (given, wanted) = convert::list_trades(request.get_ref())?;
        let filter = TradeFilter {
            account: given.account,
            symbol: given.symbol,
            order_id: given.order_id,
            from: given.period.from,
            to: given.period.to,
        };
        let question = query::question("trades", &filter);
        let page = page(&wanted, question)?;
        let (filter, page) = (&filter, &page);
        let asked = self.ask(request.get_ref().from_primary, |reader: HistoryReader| async move {
            Ok((self.as_of(&reader).await?, reader.trades(filter, page).await?))
        });
        let (as_of_seq, rows) = asked.await?;
        let next_page_token = next(&rows, question);
        let trades = rows.rows.iter().map(trade).collect();
        Ok(Response::new(pb::ListTradesResponse { trades, next_page_token, as_of_seq }))
    }

    async fn get_history_status(
        &self,
        request: Request<pb::GetHistoryStatusRequest>,
    ) -> Result<Response<pb::GetHistoryStatusResponse>, Status> {
        let only = request.into_inner().shard.map(ShardId);
        if let Some(unknown) = only.filter(|shard| !self.shards.contains_key(shard)) {
            return Err(ApiError::not_found(format!("there is no shard {unknown}")).into());
        }
        let (cursor, error) = match self.cursor(&self.reader, only).await {
            Ok(cursor) => (cursor, String::new()),
            // How far the history goes is also a question while the database is away.
            Err(error) => (None, error.to_string()),
        };
        let shard = only.or(cursor.map(|(shard, _)| shard)).or_else(|| self.shards.keys().next().copied());
        let progress = shard.and_then(|shard| self.shards.get(&shard));
        let standstill = progress.and_then(|progress| progress.standstill.reason()).unwrap_or_default();
        let cursor = cursor.map(|(_, cursor)| cursor).filter(|cursor| cursor.seq > Seq(0));
        Ok(Response::new(pb::GetHistoryStatusResponse {
            log_id: cursor.map(|cursor| cursor.log_id.to_string()).unwrap_or_default(),
            projected_seq: cursor.map_or(0, |cursor| cursor.seq.0),
            commit_seq: progress.map_or(0, |progress| progress.commit.borrow().0),
            chain: cursor.map_or_else(|| "0".repeat(32), |cursor| cursor.chain.to_string()),
            database: self.reader.database().to_owned(),
            error: if standstill.is_empty() { error } else { standstill },
            replica: self.replica_status(cursor.map(|cursor| cursor.seq), only).await,
        }))
    }
}

impl ExecutionKind {
    fn from_proto(kind: pb::ExecutionKind) -> Option<Self> {
        super::codes::Code::from_code(i16::try_from(i32::from(kind)).ok()?)
    }
}

fn place(stamp: &Stamp) -> Option<orders::Place> {
    Some(convert::place_to_pb(stamp.place))
}

/// Number of an optional value in its enum, 0 for none.
fn number<T: super::codes::Code>(value: Option<T>) -> i32 {
    i32::from(super::codes::optional(value))
}

fn text<const N: usize>(text: Option<types::InlineText<N>>) -> String {
    text.map(|text| text.as_str().to_owned()).unwrap_or_default()
}

fn order(row: &OrderRow) -> pb::HistoricalOrder {
    pb::HistoricalOrder {
        order: Some(orders::Order {
            order_id: row.order_id.0,
            account_id: row.account.0,
            client_order_id: text(Some(row.client_order_id)),
            symbol: text(row.symbol),
            side: number(Some(row.side)),
            price: row.price.0,
            quantity: row.quantity.0,
            cumulative_quantity: row.cumulative.0,
            leaves_quantity: row.leaves.0,
            status: number(Some(row.status)),
        }),
        place: place(&row.stamp),
        created_us: row.stamp.at.0,
        updated_us: row.updated.0,
        reject_reason: number(row.reject_reason),
        order_type: number(Some(row.order_type)),
        time_in_force: number(Some(row.time_in_force)),
    }
}

fn execution(row: &ExecutionRow) -> pb::Execution {
    pb::Execution {
        place: place(&row.stamp),
        number: row.number,
        kind: number(Some(row.kind)),
        order_id: row.order_id.0,
        account_id: row.account.0,
        client_order_id: text(row.client_order_id),
        symbol: text(row.symbol),
        side: number(row.side),
        price: row.price.0,
        quantity: row.quantity.0,
        cumulative_quantity: row.cumulative.0,
        leaves_quantity: row.leaves.0,
        trade_id: row.trade_id.0,
        reject_reason: number(row.reject_reason),
        transact_time_us: row.stamp.at.0,
    }
}

fn trade(row: &TradeRow) -> pb::HistoricalTrade {
    pb::HistoricalTrade {
        trade_id: row.trade_id.0,
        place: place(&row.stamp),
        symbol: text(Some(row.symbol)),
        price: row.price.0,
        quantity: row.quantity.0,
        maker_order_id: row.maker.0,
        maker_account_id: row.maker_account.0,
        taker_order_id: row.taker.0,
        taker_account_id: row.taker_account.0,
        taker_side: number(Some(row.taker_side)),
        transact_time_us: row.stamp.at.0,
    }
}
