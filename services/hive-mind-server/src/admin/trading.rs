//! `admin instruments`, `halt`, `resume`, `kill-switch`: what is traded, and whether it is. Absent: what the acts mean for an
//! instrument; the admin service knows.

use admin_api::view::market::InstrumentsView;
use admin_api::view::trading::TradingView;
use anyhow::Result;
use clap::Args;
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::trading_service_client::TradingServiceClient;
use wire::pb::marketdata::v1::ListInstrumentsRequest;
use wire::pb::marketdata::v1::market_data_service_client::MarketDataServiceClient;

use super::asked::{Asked, answered};
use super::ordered::Ordered;
use crate::cli::{EXIT_FAILURE, EXIT_OK};
use crate::output::{line, table};

/// Which instruments.
#[derive(Args, Debug)]
#[group(id = "which", required = true, multiple = true)]
pub(super) struct Chosen {
    /// Names of instruments.
    #[arg(value_name = "SYMBOL", group = "which", conflicts_with = "all")]
    symbols: Vec<String>,
    /// All instruments.
    #[arg(long, group = "which")]
    all: bool,
}

/// A halt or its end.
#[derive(Args, Debug)]
pub(super) struct Halt {
    #[command(flatten)]
    chosen: Chosen,
    #[command(flatten)]
    order: Ordered,
}

/// A kill.
#[derive(Args, Debug)]
pub(super) struct Kill {
    #[command(flatten)]
    chosen: Chosen,
    /// Stands for the answer to the question before it: "all", or the symbols, by commas. --yes is not enough here.
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
    #[command(flatten)]
    order: Ordered,
}

pub(super) async fn instruments(asked: &Asked) -> Result<u8> {
    let request = asked.request(ListInstrumentsRequest { allow_stale: true, min_seq: 0 })?;
    let answer = answered(MarketDataServiceClient::new(asked.channel()?).list_instruments(request).await)?;
    asked.report(&InstrumentsView::from(answer.instruments), |view| {
        let row = |one: &admin_api::view::market::InstrumentView| {
            let last = one.last_price.clone().unwrap_or_else(|| "-".to_owned());
            let shard = one.shard.to_string();
            vec![one.symbol.clone(), one.state.clone(), shard, last, one.tick_size.clone(), one.lot_size.clone()]
        };
        let header = ["symbol", "state", "shard", "last price", "tick", "lot"];
        table(&header, &view.instruments.iter().map(row).collect::<Vec<_>>());
    })?;
    Ok(EXIT_OK)
}

pub(super) async fn halt(halt: Halt, asked: &Asked) -> Result<u8> {
    set(asked, pb::TradingAction::Halt, halt.chosen, &halt.order).await
}

pub(super) async fn resume(halt: Halt, asked: &Asked) -> Result<u8> {
    set(asked, pb::TradingAction::Resume, halt.chosen, &halt.order).await
}

pub(super) async fn kill(kill: Kill, asked: &Asked) -> Result<u8> {
    let name = kill.chosen.name();
    let whose = if kill.chosen.all { "all instruments" } else { &name };
    let act = format!("every open order of {whose} is cancelled for good, and trading halts until `admin resume`");
    kill.order.confirm_by_name(&act, &name, kill.confirm.as_deref())?;
    set(asked, pb::TradingAction::Kill, kill.chosen, &kill.order).await
}

impl Chosen {
    fn name(&self) -> String {
        if self.all { "all".to_owned() } else { self.symbols.join(",") }
    }
}

async fn set(asked: &Asked, action: pb::TradingAction, chosen: Chosen, order: &Ordered) -> Result<u8> {
    let request = pb::SetTradingRequest {
        order: Some(order.order()),
        action: action.into(),
        symbols: if chosen.all { Vec::new() } else { chosen.symbols },
    };
    let answer = TradingServiceClient::new(asked.channel()?).set_trading(asked.request(request)?).await;
    let view = TradingView::new(answered(answer)?, order.dry_run);
    asked.report(&view, print)?;
    Ok(if view.changes.iter().any(|change| change.failed) { EXIT_FAILURE } else { EXIT_OK })
}

fn print(view: &TradingView) {
    for change in &view.changes {
        let states = if change.before == change.after {
            change.after.clone()
        } else {
            format!("{} -> {}", change.before, change.after)
        };
        let would = if view.dry_run { "would be: " } else { "" };
        let note = change.note.as_deref().map_or_else(String::new, |note| format!("; {note}"));
        line(&format!("{would}{}: {states}, {} resting orders{note}", change.symbol, change.resting_orders));
    }
}
