//! `GET /admin/audit` and `GET /admin/audit/verify`. Absent: how the answers are made; see [`crate::audit`].

use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use service_kit::clock;
use service_kit::http::Problem;
use wire::pb::admin::v1 as pb;
use wire::status::ApiError;

use crate::audit::AuditAnswers;
use crate::view::audit::{RecordsView, VerificationsView};

pub(crate) fn router(answers: AuditAnswers) -> Router {
    Router::new().route("/admin/audit", get(records)).route("/admin/audit/verify", get(verify)).with_state(answers)
}

async fn records(State(answers): State<AuditAnswers>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let found = answers.search(filter(query.as_deref())?).await.map_err(|status| ApiError::from_status(&status))?;
    Ok(answer(StatusCode::OK, &RecordsView::from(found)))
}

async fn verify(State(answers): State<AuditAnswers>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    if let Some((name, _)) = pairs(query.as_deref()).next() {
        return Err(Problem::bad_request(name, "there is no such parameter here"));
    }
    let found =
        answers.verify(pb::VerifyAuditRequest::default()).await.map_err(|status| ApiError::from_status(&status))?;
    Ok(answer(StatusCode::OK, &VerificationsView::from(found)))
}

/// Nobody may keep an answer about the present.
fn answer(status: StatusCode, view: &impl Serialize) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], Json(view)).into_response()
}

fn pairs(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn filter(query: Option<&str>) -> Result<pb::AuditFilter, Problem> {
    let mut filter = pb::AuditFilter::default();
    for (name, value) in pairs(query) {
        let text = value.to_owned();
        let time = || {
            let us = clock::parse_rfc3339(&value.replace("%3A", ":").replace("%3a", ":"));
            us.ok_or_else(|| Problem::bad_request(name, "must be a time like 2026-01-31T12:00:00Z"))
        };
        match name {
            "limit" => {
                let number = value.parse().map_err(|_| Problem::bad_request(name, "must be a whole number"));
                filter.limit = number?;
            }
            "from" => filter.from_us = time()?,
            "to" => filter.to_us = time()?,
            "action" => filter.action = text,
            "who" => filter.who = text,
            "request_id" => filter.request_id = text,
            "result" => filter.result = text,
            "text" => filter.text = text,
            other => return Err(Problem::bad_request(other, "there is no such parameter here")),
        }
    }
    Ok(filter)
}
