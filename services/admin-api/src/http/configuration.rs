//! Configuration and log level over HTTP: `GET` shows, `POST` orders, with the order as JSON or nothing at all.
//! Absent: what the orders do.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{Extensions, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use service_kit::Caller;
use service_kit::config::HumanDuration;
use service_kit::http::Problem;
use wire::pb::admin::v1 as pb;
use wire::pb::consensus::v1::Order;

use super::{OrderBody, answer, limit};
use crate::configuration::Configuration;
use crate::gather::Gather;
use crate::view::configuration::{ConfigView, LevelsView, OutcomesView};

/// An [`OrderBody`] with a level, empty to take an order back, and how long it stands.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LevelBody {
    request_id: String,
    actor: String,
    reason: String,
    dry_run: bool,
    targets: Vec<String>,
    timeout_ms: u32,
    level: String,
    duration: HumanDuration,
}

pub(super) fn router(gather: Arc<Gather>) -> Router {
    Router::new()
        .route("/admin/config", get(show))
        .route("/admin/config/reload", post(reload))
        .route("/admin/log-level", post(set_log_level))
        .with_state(Configuration(gather))
}

async fn show(State(doors): State<Configuration>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let limit = limit(&doors.0, query.as_deref())?;
    let response = doors.get(limit, Vec::new()).await?;
    Ok(answer(true, &ConfigView::from(response)))
}

/// 422 if an instance cannot use its file, 503 if one did not answer: each is told, whatever the status.
async fn reload(State(doors): State<Configuration>, extensions: Extensions, body: Bytes) -> Result<Response, Problem> {
    let (order, targets, timeout_ms) = read::<OrderBody>(&body)?.parts();
    let limit = doors.0.limit(timeout_ms)?;
    let response = doors.reload(Caller::of(&extensions), limit, targets, order).await?;
    let view = OutcomesView::from(response.instances);
    if view.is_usable() {
        return Ok(answer(view.is_complete(), &view));
    }
    Ok((StatusCode::UNPROCESSABLE_ENTITY, Json(view)).into_response())
}

async fn set_log_level(
    State(doors): State<Configuration>,
    extensions: Extensions,
    body: Bytes,
) -> Result<Response, Problem> {
    let LevelBody { request_id, actor, reason, dry_run, targets, timeout_ms, level, duration } = read(&body)?;
    let order = Some(Order { request_id, actor, reason, dry_run });
    let duration_ms = u64::try_from(duration.0.as_millis()).unwrap_or(u64::MAX);
    let limit = doors.0.limit(timeout_ms)?;
    let request = pb::SetLogLevelRequest { order, timeout_ms, targets, level, duration_ms };
    let response = doors.set_log_level(Caller::of(&extensions), limit, request).await?;
    let view = LevelsView::from(response);
    Ok(answer(view.instances.iter().all(|one| one.after.is_some()), &view))
}

fn read<'a, T: Default + Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body).map_err(|error| Problem::bad_request("body", error.to_string()))
}
