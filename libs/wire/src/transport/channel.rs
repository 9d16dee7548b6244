//! The way to a service, wherever it runs: what every generated client is built on.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use tonic::body::Body;
use tower::Service;

use super::InProcess;
use crate::api_key::Credentials;
use crate::trace;

type Failure = Box<dyn Error + Send + Sync>;

/// A way to a service. Cheap to clone; clones of one over the network share its connection.
#[derive(Clone)]
pub struct Channel(Way);

#[derive(Clone)]
enum Way {
    Network { channel: tonic::transport::Channel, credentials: Credentials },
    Here { server: InProcess, limit: Option<Duration> },
}

impl Channel {
    pub(super) const fn network(channel: tonic::transport::Channel, credentials: Credentials) -> Self {
        Self(Way::Network { channel, credentials })
    }

    pub(super) fn here(server: InProcess, limit: Option<Duration>) -> Self {
        Self(Way::Here { server, limit })
    }

    /// Whether the service is in this process.
    #[must_use]
    pub const fn is_in_process(&self) -> bool {
        matches!(self.0, Way::Here { .. })
    }
}

impl From<tonic::transport::Channel> for Channel {
    fn from(channel: tonic::transport::Channel) -> Self {
        Self::network(channel, Credentials::none())
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Way::Network { channel, .. } => channel.fmt(f),
            Way::Here { .. } => "Channel(in-process)".fmt(f),
        }
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Failure>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        match &mut self.0 {
            Way::Network { channel, .. } => channel.poll_ready(context).map_err(Into::into),
            Way::Here { .. } => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(context) = trace::current() {
            context.show(request.headers_mut());
        }
        match &mut self.0 {
            Way::Network { channel, credentials } => {
                credentials.show(request.headers_mut());
                let answer = channel.call(request);
                Box::pin(async move { answer.await.map_err(Into::into) })
            }
            Way::Here { server, limit } => {
                let answer = server.clone().call(request, *limit);
                Box::pin(async move { answer.await.map_err(Into::into) })
            }
        }
    }
}
