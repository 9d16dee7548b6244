//! Calls between the roles of one process: the same stubs, messages and routes as over TCP, without the connection. A
//! call goes straight to the routes of the node, so that an order does not wake two connections' tasks for every step
//! it takes between two rooms of one process.
//!
//! Deliberately absent: flow control beyond that of the queues on both sides, which are bounded, and short cuts around
//! the encoding: whatever passes here could pass over the network.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};

/// Where gRPC puts the deadline of a call.
const GRPC_TIMEOUT_HEADER: &str = "grpc-timeout";

type Server = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// What callers find.
#[derive(Clone)]
enum Door {
    /// The node does not serve yet: calls wait.
    Closed,
    Open(Server),
    /// It serves no longer: calls fail.
    Gone,
}

/// The client's end.
#[derive(Clone)]
pub struct InProcess {
    door: watch::Receiver<Door>,
}

/// The server's end. When it is gone, calls fail.
pub struct InProcessListener {
    door: Arc<watch::Sender<Door>>,
}

/// A pair of ends.
#[must_use]
pub fn in_process() -> (InProcess, InProcessListener) {
    let (sender, receiver) = watch::channel(Door::Closed);
    (InProcess { door: receiver }, InProcessListener { door: Arc::new(sender) })
}

impl InProcessListener {
    /// Serves until `end`. Calls that have begun go on.
    pub async fn serve<S>(self, service: S, end: impl Future<Output = ()>)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        self.door.send_replace(Door::Open(BoxCloneSyncService::new(service)));
        end.await;
    }
}

impl Drop for InProcessListener {
    fn drop(&mut self) {
        self.door.send_replace(Door::Gone);
    }
}

impl InProcess {
    /// One call, within its own deadline if it has one, else within `limit`.
    pub(super) async fn call(
        mut self,
        request: Request<Body>,
        limit: Option<Duration>,
    ) -> Result<Response<Body>, Status> {
        let limit = deadline(request.headers()).or(limit);
        let answer = async move {
            // Ends when the sender goes, which leaves `Gone` behind.
            let door = self.door.wait_for(|door| !matches!(door, Door::Closed)).await.map(|door| door.clone());
            let Ok(Door::Open(server)) = door else {
                return Err(Status::unavailable("the in-process server is gone"));
            };
            // A task of its own, as a connection would give it: a handler that panics or is slow harms only its caller.
            match AbortOnDropHandle::new(tokio::spawn(server.oneshot(request))).await {
                Ok(Ok(response)) => Ok(response),
                Err(error) => Err(Status::unknown(format!("the call ended without an answer: {error}"))),
            }
        };
        match limit {
            None => answer.await,
            Some(limit) => tokio::time::timeout(limit, answer)
                .await
                .unwrap_or_else(|_| Err(Status::new(Code::DeadlineExceeded, "no answer in time"))),
        }
    }
}

/// The deadline a call carries: up to eight digits and a unit.
fn deadline(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT_HEADER)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => number.checked_mul(3600).map(Duration::from_secs),
        "M" => number.checked_mul(60).map(Duration::from_secs),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carrying(text: &'static str) -> HeaderMap {
        [(http::HeaderName::from_static(GRPC_TIMEOUT_HEADER), http::HeaderValue::from_static(text))]
            .into_iter()
            .collect()
    }

    #[test]
    fn deadlines_read_as_the_protocol_writes_them() {
        for (text, expected) in
            [("2S", 2_000_000), ("1500m", 1_500_000), ("7u", 7), ("1M", 60_000_000), ("1H", 3_600_000_000)]
        {
            assert_eq!(deadline(&carrying(text)), Some(Duration::from_micros(expected)), "{text}");
        }
        for text in ["", "S", "5", "5x", "-1S"] {
            assert_eq!(deadline(&carrying(text)), None, "{text}");
        }
        let mut request = tonic::Request::new(());
        request.set_timeout(Duration::from_millis(1_234));
        assert_eq!(deadline(&request.metadata().clone().into_headers()), Some(Duration::from_millis(1_234)));
    }

    fn teapot(wait: Option<Duration>) -> BoxCloneSyncService<Request<Body>, Response<Body>, Infallible> {
        BoxCloneSyncService::new(tower::service_fn(move |_: Request<Body>| async move {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
            let mut response = Response::new(Body::empty());
            *response.status_mut() = http::StatusCode::IM_A_TEAPOT;
            Ok(response)
        }))
    }

    #[tokio::test]
    async fn calls_wait_for_the_server_and_fail_after_it() {
        let (client, listener) = in_process();
        let early = tokio::spawn(client.clone().call(Request::new(Body::empty()), None));
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let server = tokio::spawn(listener.serve(teapot(Some(Duration::ZERO)), async { drop(ended.await) }));
        assert_eq!(early.await.unwrap().unwrap().status(), http::StatusCode::IM_A_TEAPOT);
        end.send(()).unwrap();
        server.await.unwrap();
        let late = client.call(Request::new(Body::empty()), None).await.unwrap_err();
        assert_eq!(late.code(), Code::Unavailable);
        let (unserved, listener) = in_process();
        drop(listener);
        assert_eq!(unserved.call(Request::new(Body::empty()), None).await.unwrap_err().code(), Code::Unavailable);
    }

    #[tokio::test]
    async fn a_call_ends_at_its_deadline_or_at_that_of_its_channel() {
        let (client, listener) = in_process();
        tokio::spawn(listener.serve(teapot(None), std::future::pending()));
        let mut request = Request::new(Body::empty());
        request.headers_mut().extend(carrying("20m"));
        let error = client.clone().call(request, None).await.unwrap_err();
        assert_eq!(error.code(), Code::DeadlineExceeded);
        let error = client.call(Request::new(Body::empty()), Some(Duration::from_millis(20))).await.unwrap_err();
        assert_eq!(error.code(), Code::DeadlineExceeded);
        let (client, listener) = in_process();
        tokio::spawn(listener.serve(teapot(Some(Duration::ZERO)), std::future::pending()));
        assert!(client.call(Request::new(Body::empty()), Some(Duration::from_secs(60))).await.is_ok());
    }
}
