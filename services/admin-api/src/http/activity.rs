//! `GET /admin/activity`. Absent: what is read of the metrics.

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use axum::routing::get;
use service_kit::http::Problem;

use super::{answer, limit};
use crate::activity::Activities;
use crate::gather::Gather;
use crate::view::activity::ActivityView;

pub(crate) fn router(gather: Arc<Gather>, activities: Activities) -> Router {
    Router::new().route("/admin/activity", get(get_activity)).with_state((gather, activities))
}

async fn get_activity(
    State((gather, activities)): State<(Arc<Gather>, Activities)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let limit = limit(&gather, query.as_deref())?;
    Ok(answer(true, &ActivityView::from(activities.activity(limit).await)))
}
