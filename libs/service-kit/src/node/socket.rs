//! Connections of a door: plain or encrypted, each with the address it came from. Handshakes run beside each other, so
//! that a client that says nothing holds up nobody.
//!
//! With certificates, a connection from this machine may still be plain: probes and tools beside the node need none. The
//! first byte tells which it is.
//!
//! Deliberately absent: limits on connections; the system's limit on descriptors holds.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected as AxumConnected;
use axum::serve::IncomingStream;
use futures::Stream;
use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::server::Connected;

use crate::auth::Peer;
use crate::auth::config::Plaintext;
use crate::flood::Flood;
use crate::tls::{Protocol, Tls};

/// How long a client may take to set up a connection.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);

/// Connections that are being set up at one time. More wait in the backlog of the system.
const HANDSHAKES_MAX: usize = 256;

/// Connections that are set up and not yet taken over by the server, which takes them at once.
const ACCEPTED_MAX: usize = 16;

/// After the system could not give a connection, most likely for want of descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Silence on a connection after which the kernel asks whether the other end still exists.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// First byte of a TLS connection: a handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

/// Lines a second about connections that could not be set up.
const FAILURES_LOGGED_PER_SECOND: u32 = 4;

/// How connections of a door are set up.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub(super) tls: Option<Tls>,
    pub(super) plaintext: Plaintext,
    pub(super) protocol: Protocol,
}

/// A connection.
pub(super) struct Socket {
    io: Io,
    peer: Peer,
}

enum Io {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

/// Connections as they come. Dropping it closes the door.
pub(super) struct Incoming {
    accepted: mpsc::Receiver<Socket>,
    address: SocketAddr,
    _accepting: AbortOnDropHandle<()>,
}

impl Incoming {
    /// Begins to accept.
    pub(super) fn new(listener: TcpListener, policy: Policy) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (sender, accepted) = mpsc::channel(ACCEPTED_MAX);
        let task = tokio::spawn(accept(listener, Arc::new(policy), sender));
        Ok(Self { accepted, address, _accepting: AbortOnDropHandle::new(task) })
    }
}

async fn accept(listener: TcpListener, policy: Arc<Policy>, accepted: mpsc::Sender<Socket>) {
    let room = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let flood = Arc::new(Flood::new(FAILURES_LOGGED_PER_SECOND));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, from)) => {
                let (policy, accepted, flood) = (Arc::clone(&policy), accepted.clone(), Arc::clone(&flood));
                tokio::spawn(set_up(stream, from, policy, accepted, flood, permit));
            }
            Err(error) => {
                if let Some(suppressed) = flood.admit() {
                    tracing::error!(%error, suppressed, "cannot accept a connection");
                }
                // The system says no more than that; asking at once again would only burn processor time.
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

async fn set_up(
    stream: TcpStream,
    from: SocketAddr,
    policy: Arc<Policy>,
    accepted: mpsc::Sender<Socket>,
    flood: Arc<Flood>,
    _permit: OwnedSemaphorePermit,
) {
    let done = tokio::time::timeout(HANDSHAKE_LIMIT, policy.set_up(stream, from)).await;
    let reason = match done {
        Ok(Ok(socket)) => {
            // A door that is closed takes nobody.
            let _ = accepted.send(socket).await;
            return;
        }
        // A client that connects and goes, as probes of ports do.
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it took too long".to_owned(),
    };
    if let Some(suppressed) = flood.admit() {
        tracing::warn!(target: "auth", peer = %from.ip(), reason, suppressed, "connection refused");
    }
}

impl Policy {
    async fn set_up(&self, stream: TcpStream, from: SocketAddr) -> io::Result<Socket> {
        stream.set_nodelay(true)?;
        sockopt::set_socket_keepalive(&stream, true)?;
        sockopt::set_tcp_keepidle(&stream, TCP_KEEPALIVE)?;
        // An address of the fourth version on a listener of both is one all the same.
        let address = from.ip().to_canonical();
        let plain = |stream| Socket { io: Io::Plain(stream), peer: Peer { address, certified: false } };
        let Some(tls) = &self.tls else { return Ok(plain(stream)) };
        let mut first = [0_u8];
        if stream.peek(&mut first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if first[0] != TLS_HANDSHAKE {
            if address.is_loopback() || self.plaintext == Plaintext::Anywhere {
                return Ok(plain(stream));
            }
            return Err(io::Error::other("it is not encrypted: use https"));
        }
        let stream = TlsAcceptor::from(tls.server(self.protocol)).accept(stream).await?;
        // Whatever certificate is here was checked against the authorities of clients.
        let certified = stream.get_ref().1.peer_certificates().is_some();
        Ok(Socket { io: Io::Encrypted(Box::new(stream)), peer: Peer { address, certified } })
    }
}

impl Stream for Incoming {
    type Item = io::Result<Socket>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.accepted.poll_recv(cx).map(|socket| socket.map(Ok))
    }
}

impl axum::serve::Listener for Incoming {
    type Io = Socket;
    type Addr = Peer;

    async fn accept(&mut self) -> (Socket, Peer) {
        match self.accepted.recv().await {
            Some(socket) => {
                let peer = socket.peer;
                (socket, peer)
            }
            // The task that accepts has gone, which only dropping this does.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Ok(Peer { address: self.address.ip(), certified: false })
    }
}

impl AxumConnected<IncomingStream<'_, Incoming>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Incoming>) -> Self {
        *stream.remote_addr()
    }
}

impl Connected for Socket {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer
    }
}

/// Passes a call on to whichever connection it is.
macro_rules! io {
    ($self:ident, $method:ident $(, $argument:expr)*) => {
        match &mut $self.get_mut().io {
            Io::Plain(stream) => Pin::new(stream).$method($($argument),*),
            Io::Encrypted(stream) => Pin::new(&mut **stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        io!(self, poll_read, cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        io!(self, poll_write, cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        io!(self, poll_write_vectored, cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(stream) => stream.is_write_vectored(),
            Io::Encrypted(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        io!(self, poll_flush, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        io!(self, poll_shutdown, cx)
    }
}
