//! `TradingService`: halts trading and resumes it, instrument by instrument, by journaled commands. Absent: the commands
//! themselves; the engines carry them out.
//!
//! A kill closes an instrument, which cancels all its orders in one step of the log, and halts it in the next: nothing can
//! come in between, since a closed instrument takes nothing.

use futures::stream::{self, StreamExt};
use service_kit::Caller;
use service_kit::audit::{Act, Audit, Outcome};
use tonic::{Request, Response, Status};
use wire::pb::admin::v1 as pb;
use wire::pb::admin::v1::instrument_service_client::InstrumentServiceClient;
use wire::pb::admin::v1::trading_service_server::TradingService;
use wire::pb::consensus::v1::Order;
use wire::pb::marketdata::v1::{InstrumentState, InstrumentStatus};
use wire::pb::orders::v1::OrderStatus;
use wire::status::ApiError;

use crate::view::market::state_word;
use crate::ways::Ways;

/// Instruments that one request may name.
const SYMBOLS_MAX: usize = 1000;
/// Instruments that are changed at the same time: enough for a journal entry to hold several, few beside a load.
const AT_ONCE: usize = 16;
/// Prices of each side whose orders are counted.
const DEPTH: u32 = 1000;

/// Carries out what operators order.
#[derive(Clone)]
pub(crate) struct Trading {
    engines: Ways,
    audit: Audit,
}

