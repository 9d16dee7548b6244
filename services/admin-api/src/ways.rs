//! Services of which any instance can answer, asked one after another until one does: engines, which hand a request on to
//! the leader, and coordinators, which share a store. Absent: what operators order; see [`crate::trading`] and
//! [`crate::http`].

use std::future::Future;
use std::time::Duration;

use tonic::{Request, Response, Status};
use wire::pb::marketdata::v1 as pb;
use wire::pb::marketdata::v1::market_data_service_client::MarketDataServiceClient;
use wire::status::{ApiError, ErrorCode};
use wire::transport::Channel;

/// How long one engine may take before the next is asked. A takeover takes about a second; what is asked here waits for
/// nothing else.
const ENGINE_WAITS: Duration = Duration::from_secs(3);

/// How long one coordinator may take: an election that was forced is waited for ten seconds.
const COORDINATOR_WAITS: Duration = Duration::from_secs(12);

/// The ways to the instances of one service.
#[derive(Clone)]
pub(crate) struct Ways {
    channels: Vec<Channel>,
    waits: Duration,
    none: &'static str,
}

impl Ways {
    pub(crate) const fn to_engines(channels: Vec<Channel>) -> Self {
        Self { channels, waits: ENGINE_WAITS, none: "this instance knows no order engine: see peers.order_engine" }
    }

    pub(crate) const fn to_coordinators(channels: Vec<Channel>) -> Self {
        let none = "this instance knows no coordinator: see peers.consensus_coordinator";
        Self { channels, waits: COORDINATOR_WAITS, none }
    }

    /// The answer of the first instance that can give one. What is asked must do the same when it is asked twice.
    pub(crate) async fn ask<T, F>(&self, ask: impl Fn(Channel) -> F) -> Result<T, ApiError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let mut last = ApiError::not_ready(self.none);
        for channel in &self.channels {
            last = match tokio::time::timeout(self.waits, ask(channel.clone())).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => ApiError::from_status(&status),
                Err(_) => {
                    let why = format!("no answer within {} s", self.waits.as_secs());
                    ApiError::new(ErrorCode::DeadlineExceeded, why)
                }
            };
            if !last.code.retryable() {
                break;
            }
        }
        Err(last)
    }

    /// All instruments. `stale` is quick and may lack the newest.
    pub(crate) async fn instruments(&self, stale: bool) -> Result<Vec<pb::InstrumentStatus>, ApiError> {
        let list = async |channel| {
            let request = pb::ListInstrumentsRequest { allow_stale: stale, min_seq: 0 };
            MarketDataServiceClient::new(channel).list_instruments(Request::new(request)).await
        };
        Ok(self.ask(list).await?.instruments)
    }

    /// One book.
    pub(crate) async fn book(&self, symbol: &str, depth: u32, stale: bool) -> Result<pb::BookSnapshot, ApiError> {
        let get = async |channel| {
            let request = pb::GetBookRequest { symbol: symbol.to_owned(), depth, allow_stale: stale, min_seq: 0 };
            MarketDataServiceClient::new(channel).get_book(Request::new(request)).await
        };
        Ok(self.ask(get).await?.book.unwrap_or_default())
    }
}
