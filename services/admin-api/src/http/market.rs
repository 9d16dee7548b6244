//! `GET /admin/instruments` and `GET /admin/book`: the market as the console shows it. They are answered from what an engine
//! has applied, without asking the journal: a picture that is drawn every second may be a moment old. Absent: trades.

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;
use service_kit::http::Problem;

use super::answer;
use crate::view::market::{BookView, InstrumentsView};
use crate::ways::Ways;

/// Which book, and how many prices of each side.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    symbol: String,
    #[serde(default)]
    depth: u32,
}

pub(crate) fn router(engines: Ways) -> Router {
    Router::new()
        .route("/admin/instruments", get(get_instruments))
        .route("/admin/book", get(get_book))
        .with_state(engines)
}

async fn get_instruments(State(engines): State<Ways>) -> Result<Response, Problem> {
    Ok(answer(true, &InstrumentsView::from(engines.instruments(true).await?)))
}

async fn get_book(
    State(engines): State<Ways>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(Wanted { symbol, depth }) = wanted
        .map_err(|error| Problem::bad_request("query", format!("{}: write ?symbol=…&depth=…", error.body_text())))?;
    let instruments = engines.instruments(true).await?;
    let mut definitions = instruments.into_iter().filter_map(|status| status.instrument);
    let instrument = definitions.find(|instrument| instrument.symbol == symbol);
    let instrument = instrument.ok_or_else(|| Problem::not_found(format!("there is no instrument {symbol:?}")))?;
    let book = engines.book(&symbol, depth, true).await?;
    Ok(answer(true, &BookView::new(book, &instrument)))
}
