//! A node on free ports, a service to put into it, and a plain HTTP client. Absent: the tests.
#![allow(dead_code, unreachable_pub, reason = "every test file has its own copy and uses another part")]

use std::net::SocketAddr;

use service_kit::metrics::Exporter;
use service_kit::node::{Listen, Node, NodeError, NodeOptions};
use service_kit::{NodeContext, Service, ServiceError, Shutdown, async_trait};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::service::RoutesBuilder;
use wire::transport::{Address, Channel, ClientOptions, connect};

/// A node that serves.
pub struct Served {
    pub at: Listen,
    pub context: NodeContext,
    pub shutdown: Shutdown,
    pub end: JoinHandle<Result<(), NodeError>>,
}

pub fn options(name: &str) -> NodeOptions {
    let context = NodeContext::new(name, vec!["test".to_owned()], "unused");
    NodeOptions::new(Listen::any_port(), context, Exporter::install().expect("metrics"))
}

/// Starts a node with these services.
pub async fn serve(options: NodeOptions, services: Vec<Box<dyn Service>>) -> Served {
    let node = Node::bind(options).await.expect("bound");
    let (at, context, shutdown) = (node.addresses(), node.context().clone(), Shutdown::new());
    let end = tokio::spawn(node.serve(services, None, shutdown.clone()));
    Served { at, context, shutdown, end }
}

impl Served {
    pub fn channel(&self) -> Channel {
        connect(&Address::Tcp(format!("http://{}", self.at.grpc)), &ClientOptions::default())
    }

    pub async fn stop(self) -> Result<(), NodeError> {
        self.shutdown.drain();
        self.end.await.expect("the node did not panic")
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

pub async fn get(at: SocketAddr, path: &str) -> Answer {
    request(at, "GET", path, "").await
}

/// One request on a connection of its own. `headers` are whole lines.
pub async fn request(at: SocketAddr, method: &str, path: &str, headers: &str) -> Answer {
    let mut stream = TcpStream::connect(at).await.expect("connected");
    let text = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// How a [`Scripted`] service ends.
#[derive(Clone, Copy)]
pub enum Ending {
    /// When it is drained, after having told so.
    Orderly,
    /// With this error as soon as it runs.
    Failing(u8),
    /// By a panic as soon as it runs.
    Panicking,
    /// Without being asked.
    Early,
    /// Not by draining.
    Never,
}

/// A service that reports what happens to it.
pub struct Scripted {
    pub name: &'static str,
    pub ending: Ending,
    pub log: mpsc::Sender<String>,
    pub context: Option<NodeContext>,
}

#[async_trait]
impl Service for Scripted {
    fn name(&self) -> &'static str {
        self.name
    }

    fn register(&self, _: &mut RoutesBuilder) {}

    async fn run(self: Box<Self>, shutdown: Shutdown) -> Result<(), ServiceError> {
        let name = self.name;
        match self.ending {
            Ending::Failing(code) => return Err(ServiceError::new("broken").with_exit_code(code)),
            Ending::Panicking => panic!("surprised"),
            Ending::Early => return Ok(()),
            Ending::Never => shutdown.stopped().await,
            Ending::Orderly => shutdown.draining().await,
        }
        let ready = self.context.map(|context| format!(" ready={}", context.components.is_ready())).unwrap_or_default();
        self.log.send(format!("{name} drains{ready}")).await.ok();
        // Whoever is stopped before us would have to be seen here.
        tokio::task::yield_now().await;
        self.log.send(format!("{name} done")).await.ok();
        Ok(())
    }
}
