//! The console: one page, its style and its program, as they are in `console/`, embedded. Absent: a build step; and data: the
//! page asks for it by the paths that everybody else uses.

use axum::Router;
use axum::http::{HeaderName, header};
use axum::response::IntoResponse;
use axum::routing::get;

const PAGE: &str = include_str!("../console/index.html");
const STYLE: &str = include_str!("../console/style.css");
const PROGRAM: &str = include_str!("../console/console.js");
const CHARTS: &str = include_str!("../console/charts.js");

/// Only what comes from here is run or shown, and no other page may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) fn router() -> Router {
    let file = |kind: &'static str, text: &'static str| get(async move || serve(kind, text));
    Router::new()
        .route("/", file("text/html; charset=utf-8", PAGE))
        .route("/console/style.css", file("text/css; charset=utf-8", STYLE))
        .route("/console/console.js", file("text/javascript; charset=utf-8", PROGRAM))
        .route("/console/charts.js", file("text/javascript; charset=utf-8", CHARTS))
}

/// Asked for anew each time: after an upgrade the old page must not stay.
fn serve(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let headers: [(HeaderName, &'static str); 5] = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, text)
}
