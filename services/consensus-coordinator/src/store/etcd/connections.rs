//! The connections to an etcd cluster, and the watch that says when to read again.
//!
//! Every operation has a time limit of its own: without one, a frozen etcd makes calls wait for ever.
//!
//! Deliberately absent: what an event of the watch says. Old etcds lose and reorder them; only a reading counts.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, Error, Txn, TxnOpResponse, WatchOptions};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tonic::{Code, Status};

use super::super::StoreError;
use super::EtcdOptions;

/// Silence after which a connection is asked for a sign of life, and how long that may take.
const KEEPALIVE: Duration = Duration::from_secs(1);
/// Time between two attempts to watch an etcd that does not answer.
const WATCH_AGAIN: Duration = Duration::from_millis(500);

/// Connections that are made anew together.
pub(super) struct Connections {
    pub(super) client: Client,
    /// One client for each endpoint, to ask how it is.
    pub(super) members: Vec<(String, Client)>,
    request_timeout: Duration,
    watch: JoinHandle<()>,
}

/// What a transaction answered.
pub(super) struct Answer {
    pub(super) succeeded: bool,
    pub(super) revision: u64,
    pub(super) answers: Vec<TxnOpResponse>,
}

impl Connections {
    /// Prepares connections; none is made before it is needed, so that an etcd that is away is no error here.
    pub(super) async fn new(options: &EtcdOptions, changed: Arc<Notify>) -> Result<Self, StoreError> {
        let connect = ConnectOptions::new()
            .with_connect_timeout(options.connect_timeout)
            .with_timeout(options.request_timeout)
            .with_keep_alive(KEEPALIVE, KEEPALIVE)
            .with_keep_alive_while_idle(true)
            .with_require_leader(true);
        let client = Client::connect(&options.endpoints, Some(connect.clone())).await.map_err(unavailable)?;
        let mut members = Vec::new();
        for endpoint in &options.endpoints {
            let member = Client::connect([endpoint], Some(connect.clone())).await.map_err(unavailable)?;
            members.push((endpoint.clone(), member));
        }
        let watch = tokio::spawn(watch(client.clone(), options.prefix.clone(), changed));
        Ok(Self { client, members, request_timeout: options.request_timeout, watch })
    }

    /// Calls, and calls again while another member may answer: one that is lost takes the calls with it that it was
    /// given. Every call may be made twice: what changes something compares what it was derived from.
    pub(super) async fn limited<T, F>(&self, call: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let attempts = async {
            for _ in 1..self.members.len() {
                match call().await {
                    Err(Error::GRpcStatus(status)) if is_lost(&status) => {}
                    result => return result,
                }
            }
            call().await
        };
        match tokio::time::timeout(self.request_timeout, attempts).await {
            Ok(result) => result.map_err(unavailable),
            Err(_) => Err(StoreError::Unavailable(format!("no answer within {:?}", self.request_timeout))),
        }
    }

    pub(super) async fn txn(&self, txn: Txn) -> Result<Answer, StoreError> {
        let answer = self
            .limited(|| {
                let (mut client, txn) = (self.client.kv_client(), txn.clone());
                async move { client.txn(txn).await }
            })
            .await?;
        let revision = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
        let revision = u64::try_from(revision).unwrap_or(0);
        Ok(Answer { succeeded: answer.succeeded(), revision, answers: answer.op_responses() })
    }

    /// A new lease; `ttl` is rounded up to whole seconds.
    pub(super) async fn grant(&self, ttl: Duration) -> Result<i64, StoreError> {
        let seconds = i64::try_from(ttl.as_millis().div_ceil(1000)).unwrap_or(i64::MAX);
        let granted = self.limited(|| {
            let mut client = self.client.lease_client();
            async move { client.grant(seconds, None).await }
        });
        Ok(granted.await?.id())
    }

    /// False if the lease is no more.
    pub(super) async fn keep_alive(&self, lease: i64) -> Result<bool, StoreError> {
        self.limited(|| {
            let mut client = self.client.lease_client();
            async move {
                match client.keep_alive(lease).await {
                    Ok(_) => Ok(true),
                    // The one way in which the client says that the lease is no more.
                    Err(Error::LeaseKeepAliveError(_)) => Ok(false),
                    Err(error) => Err(error),
                }
            }
        })
        .await
    }

    /// Time left, in whole seconds, rounded down. How long is a hint; an etcd that does not say is no reason to know
    /// nothing.
    pub(super) async fn time_left(&self, lease: i64) -> Duration {
        let asked = self.limited(|| {
            let mut client = self.client.lease_client();
            async move { client.time_to_live(lease, None).await }
        });
        let answer = asked.await;
        Duration::from_secs(answer.map_or(0, |answer| u64::try_from(answer.ttl()).unwrap_or(0)))
    }

    /// Ends a lease that is of no use; if that fails it ends by itself.
    pub(super) async fn revoke(&self, lease: i64) {
        let revoked = self.limited(|| {
            let mut client = self.client.lease_client();
            async move { client.revoke(lease).await }
        });
        if let Err(error) = revoked.await {
            tracing::debug!(lease, %error, "consensus: a lease was left to run out");
        }
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

async fn watch(client: Client, prefix: String, changed: Arc<Notify>) {
    loop {
        let mut client = client.watch_client();
        let options = WatchOptions::new().with_prefix();
        if let Ok(mut events) = client.watch(format!("{prefix}/"), Some(options)).await {
            while let Ok(Some(event)) = events.message().await {
                if event.canceled() {
                    break;
                }
                changed.notify_one();
            }
        }
        // What happened meanwhile was not seen.
        changed.notify_one();
        tokio::time::sleep(WATCH_AGAIN).await;
    }
}

pub(super) fn unavailable(error: Error) -> StoreError {
    match error {
        Error::GRpcStatus(status) => StoreError::Unavailable(format!("{:?}: {}", status.code(), status.message())),
        error => StoreError::Unavailable(error.to_string()),
    }
}

/// Whether a call was lost with its connection, or with a member that was about to end.
fn is_lost(status: &Status) -> bool {
    status.code() == Code::Unavailable || status.message().contains("transport error")
}
