//! A mass cancel of all instruments: one request to every shard, under the same id, and one answer.
//!
//! Deliberately absent: one moment in which all orders are gone. Shards are independent; each cancels at its own place.

use super::part::Part;
use super::shards::Shards;
use super::trading::Trading;
use crate::metrics::Operation;
use futures::FutureExt;
use futures::future::join_all;
use std::future::poll_fn;
use types::ShardId;
use wire::convert;
use wire::pb::orders::v1::order_service_client::OrderServiceClient;
use wire::pb::orders::v1::{MassCancelRequest, OrderReport, OrderStatus};
use wire::status::{ApiError, Retry};

/// Hands the request to one shard of this engine.
pub(super) fn start_here(door: &Trading, request: &MassCancelRequest) -> Part {
    door.start(Operation::MassCancel, door.open(), |symbols| convert::mass_cancel(request, symbols)).into()
}

/// The request from beginning to end, in all the shards that it is for.
pub(super) async fn run(
    shards: &Shards,
    doors: &[Trading],
    forwarded: Option<ShardId>,
    request: &MassCancelRequest,
) -> Result<OrderReport, ApiError> {
    let start = |door: &Trading| match shards.elsewhere(door, forwarded) {
        Some(way) => {
            let call = way.call(request.clone(), |channel, request| async move {
                OrderServiceClient::new(channel).mass_cancel(request).await
            });
            let report = call.map(|answer| answer.and_then(|answer| answer.report.ok_or_else(no_report)));
            let door = door.clone();
            Part::There(async move { door.handed_on(Operation::MassCancel, report).await }.boxed())
        }
        None => start_here(door, request),
    };
    let parts: Vec<Part> = doors.iter().map(start).collect();
    let answers = join_all(parts.into_iter().map(|mut part| poll_fn(move |cx| part.poll(shards, cx)))).await;
    merge(answers)
}

pub(super) fn no_report() -> ApiError {
    ApiError::unknown_outcome("the leader answered without a report")
}

/// One answer of all, which come in the order of the shards: the cancelled orders of all, at the place of the first that
/// was not refused. What some shards have done and others not is in doubt, until the request is sent again.
pub(super) fn merge(answers: Vec<Result<OrderReport, ApiError>>) -> Result<OrderReport, ApiError> {
    let shards = answers.len();
    let (mut reports, mut errors) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Ok(report) => reports.push(report),
            Err(error) => errors.push(error),
        }
    }
    let missing = errors.len();
    // The one that says the least about what happened stands for all.
    let doubt = errors.iter().position(|error| error.code.retry() == Retry::InDoubt);
    if missing > 0 {
        let error = errors.swap_remove(doubt.unwrap_or(0));
        if reports.is_empty() || doubt.is_some() {
            return Err(error);
        }
        return Err(ApiError::unknown_outcome(format_args!("{missing} of {shards} shards did not cancel: {error}")));
    }
    let canceled_orders = reports.iter().map(|report| report.canceled_orders).sum();
    let duplicate = reports.iter().all(|report| report.duplicate);
    let done = reports.iter().position(|report| report.status() != OrderStatus::Rejected).unwrap_or(0);
    if reports.is_empty() {
        return Err(ApiError::internal("a mass cancel over no shards"));
    }
    let volatile = reports.iter().any(|report| report.volatile);
    Ok(OrderReport { canceled_orders, duplicate, volatile, ..reports.swap_remove(done) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::status::ErrorCode;

    fn report(shard: u32, status: OrderStatus, canceled_orders: u32) -> Result<OrderReport, ApiError> {
        Ok(OrderReport { shard, status: status.into(), canceled_orders, duplicate: shard == 0, ..Default::default() })
    }

    #[test]
    fn the_first_shard_that_did_it_speaks_for_all() {
        let canceled = |shard, count| report(shard, OrderStatus::Canceled, count);
        let merged = merge(vec![canceled(0, 2), canceled(1, 0), canceled(2, 5)]).unwrap();
        assert_eq!((merged.shard, merged.canceled_orders, merged.duplicate), (0, 7, false));
        let rejected = |shard| report(shard, OrderStatus::Rejected, 0);
        let merged = merge(vec![rejected(0), canceled(1, 3)]).unwrap();
        assert_eq!((merged.shard, merged.canceled_orders, merged.status()), (1, 3, OrderStatus::Canceled));
        let merged = merge(vec![rejected(0), rejected(1)]).unwrap();
        assert_eq!((merged.shard, merged.status()), (0, OrderStatus::Rejected));
    }

    #[test]
    fn what_not_all_have_done_is_in_doubt() {
        let code = |answers| merge(answers).unwrap_err().code;
        let canceled = || report(0, OrderStatus::Canceled, 1);
        let closed = || Err(ApiError::not_ready("closed"));
        let unknown = || Err(ApiError::unknown_outcome("gone"));
        assert_eq!(code(vec![closed(), closed()]), ErrorCode::NotReady, "nothing happened");
        assert_eq!(code(vec![canceled(), closed()]), ErrorCode::UnknownOutcome);
        assert_eq!(code(vec![closed(), unknown()]), ErrorCode::UnknownOutcome);
    }
}
