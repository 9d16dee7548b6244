//! History queries: filters and pages, checked.
//!
//! Deliberately absent: page tokens, whose content is the business of whoever gives them out.

use types::{AccountId, ClientOrderId, OrderId, OrderStatus, Symbol, Timestamp};

use super::enums::Unspecified;
use super::field;
use crate::pb::history::v1 as pb;
use crate::pb::orders::v1 as orders;
use crate::status::ApiError;

/// Rows of a page when the request names no number.
pub const PAGE_SIZE: u32 = 100;

/// Most rows of a page: some 200 kB.
pub const PAGE_SIZE_MAX: u32 = 1000;

/// Longest page token, bytes. Ours have less than a fifth of it.
const PAGE_TOKEN_MAX: usize = 512;

/// Half-open interval of log time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Period {
    /// From this time on.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub to: Option<Timestamp>,
}

/// Which part of the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Most rows, 1 to [`PAGE_SIZE_MAX`].
    pub size: u32,
    /// Token of the page; empty for the first one.
    pub token: String,
}

/// Which orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderFilter {
    /// Of this account.
    pub account: Option<AccountId>,
    /// Of this instrument.
    pub symbol: Option<Symbol>,
    /// In this state.
    pub status: Option<OrderStatus>,
    /// With this client id; `account` is set too.
    pub client_order_id: Option<ClientOrderId>,
    /// This order.
    pub order_id: Option<OrderId>,
    /// Submitted within.
    pub period: Period,
}

/// Which executions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecutionFilter {
    /// Of this account.
    pub account: Option<AccountId>,
    /// Of this instrument.
    pub symbol: Option<Symbol>,
    /// Of this order.
    pub order_id: Option<OrderId>,
    /// Of this kind; never the unspecified one.
    pub kind: Option<pb::ExecutionKind>,
    /// Within.
    pub period: Period,
}

/// Which trades.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TradeFilter {
    /// That this account took part in.
    pub account: Option<AccountId>,
    /// Of this instrument.
    pub symbol: Option<Symbol>,
    /// Of this order.
    pub order_id: Option<OrderId>,
    /// Within.
    pub period: Period,
}

/// A query for orders.
pub fn list_orders(request: &pb::ListOrdersRequest) -> Result<(OrderFilter, Page), ApiError> {
    let filter = OrderFilter {
        account: number(request.account_id).map(AccountId),
        symbol: field::optional_text("symbol", &request.symbol)?,
        status: field::optional::<orders::OrderStatus, _>("status", request.status)?,
        client_order_id: field::optional_text("client_order_id", &request.client_order_id)?,
        order_id: number(request.order_id).map(OrderId),
        period: period(request.from_us, request.to_us)?,
    };
    if filter.client_order_id.is_some() && filter.account.is_none() {
        return Err(ApiError::invalid("account_id", "must be set together with client_order_id"));
    }
    Ok((filter, page(request.page_size, &request.page_token)?))
}

/// A query for executions.
pub fn list_executions(request: &pb::ListExecutionsRequest) -> Result<(ExecutionFilter, Page), ApiError> {
    let filter = ExecutionFilter {
        account: number(request.account_id).map(AccountId),
        symbol: field::optional_text("symbol", &request.symbol)?,
        order_id: number(request.order_id).map(OrderId),
        kind: field::optional::<pb::ExecutionKind, SetKind>("kind", request.kind)?.map(|kind| kind.0),
        period: period(request.from_us, request.to_us)?,
    };
    Ok((filter, page(request.page_size, &request.page_token)?))
}

/// A query for trades.
pub fn list_trades(request: &pb::ListTradesRequest) -> Result<(TradeFilter, Page), ApiError> {
    let filter = TradeFilter {
        account: number(request.account_id).map(AccountId),
        symbol: field::optional_text("symbol", &request.symbol)?,
        order_id: number(request.order_id).map(OrderId),
        period: period(request.from_us, request.to_us)?,
    };
    Ok((filter, page(request.page_size, &request.page_token)?))
}

/// A kind that is not the unspecified one.
struct SetKind(pb::ExecutionKind);

impl TryFrom<pb::ExecutionKind> for SetKind {
    type Error = Unspecified;

    fn try_from(kind: pb::ExecutionKind) -> Result<Self, Unspecified> {
        if kind == pb::ExecutionKind::Unspecified { Err(Unspecified) } else { Ok(Self(kind)) }
    }
}

/// A number whose zero stands for "all".
fn number(given: u64) -> Option<u64> {
    (given != 0).then_some(given)
}

fn period(from_us: u64, to_us: u64) -> Result<Period, ApiError> {
    if to_us != 0 && from_us >= to_us {
        return Err(ApiError::invalid("to_us", "must be after from_us"));
    }
    Ok(Period { from: number(from_us).map(Timestamp), to: number(to_us).map(Timestamp) })
}

fn page(size: u32, token: &str) -> Result<Page, ApiError> {
    let size = match size {
        0 => PAGE_SIZE,
        size if size <= PAGE_SIZE_MAX => size,
        _ => return Err(ApiError::invalid("page_size", format_args!("must be at most {PAGE_SIZE_MAX}"))),
    };
    if token.len() > PAGE_TOKEN_MAX {
        return Err(ApiError::invalid("page_token", "is no token of ours"));
    }
    Ok(Page { size, token: token.to_owned() })
}
