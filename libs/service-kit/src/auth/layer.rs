//! The check at the doors: gRPC and HTTP. Absent: what is checked; see [`super::Auth`].

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::ConnectInfo;
use axum::response::IntoResponse;
use futures::future::Either;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};
use wire::access::{self, Access};
use wire::status::{ApiError, ErrorCode};

use super::guard::Guarded;
use super::rights::Shown;
use super::{Admitted, Auth, Peer, Refusal};
use crate::http::Problem;

type Pending<R> = Pin<Box<dyn Future<Output = Result<Response<R>, Infallible>> + Send>>;

/// A request without an address did not come from the network.
fn peer(found: Option<&Peer>) -> Peer {
    found.copied().unwrap_or(Peer { address: [127, 0, 0, 1].into(), certified: false })
}

/// For gRPC over the network.
#[derive(Clone, Debug)]
pub(crate) struct GrpcLayer(pub(crate) Auth);

/// A service behind [`GrpcLayer`].
#[derive(Clone, Debug)]
pub(crate) struct GrpcDoor<S> {
    auth: Auth,
    inner: S,
}

impl<S> Layer<S> for GrpcLayer {
    type Service = GrpcDoor<S>;

    fn layer(&self, inner: S) -> GrpcDoor<S> {
        GrpcDoor { auth: self.0.clone(), inner }
    }
}

impl<S> Service<Request<Body>> for GrpcDoor<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, Pending<Body>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let peer = peer(request.extensions().get());
        let access = access::of_method(request.uri().path());
        match self.auth.admit(request.headers(), peer, access) {
            Ok(Admitted { caller, key: None }) => {
                request.extensions_mut().insert(caller);
                Either::Left(self.inner.call(request))
            }
            Ok(Admitted { caller, key: Some(key) }) => {
                let streams = access::streams(request.uri().path());
                request.extensions_mut().insert(caller);
                request.extensions_mut().insert(Shown(Arc::clone(&key)));
                let handled = self.inner.call(request);
                if !streams {
                    return Either::Left(handled);
                }
                Either::Right(Box::pin(async move {
                    let response = handled.await?;
                    Ok(response.map(|body| Body::new(Guarded::new(body, key.gone.clone()))))
                }))
            }
            Err(refusal) => {
                let auth = self.auth.clone();
                // Logged when it is polled, so that the line has the id of the request.
                Either::Right(Box::pin(async move {
                    auth.refused(&refusal, request.headers(), peer, request.uri().path(), "grpc");
                    Ok(tonic::Status::from(error(&refusal)).into_http())
                }))
            }
        }
    }
}

/// The refusal as gRPC knows it.
fn error(refusal: &Refusal) -> ApiError {
    match refusal {
        Refusal::Unauthenticated(_) => ApiError::new(ErrorCode::Unauthenticated, refusal.message()),
        Refusal::Forbidden(..) => ApiError::new(ErrorCode::PermissionDenied, refusal.message()),
        Refusal::Limited(wait) => {
            ApiError { retry_after: Some(*wait), ..ApiError::new(ErrorCode::Overloaded, refusal.message()) }
        }
    }
}

/// For HTTP. `door` is its name in logs and metrics.
#[derive(Clone, Debug)]
pub(crate) struct HttpLayer {
    pub(crate) auth: Auth,
    pub(crate) door: &'static str,
}

/// A service behind [`HttpLayer`].
#[derive(Clone, Debug)]
pub(crate) struct HttpDoor<S> {
    layer: HttpLayer,
    inner: S,
}

impl<S> Layer<S> for HttpLayer {
    type Service = HttpDoor<S>;

    fn layer(&self, inner: S) -> HttpDoor<S> {
        HttpDoor { layer: self.clone(), inner }
    }
}

impl<S> Service<axum::extract::Request> for HttpDoor<S>
where
    S: Service<axum::extract::Request, Response = axum::response::Response, Error = Infallible>,
{
    type Response = axum::response::Response;
    type Error = Infallible;
    type Future = Either<S::Future, Pending<axum::body::Body>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: axum::extract::Request) -> Self::Future {
        let peer = peer(request.extensions().get::<ConnectInfo<Peer>>().map(|info| &info.0));
        let HttpLayer { auth, door } = self.layer.clone();
        match auth.admit(request.headers(), peer, of_route(request.method(), request.uri().path())) {
            Ok(Admitted { caller, .. }) => {
                request.extensions_mut().insert(caller);
                Either::Left(self.inner.call(request))
            }
            Err(refusal) => Either::Right(Box::pin(async move {
                auth.refused(&refusal, request.headers(), peer, request.uri().path(), door);
                Ok(answer(&refusal))
            })),
        }
    }
}

/// The refusal as HTTP knows it.
fn answer(refusal: &Refusal) -> axum::response::Response {
    let message = refusal.message();
    let (problem, header) = match refusal {
        Refusal::Unauthenticated(_) => {
            (Problem::unauthenticated(message), Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))))
        }
        Refusal::Forbidden(..) => (Problem::forbidden(message), None),
        Refusal::Limited(wait) => {
            // Whole seconds, and never too few.
            let wait = HeaderValue::from(wait.as_secs() + 1);
            (Problem::too_many_requests(message), Some((RETRY_AFTER, wait)))
        }
    };
    let mut response = problem.into_response();
    response.headers_mut().extend(header);
    response
}

/// What a request over HTTP needs. Probes and the summary of health are open, since whoever balances load has no key;
/// so is the page of the console, which holds nothing before somebody gives it a key.
pub(crate) fn of_route(method: &Method, path: &str) -> Access {
    let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    match path {
        "/livez" | "/readyz" | "/health" | "/" if reads => Access::Open,
        path if reads && path.starts_with("/console/") => Access::Open,
        _ if reads => Access::Inspect,
        _ => Access::Act,
    }
}
