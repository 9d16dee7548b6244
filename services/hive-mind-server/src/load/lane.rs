//! One connection of a load: its session, which is opened again when it ends, and the collector of its answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::sync::mpsc;
use wire::client::{OrderClient, Reply, RetryPolicy, Session, SessionOptions};
use wire::pb::orders::v1::OrderReport;
use wire::pb::orders::v1::order_session_request::Command;
use wire::status::{ApiError, ErrorCode, Retry};
use wire::transport::Channel;

use super::drive::Progress;
use super::tally::Tally;

/// How long a session that ended is tried to be opened again: as long as a node may take to start after a crash.
const REOPEN: Duration = Duration::from_secs(30);

/// Between two tries.
const REOPEN_PAUSE: Duration = Duration::from_millis(50);

/// The sending half.
pub(crate) struct Lane {
    channel: Channel,
    options: SessionOptions,
    session: Session,
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
    /// Opens a session. The answers come out of the receiver, in the order of the requests.
    pub(crate) async fn open(channel: Channel, options: SessionOptions) -> Result<(Self, mpsc::Receiver<Sent>)> {
        let session = Session::open(channel.clone(), options).await.context("cannot open an order session")?;
        // As many as can be in flight: the collector keeps up with the session, not with each request.
        let (sent, answers) = mpsc::channel(options.in_flight);
        Ok((Self { channel, options, session, sent }, answers))
    }

    /// Sends a request as soon as there is room for it.
    pub(crate) async fn send(&mut self, command: Command, scheduled: Option<Instant>) -> Result<()> {
        let given_up = Instant::now() + REOPEN;
        let reply = loop {
            match self.session.send(command.clone()).await {
                Ok(reply) => break reply,
                Err(error) => self.reopen(error, given_up).await?,
            }
        };
        self.sent.send(Sent { command, reply, scheduled }).await.ok().context("the collector of answers has ended")
    }

    /// Ends the session after its last answer.
    pub(crate) async fn close(self) {
        drop(self.sent);
        self.session.close().await;
    }

    async fn reopen(&mut self, mut error: ApiError, given_up: Instant) -> Result<()> {
        loop {
            if Instant::now() >= given_up || error.code.retry() == Retry::Never {
                return Err(error).context("the order session ended and could not be opened again");
            }
            tokio::time::sleep(REOPEN_PAUSE).await;
            match Session::open(self.channel.clone(), self.options).await {
                Ok(session) => {
                    self.session = session;
                    return Ok(());
                }
                Err(next) => error = next,
            }
        }
    }
}

/// Takes the answers of a lane until it is closed, then finds out about what is in doubt.
pub(crate) async fn collect(
    mut answers: mpsc::Receiver<Sent>,
    channel: Channel,
    progress: Arc<Progress>,
) -> Result<Tally> {
    let mut tally = Tally::new()?;
    let mut in_doubt = Vec::new();
    while let Some(sent) = answers.recv().await {
        tally.sent(&sent.command);
        // Requests of a session are answered in order, and each answer says when it came: waiting for an earlier one
        // does not make a later one look slow.
        let answer = sent.reply.await;
        match answer.result {
            Ok(report) => {
                if let Some(scheduled) = sent.scheduled {
                    tally.latency.record(answer.received.saturating_duration_since(scheduled));
                }
                count(&progress, &report);
                tally.answered(&sent.command, &report);
            }
            Err(error) if error.code.retry() == Retry::InDoubt => in_doubt.push(sent.command),
            Err(error) => turned_away(&mut tally, &error),
        }
    }
    let client = OrderClient::new(channel, RetryPolicy { deadline: REOPEN, ..RetryPolicy::default() });
    for command in in_doubt {
        match again(&client, &command).await {
            Ok(report) => {
                tally.resolved += 1;
                count(&progress, &report);
                tally.answered(&command, &report);
            }
            Err(error) if error.code.retry() == Retry::InDoubt => tally.unresolved += 1,
            Err(error) => turned_away(&mut tally, &error),
        }
    }
    Ok(tally)
}

/// The same request under the same id.
async fn again(client: &OrderClient, command: &Command) -> Result<OrderReport, ApiError> {
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