/// What has to be done to an instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// Nothing; why.
    Nothing(&'static str),
    /// These states, one after the other.
    Through(&'static [InstrumentState]),
}

impl Trading {
    pub(crate) const fn new(engines: Ways, audit: Audit) -> Self {
        Self { engines, audit }
    }

    /// Carries out an order on every instrument that it means, and writes it down.
    pub(crate) async fn set(
        &self,
        caller: Caller,
        request: &pb::SetTradingRequest,
    ) -> Result<pb::SetTradingResponse, ApiError> {
        let (own, request) = (self.clone(), request.clone());
        // Goes on when the caller has gone, and is recorded all the same.
        let done = tokio::spawn(async move {
            let order = request.order.clone().unwrap_or_default();
            let result = own.carry_out(&request, order.dry_run).await;
            if !order.dry_run {
                own.audit.record(act(caller, &order, &request, &result));
            }
            result
        });
        done.await.map_err(|error| ApiError::internal(error.to_string()))?
    }

    async fn carry_out(
        &self,
        request: &pb::SetTradingRequest,
        dry_run: bool,
    ) -> Result<pb::SetTradingResponse, ApiError> {
        let action = request.action();
        if action == pb::TradingAction::Unspecified {
            return Err(ApiError::invalid("action", "must be one of halt, resume, kill"));
        }
        if request.symbols.len() > SYMBOLS_MAX {
            return Err(ApiError::invalid("symbols", format!("must be at most {SYMBOLS_MAX}; none stands for all")));
        }
        let all = self.engines.instruments(false).await?;
        let chosen = choose(all, &request.symbols)?;
        let change = |instrument: InstrumentStatus| self.change(action, instrument, dry_run);
        let changes: Vec<pb::TradingChange> = stream::iter(chosen).map(change).buffered(AT_ONCE).collect().await;
        Ok(pb::SetTradingResponse { changes })
    }

    async fn change(&self, action: pb::TradingAction, status: InstrumentStatus, dry_run: bool) -> pb::TradingChange {
        let instrument = status.instrument.unwrap_or_default();
        let (symbol, before) = (instrument.symbol.clone(), instrument.state());
        let mut change = pb::TradingChange { before: before.into(), after: before.into(), ..Default::default() };
        match plan(action, before) {
            Plan::Nothing(why) => change.note = why.to_owned(),
            Plan::Through(states) => {
                match self.engines.book(&symbol, DEPTH, true).await {
                    Ok(book) => {
                        let orders = book.bids.iter().chain(&book.asks).map(|level| u64::from(level.orders)).sum();
                        change.resting_orders = orders;
                    }
                    Err(error) => change.note = format!("its orders could not be counted: {error}"),
                }
                for state in states {
                    if !dry_run && let Err(error) = self.move_to(&symbol, *state).await {
                        change.note = if change.after() == before {
                            error.to_string()
                        } else {
                            let (now, wanted) = (change.after().as_str_name(), state.as_str_name());
                            let way = "hivemind.admin.v1.InstrumentService/SetInstrumentState";
                            format!("{error}; it is in {now} now: set it to {wanted} by {way}")
                        };
                        change.failed = true;
                        break;
                    }
                    change.after = (*state).into();
                }
            }
        }
        pb::TradingChange { symbol, ..change }
    }

    async fn move_to(&self, symbol: &str, state: InstrumentState) -> Result<(), ApiError> {
        let set = async |channel| {
            let request = pb::SetInstrumentStateRequest { symbol: symbol.to_owned(), state: state.into() };
            InstrumentServiceClient::new(channel).set_instrument_state(request).await
        };
        let report = self.engines.ask(set).await?.report.unwrap_or_default();
        if report.status() == OrderStatus::Done {
            return Ok(());
        }
        Err(ApiError::precondition(format!("the exchange refused it: {}", report.reject_reason().as_str_name())))
    }
}

#[tonic::async_trait]
impl TradingService for Trading {
    async fn set_trading(
        &self,
        request: Request<pb::SetTradingRequest>,
    ) -> Result<Response<pb::SetTradingResponse>, Status> {
        let caller = Caller::of(request.extensions());
        Ok(Response::new(self.set(caller, request.get_ref()).await?))
    }
}

/// What an action means for an instrument in this state. A resume ends halts only: what is closed or has not opened yet
/// is so for another reason.
fn plan(action: pb::TradingAction, state: InstrumentState) -> Plan {
    use InstrumentState::{CancelOnly, Closed, Continuous, Halted, PreOpen, Unspecified};
    use pb::TradingAction::{Halt, Kill, Resume};
    match (action, state) {
        (Halt, Continuous) => Plan::Through(&[Halted]),
        (Halt, Halted) => Plan::Nothing("no change: it is halted already"),
        (Halt, PreOpen | CancelOnly | Closed) => Plan::Nothing("no change: it does not trade in this state"),
        (Resume, Halted) => Plan::Through(&[Continuous]),
        (Resume, Continuous) => Plan::Nothing("no change: it trades already"),
        (Resume, PreOpen | CancelOnly | Closed) => Plan::Nothing("no change: it is not halted"),
        (Kill, Continuous | Halted) => Plan::Through(&[Closed, Halted]),
        (Kill, PreOpen) => Plan::Through(&[Closed, PreOpen]),
        (Kill, CancelOnly) => Plan::Through(&[Closed, CancelOnly]),
        (Kill, Closed) => Plan::Nothing("no change: it is closed and has no orders"),
        (pb::TradingAction::Unspecified, _) | (_, Unspecified) => {
            Plan::Nothing("no change: its state is not known here")
        }
    }
}

/// The named instruments, or all of them.
fn choose(all: Vec<InstrumentStatus>, symbols: &[String]) -> Result<Vec<InstrumentStatus>, ApiError> {
    let named = |status: &InstrumentStatus| status.instrument.as_ref().map_or("", |one| &one.symbol).to_owned();
    let known: Vec<String> = all.iter().map(named).collect();
    if let Some(unknown) = symbols.iter().find(|symbol| !known.contains(symbol)) {
        return Err(ApiError::not_found(format!("there is no instrument {unknown:?}: nothing was changed")));
    }
    Ok(all.into_iter().filter(|one| symbols.is_empty() || symbols.contains(&named(one))).collect())
}

/// For the record: which states there were and which there are.
fn act(
    caller: Caller,
    order: &Order,
    request: &pb::SetTradingRequest,
    result: &Result<pb::SetTradingResponse, ApiError>,
) -> Act {
    let action = match request.action() {
        pb::TradingAction::Kill => "trading.kill_switch",
        pb::TradingAction::Resume => "trading.resume",
        pb::TradingAction::Halt | pb::TradingAction::Unspecified => "trading.halt",
    };
    let mut act = Act::ordered(action, caller, order);
    act.target = if request.symbols.is_empty() { "all instruments".to_owned() } else { request.symbols.join(",") };
    match result {
        Ok(response) => {
            let states = |state: &dyn Fn(&pb::TradingChange) -> InstrumentState| -> serde_json::Value {
                let state = |one: &pb::TradingChange| (one.symbol.clone(), state_word(state(one)).into());
                response.changes.iter().map(state).collect::<serde_json::Map<_, _>>().into()
            };
            act.before = states(&pb::TradingChange::before);
            act.after = states(&pb::TradingChange::after);
            let failed: Vec<&str> =
                response.changes.iter().filter(|one| one.failed).map(|one| one.symbol.as_str()).collect();
            if !failed.is_empty() {
                act.result = Outcome::Failed(format!("not changed: {}", failed.join(", ")));
            }
        }
        Err(error) => act.result = Outcome::Refused(error.to_string()),
    }
    act
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_ends_where_nothing_trades_and_a_resume_brings_back_only_what_traded() {
        use InstrumentState::{CancelOnly, Closed, Continuous, Halted, PreOpen};
        for state in [PreOpen, Continuous, Halted, CancelOnly] {
            let Plan::Through(states) = plan(pb::TradingAction::Kill, state) else { panic!("{state:?} is killed") };
            assert_eq!(states[0], Closed, "{state:?}: orders are cancelled first");
            let last = states[states.len() - 1];
            assert_ne!(last, Continuous, "{state:?}");
            let resumed = plan(pb::TradingAction::Resume, last) == Plan::Through(&[Continuous]);
            assert_eq!(resumed, matches!(state, Continuous | Halted), "{state:?}");
        }
        assert!(matches!(plan(pb::TradingAction::Resume, Closed), Plan::Nothing(_)));
        assert!(matches!(plan(pb::TradingAction::Halt, PreOpen), Plan::Nothing(_)), "a resume would open it");
    }

    #[test]
    fn one_unknown_name_and_nothing_is_begun() {
        let instrument = |symbol: &str| {
            let instrument = wire::pb::marketdata::v1::Instrument { symbol: symbol.to_owned(), ..Default::default() };
            InstrumentStatus { instrument: Some(instrument), ..Default::default() }
        };
        let all = vec![instrument("A"), instrument("B")];
        assert_eq!(choose(all.clone(), &[]).expect("all").len(), 2);
        assert_eq!(choose(all.clone(), &["B".to_owned()]).expect("one"), [instrument("B")]);
        assert!(choose(all, &["B".to_owned(), "C".to_owned()]).is_err());
    }
}
