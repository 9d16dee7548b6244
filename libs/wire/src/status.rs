//! The one table of errors: what each is called, which gRPC status it has and what a client should do about it; and
//! the form in which it travels, `google.rpc` details that any gRPC client can read.
//!
//! An error says that a request did not reach the log, or that nobody can tell. What the exchange refuses is not
//! one: it is an answer with a reason.
//!
//! Deliberately absent: what went wrong inside. It is logged where it happened; a client gets INTERNAL and no more.

mod details;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use tonic::{Code, Status};

use crate::pb::orders::v1::{LeaderHint, SessionError};

/// Domain of the reasons, in `google.rpc.ErrorInfo`.
pub const ERROR_DOMAIN: &str = "hivemind";

/// How long to wait when a server that will soon be able to answer says nothing more exact. About the time an
/// engine needs to take over.
pub const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Longest message sent to a client, bytes; trailers have to fit 8 KiB with all their details.
const MESSAGE_LIMIT: usize = 1024;

/// What a client should do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same request will be refused again.
    Never,
    /// The request had no effect: send it again after a while.
    Later,
    /// The request may have had its effect: send it again under the same client_order_id, or look for it.
    InDoubt,
}

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = ($reason:literal, $grpc:ident, $retry:ident),)+) => {
        /// Every error there is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)+
        }

        impl ErrorCode {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its stable word for machines.
            #[must_use]
            pub const fn reason(self) -> &'static str {
                match self {
                    $(Self::$name => $reason,)+
                }
            }

            /// Its gRPC status code.
            #[must_use]
            pub const fn grpc(self) -> Code {
                match self {
                    $(Self::$name => Code::$grpc,)+
                }
            }

            /// What a client should do about it.
            #[must_use]
            pub const fn retry(self) -> Retry {
                match self {
                    $(Self::$name => Retry::$retry,)+
                }
            }
        }
    };
}

error_codes! {
    /// The request is malformed; the field is named.
    InvalidArgument = ("INVALID_ARGUMENT", InvalidArgument, Never),
    /// What was asked for is not there.
    NotFound = ("NOT_FOUND", NotFound, Never),
    /// The state of the system forbids it, and will until somebody changes it.
    PreconditionFailed = ("PRECONDITION_FAILED", FailedPrecondition, Never),
    /// Somebody else leads the shard.
    LeadershipHeld = ("LEADERSHIP_HELD", FailedPrecondition, Later),
    /// The shard is not given to this engine now: another one is meant, or an operator forbids it.
    LeadershipDenied = ("LEADERSHIP_DENIED", FailedPrecondition, Later),
    /// Not offered by this node or version.
    Unsupported = ("UNSUPPORTED", Unimplemented, Never),
    /// The caller is not known.
    Unauthenticated = ("UNAUTHENTICATED", Unauthenticated, Never),
    /// The caller may not do this.
    PermissionDenied = ("PERMISSION_DENIED", PermissionDenied, Never),
    /// A queue is full.
    Overloaded = ("OVERLOADED", ResourceExhausted, Later),
    /// The reader of a stream fell too far behind; it starts again from a new snapshot.
    SlowConsumer = ("SLOW_CONSUMER", ResourceExhausted, Later),
    /// The node cannot do it yet: it is starting, recovering, or without a journal or database.
    NotReady = ("NOT_READY", Unavailable, Later),
    /// Another node leads the shard; a hint tells which if it is known.
    NotLeader = ("NOT_LEADER", Unavailable, Later),
    /// The node is about to end.
    ShuttingDown = ("SHUTTING_DOWN", Unavailable, Later),
    /// No connection, or it was lost on the way.
    Unreachable = ("UNREACHABLE", Unavailable, InDoubt),
    /// The request was sequenced, but whether it is in the log cannot be said.
    UnknownOutcome = ("UNKNOWN_OUTCOME", Unknown, InDoubt),
    /// No answer in time.
    DeadlineExceeded = ("DEADLINE_EXCEEDED", DeadlineExceeded, InDoubt),
    /// The call was given up before the answer.
    Canceled = ("CANCELED", Cancelled, InDoubt),
    /// Stored data is damaged; an operator has to act.
    DataLoss = ("DATA_LOSS", DataLoss, Never),
    /// A defect. The detail is in the log of the node.
    Internal = ("INTERNAL", Internal, Never),
}

impl ErrorCode {
    /// Whether sending the request again can help.
    #[must_use]
    pub const fn retryable(self) -> bool {
        !matches!(self.retry(), Retry::Never)
    }

    /// Whether it says that nothing was changed: what was asked for was refused before it was begun.
    #[must_use]
    pub const fn changed_nothing(self) -> bool {
        match self {
            Self::InvalidArgument
            | Self::NotFound
            | Self::PreconditionFailed
            | Self::LeadershipHeld
            | Self::LeadershipDenied
            | Self::Unsupported
            | Self::Unauthenticated
            | Self::PermissionDenied
            | Self::NotReady => true,
            Self::Overloaded
            | Self::SlowConsumer
            | Self::NotLeader
            | Self::ShuttingDown
            | Self::Unreachable
            | Self::UnknownOutcome
            | Self::DeadlineExceeded
            | Self::Canceled
            | Self::DataLoss
            | Self::Internal => false,
        }
    }

