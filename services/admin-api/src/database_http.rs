//! The orders of [`crate::database`] over HTTP: `POST`, with the order as JSON or nothing at all. Absent: what they do.

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{Request as HttpRequest, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use service_kit::http::Problem;
use tonic::Request;
use tonic::metadata::MetadataMap;
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::database_service_server::DatabaseService;
use wire::pb::consensus::v1::Order;
use wire::status::ApiError;

use crate::database::DatabaseOrders;
use crate::http::OrderBody;
use crate::view::database::{OptimizationView, ResetView};

/// Longest order: some hundred names of instances.
const BODY_MAX: usize = 16 << 10;

pub(crate) fn router(orders: DatabaseOrders) -> Router {
    Router::new()
        .route("/admin/database/reset-pools", post(reset))
        .route("/admin/database/optimize-connections", post(optimize))
        .with_state(orders)
}

async fn reset(State(orders): State<DatabaseOrders>, request: HttpRequest<Body>) -> Result<Response, Problem> {
    let request =
        read(request, |(order, targets, timeout_ms)| pb::ResetPoolsRequest { order: Some(order), targets, timeout_ms });
    let done = orders.reset_pools(request.await?).await.map_err(|status| ApiError::from_status(&status))?;
    Ok(answer(&ResetView::new(done.into_inner())))
}

async fn optimize(State(orders): State<DatabaseOrders>, request: HttpRequest<Body>) -> Result<Response, Problem> {
    let request = read(request, |(order, targets, timeout_ms)| pb::OptimizeConnectionsRequest {
        order: Some(order),
        targets,
        timeout_ms,
    });
    let done = orders.optimize_connections(request.await?).await.map_err(|status| ApiError::from_status(&status))?;
    Ok(answer(&OptimizationView::new(done.into_inner())))
}

/// The order as a call, with what the doors know of the caller.
async fn read<T>(
    request: HttpRequest<Body>,
    message: impl FnOnce((Order, Vec<String>, u32)) -> T,
) -> Result<Request<T>, Problem> {
    let (parts, body) = request.into_parts();
    let bad = |why: String| Problem::bad_request("body", why);
    let body = to_bytes(body, BODY_MAX).await.map_err(|error| bad(error.to_string()))?;
    let order = match &body[..] {
        [] => OrderBody::default(),
        body => serde_json::from_slice(body).map_err(|error| bad(error.to_string()))?,
    };
    let mut metadata = MetadataMap::new();
    if let Some(key) = parts.headers.get(header::AUTHORIZATION)
        && let Ok(key) = key.as_bytes().try_into()
    {
        metadata.insert("authorization", key);
    }
    Ok(Request::from_parts(metadata, parts.extensions, message(order.parts())))
}

fn answer(view: &impl serde::Serialize) -> Response {
    (StatusCode::OK, [(header::CACHE_CONTROL, "no-store")], Json(view)).into_response()
}
