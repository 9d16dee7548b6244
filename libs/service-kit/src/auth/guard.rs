//! A stream that ends when the key it was opened with goes out of force. Absent: single answers; they are short.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::FutureExt;
use http::{HeaderMap, HeaderValue};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::body::Body;
use tonic::{Code, Status};

/// What the client of such a stream is told.
const GONE: &str = "the API key of this stream was replaced or revoked: open it again with another one";

/// The answers of a stream.
pub(super) struct Guarded {
    /// `None` when the stream is over: dropping the answers tells the handler.
    body: Option<Body>,
    gone: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Guarded {
    pub(super) fn new(body: Body, gone: CancellationToken) -> Self {
        Self { body: Some(body), gone: Box::pin(gone.cancelled_owned()) }
    }
}

impl HttpBody for Guarded {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        if this.gone.poll_unpin(cx).is_ready() {
            this.body = None;
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from(Code::Unauthenticated as i32));
            trailers.insert("grpc-message", HeaderValue::from_static(GONE));
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        Pin::new(body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}
