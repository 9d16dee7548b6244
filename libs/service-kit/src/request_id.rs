//! The id of a request: taken from `x-request-id` or made here, given back in the answer, and in every line logged
//! while the request is handled, so that an operator can go from a client's complaint to the log. Beside it its place
//! in a trace, and the span of the whole request if that is recorded; see [`crate::trace`].
//!
//! Costs an id, an allocation and two task-locals per request; a span of the log only when debug is logged. Messages of
//! a stream share the stream's id. Absent: ids across processes other than by that header.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Request, Response};
use tower::{Layer, Service};
use tracing::Instrument;
use wire::access;

use crate::flood::Flood;
use crate::trace::{self, Kind, Open, Span, TraceContext, Tracer};

/// The header and metadata key.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id that is taken over from a client: twice a UUID with hyphens, less some.
const MAX_LENGTH: usize = 64;

/// Failures logged per second and listener; the rest are counted. More would hide the first ones.
const FAILURES_PER_SECOND: u32 = 20;

tokio::task_local! {
    static CURRENT: RequestId;
}

/// 1 to 64 letters, digits, `-`, `_`, `.` or `:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// Takes over a client's id; `None` if it is not one.
    #[must_use]
    pub fn accept(given: &[u8]) -> Option<Self> {
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
        let good = (1..=MAX_LENGTH).contains(&given.len()) && given.iter().all(allowed);
        if good { HeaderValue::from_bytes(given).ok().map(Self) } else { None }
    }

    /// A new id: a random number of this process and a counter, so that ids neither repeat nor cost entropy.
    #[must_use]
    pub fn generate() -> Self {
        static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(std::process::id()));
        static COUNTER: AtomicU64 = AtomicU64::new(1);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let text = format!("{:016x}-{number:x}", *PROCESS);
        Self(HeaderValue::try_from(text).expect("hexadecimal digits are a header value"))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    fn of(headers: &HeaderMap) -> Self {
        headers.get(&HEADER).and_then(|value| Self::accept(value.as_bytes())).unwrap_or_else(Self::generate)
    }
}

/// The id of the request that this task is handling, if it is.
#[must_use]
pub fn current() -> Option<RequestId> {
    CURRENT.try_with(Clone::clone).ok()
}

#[cfg(test)]
pub(crate) fn sync_scope(id: RequestId, work: impl FnOnce()) {
    CURRENT.sync_scope(id, work);
}

/// Gives every request its id and its place in a trace. For gRPC and HTTP alike.
#[derive(Clone, Debug)]
pub(crate) struct RequestIdLayer {
    flood: std::sync::Arc<Flood>,
    tracer: Tracer,
}

impl RequestIdLayer {
    pub(crate) fn new(tracer: Tracer) -> Self {
        Self { flood: std::sync::Arc::new(Flood::new(FAILURES_PER_SECOND)), tracer }
    }
}

impl<S> Layer<S> for RequestIdLayer {
    type Service = WithRequestId<S>;

    fn layer(&self, inner: S) -> WithRequestId<S> {
        WithRequestId { inner, flood: self.flood.clone(), tracer: self.tracer.clone() }
    }
}

/// A service behind [`RequestIdLayer`].
#[derive(Clone, Debug)]
pub(crate) struct WithRequestId<S> {
    inner: S,
    flood: std::sync::Arc<Flood>,
    tracer: Tracer,
}

impl<S, B, R> Service<Request<B>> for WithRequestId<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    R: 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let id = RequestId::of(request.headers());
        request.extensions_mut().insert(id.clone());
        let span = tracing::debug_span!("request", path = request.uri().path());
        // Paths are kept for failures only; cloning a URI counts references.
        let uri = request.uri().clone();
        let (flood, answered_id) = (self.flood.clone(), id.clone());
        let entered = self.tracer.enter(TraceContext::of(request.headers()), || access::begins_trace(uri.path()));
        let recording = entered.span.map(|open| (open, self.tracer.clone(), request.method().clone()));
        let handled = self.inner.call(request).instrument(span);
        let answered = async move {
            let mut response = handled.await?;
            let status = failure(&response);
            if let Some((open, tracer, method)) = recording {
                let call = if is_grpc(&response) { None } else { Some(method) };
                tracer.record(request_span(open, call.as_ref(), uri.path(), answered_id.as_str()).failed(status));
            }
            response.headers_mut().insert(HEADER, answered_id.0);
            if let Some(status) = status
                && let Some(suppressed) = flood.admit()
            {
                tracing::warn!(path = uri.path(), status, suppressed, "request failed");
            }
            Ok(response)
        };
        Box::pin(CURRENT.scope(id, trace::within(entered.context, answered)))
    }
}

fn is_grpc<R>(response: &Response<R>) -> bool {
    response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// The whole request, by the names that OpenTelemetry's conventions give its parts. `method` is that of a request over
/// HTTP; one over gRPC is named by its path.
fn request_span(open: Open, method: Option<&http::Method>, path: &str, id: &str) -> Span {
    let path = path.to_owned();
    let span = |name: String| open.end("service-kit", name, Kind::Server, Instant::now());
    let span = match method {
        None => span(path.trim_start_matches('/').to_owned()).with("rpc.system", "grpc"),
        Some(method) => {
            span(format!("{method} {path}")).with("http.request.method", method.to_string()).with("url.path", path)
        }
    };
    span.with("hive_mind.request_id", id.to_owned())
}

/// The status of an answer that an operator should know of: our fault or too slow, not the client's fault and not a
/// refusal by design.
fn failure<R>(response: &Response<R>) -> Option<&'static str> {
    let grpc = response.headers().get("grpc-status").and_then(|value| value.to_str().ok());
    match grpc {
        Some("2") => Some("UNKNOWN"),
        Some("4") => Some("DEADLINE_EXCEEDED"),
        Some("13") => Some("INTERNAL"),
        Some("15") => Some("DATA_LOSS"),
        Some(_) => None,
        None => match response.status() {
            http::StatusCode::INTERNAL_SERVER_ERROR => Some("500"),
            http::StatusCode::GATEWAY_TIMEOUT => Some("504"),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_clients_are_taken_over_only_if_harmless() {
        assert_eq!(RequestId::accept(b"a-B_1.:").map(|id| id.as_str().to_owned()), Some("a-B_1.:".to_owned()));
        for bad in [&b""[..], b"a b", b"a\"b", b"a\nb", &[b'x'; 65], "ö".as_bytes()] {
            assert_eq!(RequestId::accept(bad), None, "{bad:?}");
        }
        let (one, two) = (RequestId::generate(), RequestId::generate());
        assert_ne!(one, two);
        assert_eq!(RequestId::accept(one.as_str().as_bytes()), Some(one));
    }
}
