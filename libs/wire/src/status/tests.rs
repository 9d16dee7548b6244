//! Every error survives the way to the client and back.
#![allow(clippy::unwrap_used, reason = "tests")]

use tonic_types::StatusExt as _;

use super::*;

fn full(code: ErrorCode) -> ApiError {
    ApiError {
        code,
        message: "what to do".to_owned(),
        field: Some("order.price".to_owned()),
        retry_after: Some(Duration::from_millis(1_250)),
        leader: Some(Box::new(LeaderHint {
            shard: 3,
            engine: "engine-1".to_owned(),
            address: "http://127.0.0.1:8080".to_owned(),
            epoch: 17,
        })),
    }
}

#[test]
fn every_code_and_detail_survives_a_status() {
    for &code in ErrorCode::ALL {
        let bare = ApiError { retry_after: None, ..ApiError::new(code, "x") };
        for error in [full(code), bare] {
            let status = Status::from(error.clone());
            assert_eq!(status.code(), code.grpc());
            assert_eq!(ApiError::from_status(&status), error);
            assert_eq!(ApiError::from_session_error(error.clone().into_session_error()), error);
        }
    }
}

#[test]
fn reasons_are_unique_and_found() {
    for &code in ErrorCode::ALL {
        assert_eq!(ErrorCode::from_reason(code.reason()), Some(code));
    }
    assert_eq!(ErrorCode::from_reason("SOMETHING_ELSE"), None);
}

#[test]
fn other_clients_read_the_details() {
    let status = Status::from(full(ErrorCode::Overloaded));
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "OVERLOADED");
    assert_eq!(details.error_info().unwrap().domain, ERROR_DOMAIN);
    assert_eq!(details.retry_info().unwrap().retry_delay, Some(Duration::from_millis(1_250)));
    assert_eq!(details.bad_request().unwrap().field_violations[0].field, "order.price");
    assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].description, "what to do");
}

#[test]
fn a_status_of_the_transport_is_classified_by_its_code() {
    for (status, code, retry) in [
        (Status::unavailable("tcp connect error"), ErrorCode::Unreachable, Retry::InDoubt),
        (Status::unknown("h2 protocol error"), ErrorCode::UnknownOutcome, Retry::InDoubt),
        (Status::out_of_range("message too large"), ErrorCode::InvalidArgument, Retry::Never),
        (Status::deadline_exceeded("late"), ErrorCode::DeadlineExceeded, Retry::InDoubt),
    ] {
        let error = ApiError::from_status(&status);
        assert_eq!((error.code, error.code.retry()), (code, retry));
    }
}

#[test]
fn details_that_cannot_be_read_leave_the_code() {
    let status = Status::with_details(Code::NotFound, "gone", vec![0xff, 0xff, 0x01].into());
    assert_eq!(ApiError::from_status(&status).code, ErrorCode::NotFound);
}

#[test]
fn a_reason_that_contradicts_the_code_is_not_believed() {
    let mut error = full(ErrorCode::Internal);
    error.code = ErrorCode::NotReady;
    let status = Status::from(error);
    let forged = Status::with_details(Code::Internal, status.message(), status.details().to_vec().into());
    assert_eq!(ApiError::from_status(&forged).code, ErrorCode::UnknownOutcome);
}

#[test]
fn internal_detail_stays_inside() {
    let status = Status::from(ApiError::internal("password=hunter2 at /secret"));
    assert_eq!(status.code(), Code::Internal);
    let sent = format!("{} {:?}", status.message(), status.details());
    assert!(!sent.contains("hunter2"));
    assert!(!status.details().windows(7).any(|bytes| bytes == b"hunter2"));
}

#[test]
fn long_messages_are_cut_at_a_character() {
    let status = Status::from(ApiError::invalid("symbol", "ä".repeat(5_000)));
    assert!(status.message().len() <= MESSAGE_LIMIT + '…'.len_utf8());
    assert!(status.message().ends_with('…'));
}
