//! `GET` and `POST /admin/notifications`. Absent: what is sent; see [`super::grpc`].

use axum::body::{Body, to_bytes};
use axum::extract::{RawQuery, State};
use axum::http::{Request, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use service_kit::Caller;
use service_kit::http::Problem;
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::notification_service_server::NotificationService;
use wire::pb::consensus::v1::Order;
use wire::status::ApiError;

use super::{Kind, Notifications};
use crate::view::notifications::{NotificationsView, SentView};

/// Longest body: a message of a thousand characters, and room for the rest.
const BODY_MAX: usize = 16 << 10;

/// What may be sent. Which fields are needed depends on the kind.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SendBody {
    kind: Kind,
    #[serde(default)]
    message: String,
    #[serde(default)]
    incident: String,
    #[serde(default)]
    severity: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    unverified: bool,
    #[serde(default)]
    dedupe_key: String,
    #[serde(default)]
    request_id: String,
    #[serde(default)]
    actor: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    dry_run: bool,
}

pub(crate) fn router(notifications: Notifications) -> Router {
    Router::new().route("/admin/notifications", get(list).post(send)).with_state(notifications)
}

async fn list(State(notifications): State<Notifications>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let limit = match query.as_deref().unwrap_or_default().split_once('=') {
        None if query.as_deref().unwrap_or_default().is_empty() => 0,
        Some(("limit", value)) => {
            value.parse().map_err(|_| Problem::bad_request("limit", "must be a whole number from 0 to 1000"))?
        }
        _ => return Err(Problem::bad_request("query", "there is only the parameter limit here")),
    };
    let found = notifications.list_notifications(tonic::Request::new(pb::ListNotificationsRequest { limit })).await;
    let found = found.map_err(|status| ApiError::from_status(&status))?;
    Ok(answer(&NotificationsView::from(found.into_inner())))
}

async fn send(State(notifications): State<Notifications>, request: Request<Body>) -> Result<Response, Problem> {
    let caller = Caller::of(request.extensions());
    let bad = |why: String| Problem::bad_request("body", why);
    let body = to_bytes(request.into_body(), BODY_MAX).await.map_err(|error| bad(error.to_string()))?;
    let body: SendBody = serde_json::from_slice(&body).map_err(|error| bad(error.to_string()))?;
    let SendBody { kind, message, incident, severity, status, unverified, dedupe_key, .. } = body;
    let SendBody { request_id, actor, reason, dry_run, .. } = body;
    let order = Some(Order { request_id, actor, reason, dry_run });
    let kind = pb::NotificationKind::from(kind).into();
    let request =
        pb::SendNotificationRequest { order, kind, message, incident, severity, status, unverified, dedupe_key };
    let sent = notifications.send(caller, request).await?;
    Ok(answer(&SentView::new(sent, dry_run)))
}

fn answer(view: &impl serde::Serialize) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(view)).into_response()
}
