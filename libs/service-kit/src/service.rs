//! What a node asks of a service. Absent: how services are built; each does that its own way from its own `Config`.

use std::error::Error;
use std::fmt;

use async_trait::async_trait;
use tonic::service::RoutesBuilder;

use crate::Shutdown;

/// One role of a process, built and ready to run.
#[async_trait]
pub trait Service: Send {
    /// Its name, as in logs: "order-engine".
    fn name(&self) -> &'static str;

    /// Adds its gRPC services. Called once, before `run`.
    fn register(&self, routes: &mut RoutesBuilder);

    /// Its routes on the admin port, if it has any. They must not set a fallback: the node does.
    fn http(&self) -> Option<axum::Router> {
        None
    }

    /// Works until `shutdown` drains, finishes what was accepted, and returns. Returning earlier, with or without an
    /// error, takes the node down.
    ///
    /// # Errors
    /// Whatever makes it impossible to go on.
    async fn run(self: Box<Self>, shutdown: Shutdown) -> Result<(), ServiceError>;
}

/// Why a service cannot go on.
#[derive(Debug)]
pub struct ServiceError {
    message: String,
    exit_code: u8,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl ServiceError {
    /// Exit code of a process that failed for no documented special reason.
    pub const EXIT_FAILURE: u8 = 1;

    /// An error that is described by its text alone.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), exit_code: Self::EXIT_FAILURE, source: None }
    }

    /// An error with a cause.
    pub fn from_error(error: impl Error + Send + Sync + 'static) -> Self {
        Self { message: error.to_string(), exit_code: Self::EXIT_FAILURE, source: Some(Box::new(error)) }
    }

    /// Gives the process this exit code instead of 1, for failures that are documented one by one.
    #[must_use]
    pub fn with_exit_code(mut self, code: u8) -> Self {
        self.exit_code = code;
        self
    }

    /// Exit code for the process.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.exit_code
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for ServiceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // The text of the cause is the message already; what it came from is news.
        self.source.as_ref().and_then(|error| error.source())
    }
}
