//! One connection with its own small runtime, used by blocking callers; it reconnects and gives up in bounded time.
//!
//! Deliberately absent: knowledge of what a statement does. Only statements that may be repeated, or whose repetition
//! recognises the first attempt, come here.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Statement};

use super::server::{Server, describe, remedy};
use super::sessions::{APPLICATION_NAME, Open, Sessions};
use crate::StoreError;

/// Time limits of a database storage.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For one attempt to connect.
    pub connect: Duration,
    /// For one statement, on both sides of the connection.
    pub statement: Duration,
    /// For one call in all, reconnections and repetitions included.
    pub call: Duration,
}

impl Default for Timeouts {
    /// A server that restarts is back within a few seconds; whoever waits longer should hear of it.
    fn default() -> Self {
        Self { connect: Duration::from_secs(2), statement: Duration::from_secs(5), call: Duration::from_secs(10) }
    }
}

impl Timeouts {
    /// For whoever has somewhere else to go when the server is away.
    pub(super) fn quick() -> Self {
        let at_once = Duration::from_millis(500);
        Self { connect: at_once, statement: Duration::from_secs(1), call: at_once }
    }

    /// A snapshot is one value of up to some hundred megabytes, and nobody waits for it.
    pub(super) fn for_snapshots(self) -> Self {
        const SLOWER: u32 = 12;
        Self { statement: self.statement * SLOWER, call: self.call * SLOWER, ..self }
    }
}

/// First wait before a repetition; doubled up to [`BACK_OFF_MAX`].
const BACK_OFF: Duration = Duration::from_millis(20);
/// Longest wait between repetitions: a server that is back is noticed within it.
const BACK_OFF_MAX: Duration = Duration::from_millis(500);

/// How long the server lets a transaction of ours wait for its next statement: a process that was stopped, or whose
/// network is cut, in the middle of one holds up the other writers of the shard for no longer.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(1);

/// Why an attempt failed.
pub(crate) enum Failure {
    /// The connection or the server; the next attempt may succeed.
    Transient(String),
    /// Another attempt would fail alike.
    Final(String),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(answer) = error.as_db_error() else {
            let lost = error.is_closed()
                || std::error::Error::source(&error).is_some_and(|source| source.is::<std::io::Error>());
            // What TLS found wrong is so still the next time.
            let transient = lost && remedy(&error).is_none();
            return if transient { Self::Transient(describe(&error)) } else { Self::Final(describe(&error)) };
        };
        let mut text = format!("{} ({})", answer.message(), answer.code().code());
        if let Some(remedy) = remedy(&error) {
            text = format!("{text}; {remedy}");
        }
        // Connection, a transaction that was left alone, resources, operator intervention, serialization, lock not available.
        let transient =
            ["08", "25P03", "53", "57", "40", "55"].iter().any(|class| answer.code().code().starts_with(class));
        // A disk that is full stays full for longer than a call.
        if transient && *answer.code() != SqlState::DISK_FULL { Self::Transient(text) } else { Self::Final(text) }
    }
}

/// One connection, and the statements the server has parsed for it.
pub(crate) struct Connection {
    client: Client,
    statements: HashMap<&'static str, Statement>,
    /// Moves the bytes; runs only while the session does.
    driver: JoinHandle<()>,
    open: Open,
}

impl Connection {
    /// A statement that is parsed once for each connection.
    pub(crate) async fn prepared(&mut self, sql: &'static str) -> Result<Statement, Failure> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }
}

impl Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

pub(crate) struct Session {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    server: Server,
    timeouts: Timeouts,
    client: Option<Connection>,
    sessions: Sessions,
}

impl Session {
    pub(crate) fn new(url: &str, timeouts: Timeouts, sessions: &Sessions) -> Result<Self, StoreError> {
        let unusable = |error: &dyn std::error::Error| StoreError::invalid(format!("database url: {error}"));
        let mut server = Server::parse(url).map_err(|error| unusable(&error))?;
        // Every connection reads the files again; those that cannot be used are told of now.
        server.tls.load().map_err(|error| unusable(&error))?;
        server
            .options
            .connect_timeout(timeouts.connect)
            .keepalives_idle(Duration::from_secs(5))
            // A server that is gone without a word is noticed within the time a statement may take.
            .tcp_user_timeout(timeouts.statement)
            .application_name(APPLICATION_NAME);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| StoreError::io("start a runtime", "database session", source))?;
        Ok(Self { runtime: Some(runtime), server, timeouts, client: None, sessions: sessions.clone() })
    }

    /// Runs `attempt`, one short exchange, until it succeeds, fails for good or the time of a call is over. The second
    /// argument says whether an earlier attempt may have done its work already.
    pub(crate) fn run<T>(
        &mut self,
        operation: &'static str,
        mut attempt: impl AsyncFnMut(&mut Connection, bool) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let limit = self.timeouts.statement;
        self.run_long(operation, async |client, in_doubt| answer(limit, attempt(client, in_doubt)).await)
    }

