//! An error as a gRPC status and back: `google.rpc.Status` with ErrorInfo, BadRequest, RetryInfo and, of our own,
//! [`LeaderHint`].
//!
//! Deliberately absent: any decision about errors; the table is in the parent.

use std::collections::HashMap;

use prost::Message;
use prost_types::Any;
use tonic::{Code, Status};
use tonic_types::pb;

use super::{ApiError, ERROR_DOMAIN, ErrorCode, MESSAGE_LIMIT};
use crate::pb::orders::v1::LeaderHint;

const ERROR_INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";
const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";
const LEADER_HINT: &str = "type.googleapis.com/hivemind.orders.v1.LeaderHint";

pub(super) fn write(mut error: ApiError) -> Status {
    shorten(&mut error.message);
    let code = error.code.grpc();
    let mut details = Vec::with_capacity(3);
    let info = pb::ErrorInfo {
        reason: error.code.reason().to_owned(),
        domain: ERROR_DOMAIN.to_owned(),
        metadata: HashMap::new(),
    };
    details.push(any(ERROR_INFO, &info));
    if let Some(field) = error.field {
        let violation = pb::bad_request::FieldViolation {
            field,
            description: error.message.clone(),
            reason: error.code.reason().to_owned(),
            localized_message: None,
        };
        details.push(any(BAD_REQUEST, &pb::BadRequest { field_violations: vec![violation] }));
    }
    if let Some(wait) = error.retry_after {
        let retry_delay = prost_types::Duration::try_from(wait).ok();
        details.push(any(RETRY_INFO, &pb::RetryInfo { retry_delay }));
    }
    if let Some(hint) = error.leader {
        details.push(any(LEADER_HINT, &*hint));
    }
    let rich = pb::Status { code: code as i32, message: error.message.clone(), details };
    Status::with_details(code, error.message, rich.encode_to_vec().into())
}

pub(super) fn read(status: &Status) -> ApiError {
    let mut error = ApiError {
        code: ErrorCode::from_grpc(status.code()),
        message: status.message().to_owned(),
        field: None,
        retry_after: None,
        leader: None,
    };
    // What cannot be read is as good as not there: the code and the message still hold.
    let rich = pb::Status::decode(status.details()).unwrap_or_default();
    for detail in rich.details {
        match detail.type_url.as_str() {
            ERROR_INFO => read_reason(&detail.value, status.code(), &mut error),
            BAD_REQUEST => {
                let violations = pb::BadRequest::decode(detail.value.as_slice()).unwrap_or_default().field_violations;
                error.field = violations.into_iter().next().map(|violation| violation.field);
            }
            RETRY_INFO => {
                let info = pb::RetryInfo::decode(detail.value.as_slice()).unwrap_or_default();
                error.retry_after = info.retry_delay.and_then(|delay| delay.try_into().ok());
            }
            LEADER_HINT => error.leader = LeaderHint::decode(detail.value.as_slice()).ok().map(Box::new),
            _ => {}
        }
    }
    error
}

fn read_reason(value: &[u8], grpc: Code, error: &mut ApiError) {
    let info = pb::ErrorInfo::decode(value).unwrap_or_default();
    let known = ErrorCode::from_reason(&info.reason).filter(|code| code.grpc() == grpc);
    if let (true, Some(code)) = (info.domain == ERROR_DOMAIN, known) {
        error.code = code;
    }
}

fn any<M: Message>(type_url: &str, message: &M) -> Any {
    Any { type_url: type_url.to_owned(), value: message.encode_to_vec() }
}

fn shorten(message: &mut String) {
    if message.len() > MESSAGE_LIMIT {
        message.truncate(message.floor_char_boundary(MESSAGE_LIMIT));
        message.push('…');
    }
}
