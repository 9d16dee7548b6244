//! Answers that all HTTP doors give in the same form: errors as JSON. Absent: the routes; see [`crate::node`] and the
//! services.
//!
//! An error is `{"error": "<word>", "message": "<for people>"}`, with `"field"` if a field of the request is at
//! fault. Words: `not_found`, `method_not_allowed`, `bad_request`, `unauthenticated`,
//! `forbidden`, `too_many_requests`, and for what a gRPC call would have answered with an
//! error those of [`wire::status::ErrorCode`].

use axum::Json;
use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use wire::status::{ApiError, ErrorCode};

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    #[serde(skip)]
    status: StatusCode,
    error: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
}

impl Problem {
    /// 400: this field of the request is wrong.
    pub fn bad_request(field: impl Into<String>, message: impl Into<String>) -> Self {
        let field = Some(field.into());
        Self { status: StatusCode::BAD_REQUEST, error: "bad_request", message: message.into(), field }
    }

    /// 401: the caller is not known.
    pub(crate) fn unauthenticated(message: String) -> Self {
        Self { status: StatusCode::UNAUTHORIZED, error: "unauthenticated", message, field: None }
    }

    /// 403: the caller may not do this.
    pub(crate) fn forbidden(message: String) -> Self {
        Self { status: StatusCode::FORBIDDEN, error: "forbidden", message, field: None }
    }

    /// 429: the caller sends too much.
    pub(crate) fn too_many_requests(message: String) -> Self {
        Self { status: StatusCode::TOO_MANY_REQUESTS, error: "too_many_requests", message, field: None }
    }

    /// 404: there is nothing here.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, error: "not_found", message: message.into(), field: None }
    }

    /// 405: not by this method.
    pub fn method_not_allowed(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::METHOD_NOT_ALLOWED,
            error: "method_not_allowed",
            message: message.into(),
            field: None,
        }
    }
}

impl From<ApiError> for Problem {
    /// The same error over HTTP, with the status that says what a client should do about it.
    fn from(error: ApiError) -> Self {
        let status = match error.code {
            ErrorCode::InvalidArgument => StatusCode::BAD_REQUEST,
            ErrorCode::Unauthenticated => StatusCode::UNAUTHORIZED,
            ErrorCode::PermissionDenied => StatusCode::FORBIDDEN,
            ErrorCode::NotFound => StatusCode::NOT_FOUND,
            ErrorCode::PreconditionFailed | ErrorCode::LeadershipHeld | ErrorCode::LeadershipDenied => {
                StatusCode::CONFLICT
            }
            ErrorCode::Overloaded | ErrorCode::SlowConsumer => StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::Unsupported => StatusCode::NOT_IMPLEMENTED,
            ErrorCode::NotReady
            | ErrorCode::NotLeader
            | ErrorCode::ShuttingDown
            | ErrorCode::Unreachable
            | ErrorCode::Canceled
            | ErrorCode::UnknownOutcome => StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            ErrorCode::DataLoss | ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, error: error.code.reason(), message: error.message, field: error.field }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, Json(self)).into_response()
    }
}

/// Gives a finished router JSON answers for unknown paths and wrong methods.
pub(crate) fn with_fallbacks(router: Router) -> Router {
    router
        .fallback(async |uri: Uri| Problem::not_found(format!("there is nothing at {}", uri.path())))
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            Problem::method_not_allowed(format!("{} does not take {method}", uri.path()))
        })
}
