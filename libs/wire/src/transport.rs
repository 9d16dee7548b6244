//! How connections are set up, the same on both sides: HTTP/2 windows, keepalive, limits; and the way by which the
//! roles of one process reach each other through the same stubs as over TCP.
//!
//! Deliberately absent: name resolution beyond the system's.

mod channel;
mod in_process;
#[cfg(test)]
mod tests;
pub mod tls;

pub use channel::Channel;
pub use in_process::{InProcess, InProcessListener, in_process};
pub use tls::ClientTls;

use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tonic::transport::{Endpoint, Server};
use tower::service_fn;

use crate::api_key::Credentials;

/// HTTP/2 flow-control window of one stream, bytes.
///
/// Small on purpose. Since 0.4.16 h2 ends the whole connection when unread DATA frames below 256 bytes have used up
/// half the connection window, each costing `256 - length`; orders are just such frames. With a small stream window
/// a sender blocks long before that, so that a slow reader means back-pressure and not a lost connection.
pub const STREAM_WINDOW: u32 = 64 << 10;

/// HTTP/2 flow-control window of one connection, bytes. See [`STREAM_WINDOW`].
pub const CONNECTION_WINDOW: u32 = 16 << 20;

/// Least size of a frame that is taken into account: 5 bytes of gRPC header and a message of 40 bytes (the smallest
/// valid order has more).
const SMALL_FRAME: u32 = 45;

/// Streams of one connection whose readers may all stand still at once without the connection being lost.
const STALLED_STREAMS: u32 = 25;

const _: () = assert!(
    CONNECTION_WINDOW / 2 >= STALLED_STREAMS * (STREAM_WINDOW / SMALL_FRAME) * (256 - SMALL_FRAME),
    "stalled streams of small messages would use up h2's budget for small frames"
);

/// Streams (calls in flight) one client connection may have open at one time. 1024 is ten times what one pipelining
/// client needs, and bounds what a connection can make the server remember.
pub const MAX_CONCURRENT_STREAMS: u32 = 1024;

/// Silence after which a connection is asked for a sign of life.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How long the sign of life may take.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Largest message of a trading, market data, history or admin client, bytes. The largest valid request has under
/// 300 bytes; books and pages of history are answers.
pub const REQUEST_LIMIT: usize = 64 << 10;

/// Largest message between the processes of a cluster, bytes: a journal request holds one unit of at most 16 MiB,
/// and its framing.
pub const PEER_MESSAGE_LIMIT: usize = (16 << 20) + (1 << 20);

/// Where a service is reached.
#[derive(Clone)]
pub enum Address {
    /// `http://host:port`, or `https://host:port`.
    Tcp(String),
    /// In this process.
    InProcess(InProcess),
}

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{given}\" is no address: write http://host:port, or https://host:port")]
pub struct AddressError {
    given: String,
}

/// How a client connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// How long setting up a connection may take.
    pub connect_timeout: Duration,
    /// Silence after which the server is asked for a sign of life.
    pub keepalive_interval: Duration,
    /// How long the sign of life may take before the connection counts as lost.
    pub keepalive_timeout: Duration,
    /// Deadline of every call through the channel that sets none itself; `None` for none. Streams end with it too.
    pub timeout: Option<Duration>,
    /// What is shown with every call over the network.
    pub credentials: Credentials,
    /// For `https` addresses.
    pub tls: Option<ClientTls>,
}

impl ClientOptions {
    /// For processes of one cluster, each of which has another one to turn to: a peer that is cut off or stopped is
    /// noticed within three seconds, whether or not anybody waits for an answer.
    #[must_use]
    pub const fn to_a_peer() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            keepalive_interval: Duration::from_secs(1),
            keepalive_timeout: Duration::from_secs(2),
            timeout: None,
            credentials: Credentials::none(),
            tls: None,
        }
    }
}

impl Default for ClientOptions {
    /// Two seconds to connect, keepalive as servers have it, no deadline for all calls.
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            keepalive_interval: KEEPALIVE_INTERVAL,
            keepalive_timeout: KEEPALIVE_TIMEOUT,
            timeout: None,
            credentials: Credentials::none(),
            tls: None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::InProcess(_) => "in-process".fmt(f),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// Reads `http://host:port`, `https://host:port`, or `host:port` for the first.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || AddressError { given: text.to_owned() };
        let address = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: http::Uri = address.parse().map_err(|_| error())?;
        let plain = matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.port_u16().is_some()
            && matches!(uri.path(), "" | "/");
        let named = uri.host().is_some_and(|host| !host.is_empty());
        if plain && named { Ok(Self::Tcp(address)) } else { Err(error()) }
    }
}

/// A channel to `address`. Connects with the first call, and again after a connection was lost; calls meanwhile
/// fail with UNAVAILABLE. An address that is none (one not made by [`FromStr`]) gives a channel on which every call
/// fails so.
#[must_use]
pub fn connect(address: &Address, options: &ClientOptions) -> Channel {
    match address {
        Address::Tcp(text) if text.starts_with("https://") => encrypted(text, options),
        Address::Tcp(text) => match Endpoint::from_shared(text.clone()) {
            Ok(endpoint) => Channel::network(apply(endpoint, options).connect_lazy(), options.credentials.clone()),
            Err(_) => unreachable_channel(text, options),
        },
        Address::InProcess(handle) => Channel::here(handle.clone(), options.timeout),
    }
}

/// Applies the windows, keepalive and limits to a server that is being set up.
#[must_use]
pub fn server_settings<L>(server: Server<L>) -> Server<L> {
    server
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .tcp_nodelay(true)
}

fn apply(endpoint: Endpoint, options: &ClientOptions) -> Endpoint {
    let endpoint = endpoint
        .tcp_nodelay(true)
        .tcp_keepalive(Some(options.keepalive_interval))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(options.keepalive_interval)
        .keep_alive_timeout(options.keepalive_timeout)
        .keep_alive_while_idle(true)
        .connect_timeout(options.connect_timeout);
    match options.timeout {
        Some(timeout) => endpoint.timeout(timeout),
        None => endpoint,
    }
}

/// The connections are encrypted here and not by tonic, so that certificates can be exchanged under way.
fn encrypted(text: &str, options: &ClientOptions) -> Channel {
    let Ok(endpoint) = Endpoint::from_shared(text.replacen("https", "http", 1)) else {
        return unreachable_channel(text, options);
    };
    let (tls, limit) = (options.tls.clone(), options.connect_timeout);
    let connector = service_fn(move |uri: http::Uri| {
        let (host, port) = (uri.host().unwrap_or_default().to_owned(), uri.port_u16().unwrap_or(443));
        tls::connect(tls.clone(), host, port, limit)
    });
    let channel = apply(endpoint, options).connect_with_connector_lazy(connector);
    Channel::network(channel, options.credentials.clone())
}

fn unreachable_channel(text: &str, options: &ClientOptions) -> Channel {
    let error = AddressError { given: text.to_owned() };
    let connector = service_fn(move |_| {
        let error = io::Error::new(io::ErrorKind::InvalidInput, error.clone());
        async move { Err::<TokioIo<tokio::io::DuplexStream>, _>(error) }
    });
    let channel = apply(Endpoint::from_static("http://invalid"), options).connect_with_connector_lazy(connector);
    Channel::network(channel, Credentials::none())
}

impl TryFrom<&str> for Address {
    type Error = AddressError;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<InProcess> for Address {
    fn from(handle: InProcess) -> Self {
        Self::InProcess(handle)
    }
}
