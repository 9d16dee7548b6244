//! The connections to an etcd cluster, and the watch that says when to read again.
//!
//! Every operation has a time limit of its own: without one, a frozen etcd makes calls wait for ever. Calls go to the
//! member that answered last, until it does not: a client that spreads them gives a frozen member its share of them
//! until the connection is found dead, and etcd lets nobody look for that often.
//!
//! Deliberately absent: what an event of the watch says. Old etcds lose and reorder them; only a reading counts.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, Error, Txn, TxnOpResponse, WatchOptions};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tonic::{Code, Status};

use super::super::StoreError;
use super::EtcdOptions;

/// Silence after which a connection in use is asked for a sign of life. etcd closes connections that ask within 5 s
/// (`--grpc-keepalive-min-time`), or at all while no call is under way, and with them whatever call comes next.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(6);
/// How long a sign of life may take.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(1);
/// Time between two attempts to watch an etcd that does not answer.
const WATCH_AGAIN: Duration = Duration::from_millis(500);

/// Connections that are made anew together.
pub(super) struct Connections {
    pub(super) members: Arc<Members>,
    request_timeout: Duration,
    watch: JoinHandle<()>,
}

/// One client for each endpoint, and which of them is called.
pub(super) struct Members {
    pub(super) all: Vec<(String, Client)>,
    /// Counts on whenever a member was given up; the remainder is the member.
    current: AtomicUsize,
    moved: Notify,
}

impl Members {
    fn current(&self) -> (usize, Client) {
        let current = self.current.load(Ordering::Relaxed);
        (current, self.all[current % self.all.len()].1.clone())
    }

    /// Turns to the next member, unless another call has done so.
    fn give_up(&self, tried: usize) {
        if self.current.compare_exchange(tried, tried.wrapping_add(1), Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.moved.notify_one();
        }
    }
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
            .with_keep_alive(KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT)
            .with_keep_alive_while_idle(false)
            .with_require_leader(true);
        let mut all = Vec::new();
        for endpoint in &options.endpoints {
            let member = Client::connect([endpoint], Some(connect.clone())).await.map_err(unavailable)?;
            all.push((endpoint.clone(), member));
        }
        let members = Arc::new(Members { all, current: AtomicUsize::new(0), moved: Notify::new() });
        let watch = tokio::spawn(watch(Arc::clone(&members), options.prefix.clone(), changed));
        Ok(Self { members, request_timeout: options.request_timeout, watch })
    }

    /// Calls, and calls the next member if one is lost or has used half of the time that was left. Every call may be
    /// made twice: what changes something compares what it was derived from.
    async fn limited<T, F>(&self, call: impl Fn(Client) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut left = self.request_timeout;
        let mut lost = None;
        for remaining in (0..self.members.all.len()).rev() {
            let (tried, client) = self.members.current();
            let limit = if remaining == 0 { left } else { left / 2 };
            match tokio::time::timeout(limit, call(client)).await {
                Ok(Err(Error::GRpcStatus(status))) if is_lost(&status) => lost = Some(Error::GRpcStatus(status)),
                Ok(result) => return result.map_err(unavailable),
                Err(_) => left -= limit,
            }
            self.members.give_up(tried);
        }
        Err(lost.map_or_else(|| no_answer(self.request_timeout), unavailable))
    }

    /// Asks one member how it is.
    pub(super) async fn probe(&self, client: &Client) -> Result<(), StoreError> {
        let mut client = client.maintenance_client();
        match tokio::time::timeout(self.request_timeout, client.status()).await {
            Ok(answer) => answer.map(|_| ()).map_err(unavailable),
            Err(_) => Err(no_answer(self.request_timeout)),
        }
    }

    pub(super) async fn txn(&self, txn: Txn) -> Result<Answer, StoreError> {
        let answer = self
            .limited(|client| {
                let (mut client, txn) = (client.kv_client(), txn.clone());
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
        let granted = self.limited(|client| {
            let mut client = client.lease_client();
            async move { client.grant(seconds, None).await }
        });
        Ok(granted.await?.id())
    }

    /// False if the lease is no more.
    pub(super) async fn keep_alive(&self, lease: i64) -> Result<bool, StoreError> {
        self.limited(|client| {
            let mut client = client.lease_client();
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
        let asked = self.limited(|client| {
            let mut client = client.lease_client();
            async move { client.time_to_live(lease, None).await }
        });
        let answer = asked.await;
        Duration::from_secs(answer.map_or(0, |answer| u64::try_from(answer.ttl()).unwrap_or(0)))
    }

    /// Ends a lease that is of no use; if that fails it ends by itself.
    pub(super) async fn revoke(&self, lease: i64) {
        let revoked = self.limited(|client| {
            let mut client = client.lease_client();
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

async fn watch(members: Arc<Members>, prefix: String, changed: Arc<Notify>) {
    loop {
        let mut client = members.current().1.watch_client();
        let options = WatchOptions::new().with_prefix();
        let events = async {
            let Ok(mut events) = client.watch(format!("{prefix}/"), Some(options)).await else { return };
            while let Ok(Some(event)) = events.message().await {
                if event.canceled() {
                    break;
                }
                changed.notify_one();
            }
        };
        // Who was given up may be frozen, and silent for long.
        tokio::select! {
            () = events => {}
            () = members.moved.notified() => {}
        }
        // What happened meanwhile was not seen.
        changed.notify_one();
        tokio::time::sleep(WATCH_AGAIN).await;
    }
}

fn no_answer(limit: Duration) -> StoreError {
    StoreError::Unavailable(format!("no answer within {limit:?}"))
}

pub(super) fn unavailable(error: Error) -> StoreError {
    match error {
        Error::GRpcStatus(status) => StoreError::Unavailable(format!("{:?}: {}", status.code(), status.message())),
        error => StoreError::Unavailable(error.to_string()),
    }
}

/// Whether a call was lost with its connection, or with a member that was about to end.
fn is_lost(status: &Status) -> bool {
    let message = status.message();
    status.code() == Code::Unavailable || message.contains("transport error") || message.contains("h2 protocol error")
}