    /// The code with this word.
    #[must_use]
    pub fn from_reason(reason: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.reason() == reason)
    }

    /// What a status that carries no reason of ours means to a client. It comes from the transport, a proxy or the
    /// gRPC library.
    #[must_use]
    pub const fn from_grpc(code: Code) -> Self {
        match code {
            Code::InvalidArgument | Code::OutOfRange => Self::InvalidArgument,
            Code::NotFound => Self::NotFound,
            Code::FailedPrecondition | Code::AlreadyExists => Self::PreconditionFailed,
            Code::Unimplemented => Self::Unsupported,
            Code::Unauthenticated => Self::Unauthenticated,
            Code::PermissionDenied => Self::PermissionDenied,
            Code::ResourceExhausted => Self::Overloaded,
            Code::Unavailable => Self::Unreachable,
            Code::DeadlineExceeded => Self::DeadlineExceeded,
            Code::Cancelled => Self::Canceled,
            Code::DataLoss => Self::DataLoss,
            // Broken connections come as UNKNOWN or INTERNAL; our own servers never send these without a reason.
            Code::Unknown | Code::Internal | Code::Aborted | Code::Ok => Self::UnknownOutcome,
        }
    }
}

/// An error as it crosses the wire.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    /// Which one.
    pub code: ErrorCode,
    /// For people: lower case, says what to do.
    pub message: String,
    /// Field that was wrong, by its name in the `.proto`, with dots into nested messages.
    pub field: Option<String>,
    /// Wait this long before the request is sent again.
    pub retry_after: Option<Duration>,
    /// Who leads the shard, if that matters and is known.
    pub leader: Option<Box<LeaderHint>>,
}

impl ApiError {
    /// An error of this code, with the usual wait if it is worth a retry.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let retry_after = code.retryable().then_some(RETRY_AFTER);
        Self { code, message: message.into(), field: None, retry_after, leader: None }
    }

    /// `field` is wrong. An empty name stands for the message as a whole.
    #[must_use]
    pub fn invalid(field: impl Into<String>, message: impl fmt::Display) -> Self {
        let field = field.into();
        if field.is_empty() {
            return Self::new(ErrorCode::InvalidArgument, message.to_string());
        }
        let message = format!("{field}: {message}");
        Self { field: Some(field), ..Self::new(ErrorCode::InvalidArgument, message) }
    }

    /// Nothing there.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::NotFound, message)
    }

    /// The state of the system forbids it.
    #[must_use]
    pub fn precondition(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::PreconditionFailed, message)
    }

    /// `what` is full; the client should wait `retry_after`.
    #[must_use]
    pub fn overloaded(what: impl fmt::Display, retry_after: Duration) -> Self {
        let message = format!("{what} is full: send the request again later");
        Self { retry_after: Some(retry_after), ..Self::new(ErrorCode::Overloaded, message) }
    }

    /// The reader of a stream is too slow.
    #[must_use]
    pub fn slow_consumer(stream: impl fmt::Display) -> Self {
        Self::new(ErrorCode::SlowConsumer, format!("{stream} was read too slowly: open it again"))
    }

    /// The node cannot do it yet.
    #[must_use]
    pub fn not_ready(why: impl Into<String>) -> Self {
        Self::new(ErrorCode::NotReady, why)
    }

    /// Another node leads.
    #[must_use]
    pub fn not_leader(hint: LeaderHint) -> Self {
        let message = if hint.engine.is_empty() {
            format!("shard {} has no known leader: try again", hint.shard)
        } else {
            format!("shard {} is led by {} at {}", hint.shard, hint.engine, hint.address)
        };
        Self { leader: Some(Box::new(hint)), ..Self::new(ErrorCode::NotLeader, message) }
    }

    /// Somebody else has the leadership that was asked for.
    #[must_use]
    pub fn leadership_held(holder: LeaderHint) -> Self {
        let message = format!("shard {} is led by {}, epoch {}", holder.shard, holder.engine, holder.epoch);
        Self { leader: Some(Box::new(holder)), ..Self::new(ErrorCode::LeadershipHeld, message) }
    }

    /// The node is about to end.
    #[must_use]
    pub fn shutting_down() -> Self {
        Self::new(ErrorCode::ShuttingDown, "the node is shutting down: send the request to another one, or later")
    }

    /// Whether the request is in the log cannot be said.
    #[must_use]
    pub fn unknown_outcome(why: impl fmt::Display) -> Self {
        let message = format!("{why}: send the request again under the same client_order_id to learn its outcome");
        Self::new(ErrorCode::UnknownOutcome, message)
    }

    /// A defect. `detail` goes to the log, not to the client.
    #[must_use]
    pub fn internal(detail: impl fmt::Display) -> Self {
        tracing::error!(%detail, "internal error");
        Self::new(ErrorCode::Internal, "internal error: its detail is in the log of the node")
    }

    /// Reads a status as a client got it. A status without a reason of ours is classified by its code.
    #[must_use]
    pub fn from_status(status: &Status) -> Self {
        details::read(status)
    }

    /// The same for one request of a session.
    #[must_use]
    pub fn into_session_error(self) -> SessionError {
        let wait = self.retry_after.map_or(0, |wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1));
        SessionError {
            code: self.code.grpc() as i32,
            message: self.message,
            reason: self.code.reason().to_owned(),
            field: self.field.unwrap_or_default(),
            retry_after_ms: wait,
            leader: self.leader.map(|hint| *hint),
        }
    }

    /// Reads the error of one request of a session.
    #[must_use]
    pub fn from_session_error(error: SessionError) -> Self {
        let by_code = || ErrorCode::from_grpc(Code::from_i32(error.code));
        Self {
            code: ErrorCode::from_reason(&error.reason).unwrap_or_else(by_code),
            message: error.message,
            field: (!error.field.is_empty()).then_some(error.field),
            retry_after: (error.retry_after_ms > 0).then(|| Duration::from_millis(error.retry_after_ms)),
            leader: error.leader.map(Box::new),
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.reason(), self.message)
    }
}

impl std::error::Error for ApiError {}

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        details::write(error)
    }
}

impl From<Status> for ApiError {
    fn from(status: Status) -> Self {
        Self::from_status(&status)
    }
}
