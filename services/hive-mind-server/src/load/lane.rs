//! One connection of a load: its sessions, which are opened again when they end, and the collector of its answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use wire::client::{Cluster, OrderClient, Reply, RetryPolicy, SessionOptions, Sessions};
use wire::pb::orders::v1::OrderReport;
use wire::pb::orders::v1::order_session_request::Command;
use wire::status::{ApiError, ErrorCode, Retry};

use super::drive::Progress;
use super::tally::Tally;

/// How long a request is tried to be sent, and found out about: as long as a node may take to start after a crash.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// The sending half.
pub(crate) struct Lane {
    sessions: Sessions,
    sent: mpsc::Sender<Sent>,
}

/// A request on its way.
pub(crate) struct Sent {
    command: Command,
    reply: Reply,
    /// When it was to be sent; `None` for one that is not measured.
    scheduled: Option<Instant>,
}

impl Lane {
    /// Opens no session yet. The answers come out of the receiver, in the order of the requests.
    pub(crate) fn new(cluster: Cluster, options: SessionOptions) -> (Self, mpsc::Receiver<Sent>) {
        // As many as can be in flight: the collector keeps up with the session, not with each request.
        let (sent, answers) = mpsc::channel(options.in_flight);
        (Self { sessions: Sessions::new(cluster, options), sent }, answers)
    }

    /// Sends a request as soon as there is room for it.
    pub(crate) async fn send(&mut self, command: Command, scheduled: Option<Instant>) -> Result<()> {
        let given_up = Instant::now() + PATIENCE;
        let reply = loop {
            match self.sessions.send(command.clone()).await {
                Ok(reply) => break reply,
                Err(error) if Instant::now() >= given_up || error.code.retry() == Retry::Never => {
                    return Err(error).context("a request could not be sent");
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        };
        self.sent.send(Sent { command, reply, scheduled }).await.ok().context("the collector of answers has ended")
    }

    /// Ends the sessions after their last answers.
    pub(crate) async fn close(self) {
        drop(self.sent);
        self.sessions.close().await;
    }
}

/// Takes the answers of a lane until it is closed. What a change of leaders left in doubt or turned away is sent again
/// under the same id, and its latency counts until it is answered.
pub(crate) async fn collect(
    mut answers: mpsc::Receiver<Sent>,
    cluster: Cluster,
    progress: Arc<Progress>,
) -> Result<Tally> {
    let mut tally = Tally::new()?;
    let client = OrderClient::of(cluster.clone(), RetryPolicy { deadline: PATIENCE, ..RetryPolicy::default() });
    let mut again = JoinSet::new();
    while let Some(Sent { command, reply, scheduled }) = answers.recv().await {
        tally.sent(&command);
        // Requests of a session are answered in order, and each answer says when it came: waiting for an earlier one
        // does not make a later one look slow.
        let answer = reply.await;
        match answer.result {
            Ok(report) => {
                if let Some(scheduled) = scheduled {
                    tally.latency.record(answer.received.saturating_duration_since(scheduled));
                }
                count(&progress, &report);
                tally.answered(&command, &report);
            }
            Err(error) if is_of_a_change(&error) => {
                if let Some(hint) = &error.leader {
                    cluster.learn(hint);
                }
                let client = client.clone();
                again.spawn(async move {
                    let answer = send_again(&client, &command).await;
                    (command, scheduled, answer, Instant::now())
                });
            }
            Err(error) => turned_away(&mut tally, &error),
        }
    }
    while let Some(ended) = again.join_next().await {
        let (command, scheduled, answer, received) = ended?;
        match answer {
            Ok(report) => {
                tally.resolved += 1;
                if let Some(scheduled) = scheduled {
                    tally.latency.record(received.saturating_duration_since(scheduled));
                }
                count(&progress, &report);
                tally.answered(&command, &report);
            }
            Err(error) if error.code.retry() == Retry::InDoubt => tally.unresolved += 1,
            Err(error) => turned_away(&mut tally, &error),
        }
    }
    Ok(tally)
}

/// Whether another attempt is due: nobody knows what became of it, or there was no leader to ask. A full queue is what
/// an open loop provokes and must count.
fn is_of_a_change(error: &ApiError) -> bool {
    error.code != ErrorCode::Overloaded && error.code.retryable()
}

/// The same request under the same id.
async fn send_again(client: &OrderClient, command: &Command) -> Result<OrderReport, ApiError> {
    match command {
        Command::Submit(request) => client.submit(request).await,
        Command::Cancel(request) => client.cancel(request).await,
        Command::Replace(request) => client.replace(request).await,
        Command::MassCancel(request) => client.mass_cancel(request).await,
    }
}

fn turned_away(tally: &mut Tally, error: &ApiError) {
    // A full queue is what an open loop provokes; anything else is worth a line.
    if error.code != ErrorCode::Overloaded && tally.last_error.is_none() {
        tracing::warn!(%error, "a request was turned away");
    }
    tally.turned_away += 1;
    tally.last_error = Some(error.to_string());
}

fn count(progress: &Progress, report: &OrderReport) {
    progress.answered.fetch_add(1, Ordering::Relaxed);
    progress.trades.fetch_add(report.fills.len() as u64, Ordering::Relaxed);
}
