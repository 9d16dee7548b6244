//! `GET /admin/incident?from=…&to=…&format=markdown`. Absent: what stands in the report.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use service_kit::http::Problem;
use wire::pb::admin::v1 as pb;
use wire::status::ApiError;

use super::Incidents;
use crate::http::{Pairs, pairs, time};
use crate::view::incident::IncidentView;

pub(crate) fn router(incidents: Incidents) -> Router {
    Router::new().route("/admin/incident", get(report)).with_state(incidents)
}

async fn report(State(incidents): State<Incidents>, query: Pairs) -> Result<Response, Problem> {
    let mut request = pb::GetIncidentReportRequest::default();
    let mut markdown = false;
    for (name, value) in pairs(query)? {
        match (name.as_str(), value.as_str()) {
            ("from", _) => request.from_us = time(&name, &value)?,
            ("to", _) => request.to_us = time(&name, &value)?,
            ("format", "markdown") => markdown = true,
            ("format", "json") => markdown = false,
            ("format", _) => return Err(Problem::bad_request(name, "must be json or markdown")),
            (other, _) => return Err(Problem::bad_request(other, "there is no such parameter here")),
        }
    }
    let report = incidents.report(&request).await.map_err(|status| {
        let mut error = ApiError::from_status(&status);
        // The parameters are called as the fields, without the unit.
        error.field = error.field.map(|field| field.trim_end_matches("_us").to_owned());
        Problem::from(error)
    })?;
    let view = IncidentView::from(report);
    let fresh = (header::CACHE_CONTROL, "no-store");
    Ok(if markdown {
        ([fresh, (header::CONTENT_TYPE, "text/markdown; charset=utf-8")], view.to_markdown()).into_response()
    } else {
        ([fresh], Json(view)).into_response()
    })
}
