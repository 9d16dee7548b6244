//! `GET /admin/audit` and `GET /admin/audit/verify`. Absent: how the answers are made; see [`crate::audit`].

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use service_kit::http::Problem;
use wire::pb::admin::v1 as pb;
use wire::status::ApiError;

use crate::audit::AuditAnswers;
use crate::http::{Pairs, pairs, time};
use crate::view::audit::{RecordsView, VerificationsView};

pub(crate) fn router(answers: AuditAnswers) -> Router {
    Router::new().route("/admin/audit", get(records)).route("/admin/audit/verify", get(verify)).with_state(answers)
}

async fn records(State(answers): State<AuditAnswers>, query: Pairs) -> Result<Response, Problem> {
    let found = answers.search(filter(pairs(query)?)?).await.map_err(|status| ApiError::from_status(&status))?;
    Ok(answer(StatusCode::OK, &RecordsView::from(found)))
}

async fn verify(State(answers): State<AuditAnswers>, query: Pairs) -> Result<Response, Problem> {
    if let Some((name, _)) = pairs(query)?.into_iter().next() {
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

fn filter(pairs: Vec<(String, String)>) -> Result<pb::AuditFilter, Problem> {
    let mut filter = pb::AuditFilter::default();
    for (name, text) in pairs {
        match name.as_str() {
            "limit" => {
                let number = text.parse().map_err(|_| Problem::bad_request(name, "must be a whole number"));
                filter.limit = number?;
            }
            "from" => filter.from_us = time(&name, &text)?,
            "to" => filter.to_us = time(&name, &text)?,
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
