//! A TCP proxy that breaks connections on purpose: between any two processes of a cluster, one way or both.
//!
//! A cut stops reading: what is sent stays where it is, as with a network that loses every packet, and comes through
//! when the cut is mended before TCP gives up. Connections made during a cut are half open. Deliberately absent:
//! changed or lost bytes in the middle of a connection, which TCP would not let through either.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::ports;

/// Bytes that are forwarded at a time.
const CHUNK: usize = 16 << 10;

/// What happens to bytes in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// They go through.
    #[default]
    Pass,
    /// None goes through.
    Cut,
    /// Each chunk is late.
    Delay(Duration),
    /// So many a second at the most.
    Throttle(u32),
}

/// What happens to a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// From those who connect to the one who listens.
    pub there: Flow,
    /// From the one who listens to those who connect.
    pub back: Flow,
    /// Connections are reset as soon as they are made.
    pub refuse: bool,
    /// Connections of a lower generation are reset.
    generation: u64,
}

/// A proxy in front of one address.
#[derive(Debug)]
pub struct Proxy {
    /// Where to connect instead.
    pub address: String,
    weather: Arc<watch::Sender<Weather>>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port and forwards to `target`, which need not be there yet.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(target: &str) -> Result<Self> {
        let target: SocketAddr = target.parse().with_context(|| format!("{target} is no address"))?;
        let listener = TcpListener::bind(("127.0.0.1", ports::take()?)).await?;
        let address = listener.local_addr()?.to_string();
        let weather = Arc::new(watch::Sender::new(Weather::default()));
        let accepting = tokio::spawn(accept(listener, target, Arc::clone(&weather)));
        Ok(Self { address, weather, accepting })
    }

    /// Both directions from now on.
    pub fn set(&self, there: Flow, back: Flow) {
        self.weather.send_modify(|weather| (weather.there, weather.back, weather.refuse) = (there, back, false));
    }

    /// Everything goes through again.
    pub fn mend(&self) {
        self.set(Flow::Pass, Flow::Pass);
    }

    /// Resets every connection; new ones are made as before.
    pub fn reset(&self) {
        self.weather.send_modify(|weather| weather.generation += 1);
    }

    /// Resets every connection and all that are made until [`Self::mend`].
    pub fn refuse(&self) {
        self.weather.send_modify(|weather| (weather.refuse, weather.generation) = (true, weather.generation + 1));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.refuse();
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, weather: Arc<watch::Sender<Weather>>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(forward(client, target, weather.subscribe()));
    }
}

/// One connection, until either side or the weather ends it.
async fn forward(client: TcpStream, target: SocketAddr, weather: watch::Receiver<Weather>) {
    let born = weather.borrow().generation;
    let refused = weather.borrow().refuse;
    let server = if refused { None } else { TcpStream::connect(target).await.ok() };
    let Some(server) = server else {
        // Nobody there: the caller is told at once, as the kernel would.
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut halves = JoinSet::new();
    halves.spawn(pump(from_client, to_server, weather.clone(), |weather| weather.there));
    halves.spawn(pump(from_server, to_client, weather.clone(), |weather| weather.back));
    let mut weather = weather;
    let reset = tokio::select! {
        reset = weather.wait_for(|weather| weather.generation > born) => reset.is_ok(),
        // One side closing its half leaves the other half open, as TCP does.
        () = async { while halves.join_next().await.is_some() {} } => false,
    };
    if reset {
        // Dropping the aborted halves with unread data resets the connection.
        halves.shutdown().await;
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    flow: fn(&Weather) -> Flow,
) {
    let mut buffer = vec![0; CHUNK];
    loop {
        if weather.wait_for(|weather| flow(weather) != Flow::Cut).await.is_err() {
            return;
        }
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            _ = weather.changed() => continue,
        };
        let Ok(length @ 1..) = read else {
            // The end of one direction is not the end of the other.
            let _ = to.shutdown().await;
            return;
        };
        let now = flow(&weather.borrow_and_update());
        match now {
            Flow::Pass => {}
            Flow::Cut => {
                if weather.wait_for(|weather| flow(weather) != Flow::Cut).await.is_err() {
                    return;
                }
            }
            Flow::Delay(time) => tokio::time::sleep(time).await,
            Flow::Throttle(rate) => {
                let length = u32::try_from(length).unwrap_or(u32::MAX);
                // The time that so many bytes take at this rate: what a throttle is.
                tokio::time::sleep(Duration::from_secs(1) * length / rate.max(1)).await;
            }
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Echoes on every connection.
    async fn echo() -> Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        Ok(address)
    }

    async fn said(stream: &mut TcpStream, word: &[u8; 4]) -> std::io::Result<[u8; 4]> {
        stream.write_all(word).await?;
        heard(stream).await
    }

    async fn heard(stream: &mut TcpStream) -> std::io::Result<[u8; 4]> {
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn a_cut_holds_what_is_sent_until_it_is_mended() -> Result<()> {
        for (there, back) in [(Flow::Cut, Flow::Pass), (Flow::Pass, Flow::Cut), (Flow::Cut, Flow::Cut)] {
            let proxy = Proxy::start(&echo().await?).await?;
            let mut stream = TcpStream::connect(&proxy.address).await?;
            assert_eq!(&said(&mut stream, b"ping").await?, b"ping");
            proxy.set(there, back);
            stream.write_all(b"more").await?;
            let limit = Duration::from_millis(50);
            assert!(tokio::time::timeout(limit, heard(&mut stream)).await.is_err(), "it came through {there:?}");
            proxy.mend();
            assert_eq!(&heard(&mut stream).await?, b"more");
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_reset_ends_connections_and_a_refusal_new_ones_too() -> Result<()> {
        let proxy = Proxy::start(&echo().await?).await?;
        let mut stream = TcpStream::connect(&proxy.address).await?;
        assert_eq!(&said(&mut stream, b"ping").await?, b"ping");
        proxy.reset();
        assert!(heard(&mut stream).await.is_err());
        let mut stream = TcpStream::connect(&proxy.address).await?;
        assert_eq!(&said(&mut stream, b"ping").await?, b"ping");
        proxy.refuse();
        assert!(heard(&mut stream).await.is_err());
        let mut stream = TcpStream::connect(&proxy.address).await?;
        assert!(said(&mut stream, b"ping").await.is_err());
        proxy.mend();
        let mut stream = TcpStream::connect(&proxy.address).await?;
        assert_eq!(&said(&mut stream, b"ping").await?, b"ping");
        Ok(())
    }

    #[tokio::test]
    async fn slow_links_lose_nothing() -> Result<()> {
        let proxy = Proxy::start(&echo().await?).await?;
        proxy.set(Flow::Delay(Duration::from_millis(1)), Flow::Throttle(1_000_000));
        let mut stream = TcpStream::connect(&proxy.address).await?;
        for number in 0..50_u32 {
            assert_eq!(said(&mut stream, &number.to_be_bytes()).await?, number.to_be_bytes());
        }
        Ok(())
    }
}
