//! What operators order over HTTP: POST with a JSON body, `{"reason": …, "request_id": …, "dry_run": …}` and what the act
//! itself needs. Absent: the acts; and who may order them, which the node decides before a request comes here.
//!
//! The body has to be `application/json`: a page of another origin cannot send that without being asked first.

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::Response;
use axum::routing::post;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use service_kit::Caller;
use service_kit::http::Problem;
use service_kit::request_id::RequestId;
use wire::pb::admin::v1 as pb;
use wire::pb::consensus::v1 as consensus;
use wire::pb::consensus::v1::consensus_service_client::ConsensusServiceClient;
use wire::transport::REQUEST_LIMIT;

use super::answer;
use crate::trading::Trading;
use crate::view::consensus::PolicyView;
use crate::view::orders::{ElectionView, LeaderView, PolicyChangeView, RestartView};
use crate::view::trading::TradingView;
use crate::ways::Ways;

/// Why, and under which name.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Ordered {
    /// Who; the caller if it is left out.
    actor: String,
    reason: String,
    request_id: String,
    dry_run: bool,
    /// Instruments of a halt, its end, or a kill.
    symbols: Vec<String>,
    /// Stands for all instruments: nobody halts everything by leaving something out.
    all: bool,
    /// Shard whose leadership is moved.
    shard: Option<u32>,
    /// Engine that shall lead.
    to_engine: String,
    /// Engine that is drained.
    engine: String,
}

pub(crate) fn router(trading: Trading, coordinators: Ways) -> Router {
    let halts = Router::new()
        .route(
            "/admin/trading/halt",
            post(async |trading, request| set(trading, pb::TradingAction::Halt, request).await),
        )
        .route(
            "/admin/trading/resume",
            post(async |trading, request| set(trading, pb::TradingAction::Resume, request).await),
        )
        .route(
            "/admin/trading/kill-switch",
            post(async |trading, request| set(trading, pb::TradingAction::Kill, request).await),
        )
        .with_state(trading);
    let leaders = Router::new()
        .route("/admin/consensus/force-election", post(force_election))
        .route("/admin/consensus/restart", post(restart))
        .route("/admin/consensus/pause", post(async |ways, request| pause(ways, true, request).await))
        .route("/admin/consensus/resume", post(async |ways, request| pause(ways, false, request).await))
        .route("/admin/consensus/drain", post(async |ways, request| drain(ways, true, request).await))
        .route("/admin/consensus/undrain", post(async |ways, request| drain(ways, false, request).await))
        .with_state(coordinators);
    halts.merge(leaders)
}

async fn set(State(trading): State<Trading>, action: pb::TradingAction, request: Request) -> Result<Response, Problem> {
    let (caller, ordered) = read(request).await?;
    if ordered.symbols.is_empty() != ordered.all {
        let why = "name the instruments in symbols, or all of them by \"all\": true; not both";
        return Err(Problem::bad_request("symbols", why));
    }
    let (order, dry_run) = (Some(ordered.order()), ordered.dry_run);
    let request = pb::SetTradingRequest { order, action: action.into(), symbols: ordered.symbols };
    let view = TradingView::new(trading.set(caller, &request).await?, dry_run);
    Ok(answer(!view.changes.iter().any(|change| change.failed), &view))
}

async fn force_election(State(ways): State<Ways>, request: Request) -> Result<Response, Problem> {
    let (_, ordered) = read(request).await?;
    let shard =
        ordered.shard.ok_or_else(|| Problem::bad_request("shard", "say which shard shall have another leader"))?;
    let order = ordered.order();
    let ask = async |channel| {
        let (order, to_engine) = (Some(order.clone()), ordered.to_engine.clone());
        let request = consensus::ForceElectionRequest { order, shard, to_engine };
        ConsensusServiceClient::new(channel).force_election(request).await
    };
    let consensus::ForceElectionResponse { before, after, repeated_request } = ways.ask(ask).await?;
    let (before, after) = (before.map(LeaderView::from), after.map(LeaderView::from));
    Ok(answer(true, &ElectionView { dry_run: order.dry_run, before, after, repeated_request }))
}

async fn restart(State(ways): State<Ways>, request: Request) -> Result<Response, Problem> {
    let order = read(request).await?.1.order();
    let ask = async |channel| {
        let request = consensus::RestartConsensusRequest { order: Some(order.clone()) };
        ConsensusServiceClient::new(channel).restart_consensus(request).await
    };
    let consensus::RestartConsensusResponse { pid, took_ms, leaders: _ } = ways.ask(ask).await?;
    Ok(answer(true, &RestartView { dry_run: order.dry_run, pid, took_ms }))
}

async fn pause(State(ways): State<Ways>, paused: bool, request: Request) -> Result<Response, Problem> {
    let order = read(request).await?.1.order();
    let ask = async |channel| {
        let request = consensus::SetElectionsRequest { order: Some(order.clone()), paused };
        ConsensusServiceClient::new(channel).set_elections(request).await
    };
    let consensus::SetElectionsResponse { policy, changed } = ways.ask(ask).await?;
    let policy = PolicyView::from(policy.unwrap_or_default());
    Ok(answer(true, &PolicyChangeView { dry_run: order.dry_run, changed, policy, still_leading: Vec::new() }))
}

async fn drain(State(ways): State<Ways>, drain: bool, request: Request) -> Result<Response, Problem> {
    let (_, ordered) = read(request).await?;
    let order = ordered.order();
    let ask = async |channel| {
        let (order, engine) = (Some(order.clone()), ordered.engine.clone());
        let request = consensus::DrainEngineRequest { order, engine, drain };
        ConsensusServiceClient::new(channel).drain_engine(request).await
    };
    let consensus::DrainEngineResponse { policy, changed, still_leading } = ways.ask(ask).await?;
    let policy = PolicyView::from(policy.unwrap_or_default());
    Ok(answer(true, &PolicyChangeView { dry_run: order.dry_run, changed, policy, still_leading }))
}

impl Ordered {
    fn order(&self) -> consensus::Order {
        let (request_id, actor) = (self.request_id.clone(), self.actor.clone());
        consensus::Order { request_id, actor, reason: self.reason.clone(), dry_run: self.dry_run }
    }
}

/// The body of a request. Who calls is who orders, unless the body says for whom.
async fn read(request: Request) -> Result<(Caller, Ordered), Problem> {
    let (head, body) = request.into_parts();
    let kind = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/json") {
        return Err(Problem::bad_request("content-type", "must be application/json"));
    }
    let bytes = to_bytes(body, REQUEST_LIMIT).await;
    let bytes = bytes.map_err(|_| Problem::bad_request("body", format!("must have at most {REQUEST_LIMIT} bytes")))?;
    let mut ordered: Ordered = parse(if bytes.is_empty() { b"{}" } else { &bytes })
        .map_err(|error| Problem::bad_request("body", error.to_string()))?;
    let caller = Caller::of(&head.extensions);
    if ordered.actor.is_empty() {
        ordered.actor.clone_from(&caller.subject);
    }
    if ordered.request_id.is_empty() {
        // An instance that is slow to answer is followed by the next: both know by this that it is one order.
        ordered.request_id = RequestId::generate().as_str().to_owned();
    }
    Ok((caller, ordered))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(bytes)
}
