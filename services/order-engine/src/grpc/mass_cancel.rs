//! A mass cancel of all instruments: one request to every shard, under the same id, and one answer.
//!
//! Deliberately absent: one moment in which all orders are gone. Shards are independent; each cancels at its own place.

use super::trading::{Pending, Trading};
use crate::metrics::Operation;
use wire::convert;
use wire::pb::orders::v1::{MassCancelRequest, OrderReport, OrderStatus};
use wire::status::{ApiError, Retry};

/// A mass cancel on its way through all shards, in their order.
pub(super) type Everywhere = Vec<Result<Pending, ApiError>>;

/// Hands the request to every shard.
pub(super) fn start(doors: &[Trading], request: &MassCancelRequest) -> Everywhere {
    let one = |door: &Trading| door.start(Operation::MassCancel, |symbols| convert::mass_cancel(request, symbols));
    doors.iter().map(one).collect()
}

/// The request from beginning to end.
pub(super) async fn run(doors: &[Trading], request: &MassCancelRequest) -> Result<OrderReport, ApiError> {
    let mut answers = Vec::with_capacity(doors.len());
    for (door, started) in doors.iter().zip(start(doors, request)) {
        answers.push(match started {
            Ok(mut pending) => {
                let answer = (&mut pending.answer).await;
                door.finish(&pending, answer)
            }
            Err(error) => Err(error),
        });
    }
    merge(answers)
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
    Ok(OrderReport { canceled_orders, duplicate, ..reports.swap_remove(done) })
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