    /// Gives the connection back to the server, for sessions that are used now and then; the next call makes another.
    pub(crate) fn disconnect(&mut self) {
        let (Some(Connection { driver, open, .. }), Some(runtime)) = (self.client.take(), &self.runtime) else {
            return;
        };
        driver.abort();
        // It is not dropped, and its socket not closed, before the runtime has turned once more. An error says that it
        // was aborted.
        drop(runtime.block_on(driver));
        drop(open);
    }

    /// Other time limits from now on. The server is told one of them when the session begins.
    pub(crate) fn set_limits(&mut self, timeouts: Timeouts) {
        if timeouts.statement != self.timeouts.statement {
            self.disconnect();
        }
        self.timeouts = timeouts;
    }

    /// Another connection in the place of the one there is.
    pub(crate) fn renew(&mut self) -> Result<(), StoreError> {
        self.disconnect();
        self.run("connect anew", async |client, _| Ok(client.batch_execute("SELECT 1").await?))
    }

    /// The limit an attempt of [`Self::run_long`] has to set for each of its statements.
    pub(crate) fn statement_limit(&self) -> Duration {
        self.timeouts.statement
    }

    /// [`Self::run`] for attempts that may go on for as long as each of their statements is answered in time.
    pub(crate) fn run_long<T>(
        &mut self,
        operation: &'static str,
        mut attempt: impl AsyncFnMut(&mut Connection, bool) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let deadline = Instant::now() + self.timeouts.call;
        let mut wait = BACK_OFF;
        let mut in_doubt = false;
        loop {
            let reason = match self.once(&mut attempt, &mut in_doubt) {
                Ok(value) => return Ok(value),
                Err(Failure::Final(reason)) => return Err(StoreError::Database { operation, reason }),
                Err(Failure::Transient(reason)) => reason,
            };
            // Whatever the connection still carries must not be mistaken for an answer to the next attempt.
            self.disconnect();
            self.sessions.failed(&reason);
            if Instant::now() + wait > deadline {
                return Err(StoreError::Database { operation, reason });
            }
            tracing::debug!(operation, reason, "database call is repeated");
            #[expect(clippy::disallowed_methods, reason = "a server that is away sends no word when it is back")]
            std::thread::sleep(wait);
            wait = (wait * 2).min(BACK_OFF_MAX);
        }
    }

    fn once<T>(
        &mut self,
        attempt: &mut impl AsyncFnMut(&mut Connection, bool) -> Result<T, Failure>,
        in_doubt: &mut bool,
    ) -> Result<T, Failure> {
        if self.client.as_ref().is_some_and(|client| client.open.is_outdated()) {
            self.disconnect();
        }
        let Self { runtime, server, timeouts, client, sessions } = self;
        let Some(runtime) = runtime else { return Err(Failure::Final("the session is closed".to_owned())) };
        runtime.block_on(async {
            if client.as_ref().is_none_or(|client| client.is_closed()) {
                // Before the server knows of it: a renewal ordered while it is set up is meant for it too.
                let open = sessions.opened();
                let (fresh, driver) = answer(timeouts.connect, connect(server, timeouts.statement)).await?;
                *client = Some(Connection { client: fresh, statements: HashMap::new(), driver, open });
            }
            let Some(client) = client else { return Err(Failure::Transient("not connected".to_owned())) };
            let result = attempt(client, *in_doubt).await;
            *in_doubt = true;
            result
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // An ordinary drop would wait, and panic if it happens on a thread that runs async tasks.
            runtime.shutdown_background();
        }
    }
}

/// Waits for an answer, but not longer than `limit`.
pub(crate) async fn answer<T, E>(limit: Duration, work: impl Future<Output = Result<T, E>>) -> Result<T, Failure>
where
    Failure: From<E>,
{
    match tokio::time::timeout(limit, work).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(Failure::Transient("no answer in time".to_owned())),
    }
}

async fn connect(server: &Server, statement: Duration) -> Result<(Client, JoinHandle<()>), Failure> {
    let (client, connection) = server.options.connect(server.tls.clone()).await?;
    let driver = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = describe(&error), "database connection ended");
        }
    });
    let (limit, idle) = (statement.as_millis(), IDLE_IN_TRANSACTION.as_millis());
    // The limits keep the server from holding the shard's row for a peer that is gone, and a server configured to
    // acknowledge before it is durable is overruled (I4).
    let setup = format!(
        "SET statement_timeout = {limit}; SET lock_timeout = {limit}; SET idle_in_transaction_session_timeout = {idle};
         SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    );
    client.batch_execute(&setup).await?;
    Ok((client, driver))
}
