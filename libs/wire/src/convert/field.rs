//! Checks of single fields, shared by all conversions.

use bytes::Bytes;
use types::{AccountId, InlineText, OrderId, Qty, ShardId};

use super::enums::Unspecified;
use super::shared;
use crate::status::ApiError;

/// A text that has to be there.
pub(super) fn text<const N: usize>(field: &str, given: &str) -> Result<InlineText<N>, ApiError> {
    InlineText::new(given).map_err(|error| ApiError::invalid(field, error))
}

/// A text that may be empty, for "none".
pub(super) fn optional_text<const N: usize>(field: &str, given: &str) -> Result<Option<InlineText<N>>, ApiError> {
    if given.is_empty() { Ok(None) } else { text(field, given).map(Some) }
}

pub(super) fn account(given: u64) -> Result<AccountId, ApiError> {
    at_least_one("account_id", given).map(AccountId)
}

pub(super) fn order_id(given: u64) -> Result<OrderId, ApiError> {
    at_least_one("order_id", given).map(OrderId)
}

pub(super) fn quantity(field: &str, given: u64) -> Result<Qty, ApiError> {
    at_least_one(field, given).map(Qty)
}

pub(super) fn at_least_one(field: &str, given: u64) -> Result<u64, ApiError> {
    if given == 0 { Err(ApiError::invalid(field, "must be at least 1")) } else { Ok(given) }
}

/// An enum number that has to be there.
pub(super) fn required<P, T>(field: &str, given: i32) -> Result<T, ApiError>
where
    P: TryFrom<i32>,
    T: TryFrom<P, Error = Unspecified>,
{
    optional::<P, T>(field, given)?.ok_or_else(|| ApiError::invalid(field, "must be set"))
}

/// An enum number whose zero stands for "none".
pub(super) fn optional<P, T>(field: &str, given: i32) -> Result<Option<T>, ApiError>
where
    P: TryFrom<i32>,
    T: TryFrom<P, Error = Unspecified>,
{
    let known = P::try_from(given)
        .map_err(|_| ApiError::invalid(field, format_args!("{given} is not a value of this enum")))?;
    Ok(T::try_from(known).ok())
}

/// A message that has to be there.
pub(super) fn message<'a, M>(field: &str, given: Option<&'a M>) -> Result<&'a M, ApiError> {
    given.ok_or_else(|| ApiError::invalid(field, "must be set"))
}

/// 16 bytes, big-endian; none at all stand for zero.
pub(super) fn id16(field: &str, given: &Bytes) -> Result<u128, ApiError> {
    bytes16(field, given).map(u128::from_be_bytes)
}

pub(super) fn bytes16(field: &str, given: &Bytes) -> Result<[u8; 16], ApiError> {
    if given.is_empty() {
        return Ok([0; 16]);
    }
    <[u8; 16]>::try_from(given.as_ref())
        .map_err(|_| ApiError::invalid(field, format_args!("has {} bytes, must have 16", given.len())))
}

/// The same the other way.
pub(super) fn id16_to_pb(id: u128) -> Bytes {
    shared::bytes16(&id.to_be_bytes())
}

/// Shards are numbered within the upper 16 bits of order ids.
pub(super) fn shard(given: u32) -> Result<ShardId, ApiError> {
    if given > u32::from(u16::MAX) {
        return Err(ApiError::invalid("shard", "must be at most 65535"));
    }
    Ok(ShardId(given))
}

/// `parent.name`, or `name` at the top.
pub(super) fn within(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") }
}
