//! The admin and metrics doors: probes, routes of the services, errors as JSON. Absent: what the services answer.
//!
//! `/livez` says that the process runs and depends on nothing else. `/readyz` says whether it takes work. Both take
//! `?verbose` for a line per component; `/readyz` takes `&exclude=<component>`, any number of times.

use std::fmt::Write;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use super::socket::Incoming;
use crate::auth::{Auth, HttpLayer, Peer};
use crate::health::Snapshot;
use crate::http::{Problem, with_fallbacks};
use crate::metrics::{Exporter, Format};
use crate::request_id::RequestIdLayer;
use crate::{Components, Condition, NodeContext, Service};

/// Routes of the admin door.
pub(super) fn admin_router(services: &[Box<dyn Service>], context: &NodeContext) -> Router {
    let (components, auth) = (context.components.clone(), context.auth.clone());
    let mut router = Router::new().route("/livez", get(livez)).route("/readyz", get(readyz)).with_state(components);
    for routes in services.iter().filter_map(|service| service.http()) {
        router = router.merge(routes);
    }
    with_fallbacks(router).layer(HttpLayer { auth, door: "admin" }).layer(RequestIdLayer::new(context.tracer.clone()))
}

/// Routes of the metrics door.
pub(super) fn metrics_router(exporter: Exporter, auth: Auth) -> Router {
    let render = async |State(exporter): State<Exporter>, headers: HeaderMap| {
        let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|accepted| accepted.to_str().ok());
        let format = Format::wanted(accepted.flat_map(|accepted| accepted.split(',')));
        ([(header::CONTENT_TYPE, format.content_type())], exporter.render_as(format))
    };
    let router = with_fallbacks(Router::new().route("/metrics", get(render)).with_state(exporter));
    router.layer(HttpLayer { auth, door: "metrics" })
}

/// Serves until `end`, and then until the open requests have ended.
pub(super) async fn serve(incoming: Incoming, router: Router, end: CancellationToken) -> Result<(), String> {
    let service = router.into_make_service_with_connect_info::<Peer>();
    axum::serve(incoming, service)
        .with_graceful_shutdown(end.cancelled_owned())
        .await
        .map_err(|error| error.to_string())
}

async fn livez(RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let query = ProbeQuery::parse(query.as_deref(), false)?;
    Ok(if query.verbose { "[+]process ok\nlivez check passed\n".into_response() } else { "ok".into_response() })
}

async fn readyz(State(components): State<Components>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let query = ProbeQuery::parse(query.as_deref(), true)?;
    let snapshot = components.snapshot();
    let excluded: Vec<&str> = query.exclude.iter().map(String::as_str).collect();
    let ready = snapshot.is_ready_without(&excluded);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    // Who fails is told without being asked for.
    let text = if ready && !query.verbose { "ok".to_owned() } else { verbose(&snapshot, &excluded, ready) };
    Ok((status, text).into_response())
}

fn verbose(snapshot: &Snapshot, excluded: &[&str], ready: bool) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let mut line = |args: std::fmt::Arguments<'_>| writeln!(text, "{args}").unwrap_or(());
    for component in &snapshot.components {
        let name = &component.name;
        match component.condition {
            _ if excluded.contains(&name.as_str()) => line(format_args!("[+]{name} excluded: ok")),
            Condition::Ok => line(format_args!("[+]{name} ok")),
            Condition::Degraded => line(format_args!("[+]{name} degraded: {}", component.reason)),
            Condition::Down if component.required => line(format_args!("[-]{name} failed: {}", component.reason)),
            Condition::Down => line(format_args!("[+]{name} down, not required: {}", component.reason)),
        }
    }
    if snapshot.draining {
        line(format_args!("[-]shutdown in progress"));
    }
    for name in excluded.iter().filter(|name| !snapshot.components.iter().any(|c| c.name == **name)) {
        line(format_args!("warn: nothing to exclude by the name {name}"));
    }
    line(format_args!("readyz check {}", if ready { "passed" } else { "failed" }));
    text
}

/// What a probe may be asked with.
#[derive(Debug, Default, PartialEq, Eq)]
struct ProbeQuery {
    verbose: bool,
    exclude: Vec<String>,
}

impl ProbeQuery {
    fn parse(query: Option<&str>, may_exclude: bool) -> Result<Self, Problem> {
        let mut parsed = Self::default();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (name, value) {
                ("verbose", "" | "true" | "1") => parsed.verbose = true,
                ("verbose", "false" | "0") => parsed.verbose = false,
                ("verbose", _) => {
                    return Err(Problem::bad_request("verbose", "write verbose, or verbose=true or false"));
                }
                ("exclude", "") if may_exclude => {
                    return Err(Problem::bad_request("exclude", "name the component to leave out"));
                }
                ("exclude", name) if may_exclude => parsed.exclude.push(name.to_owned()),
                (other, _) => return Err(Problem::bad_request(other, "there is no such parameter here")),
            }
        }
        Ok(parsed)
    }
}
