//! The in-process connection: an in-memory duplex pipe for each dial, handed to the node's own server.
//!
//! Deliberately absent: any short cut around HTTP/2. What runs in one process is what runs in four.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

/// Bytes one direction of a pipe holds before the writer waits. A unit of the journal (at most 16 MiB) passes in
/// pieces; 1 MiB keeps the usual group of orders from being split over several wake-ups. Grows only as needed.
const PIPE_BYTES: usize = 1 << 20;

/// Dials that wait for the server to take them. Each role dials once per peer; more than this at one time means
/// that the server has stopped accepting, and dialling waits.
const PENDING_DIALS: usize = 64;

/// The client's end: dials new connections to the listener it was made with.
#[derive(Clone, Debug)]
pub struct InProcess {
    dials: mpsc::Sender<DuplexStream>,
}

/// The server's end: a stream of connections for tonic's `serve_with_incoming`. Ends when every [`InProcess`] of it
/// is gone.
#[derive(Debug)]
pub struct InProcessListener {
    dials: mpsc::Receiver<DuplexStream>,
}

/// A pair of ends.
#[must_use]
pub fn in_process() -> (InProcess, InProcessListener) {
    let (sender, receiver) = mpsc::channel(PENDING_DIALS);
    (InProcess { dials: sender }, InProcessListener { dials: receiver })
}

impl InProcess {
    /// A new connection; fails when the listener is gone.
    pub async fn dial(&self) -> io::Result<DuplexStream> {
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        match self.dials.send(theirs).await {
            Ok(()) => Ok(ours),
            Err(_) => Err(io::Error::new(io::ErrorKind::ConnectionRefused, "the in-process server is gone")),
        }
    }
}

impl Stream for InProcessListener {
    type Item = io::Result<DuplexStream>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.dials.poll_recv(context).map(|dial| dial.map(Ok))
    }
}
