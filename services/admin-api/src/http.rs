//! The same over HTTP. Absent: unknown paths and wrong methods; the node answers those.

pub(crate) mod actions;
pub(crate) mod activity;
mod configuration;
pub(crate) mod console;
pub(crate) mod market;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use service_kit::clock;
use service_kit::http::Problem;
use wire::pb::consensus::v1::Order;

use crate::config::MAX_TIMEOUT;
use crate::gather::Gather;
use crate::view::{consensus, health, memory, pools};

pub(crate) fn router(gather: Arc<Gather>) -> Router {
    Router::new()
        .route("/health", get(get_health))
        .route("/health/consensus", get(get_consensus))
        .route("/admin/database/pool-status", get(get_pools))
        .route("/admin/memory-profile", get(get_memory))
        .with_state(Arc::clone(&gather))
        .merge(configuration::router(gather))
}

async fn get_health(State(gather): State<Arc<Gather>>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let limit = limit(&gather, query.as_deref())?;
    let view = health::HealthView::new(gather.context(), gather.health(limit).await);
    Ok(answer(view.is_up(), &view))
}

async fn get_consensus(State(gather): State<Arc<Gather>>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let limit = limit(&gather, query.as_deref())?;
    let view = consensus::ConsensusView::new(&gather.context().name, gather.consensus(limit).await);
    Ok(answer(view.is_up(), &view))
}

async fn get_pools(State(gather): State<Arc<Gather>>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let limit = limit(&gather, query.as_deref())?;
    Ok(answer(true, &pools::PoolsView::new(gather.pools(limit).await)))
}

async fn get_memory(State(gather): State<Arc<Gather>>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let limit = limit(&gather, query.as_deref())?;
    Ok(answer(true, &memory::MemoryView::new(gather.memory(limit).await)))
}

/// What stands in the body of an order to instances; all of it may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct OrderBody {
    request_id: String,
    actor: String,
    reason: String,
    dry_run: bool,
    targets: Vec<String>,
    timeout_ms: u32,
}

impl OrderBody {
    /// The order, the instances it is for, and the time they have.
    pub(crate) fn parts(self) -> (Order, Vec<String>, u32) {
        let Self { request_id, actor, reason, dry_run, targets, timeout_ms } = self;
        (Order { request_id, actor, reason, dry_run }, targets, timeout_ms)
    }
}

/// Nobody may keep an answer about the present.
fn answer(up: bool, view: &impl Serialize) -> Response {
    let status = if up { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(view)).into_response()
}

/// What the query of a request says, decoded.
pub(crate) type Pairs = Result<Query<Vec<(String, String)>>, QueryRejection>;

/// The pairs of a query, in order.
pub(crate) fn pairs(query: Pairs) -> Result<Vec<(String, String)>, Problem> {
    query.map(|Query(pairs)| pairs).map_err(|error| Problem::bad_request("query", error.body_text()))
}

/// A time in a query, microseconds since the Unix epoch.
pub(crate) fn time(name: &str, text: &str) -> Result<u64, Problem> {
    let us = clock::parse_rfc3339(text);
    us.ok_or_else(|| Problem::bad_request(name, "must be a time like 2026-01-31T12:00:00Z"))
}

/// The only parameter there is.
fn limit(gather: &Gather, query: Option<&str>) -> Result<Duration, Problem> {
    let mut limit = gather.default_timeout();
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if name != "timeout_ms" {
            return Err(Problem::bad_request(name, "there is no such parameter here"));
        }
        let given = value.parse().ok().map(Duration::from_millis);
        limit = given.filter(|given| (Duration::from_millis(1)..=MAX_TIMEOUT).contains(given)).ok_or_else(|| {
            Problem::bad_request("timeout_ms", format!("must be a whole number from 1 to {}", MAX_TIMEOUT.as_millis()))
        })?;
    }
    Ok(limit)
}
