//! Trading requests: from protobuf to commands, checked completely.

use types::{
    AccountId, Cancel, ClientOrderId, Command, InstrumentId, MassCancel, OrderTarget, OrderType, Price, Replace,
    SelfTradePrevention, Submit, Symbol, TimeInForce,
};

use super::field;
use crate::pb::orders::v1 as pb;
use crate::status::ApiError;

/// The number that a symbol nobody has defined is given, so that its refusal is journaled like every other.
pub const UNKNOWN_INSTRUMENT: InstrumentId = InstrumentId(u32::MAX);

/// Finds instruments by name.
pub trait InstrumentLookup {
    /// The number of the instrument with this symbol.
    fn instrument_id(&self, symbol: &Symbol) -> Option<InstrumentId>;
}

/// A new order. Without a time in force a limit order is good till cancel, a market order immediate or cancel;
/// without a self-trade rule the newest is cancelled.
pub fn submit(request: &pb::SubmitOrderRequest, instruments: &dyn InstrumentLookup) -> Result<Command, ApiError> {
    let order_type = field::required::<pb::OrderType, _>("order_type", request.order_type)?;
    let default = match order_type {
        OrderType::Limit => TimeInForce::GoodTillCancel,
        OrderType::Market => TimeInForce::ImmediateOrCancel,
    };
    let time_in_force = field::optional::<pb::TimeInForce, _>("time_in_force", request.time_in_force)?;
    let prevention =
        field::optional::<pb::SelfTradePrevention, _>("self_trade_prevention", request.self_trade_prevention)?;
    Ok(Command::Submit(Submit {
        account: field::account(request.account_id)?,
        client_order_id: field::text("client_order_id", &request.client_order_id)?,
        instrument: instrument(&request.symbol, instruments)?,
        side: field::required::<pb::Side, _>("side", request.side)?,
        order_type,
        time_in_force: time_in_force.unwrap_or(default),
        post_only: request.post_only,
        price: Price(request.price),
        quantity: field::quantity("quantity", request.quantity)?,
        self_trade_prevention: prevention.unwrap_or(SelfTradePrevention::CancelNewest),
    }))
}

/// A cancel.
pub fn cancel(request: &pb::CancelOrderRequest, instruments: &dyn InstrumentLookup) -> Result<Command, ApiError> {
    use pb::cancel_order_request::Target;
    let target = match &request.target {
        Some(Target::OrderId(number)) => OrderTarget::OrderId(field::order_id(*number)?),
        Some(Target::OriginalClientOrderId(id)) => original(id)?,
        None => return Err(no_target()),
    };
    Ok(Command::Cancel(Cancel {
        account: field::account(request.account_id)?,
        client_order_id: field::text("client_order_id", &request.client_order_id)?,
        instrument: instrument(&request.symbol, instruments)?,
        target,
    }))
}

/// A replace.
pub fn replace(request: &pb::ReplaceOrderRequest, instruments: &dyn InstrumentLookup) -> Result<Command, ApiError> {
    use pb::replace_order_request::Target;
    let target = match &request.target {
        Some(Target::OrderId(number)) => OrderTarget::OrderId(field::order_id(*number)?),
        Some(Target::OriginalClientOrderId(id)) => original(id)?,
        None => return Err(no_target()),
    };
    Ok(Command::Replace(Replace {
        account: field::account(request.account_id)?,
        client_order_id: field::text("client_order_id", &request.client_order_id)?,
        instrument: instrument(&request.symbol, instruments)?,
        target,
        price: Price(request.price),
        quantity: field::quantity("quantity", request.quantity)?,
    }))
}

/// A mass cancel.
pub fn mass_cancel(request: &pb::MassCancelRequest, instruments: &dyn InstrumentLookup) -> Result<Command, ApiError> {
    let only = if request.symbol.is_empty() { None } else { Some(instrument(&request.symbol, instruments)?) };
    Ok(Command::MassCancel(MassCancel {
        account: field::account(request.account_id)?,
        client_order_id: field::text("client_order_id", &request.client_order_id)?,
        instrument: only,
        side: field::optional::<pb::Side, _>("side", request.side)?,
    }))
}

/// One request of a session.
pub fn session_command(
    request: &pb::OrderSessionRequest,
    instruments: &dyn InstrumentLookup,
) -> Result<Command, ApiError> {
    use pb::order_session_request::Command as Sent;
    match &request.command {
        Some(Sent::Submit(request)) => submit(request, instruments),
        Some(Sent::Cancel(request)) => cancel(request, instruments),
        Some(Sent::Replace(request)) => replace(request, instruments),
        Some(Sent::MassCancel(request)) => mass_cancel(request, instruments),
        None => Err(ApiError::invalid("command", "set submit, cancel, replace or mass_cancel")),
    }
}

/// Which order is asked for.
pub fn order_key(request: &pb::GetOrderRequest) -> Result<(AccountId, OrderTarget), ApiError> {
    use pb::get_order_request::Key;
    let target = match &request.key {
        Some(Key::OrderId(number)) => OrderTarget::OrderId(field::order_id(*number)?),
        Some(Key::ClientOrderId(id)) => OrderTarget::ClientOrderId(field::text("client_order_id", id)?),
        None => return Err(ApiError::invalid("key", "set order_id or client_order_id")),
    };
    Ok((field::account(request.account_id)?, target))
}

fn instrument(symbol: &str, instruments: &dyn InstrumentLookup) -> Result<InstrumentId, ApiError> {
    let symbol: Symbol = field::text("symbol", symbol)?;
    Ok(instruments.instrument_id(&symbol).unwrap_or(UNKNOWN_INSTRUMENT))
}

fn original(id: &str) -> Result<OrderTarget, ApiError> {
    let id: ClientOrderId = field::text("original_client_order_id", id)?;
    Ok(OrderTarget::ClientOrderId(id))
}

fn no_target() -> ApiError {
    ApiError::invalid("target", "set order_id or original_client_order_id")
}
